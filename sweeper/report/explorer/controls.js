// The switches and the typed filters, which do by keyboard whatever a brush does by hand.
function controls() {
  const choose = (name, value) => d3.selectAll(`input[name=${name}]`).property("checked", function () { return this.value === value; })
    .on("change", function () { state.set(name === "scale" ? "log" : name, name === "scale" ? this.value === "log" : this.value); });
  choose("clock", state.clock);
  choose("scale", "linear");
  d3.select("#clear").on("click", () => state.clear());
  d3.select("#theme").on("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; state.changed("scale"); });
  d3.selectAll("#trial button[data-close]").on("click", () => document.getElementById("trial").close());
  d3.select("#copy").on("click", async () => {
    await navigator.clipboard?.writeText(d3.select("#trial-yaml").text());
    d3.select("#copy").text("Copied");
    setTimeout(() => d3.select("#copy").text("Copy"), 1500);
  });

  const rows = d3.select("#typed").selectAll("fieldset").data(state.dimensions).join("fieldset");
  rows.append("legend").text(state.label);
  rows.each(function (dimension) {
    const row = d3.select(this);
    if (dimension.words) {
      for (const word of dimension.words) {
        const label = row.append("label");
        label.append("input").attr("type", "checkbox").attr("value", word).property("checked", true).on("change", () => {
          const chosen = row.selectAll("input").nodes().filter((input) => input.checked).map((input) => input.value);
          state.setFilter(dimension, chosen.length === dimension.words.length ? null : new Set(chosen));
        });
        label.append("span").text(word);
      }
      return;
    }
    for (const end of ["low", "high"]) {
      row.append("input").attr("type", "number").attr("step", "any").attr("aria-label", `${state.label(dimension)}, ${end === "low" ? "least" : "most"}`)
        .attr("placeholder", end === "low" ? "least" : "most").attr("data-end", end).on("change", () => {
          const read = (which) => row.select(`input[data-end=${which}]`).property("value");
          const [low, high] = [read("low"), read("high")];
          state.setFilter(dimension, low === "" && high === "" ? null : {low: low === "" ? -Infinity : +low, high: high === "" ? Infinity : +high});
        });
    }
  });

  function follow(what) {
    if (what === "hover") return;
    const passing = state.passing().length;
    d3.select("#count").text(state.filtered() ? `${number(passing)} of ${number(state.size)} trials pass the filters.` : `All ${number(state.size)} trials are shown.`);
    d3.select("#clear").property("disabled", !state.filtered());
    rows.select("legend").text(state.label);
    rows.each(function (dimension) {
      const range = state.filter(dimension), row = d3.select(this);
      if (dimension.words) row.selectAll("input").property("checked", function () { return !range || range.has(this.value); });
      else for (const end of ["low", "high"]) {
        const input = row.select(`input[data-end=${end}]`).node();
        if (document.activeElement !== input) input.value = range && Number.isFinite(range[end]) ? +range[end].toPrecision(4) : "";
      }
    });
  }
  follow("filter");
  return {changed: follow};
}
