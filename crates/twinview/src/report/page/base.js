// What all parts of the page use: elements, numbers, colours, and what is selected.

/** An element: h("p", {class: "x", onclick: f}, "text", child). Text is always text, never markup. */
function h(tag, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "rect", "circle", "text"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** Base64 as an array of numbers of the kind `Kind`. */
function decode(text, Kind) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Kind(bytes.buffer);
}

/** A number in few digits; a real minus sign. */
function show(value, digits) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const places = digits ?? (size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 3 : 4);
  const text = size !== 0 && size < 0.0005 && digits === undefined ? value.toExponential(1) : value.toFixed(places);
  return text.replace("-", "−");
}

const signed = (value, digits) => (value > 0 ? "+" : "") + show(value, digits);
const percent = (share) => (share === 0 ? "0" : share < 0.005 ? "<1" : Math.round(100 * share)) + " %";
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
/** The standard deviation with n - 1; 0 for one value. */
const deviation = (values) => {
  const middle = mean(values);
  return values.length < 2 ? 0 : Math.sqrt(values.reduce((s, v) => s + (v - middle) ** 2, 0) / (values.length - 1));
};
const spread = (values, digits = 3) =>
  values.length < 2 ? show(mean(values), digits) : `${show(mean(values), digits)} ± ${show(deviation(values), digits)}`;
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// Petroff 2021, arXiv:2107.02270: ten colours that can be told apart with the common kinds of colour blindness. Every
// class has a shape as well.
const PALETTE = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
const colour = (index) => PALETTE[index % PALETTE.length];
const DASHES = ["", "7 3", "2 3", "10 3 2 3"];
const dash = (index) => DASHES[Math.floor(index / PALETTE.length + index) % DASHES.length];

/** Outlines of markers around 0, 0 with radius 1; hollow ones are drawn as a line. */
const SHAPES = [
  { draw: (c, r) => c.arc(0, 0, r * 0.9, 0, 7) },
  { draw: (c, r) => c.rect(-r * 0.8, -r * 0.8, r * 1.6, r * 1.6) },
  { draw: (c, r) => polygon(c, r * 1.1, 3, -Math.PI / 2) },
  { draw: (c, r) => polygon(c, r * 1.1, 4, 0) },
  { draw: (c, r) => cross(c, r, 0), hollow: true },
  { draw: (c, r) => c.arc(0, 0, r * 0.75, 0, 7), hollow: true },
  { draw: (c, r) => polygon(c, r * 1.1, 3, Math.PI / 2) },
  { draw: (c, r) => c.rect(-r * 0.7, -r * 0.7, r * 1.4, r * 1.4), hollow: true },
  { draw: (c, r) => cross(c, r, Math.PI / 4), hollow: true },
  { draw: (c, r) => polygon(c, r, 4, 0), hollow: true },
];

function polygon(context, radius, corners, turn) {
  for (let corner = 0; corner < corners; corner++) {
    const angle = turn + (2 * Math.PI * corner) / corners;
    context[corner ? "lineTo" : "moveTo"](radius * Math.cos(angle), radius * Math.sin(angle));
  }
  context.closePath();
}

function cross(context, radius, turn) {
  for (const angle of [turn, turn + Math.PI / 2]) {
    context.moveTo(-radius * Math.cos(angle), -radius * Math.sin(angle));
    context.lineTo(radius * Math.cos(angle), radius * Math.sin(angle));
  }
}

/** Draws the marker of a class at the origin of `context`. */
function drawMarker(context, index, radius, paint) {
  const shape = SHAPES[index % SHAPES.length];
  context.beginPath();
  shape.draw(context, radius);
  context.fillStyle = context.strokeStyle = paint;
  context.lineWidth = Math.max(1, radius * 0.5);
  if (shape.hollow) context.stroke();
  else context.fill();
}

/** The marker of a class, for legends. */
function marker(index, paint = colour(index)) {
  const ratio = Math.min(3, window.devicePixelRatio || 1);
  const canvas = h("canvas", { class: "marker", width: 14 * ratio, height: 14 * ratio, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  context.translate(7, 7);
  drawMarker(context, index, 5, paint);
  return canvas;
}

const tip = document.getElementById("tip");

/** Shows `children` beside a place of the window. */
function showTip(x, y, ...children) {
  tip.replaceChildren(...children.flat());
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const left = x + 16 + width > innerWidth - 8 ? x - 16 - width : x + 16;
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  tip.style.top = `${Math.max(8, Math.min(y - height / 2, innerHeight - height - 8))}px`;
}

const hideTip = () => { tip.hidden = true; };

/** Says something to those who listen to the page. */
const say = (text) => { document.getElementById("spoken").textContent = text; };

/** A part of the page with a heading. */
function section(id, title, lead, ...children) {
  return h("section", { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title` }, title), lead ? h("p", { class: "lead" }, lead) : null, ...children);
}

/** The numbers behind a chart, folded away. */
function numbers(title, ...tables) {
  return h("details", { class: "numbers" }, h("summary", {}, title), ...tables);
}

/** A table of texts; the first column heads its row. */
function table(caption, head, rows) {
  const cell = (tag, scope) => (content, column) => h(tag, { scope, class: column ? "number" : undefined }, content);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "spoken" }, caption),
      h("thead", {}, h("tr", {}, head.map(cell("th", "col")))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((content, column) =>
        column ? cell("td")(content, column) : cell("th", "row")(content, 0)))))));
}

/** What is selected among the samples, and who wants to know. */
const selection = {
  index: null,
  listeners: [],
  set(index, from) {
    this.index = index;
    this.listeners.forEach((listener) => listener(index, from));
  },
};

/** A colour of the style sheet. */
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const darkness = matchMedia("(prefers-color-scheme: dark)");
