// Scores of arms, classification reports, settings.

/** Every arm as a row of dots: its seeds, their mean, one standard deviation to each side. */
function scoresSection(page) {
  if (!page.scores.length) return null;
  const charts = page.scores.map((measure) => {
    const values = measure.rows.flatMap((row) => [...row.values, ...(row.published === undefined ? [] : [row.published])]);
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const pad = (most - least || 0.1) * 0.08;
    const [low, high] = [least - pad, most + pad];
    const place = (value) => `${(100 * (value - low)) / (high - low)}%`;
    const dot = (kind, value, title) => {
      const mark = h("i", { class: kind, title });
      mark.style.left = place(value);
      return mark;
    };
    const rows = measure.rows.map((row) => {
      const bar = h("i", { class: "bar" });
      const half = deviation(row.values);
      bar.style.left = place(Math.max(low, mean(row.values) - half));
      bar.style.width = `${(100 * Math.min(2 * half, high - low)) / (high - low)}%`;
      return h("li", { class: row.control ? "control" : "" },
        h("div", { class: "name" }, h("strong", {}, row.name), h("span", { class: "faint" }, [row.detail, row.control ? "control" : ""].filter(Boolean).join(" · "))),
        h("div", { class: "strip", "aria-hidden": "true" }, bar, row.values.map((value, seed) => dot("seed", value, `seed ${seed}: ${show(value, 4)}`)),
          dot("mean", mean(row.values), `mean ${show(mean(row.values), 4)}`), row.published === undefined ? null : dot("published", row.published, `published: ${row.published}`)),
        h("div", { class: "figure" }, spread(row.values)));
    });
    const hasPublished = measure.rows.some((row) => row.published !== undefined);
    return h("figure", { class: "strips" }, h("figcaption", {}, h("strong", {}, measure.title), h("span", { class: "faint" }, `${show(low, 3)} to ${show(high, 3)}`),
      hasPublished ? h("span", { class: "faint" }, h("i", { class: "published key", "aria-hidden": "true" }), " published") : null), h("ul", {}, rows));
  });
  const tables = page.scores.map((measure) => table(measure.title, ["Arm", "Details", "Mean ± sd", "Seeds", "Published"],
    measure.rows.map((row) => [row.name, row.detail || "–", spread(row.values), row.values.map((value) => show(value, 4)).join(", "), row.published === undefined ? "–" : show(row.published, 2)])));
  return section("scores", "Scores", "Each small dot is a seed, the large one their mean, the bar one standard deviation to each side.", ...charts, numbers("The scores as tables", ...tables));
}

/** The first report, and how far each class is from the others. */
function reportsSection(page) {
  if (!page.reports.length) return null;
  const [first, ...others] = page.reports;
  const gap = (value, other) => {
    const difference = value - other;
    const kind = Math.abs(difference) < 0.0005 ? "" : difference > 0 ? "up" : "down";
    return h("span", { class: `gap ${kind}` }, kind ? h("span", { "aria-hidden": "true" }, kind === "up" ? "▲ " : "▼ ") : null, signed(difference, 3));
  };
  const bar = (value) => {
    const track = h("i", { class: "track", "aria-hidden": "true" }, h("i", {}));
    track.firstChild.style.width = `${100 * value}%`;
    return [track, show(value, 3)];
  };
  const rows = first.rows.map((row) => [row.class, show(row.precision, 3), show(row.recall, 3), bar(row.f1),
    ...others.map((other) => { const match = other.rows.find((one) => one.class === row.class); return match ? gap(row.f1, match.f1) : "–"; }), Math.round(row.support).toLocaleString("en")]);
  const sum = (key) => first.rows.reduce((total, row) => total + row[key], 0) / (first.rows.length || 1);
  rows.push(["Macro average", show(sum("precision"), 3), show(sum("recall"), 3), bar(first.macro_f1), ...others.map((other) => gap(first.macro_f1, other.macro_f1)), ""]);
  rows.push(["Accuracy", "", "", bar(first.accuracy), ...others.map((other) => gap(first.accuracy, other.accuracy)), ""]);
  const seeds = first.seeds > 1 ? `, mean of ${first.seeds} seeds` : "";
  const lead = `${first.name}${seeds}${first.images ? `, on ${first.images}` : ""}.${others.length ? " Differences are its F1 less that of each other classifier." : ""}`;
  return section("report", "Class by class", lead, table("Classification report", ["Class", "Precision", "Recall", "F1", ...others.map((other) => `against ${other.name}`), "Images"], rows));
}

/** Settings of one run, or of several side by side. */
function settingsSection(page) {
  const runs = page.runs.filter((run) => run.settings.length);
  if (!runs.length) return null;
  const keys = [...new Set(runs.flatMap((run) => run.settings.map(([key]) => key)))];
  const value = (run, key) => run.settings.find(([name]) => name === key)?.[1];
  const several = runs.length > 1;
  const rows = keys.map((key) => ({ key, values: runs.map((run) => value(run, key)), differs: new Set(runs.map((run) => value(run, key))).size > 1 }));
  const body = h("tbody", {}, rows.map((row) => h("tr", { class: row.differs ? "differs" : "" }, h("th", { scope: "row" }, row.key, row.differs ? h("span", { class: "spoken" }, " (differs)") : null),
    row.values.map((text) => h("td", {}, h("code", {}, text ?? "–"))))));
  const filter = (only, word) => body.querySelectorAll("tr").forEach((line, index) => {
    line.hidden = (only && !rows[index].differs) || !rows[index].key.includes(word);
  });
  let [only, word] = [several && rows.some((row) => row.differs), ""];
  const tools = h("div", { class: "tools" },
    h("label", { class: "choice" }, h("span", {}, "Find"), h("input", { type: "search", oninput: (event) => { word = event.target.value.trim(); filter(only, word); } })),
    !several ? null : h("label", { class: "choice" }, h("input", { type: "checkbox", checked: only, onchange: (event) => { only = event.target.checked; filter(only, word); } }), h("span", {}, "Only what differs")));
  filter(only, word);
  return section("settings", "Settings", several ? "Settings that differ are marked." : "All settings of the run, defaults included.", tools,
    h("div", { class: "scroll settings", tabindex: "0", role: "region", "aria-label": "Settings" }, h("table", {}, h("caption", { class: "spoken" }, "Settings"),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Setting"), runs.map((run) => h("th", { scope: "col" }, several ? run.name : "Value")))), body)));
}
