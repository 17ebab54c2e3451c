// Pictures: the atlas of all samples, and what is cut from it.

/** The samples of a page, with their arrays decoded. */
class Samples {
  constructor(page) {
    const samples = page.samples;
    this.page = page;
    this.count = samples.count;
    this.labels = decode(samples.labels, Uint8Array);
    this.predictions = samples.predictions.map((one) => ({ name: one.name, labels: decode(one.labels, Uint8Array) }));
    this.maps = samples.maps.map((map) => ({
      name: map.name, k: map.k, two: decode(map.two, Uint16Array), three: decode(map.three, Uint16Array),
      neighbours: decode(map.neighbours, Uint32Array),
    }));
    this.atlas = new Atlas(samples.atlas);
  }
  /** Whether this is the class of images that have none. */
  isUnlabelled(label) {
    return this.page.classes[label] === "unlabelled";
  }
  /** The marker of a class, as the map draws it. */
  marker(label) {
    return this.isUnlabelled(label) ? marker(0, themed("--faint")) : marker(label);
  }
  className(label) {
    return this.page.classes[label] ?? `class ${label}`;
  }
  /** What one image is, in words. */
  words(index) {
    const told = this.predictions[0]?.labels[index];
    const truth = this.className(this.labels[index]);
    if (told === undefined) return truth;
    if (this.isUnlabelled(this.labels[index])) return `${truth}, taken for ${this.className(told)}`;
    return told === this.labels[index] ? `${truth}, recognised` : `${truth}, taken for ${this.className(told)}`;
  }
}

/** Many small pictures in one. */
class Atlas {
  constructor({ tile, columns, png }) {
    [this.width, this.height] = tile;
    this.columns = columns;
    const bytes = decode(png, Uint8Array);
    this.ready = createImageBitmap(new Blob([bytes], { type: "image/png" })).then((bitmap) => { this.bitmap = bitmap; });
  }
  /** A canvas with picture `index`, shown `size` pixels high. */
  picture(index, size) {
    const canvas = h("canvas", { class: "picture", width: this.width, height: this.height, "aria-hidden": "true" });
    canvas.style.height = `${size}px`;
    canvas.style.width = `${(size * this.width) / this.height}px`;
    const draw = () => canvas.getContext("2d").drawImage(this.bitmap, (index % this.columns) * this.width,
      Math.floor(index / this.columns) * this.height, this.width, this.height, 0, 0, this.width, this.height);
    if (this.bitmap) draw();
    else this.ready.then(draw);
    return canvas;
  }
}

/** Buttons of samples: a click selects. Shows a part of them at first. */
function gallery(samples, indices, caption) {
  const SHOWN = 48;
  const grid = h("ul", { class: "gallery" });
  const more = h("button", { type: "button" });
  let shown = 0;
  const extend = () => {
    const next = indices.slice(shown, shown + SHOWN);
    grid.append(...next.map((index) => h("li", {}, h("button", { type: "button", class: "thumb", "data-index": index,
      "aria-label": `Image ${index}: ${samples.words(index)}`, title: `Image ${index}: ${samples.words(index)}`,
      onclick: () => selection.set(index, "gallery") }, samples.atlas.picture(index, 44)))));
    shown += next.length;
    more.hidden = shown >= indices.length;
    more.textContent = `Show ${Math.min(SHOWN, indices.length - shown)} more of ${(indices.length - shown).toLocaleString("en")}`;
  };
  more.addEventListener("click", extend);
  extend();
  return h("div", {}, caption ? h("p", { class: "faint" }, caption) : null, grid, more);
}

/** Images, and below each the views that a pretraining makes of it. */
function viewsSection(page) {
  if (!page.views) return null;
  const { atlas, rows } = page.views;
  const pictures = new Atlas(atlas);
  const names = ["Image", ...Array.from({ length: rows - 1 }, (_, index) => `View ${index + 1}`)];
  const body = names.map((name, row) => h("tr", {}, h("th", { scope: "row" }, name),
    Array.from({ length: atlas.columns }, (_, column) => h("td", {}, pictures.picture(row * atlas.columns + column, 56)))));
  return section("views", "Views", "Training images, and the random views of each that are contrasted: what stays the same in a column is what the encoder learns to keep.",
    h("div", { class: "scroll views", tabindex: "0", role: "region", "aria-label": "Images and their views" },
      h("table", {}, h("caption", { class: "spoken" }, `${atlas.columns} images, and ${rows - 1} views of each`), h("tbody", {}, body))));
}

/** Pictures that a server gives beside the page. */
function figuresSection(page) {
  if (!page.figures?.length) return null;
  const name = (address) => address.split("/").at(-1).replace(".png", "").replaceAll("-", " ");
  return section("figures", "Figures", null, h("div", { class: "figures" }, page.figures.map((address) =>
    h("figure", {}, h("img", { src: address, alt: name(address), loading: "lazy" }), h("figcaption", { class: "faint" }, name(address))))));
}
