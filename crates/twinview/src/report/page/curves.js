// Line charts: hover, zoom, keys. Charts of one group share their zoom and their cursor.

const MEASURES = {
  loss: ["Loss", "mean of the epoch"],
  output_std: ["Spread of outputs", "1 is wide, 0 collapsed"],
  effective_rank: ["Effective rank", "directions that the features use"],
  alignment: ["Alignment", "distance of two views, low is near"],
  uniformity: ["Uniformity", "low is evenly spread"],
  knn_accuracy: ["kNN accuracy", "on held-out training images"],
  linear_accuracy: ["Linear accuracy", "on held-out training images"],
  images_per_second: ["Images per second", ""],
};

/** Round numbers over a range. */
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const found = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-6; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
}

/** Zoom and cursor of several charts. */
class Group {
  constructor(low, high) {
    Object.assign(this, { low, high, from: low, to: high, cursor: null, charts: [] });
  }
  zoom(from, to) {
    const least = (this.high - this.low) / 200;
    if (to - from < least) return;
    this.from = Math.max(this.low, from);
    this.to = Math.min(this.high, to);
    this.charts.forEach((chart) => chart.draw());
  }
  scale(factor) {
    const middle = this.cursor ?? (this.from + this.to) / 2;
    const width = Math.min(this.high - this.low, (this.to - this.from) * factor);
    const from = Math.min(Math.max(this.low, middle - width / 2), this.high - width);
    this.zoom(from, from + width);
  }
  point(x) {
    this.cursor = x;
    this.charts.forEach((chart) => chart.drawCursor());
  }
}

/**
 * A chart of lines. Each line: name, paint, dashes, points of x, y and where known their deviation.
 * Options: title, note, unit (of x), log (a logarithmic x axis), label (names at the ends of the lines).
 */
function lineChart(group, lines, options) {
  const toAxis = options.log ? Math.log10 : (x) => x;
  const value = h("span", { class: "value" });
  const plot = h("div", { class: "lines" });
  const all = lines.flatMap((line) => line.points);
  const range = `${show(Math.min(...all.map((p) => p.y)))} to ${show(Math.max(...all.map((p) => p.y)))}`;
  const frame = h("div", { class: "frame", tabindex: "0", role: "application",
    "aria-label": `${options.title}: ${plural(lines.length, "line")}, ${range}. Left and right read values, plus and minus zoom, 0 shows all.` }, plot);
  const figure = h("figure", { class: "chart" },
    h("figcaption", {}, h("strong", {}, options.title), options.note ? h("span", { class: "faint" }, options.note) : null, value), frame);
  const last = () => lines.length === 1 ? show(lines[0].points.at(-1).y) : "";
  value.textContent = last();

  const margin = { top: 10, bottom: 26, left: 46, right: options.label ? 210 : 12 };
  let width = 300, svg, cursorLayer, scaleX, scaleY, dragged = null;
  const height = options.height ?? 170;
  const xs = [...new Set(all.map((point) => point.x))].sort((a, b) => a - b);
  const inside = (point) => toAxis(point.x) >= group.from - 1e-9 && toAxis(point.x) <= group.to + 1e-9;

  const chart = {
    draw() {
      const shown = lines.flatMap((line) => line.points.filter(inside));
      if (!shown.length) return;
      let low = Math.min(...shown.map((p) => p.y - (p.deviation ?? 0)));
      let high = Math.max(...shown.map((p) => p.y + (p.deviation ?? 0)));
      if (low === high) [low, high] = [low - Math.abs(low) * 0.1 - 0.1, high + Math.abs(high) * 0.1 + 0.1];
      const pad = (high - low) * 0.06;
      [low, high] = [low - pad, high + pad];
      const right = width < 600 ? 12 : margin.right;
      const innerWidth = width - margin.left - right, innerHeight = height - margin.top - margin.bottom;
      scaleX = (x) => margin.left + ((toAxis(x) - group.from) / (group.to - group.from || 1)) * innerWidth;
      scaleX.invert = (px) => group.from + ((px - margin.left) / innerWidth) * (group.to - group.from);
      scaleY = (y) => margin.top + (1 - (y - low) / (high - low)) * innerHeight;
      const clip = (at) => Math.max(margin.left, Math.min(width - right, at));
      svg = h("svg", { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
      const grid = h("g", { class: "grid" });
      const digits = Math.max(0, Math.min(4, Math.ceil(-Math.log10(ticks(low, high, 4).slice(0, 2).reduce((a, b) => b - a, 0) || 1))));
      for (const at of ticks(low, high, Math.max(2, height / 50))) {
        grid.append(h("line", { x1: margin.left, x2: width - right, y1: scaleY(at), y2: scaleY(at) }),
          h("text", { x: margin.left - 8, y: scaleY(at) + 4, "text-anchor": "end" }, show(at, digits)));
      }
      const marks = options.log ? xs.filter((x) => inside({ x })) : ticks(group.from, group.to, Math.max(2, innerWidth / 70)).filter(Number.isInteger);
      marks.forEach((at, place) => {
        const isLast = place === marks.length - 1;
        const end = isLast && scaleX(at) > width - right - 24;
        const text = at.toLocaleString("en");
        grid.append(h("text", { x: end ? width - right : scaleX(at), y: height - 8, "text-anchor": end ? "end" : "middle" },
          isLast ? `${options.unit ?? "epoch"} ${text}` : text));
      });
      svg.append(grid);
      const ends = [];
      lines.forEach((line) => {
        const points = line.points.filter(inside);
        if (!points.length) return;
        const path = points.map((p, i) => `${i ? "L" : "M"}${clip(scaleX(p.x)).toFixed(1)} ${scaleY(p.y).toFixed(1)}`).join("");
        if (points.some((p) => p.deviation)) {
          const up = points.map((p, i) => `${i ? "L" : "M"}${scaleX(p.x)} ${scaleY(p.y + p.deviation)}`).join("");
          const down = [...points].reverse().map((p) => `L${scaleX(p.x)} ${scaleY(p.y - p.deviation)}`).join("");
          svg.append(h("path", { d: `${up}${down}Z`, fill: line.paint, opacity: 0.15 }));
        }
        svg.append(h("path", { d: path, fill: "none", stroke: line.paint, "stroke-width": 2, "stroke-dasharray": line.dashes, "stroke-linejoin": "round" }));
        if (points.length === 1 || options.dots) points.forEach((p) => svg.append(h("circle", { cx: scaleX(p.x), cy: scaleY(p.y), r: 3, fill: line.paint })));
        ends.push({ y: scaleY(points.at(-1).y), line });
      });
      if (options.label && right > 100) {
        ends.sort((a, b) => a.y - b.y);
        ends.forEach((end, i) => { if (i) end.y = Math.max(end.y, ends[i - 1].y + 15); });
        const over = Math.max(0, (ends.at(-1)?.y ?? 0) - (height - margin.bottom));
        ends.forEach((end) => svg.append(h("circle", { cx: width - right + 10, cy: end.y - over, r: 4, fill: end.line.paint }),
          h("text", { x: width - right + 18, y: end.y - over + 4, class: "end" }, shorten(end.line.name, 29))));
      }
      cursorLayer = h("g", {});
      svg.append(cursorLayer);
      plot.replaceChildren(svg);
      this.drawCursor();
    },
    drawCursor() {
      if (!cursorLayer) return;
      cursorLayer.replaceChildren();
      if (group.cursor === null) { value.textContent = last(); return; }
      const at = xs.reduce((best, x) => (Math.abs(toAxis(x) - group.cursor) < Math.abs(toAxis(best) - group.cursor) ? x : best), xs[0]);
      if (!inside({ x: at })) return;
      cursorLayer.append(h("line", { class: "cursor", x1: scaleX(at), x2: scaleX(at), y1: margin.top, y2: height - margin.bottom }));
      const found = lines.map((line) => ({ line, point: line.points.find((p) => p.x === at) })).filter(({ point }) => point);
      found.forEach(({ line, point }) => cursorLayer.append(h("circle", { cx: scaleX(at), cy: scaleY(point.y), r: 4, fill: line.paint, class: "dot" })));
      if (lines.length === 1 && found.length) value.textContent = `${show(found[0].point.y)} at ${options.unit ?? "epoch"} ${at.toLocaleString("en")}`;
      return { at, found };
    },
    read() {
      const seen = this.drawCursor();
      if (!seen) return null;
      return { head: `${options.unit ?? "epoch"} ${seen.at.toLocaleString("en")}`, rows: seen.found.map(({ line, point }) => ({ line, text: point.deviation ? `${show(point.y, 3)} ± ${show(point.deviation, 3)}` : show(point.y) })) };
    },
  };
  group.charts.push(chart);

  const place = (event) => scaleX.invert(event.clientX - svg.getBoundingClientRect().left);
  const hover = (event) => {
    if (!svg) return;
    if (dragged !== null) {
      const [a, b] = [dragged, event.clientX].map((x) => x - svg.getBoundingClientRect().left).sort((x, y) => x - y);
      chart.drawCursor();
      cursorLayer.append(h("rect", { class: "range", x: a, width: b - a, y: margin.top, height: height - margin.top - margin.bottom }));
      return;
    }
    group.point(place(event));
    const seen = chart.read();
    if (seen && lines.length > 1) {
      showTip(event.clientX, event.clientY, h("strong", {}, seen.head), h("div", { class: "values" }, seen.rows.map((row) =>
        h("div", {}, swatch(row.line.paint), h("span", {}, row.line.name), h("b", {}, row.text)))));
    }
  };
  frame.addEventListener("pointermove", hover);
  frame.addEventListener("pointerleave", () => { if (dragged === null) { group.point(null); hideTip(); } });
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch" || event.button) return;
    dragged = event.clientX;
    frame.setPointerCapture(event.pointerId);
  });
  frame.addEventListener("pointerup", (event) => {
    if (dragged === null) return;
    const [a, b] = [dragged, event.clientX].map((x) => x - svg.getBoundingClientRect().left).sort((x, y) => x - y);
    dragged = null;
    if (b - a > 8) group.zoom(scaleX.invert(a), scaleX.invert(b));
    else chart.drawCursor();
  });
  frame.addEventListener("dblclick", () => group.zoom(group.low, group.high));
  frame.addEventListener("keydown", (event) => {
    const actions = {
      "+": () => group.scale(0.6), "=": () => group.scale(0.6), "-": () => group.scale(1.7), "0": () => group.zoom(group.low, group.high),
      ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => move(xs[0]), End: () => move(xs.at(-1)),
    };
    const move = (x) => {
      group.point(toAxis(x));
      const seen = chart.read();
      if (seen) say(`${seen.head}: ${seen.rows.map((row) => `${lines.length > 1 ? row.line.name : ""} ${row.text}`).join(", ")}`);
    };
    const step = (by) => {
      const near = group.cursor === null ? -1 : xs.findIndex((x) => toAxis(x) >= group.cursor - 1e-9);
      move(xs[Math.max(0, Math.min(xs.length - 1, near + by))]);
    };
    if (actions[event.key] && !event.ctrlKey && !event.metaKey) { event.preventDefault(); actions[event.key](); }
  });
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now > 0 && now !== width || !svg) { width = Math.max(120, now); chart.draw(); }
  }).observe(plot);
  return figure;
}

const shorten = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
const swatch = (paint) => {
  const dot = h("i", { class: "swatch", "aria-hidden": "true" });
  dot.style.background = paint;
  return dot;
};

let curveZoom = null;

/** The curves of all runs, a small chart for each measure. */
function curvesSection({ runs: all }) {
  const page = { runs: all.filter((run) => run.series.length) };
  const names = [...new Set(page.runs.flatMap((run) => run.series.map((series) => series.name)))];
  const charted = names.map((name) => ({
    name,
    lines: page.runs.map((run, index) => ({
      name: run.name, paint: colour(index), dashes: page.runs.length > 1 ? dash(index) : "",
      points: (run.series.find((series) => series.name === name)?.points ?? []).filter(([, y]) => y !== null).map(([x, y]) => ({ x, y })),
    })).filter((line) => line.points.length),
  })).filter(({ lines }) => lines.length);
  if (!charted.length) return null;
  const xs = charted.flatMap(({ lines }) => lines.flatMap((line) => line.points.map((point) => point.x)));
  const group = new Group(Math.min(...xs), Math.max(...xs) + (Math.min(...xs) === Math.max(...xs) ? 1 : 0));
  // A live page is drawn anew: where the reader has zoomed in, the zoom stays.
  if (curveZoom && (curveZoom.from > curveZoom.low || curveZoom.to < curveZoom.high)) {
    Object.assign(group, { from: curveZoom.from, to: Math.min(curveZoom.to, group.high) });
  }
  curveZoom = group;
  const legend = page.runs.length < 2 ? null : h("ul", { class: "legend" },
    page.runs.map((run, index) => h("li", {}, swatch(colour(index)), run.name)));
  const reset = h("button", { type: "button", onclick: () => group.zoom(group.low, group.high) }, "Show all epochs");
  const charts = charted.map(({ name, lines }) => {
    const [title, note] = MEASURES[name] ?? [name.replaceAll("_", " "), ""];
    return lineChart(group, lines, { title, note });
  });
  const tables = charted.map(({ name, lines }) => {
    const epochs = [...new Set(lines.flatMap((line) => line.points.map((point) => point.x)))].sort((a, b) => a - b);
    return table(MEASURES[name]?.[0] ?? name, ["Epoch", ...lines.map((line) => line.name)],
      epochs.map((x) => [String(x), ...lines.map((line) => show(line.points.find((point) => point.x === x)?.y))]));
  });
  return section("curves", "Curves", "Drag over a chart to zoom in on some epochs; double-click to see all.", legend,
    h("div", { class: "charts" }, charts), h("div", { class: "tools" }, reset),
    numbers("The curves as tables", ...tables.flatMap((one, i) => [h("h3", {}, MEASURES[charted[i].name]?.[0] ?? charted[i].name), one])));
}

/** Scores by number of labels. */
function labelCurveSection(page) {
  if (!page.label_curves.length) return null;
  const parts = page.label_curves.flatMap((curve) => {
    const lines = curve.arms.map((arm, index) => ({
      name: arm.name, paint: colour(index), dashes: dash(index),
      points: arm.points.map(([x, values]) => ({ x, y: mean(values), deviation: deviation(values) })),
    })).filter((line) => line.points.length);
    if (!lines.length) return [];
    const xs = lines.flatMap((line) => line.points.map((point) => Math.log10(point.x)));
    const group = new Group(Math.min(...xs) - 0.05, Math.max(...xs) + 0.05);
    const budgets = [...new Set(curve.arms.flatMap((arm) => arm.points.map(([x]) => x)))].sort((a, b) => a - b);
    return [
      h("div", { class: "wide" }, lineChart(group, lines, { title: "Macro F1 by number of labels", note: `${curve.chosen} labels`, log: true, dots: true, label: true, height: 320, unit: "labels" })),
      h("ul", { class: "legend narrow" }, lines.map((line) => h("li", {}, swatch(line.paint), line.name))),
      numbers("The curve as a table", table(`Macro F1, ${curve.chosen} labels`, ["Labels", ...curve.arms.map((arm) => arm.name)],
        budgets.map((budget) => [budget.toLocaleString("en"), ...curve.arms.map((arm) => {
          const point = arm.points.find(([x]) => x === budget);
          return point ? spread(point[1]) : "–";
        })]))),
    ];
  });
  return section("labels", "What a label is worth", "Mean over seeds; the band is one standard deviation to each side.", ...parts);
}
