// Makes the pictures of the README and of docs/report.md, in docs/images: `node docs/screenshots.mjs RUN`, where RUN is the
// run directory of `twinview reproduce`. Needs chromium, node, `npm ci` in crates/twinview-cli/tests/browser, and the
// program built by `cargo build --release`. The terminal is drawn from what the program really prints.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { browser } from "../crates/twinview-cli/tests/browser/chromium.mjs";

const docs = dirname(fileURLToPath(import.meta.url));
const images = join(docs, "images");
const run = process.argv[2] ?? "runs/reproduce-quick";
const chromium = await browser();

async function open(address, width, height, colorScheme, deviceScaleFactor = 1.5) {
  const context = await chromium.newContext({ viewport: { width, height }, colorScheme, deviceScaleFactor, offline: true, reducedMotion: "reduce" });
  context.setDefaultTimeout(180_000);
  const page = await context.newPage();
  await page.goto(address, { timeout: 180_000 });
  return page;
}

/** Scrolls to a part of the page and lets it be drawn. */
async function to(page, id) {
  await page.evaluate((part) => document.getElementById(part).scrollIntoView(), id);
  await page.waitForTimeout(600);
}

const report = pathToFileURL(resolve(run, "report.html")).href;

const light = await open(report, 1180, 860, "light");
await light.waitForSelector("h1");
await light.screenshot({ path: join(images, "report-light.png") });

const dark = await open(report, 1180, 800, "dark");
await to(dark, "map");
await dark.locator("#map .plot").focus();
await dark.keyboard.press("Enter");
await dark.evaluate(() => document.activeElement.blur());
await to(dark, "map");
await dark.screenshot({ path: join(images, "report-map.png") });

const matrix = await open(report, 1180, 640, "light");
await to(matrix, "confusion");
await matrix.locator("#confusion .mistakes button").first().click();
await matrix.waitForTimeout(600);
await matrix.screenshot({ path: join(images, "report-confusion.png") });

const phone = await open(report, 360, 740, "light", 2);
await phone.waitForSelector("h1");
await phone.screenshot({ path: join(images, "report-phone.png") });

// A terminal, drawn as a page of its own.
const folder = mkdtempSync(join(tmpdir(), "twinview-"));
const program = resolve(docs, "../target/release/twinview");
const commands = [
  "pretrain --method vicreg --epochs 3 --run runs/vicreg",
  "probe --head linear --weights runs/vicreg --first-k 1000 --run runs/linear",
  "evaluate --weights runs/linear --class-names",
];
const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
let text = "";
for (const command of commands) {
  const { stdout, stderr, status } = spawnSync(program, command.split(" "), { cwd: folder, encoding: "utf8" });
  if (status !== 0) throw new Error(`twinview ${command}\n${stderr}`);
  text += `<b>$ twinview ${escape(command)}</b>\n${escape(stderr + stdout)}`;
}
rmSync(folder, { recursive: true });
const page = await open("about:blank", 1000, 600, "light", 1.5);
await page.setContent(`<style>
  body { margin: 0; padding: 22px; background: #fff; width: max-content; }
  div { background: #15191d; border-radius: 10px; padding: 12px 20px 18px; box-shadow: 0 6px 24px rgb(0 0 0 / 22%); }
  i { display: inline-block; width: 11px; height: 11px; border-radius: 50%; background: #3a424a; margin-right: 7px; }
  pre { margin: 12px 0 0; color: #ccd3da; font: 13.5px/1.45 "DejaVu Sans Mono", monospace; max-width: 920px; white-space: pre-wrap; }
  b { color: #7cbcf2; }
</style><div><i></i><i></i><i></i><pre>${text}</pre></div>`);
await page.locator("body").screenshot({ path: join(images, "terminal.png") });

await chromium.close();
