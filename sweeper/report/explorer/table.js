// The trials that pass, as a table: sorted by any column, a page at a time; Enter or a click opens a trial.
function trialTable(root) {
  const PAGE = 25;
  let shown = PAGE, by = null, rising = true;
  const table = root.append("table"), head = table.append("thead").append("tr"), body = table.append("tbody");
  const more = root.append("button").attr("type", "button").text("Show more").on("click", () => { shown += 4 * PAGE; draw(); });
  const columns = () => [
    {name: "trial", text: (trial) => state.data.trials.label[trial], key: (trial) => state.data.trials.trial[trial]},
    {name: "state", text: (trial) => state.data.trials.state[trial], key: (trial) => state.data.trials.state[trial]},
    {name: "reached", text: (trial) => `${state.data.trials.reached[trial]}/${state.data.trials.runs[trial]}`, key: (trial) => -state.data.trials.reached[trial]},
    {name: `mean ${state.clock}`, text: state.mean, key: (trial) => state.data.trials.mean[state.clock][trial]},
    ...state.data.dimensions.map((dimension) => ({name: dimension.key, key: (trial) => state.value(dimension, trial),
      text: (trial) => { const value = state.value(dimension, trial); return typeof value === "number" ? number(value) : value ?? "-"; }})),
  ];

  function draw() {
    const list = columns(), order = state.passing();
    const column = by === null ? list[3] : list[by];
    const ranked = by === null && rising && state.clock === state.data.clock; // as the trials are already
    if (!ranked) order.sort((a, b) => (rising ? 1 : -1) * d3.ascending(column.key(a), column.key(b)) || a - b);
    head.selectAll("th").data(list).join("th").attr("scope", "col").attr("class", (_, index) => index < 2 ? "left" : null)
      .attr("aria-sort", (_, index) => index === (by ?? 3) ? (rising ? "ascending" : "descending") : "none")
      .selectAll("button").data((each) => [each]).join("button").attr("type", "button").text((each) => each.name)
      .on("click", (_, each) => { const index = list.indexOf(each); rising = index === (by ?? 3) ? !rising : true; by = index; draw(); });
    const rows = body.selectAll("tr").data(order.slice(0, shown)).join("tr").attr("tabindex", 0)
      .attr("aria-label", (trial) => `Open ${state.data.trials.label[trial]}`)
      .on("click", (_, trial) => openTrial(trial))
      .on("keydown", (event, trial) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); openTrial(trial); } })
      .on("mouseenter focus", (_, trial) => state.setHover(trial)).on("mouseleave blur", () => state.setHover(-1));
    rows.selectAll("td").data((trial) => list.map((each) => each.text(trial))).join("td")
      .attr("class", (_, index) => index < 2 ? "left" : null).text((text) => text);
    more.property("hidden", shown >= order.length).text(`Show more (${number(order.length - Math.min(shown, order.length))} left)`);
  }
  const emphasise = () => body.selectAll("tr").classed("hover", (trial) => trial === state.hover);
  return {layout: draw, changed: (what) => what === "hover" ? emphasise() : draw()};
}
