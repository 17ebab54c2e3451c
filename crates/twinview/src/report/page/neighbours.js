// The map with its legend, and beside it the selected image with its nearest neighbours.

function mapSection(page, samples) {
  if (!samples?.maps.length) return null;
  const scatter = new Scatter(samples);
  const present = [...new Set(samples.labels)].sort((a, b) => a - b);

  const legend = h("ul", { class: "legend toggles", "aria-label": "Classes: press to hide or show" }, present.map((label) =>
    h("li", {}, h("button", { type: "button", "aria-pressed": "true", onclick: (event) => {
      const isShown = scatter.hidden.has(label);
      if (isShown) scatter.hidden.delete(label);
      else scatter.hidden.add(label);
      event.currentTarget.setAttribute("aria-pressed", String(isShown));
      scatter.redraw();
    } }, samples.marker(label), samples.className(label)))));

  const choice = (name, values, chosen, change) => h("label", { class: "choice" }, h("span", {}, name), h("select",
    { onchange: (event) => change(event.target.value) }, values.map(([value, text]) => h("option", { value, selected: value === chosen }, text))));
  const tools = h("div", { class: "tools" },
    samples.maps.length < 2 ? null : choice("Encoder", samples.maps.map((map, index) => [String(index), map.name]), "0", (value) => {
      scatter.map = samples.maps[Number(value)];
      scatter.home();
      selection.set(selection.index, "map");
    }),
    choice("Dimensions", [["2", "2-D"], ["3", "3-D"]], "2", (value) => { scatter.dimensions = Number(value); scatter.home(); }),
    !samples.predictions.length ? null : choice("Colour", [["class", "class"], ["prediction", "prediction"], ["errors", "mistakes"]], "class", (value) => {
      scatter.paintBy = value;
      scatter.redraw();
    }),
    h("span", { class: "buttons" },
      h("button", { type: "button", "aria-label": "Zoom in", onclick: () => scatter.zoomBy(1.4) }, "+"),
      h("button", { type: "button", "aria-label": "Zoom out", onclick: () => scatter.zoomBy(1 / 1.4) }, "−"),
      h("button", { type: "button", onclick: () => scatter.home() }, "Reset")));

  const panel = h("div", { class: "panel" });
  const rest = () => panel.replaceChildren(h("h3", {}, "Nearest neighbours"),
    h("p", { class: "faint" }, "Click a point, or press Enter on the map, to see the image and what the encoder holds for most alike. Neighbours are exact, by the cosine of the full features, not by the map."),
    h("p", {}, h("button", { type: "button", onclick: () => selection.set(Math.floor(Math.random() * samples.count), "panel") }, "Any image")));
  rest();
  selection.listeners.push((index, from) => {
    if (!panel.isConnected) return;
    if (index === null) { rest(); return scatter.redraw(); }
    const { k, neighbours } = scatter.map;
    const near = [...neighbours.subarray(index * k, (index + 1) * k)];
    const same = near.filter((one) => samples.labels[one] === samples.labels[index]).length;
    panel.replaceChildren(
      h("h3", {}, `Image ${index}`),
      h("div", { class: "chosen" }, samples.atlas.picture(index, 112), h("div", {},
        h("p", {}, samples.marker(samples.labels[index]), h("strong", {}, samples.className(samples.labels[index]))),
        samples.predictions.map((one) => h("p", { class: one.labels[index] === samples.labels[index] ? "right" : "wrong" },
          one.labels[index] === samples.labels[index] ? "✓ " : "✗ ", `${samples.className(one.labels[index])} `, h("span", { class: "faint" }, one.name))))),
      h("h3", {}, `Nearest neighbours: ${same} of ${k} of the same class`),
      h("ol", { class: "near" }, near.map((one) => h("li", {}, h("button", { type: "button", class: `thumb ${samples.labels[one] === samples.labels[index] ? "same" : "other"}`,
        "aria-label": `Image ${one}: ${samples.words(one)}`, onclick: () => selection.set(one, "panel") },
      samples.atlas.picture(one, 56), h("span", {}, samples.className(samples.labels[one])))))),
      h("p", {}, h("button", { type: "button", onclick: () => selection.set(null, "panel") }, "Clear")));
    say(`Image ${index}: ${samples.words(index)}. ${same} of ${k} nearest neighbours are of the same class.`);
    scatter.reveal(index);
    if (from === "panel") panel.querySelector(".near button")?.focus({ preventScroll: true });
    if (from === "gallery") scatter.element.scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  });

  const purity = samples.maps.map((map) => present.map((label) => {
    let [count, same] = [0, 0];
    for (let i = 0; i < samples.count; i++) {
      if (samples.labels[i] !== label) continue;
      count++;
      for (let n = 0; n < map.k; n++) if (samples.labels[map.neighbours[i * map.k + n]] === label) same++;
    }
    return { count, share: same / (count * map.k) };
  }));
  const rows = present.map((label, row) => [samples.className(label), purity[0][row].count.toLocaleString("en"), ...purity.map((one) => percent(one[row].share))]);
  const k = samples.maps[0].k;
  return section("map", "Map of the images", `UMAP of the encoder's features of ${page.split}. Near on the map is near to the encoder; distances between groups say little.`,
    tools, h("div", { class: "map" }, h("div", {}, scatter.element, legend,
      h("p", { class: "faint hint" }, "Drag to move, or to turn in 3-D; Shift-drag moves there too. The wheel zooms once the map is clicked.")), panel),
    numbers("The map as a table", h("p", { class: "faint" }, `Share of an image's ${k} nearest neighbours that are of its own class.`),
      table("Neighbours of the same class", ["Class", "Images", ...samples.maps.map((map) => map.name)], rows)));
}
