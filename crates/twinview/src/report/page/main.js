// Puts the page together, and keeps it up to date while a run trains.

const PARTS = {
  curves: { needs: ["runs"], draw: curvesSection },
  scores: { needs: ["scores"], draw: scoresSection },
  labels: { needs: ["label_curves"], draw: labelCurveSection },
  report: { needs: ["reports"], draw: reportsSection },
  map: { needs: ["samples", "classes", "split"], draw: mapSection },
  confusion: { needs: ["samples", "classes", "split"], draw: matrixSection },
  views: { needs: ["views"], draw: viewsSection },
  figures: { needs: ["figures"], draw: figuresSection },
  settings: { needs: ["runs"], draw: settingsSection },
};
/** Results come first; a training under way has none yet. */
const ORDER = (page) => (page.scores.length || page.label_curves.length
  ? ["scores", "labels", "report", "map", "confusion", "views", "curves", "figures", "settings"]
  : ["curves", "report", "map", "confusion", "views", "figures", "settings"]);

/** Numbers stay with their spread and their sign. */
const unbroken = (text) => text.replaceAll(" ± ", "\u00a0±\u00a0").replaceAll(" %", "\u00a0%");

function header(page) {
  const { progress } = page;
  const bar = h("i", { class: "progress", "aria-hidden": "true" }, h("i", {}));
  if (progress?.epochs) bar.firstChild.style.width = `${Math.min(100, (100 * progress.epoch) / progress.epochs)}%`;
  const silent = progress?.silent_seconds ?? null;
  const heard = silent === null || silent < 20 ? "" : `, last heard from ${silent < 120 ? `${silent} s` : `${Math.round(silent / 60)} min`} ago`;
  const state = !progress ? null : progress.finished
    ? h("p", { class: "state" }, `Finished${progress.epoch ? ` after ${plural(progress.epoch, "epoch")}` : ""}`)
    : h("p", { class: "state going" }, `Epoch ${progress.epoch}${progress.epochs ? ` of ${progress.epochs}` : ""}, not finished${heard}`, bar);
  return h("header", {}, h("p", { class: "kicker" }, page.subtitle), h("h1", {}, page.title), state,
    page.verdict ? h("p", { class: "verdict" }, unbroken(page.verdict)) : null,
    page.notes.length ? h("ul", { class: "notes" }, page.notes.map((note) => h("li", {}, note))) : null,
    page.facts.length ? h("dl", { class: "facts" }, page.facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))) : null);
}

const drawn = new Map();

/** Draws what has changed since the last time. */
function render(page) {
  const main = document.getElementById("page");
  document.title = page.title;
  const elements = [header(page)];
  let samples = null;
  for (const name of ORDER(page)) {
    const { needs, draw } = PARTS[name];
    const key = JSON.stringify(needs.map((need) => page[need]));
    let part = drawn.get(name);
    if (part?.key !== key) {
      if (needs.includes("samples") && page.samples) samples ??= new Samples(page);
      part = { key, element: draw(page, samples) };
      drawn.set(name, part);
    }
    if (part.element) elements.push(part.element);
  }
  // What has not changed stays where it is, with its focus and its scroll position.
  elements.forEach((element, place) => { if (main.children[place] !== element) main.insertBefore(element, main.children[place] ?? null); });
  [...main.children].slice(elements.length).forEach((element) => element.remove());
  document.getElementById("contents").replaceChildren(...elements.slice(1).map((element) =>
    h("a", { href: `#${element.id}` }, element.querySelector("h2").textContent)));
}

/** Asks for news every two seconds, until the run is over. */
function follow(address) {
  let last = "";
  const ask = async () => {
    let wait = 2000;
    try {
      const text = await (await fetch(address, { cache: "no-cache" })).text();
      document.body.classList.remove("lost");
      if (text !== last) {
        const page = JSON.parse(text);
        const focused = document.activeElement;
        render(page);
        if (focused?.isConnected) focused.focus({ preventScroll: true });
        last = text;
        if (page.samples) wait = 20000;
      }
    } catch {
      document.body.classList.add("lost");
      wait = 5000;
    }
    setTimeout(ask, wait);
  };
  setTimeout(ask, 1000);
}

render(JSON.parse(document.getElementById("data").textContent));
if (document.body.dataset.live) follow(document.body.dataset.live);

// Paper cannot unfold what is folded.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => {
  one.dataset.was = one.open ? "open" : "";
  one.open = true;
}));
addEventListener("afterprint", () => document.querySelectorAll("details").forEach((one) => { one.open = one.dataset.was === "open"; }));
addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
addEventListener("scroll", hideTip, { passive: true });
