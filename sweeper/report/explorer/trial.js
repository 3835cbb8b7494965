// One trial in a dialog: its outcome, its curves, and its configuration as YAML. And the label that follows the pointer.
const tip = (() => {
  const box = d3.select("#tip");
  const hide = () => box.property("hidden", true);
  function follow(event) {
    if (state.hover < 0) return hide();
    const {label, reached, runs, state: states} = state.data.trials, trial = state.hover;
    box.property("hidden", false).selectAll("div").data([
      label[trial], `${states[trial]}, reached ${reached[trial]}/${runs[trial]}, mean ${state.mean(trial)} ${state.clock}`,
      ...state.configuration(trial).map(([key, value]) => `${key} = ${typeof value === "number" ? number(value) : value}`),
    ]).join("div").text((text) => text);
    const {width, height} = box.node().getBoundingClientRect();
    box.style("left", `${Math.min(event.clientX + 14, innerWidth - width - 4)}px`)
      .style("top", `${event.clientY + 14 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 14}px`);
  }
  return {follow, hide};
})();

/** A scalar as YAML 1.1 reads it back: words quoted where they would be read as something else. */
const scalar = (value) => typeof value === "number" ? String(value).replace(/^(-?\d+)e/, "$1.0e") // 1e-8 would be read as text
  : typeof value !== "string" ? JSON.stringify(value)
  : /^[A-Za-z][\w-]*$/.test(value) && !/^(true|false|yes|no|on|off|null|y|n)$/i.test(value) ? value : JSON.stringify(value);

let dialogChart = null;

function openTrial(index) {
  const {trial, label, reached, runs, state: states, confirmation} = state.data.trials;
  tip.hide();
  d3.select("#trial-title").text(label[index]);
  d3.select("#trial-outcome").text(`${states[index]}; ${reached[index]} of ${runs[index]} runs reached ${state.data.event}; `
    + `restricted mean ${state.mean(index)} ${state.clock}` + (confirmation[index] === null ? "." : `; confirmed on fresh seeds by trial ${confirmation[index]}.`));
  const words = new Set(state.data.dimensions.filter((each) => each.words).map((each) => each.key));
  const settings = [...Object.entries(state.data.given).map(([key, value]) => [key, scalar(value)]),
    ...state.configuration(index).map(([key, value]) => [key, words.has(key) && /^[-\d[tf]/.test(value) ? value : scalar(value)])];
  d3.select("#trial-yaml").text(["fixed:", ...settings.map(([key, value]) => `  ${key}: ${value}`)].join("\n"));
  const held = [trial[index], confirmation[index]].filter((number) => number !== null && number in state.data.curves);
  d3.select("#trial-note").text(held.length
    ? `Every run; ${held.length > 1 ? "grey: the confirmation's runs; " : ""}the dashed line is ${state.data.event}.`
    : `The page holds the curves of the best trials only: sweeper show ${state.data.name}:${trial[index]} prints this one's.`);
  document.getElementById("trial").showModal();
  dialogChart ??= curveChart(d3.select("#trial-curves"), 220, "Learning curves of this trial");
  dialogChart.show(held.map((number) => ({index: number === trial[index] ? index : -1, runs: state.data.curves[number]})));
}
