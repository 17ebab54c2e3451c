// The confusion matrix: a click on a cell shows the images in it.

function matrixSection(page, samples) {
  if (!samples?.predictions.length) return null;
  const classes = page.classes.length || 1 + Math.max(...samples.labels);
  const holder = h("div", {});
  const shown = h("div", { class: "cell-images", tabindex: "-1" });
  const draw = (which) => {
    const told = samples.predictions[which].labels;
    const counts = Array.from({ length: classes }, () => new Array(classes).fill(0));
    for (let i = 0; i < samples.count; i++) counts[samples.labels[i]][told[i]]++;
    const open = (truth, predicted, button) => {
      holder.querySelectorAll("[aria-pressed=true]").forEach((one) => one.setAttribute("aria-pressed", "false"));
      button.setAttribute("aria-pressed", "true");
      const indices = [...samples.labels.keys()].filter((i) => samples.labels[i] === truth && told[i] === predicted);
      const words = truth === predicted ? `${samples.className(truth)}, recognised` : `${samples.className(truth)} taken for ${samples.className(predicted)}`;
      shown.replaceChildren(h("h3", {}, `${words}: ${plural(indices.length, "image")}`), gallery(samples, indices));
      say(`${plural(indices.length, "image")}: ${words}`);
    };
    const head = h("tr", {}, h("th", { scope: "col", class: "corner" }, "Is \\ taken for"), counts.map((_, label) =>
      h("th", { scope: "col" }, h("span", {}, samples.className(label)))));
    const body = counts.map((row, truth) => {
      const total = row.reduce((sum, count) => sum + count, 0) || 1;
      return h("tr", {}, h("th", { scope: "row" }, samples.className(truth)), row.map((count, predicted) => {
        const share = count / total;
        const button = h("button", { type: "button", "aria-pressed": "false", disabled: count === 0,
          "aria-label": `${samples.className(truth)} taken for ${samples.className(predicted)}: ${count}`,
          onclick: (event) => open(truth, predicted, event.currentTarget) }, count ? String(count) : "·");
        // Mistakes are few: they are drawn stronger. On the strongest tones black could not be read any more.
        const isRight = truth === predicted, tone = Math.min(1, isRight ? share : share * 2.2);
        const cell = h("td", { class: `${isRight ? "right" : "wrong"}${tone > (isRight ? 0.845 : 0.95) ? " strong" : ""}` }, button);
        cell.style.setProperty("--share", `${Math.round(100 * tone)}%`);
        return cell;
      }));
    });
    holder.replaceChildren(h("div", { class: "scroll matrix", tabindex: "0", role: "region", "aria-label": "Confusion matrix" },
      h("table", {}, h("caption", { class: "spoken" }, `Confusion matrix of ${samples.predictions[which].name}`), h("thead", {}, head), h("tbody", {}, body))));
    const pairs = counts.flatMap((row, truth) => row.map((count, predicted) => ({ truth, predicted, count }))).filter((one) => one.truth !== one.predicted && one.count);
    pairs.sort((one, other) => other.count - one.count);
    shown.replaceChildren(h("h3", {}, "Most frequent mistakes"), h("ol", { class: "mistakes" }, pairs.slice(0, 6).map((one) => h("li", {},
      h("button", { type: "button", class: "link", onclick: () => open(one.truth, one.predicted, holder.querySelectorAll("tbody tr")[one.truth].querySelectorAll("button")[one.predicted]) },
        `${samples.className(one.truth)} taken for ${samples.className(one.predicted)}`), ` ${plural(one.count, "image")}`))));
  };
  draw(0);
  const choose = samples.predictions.length < 2 ? null : h("div", { class: "tools" }, h("label", { class: "choice" }, h("span", {}, "Classifier"),
    h("select", { onchange: (event) => draw(Number(event.target.value)) }, samples.predictions.map((one, index) => h("option", { value: index }, one.name)))));
  return section("confusion", "What is taken for what", `${page.split[0].toUpperCase()}${page.split.slice(1)}. A row for each class; press a cell to see the images in it.`,
    choose, h("div", { class: "confusion" }, holder, shown));
}
