// Drives a page that twinview wrote in headless Chromium: `node drive.mjs PAGE.html`. Prints what it measured as JSON and
// fails when the page does. The network is off, and every request, console message and error is a failure.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { availableParallelism, loadavg } from "node:os";
import { pathToFileURL } from "node:url";
import { readFile } from "node:fs/promises";
import { browser } from "./chromium.mjs";

const [file] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const chromium = await browser();
const troubles = [];

/** A page of a window of this size, its network off. */
async function open(width, height, colorScheme) {
  const context = await chromium.newContext({ viewport: { width, height }, colorScheme, offline: true, reducedMotion: "reduce" });
  // A busy machine is no fault of the page.
  context.setDefaultTimeout(180_000);
  context.setDefaultNavigationTimeout(180_000);
  const page = await context.newPage();
  page.on("console", (message) => troubles.push(`console ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => troubles.push(`error: ${error.message}`));
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) troubles.push(`request: ${request.url()}`);
  });
  await page.goto(pathToFileURL(file).href);
  await page.waitForSelector("h1");
  return page;
}

/** What axe-core finds that is serious or worse. */
async function faults(page, what) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${what}: ${id}: ${nodes.slice(0, 3).map((node) => `${node.target} ${node.any[0]?.message ?? ""}`).join("; ")}`);
}

/** Moves the pointer over the map until it meets a point; gives the place. */
async function meetPoint(page, plot) {
  const box = await plot.boundingBox();
  for (let row = 1; row < 24; row++) {
    for (let column = 1; column < 24; column++) {
      const [x, y] = [box.x + (box.width * column) / 24, box.y + (box.height * row) / 24];
      await page.mouse.move(x, y);
      if (await page.locator("#tip").isVisible()) return { x, y };
    }
  }
  assert.fail("no point of the map answers the pointer");
}

/** Waits until `test` holds in the page. Playwright's own way evaluates text there, which the page's policy forbids. */
async function until(page, test, argument) {
  for (let tries = 0; tries < 600; tries++) {
    if (await page.evaluate(test, argument)) return;
    await page.waitForTimeout(100);
  }
  assert.fail(`never became true: ${test}`);
}

const measured = {};
const page = await open(1200, 900, "light");

// Whatever a class, a run or a setting is called, it stays text.
assert.equal(await page.locator("main b, main script, main img[onerror]").count(), 0, "a name became markup");

const frame = page.locator("#curves .frame").first();
if (await frame.count()) {
  await frame.scrollIntoViewIfNeeded();
  await frame.focus();
  await page.keyboard.press("ArrowRight");
  await until(page, () => document.getElementById("spoken").textContent.includes("epoch"));
  const ticks = () => page.locator("#curves .lines").first().locator(".grid text").allTextContents();
  const all = await ticks();
  for (let press = 0; press < 3; press++) await page.keyboard.press("+");
  measured.zooms = JSON.stringify(all) !== JSON.stringify(await ticks());
  await page.keyboard.press("0");
  assert.deepEqual(await ticks(), all, "0 shows all epochs again");
}

const plot = page.locator("#map .plot");
if (await plot.count()) {
  await plot.scrollIntoViewIfNeeded();
  const frames = () => plot.evaluate((element) => Number(element.dataset.frames));
  await until(page, () => Number(document.querySelector("#map .plot").dataset.frames) > 0);
  const place = await meetPoint(page, plot);
  assert.ok(await page.locator("#tip canvas.picture").isVisible(), "the pointer shows the image");
  assert.ok(await page.evaluate(() => {
    const canvas = document.querySelector("#tip canvas.picture");
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels.some((value, index) => index % 4 < 3 && value > 0);
  }), "the image is not black");
  await page.mouse.click(place.x, place.y);
  const near = page.locator("#map .near button");
  measured.neighbours = await near.count();
  assert.ok(measured.neighbours > 0, "a click shows the neighbours");
  const chosen = await page.locator("#map .panel h3").first().textContent();
  await near.first().click();
  assert.notEqual(await page.locator("#map .panel h3").first().textContent(), chosen, "a neighbour can be gone to");
  assert.match(await page.locator("#spoken").textContent(), /nearest neighbours/);

  // By keys alone.
  await plot.focus();
  const before = await frames();
  for (const key of ["ArrowLeft", "ArrowUp", "+", "-"]) await page.keyboard.press(key);
  await until(page, (count) => Number(document.querySelector("#map .plot").dataset.frames) > count, before);
  await page.keyboard.press("Escape");
  assert.equal(await near.count(), 0);
  await page.keyboard.press("Enter");
  assert.ok((await near.count()) > 0, "Enter selects the image in the middle");

  // Frames a second while the map is dragged about, in both kinds of map.
  for (const dimensions of ["2", "3"]) {
    await page.locator("#map select").filter({ hasText: "2-D" }).selectOption(dimensions);
    measured[`fps${dimensions}d`] = await plot.evaluate(async (element) => {
      const box = element.getBoundingClientRect();
      const send = (type, x) => element.dispatchEvent(new PointerEvent(type, { pointerId: 1, pointerType: "mouse", clientX: x, clientY: box.top + 200, bubbles: true }));
      element.setPointerCapture = () => {};
      send("pointerdown", box.left + 100);
      // The best of short stretches: what else the machine does is not the page's fault.
      let best = 0;
      for (let stretch = 0, step = 0; stretch < 20 && best < 45; stretch++) {
        const [begun, first] = [performance.now(), Number(element.dataset.frames)];
        for (; performance.now() - begun < 400; step++) {
          send("pointermove", box.left + 100 + (step % 60) * 3);
          await new Promise(requestAnimationFrame);
        }
        best = Math.max(best, (1000 * (Number(element.dataset.frames) - first)) / (performance.now() - begun));
      }
      send("pointerup", box.left + 300);
      return Math.round(best);
    });
  }
  await page.locator("#map select").filter({ hasText: "2-D" }).selectOption("2");
  // On a machine that has more to do than processors to do it, the rate says nothing of the page.
  const isBusy = loadavg()[0] > availableParallelism();
  assert.ok(isBusy || (measured.fps2d >= 30 && measured.fps3d >= 30), `${measured.fps2d} and ${measured.fps3d} frames a second`);
}

const cell = page.locator("#confusion tbody button:not([disabled])").first();
if (await cell.count()) {
  const count = Number(await cell.textContent());
  await cell.click();
  assert.equal(await page.locator("#confusion .gallery button").count(), Math.min(48, count), "a cell shows its images");
  await page.locator("#confusion .gallery button").first().click();
  assert.ok((await page.locator("#map .near button").count()) > 0, "an image of a cell can be found on the map");
}

await page.locator("summary").evaluateAll((summaries) => summaries.forEach((summary) => summary.click()));
const serious = await faults(page, "light");
const dark = await open(1200, 900, "dark");
serious.push(...await faults(dark, "dark"));
const phone = await open(360, 740, "light");
serious.push(...await faults(phone, "phone"));
measured.overflow = await phone.evaluate(() => document.documentElement.scrollWidth - innerWidth);
assert.ok(measured.overflow <= 0, `the page is ${measured.overflow} pixels too wide for a phone`);

// Paper shows what is folded, too.
await phone.emulateMedia({ media: "print" });
await phone.evaluate(() => dispatchEvent(new Event("beforeprint")));
assert.equal(await phone.locator("details:not([open])").count(), 0, "everything is unfolded for printing");

await chromium.close();
assert.deepEqual(serious, [], "axe-core");
assert.deepEqual(troubles, []);
console.log(JSON.stringify(measured));
