// Learning curves of trials: the event's metric of every run, against the chosen clock.
function curveChart(root, height, label) {
  const margin = {top: 22, right: 14, bottom: 34, left: 48};
  const canvas = root.append("canvas").attr("aria-hidden", "true"), svg = root.append("svg").attr("role", "img").attr("aria-label", label);
  let shown = [], x, y, width;

  /** Draw the curves of some trials: [{index, runs}]; `index` is -1 for a trial that is in no list. */
  function show(trials) {
    shown = trials;
    width = Math.max(root.node().clientWidth, 240);
    const runs = shown.flatMap((each) => each.runs);
    const xs = d3.extent(runs.flatMap((run) => run[state.clock])), ys = d3.extent(runs.flatMap((run) => run.metric).filter((value) => value !== null));
    const low = xs[0] ?? 1, high = xs[1] ?? 10;
    x = (state.log && low > 0 ? d3.scaleLog() : d3.scaleLinear()).domain([state.log ? low : 0, high > low ? high : low + 1]).range([margin.left, width - margin.right]);
    const threshold = state.data.threshold;
    y = d3.scaleLinear().domain([Math.min(ys[0] ?? 0, threshold), Math.max(ys[1] ?? 1, threshold)]).nice().range([height - margin.bottom, margin.top]);
    svg.attr("width", width).attr("height", height).selectAll("*").remove();
    svg.append("g").attr("class", "axis").attr("transform", `translate(0,${height - margin.bottom})`).call(ticked(d3.axisBottom(x), 6));
    svg.append("g").attr("class", "axis").attr("transform", `translate(${margin.left},0)`).call(d3.axisLeft(y).ticks(5));
    svg.append("text").attr("class", "title").attr("x", (margin.left + width) / 2).attr("y", height - 3).text(state.clock);
    svg.append("text").attr("class", "title start").attr("x", 4).attr("y", 12).text(state.data.metric);
    svg.append("line").attr("class", "threshold").attr("x1", margin.left).attr("x2", width - margin.right).attr("y1", y(threshold)).attr("y2", y(threshold));
    draw();
  }

  function draw() {
    const context = prepare(canvas.node(), width, height);
    const line = (run) => {
      context.beginPath();
      run.metric.forEach((value, index) => {
        if (value === null) return;
        const at = [x(run[state.clock][index]), y(value)];
        if (index) context.lineTo(...at); else context.moveTo(...at);
      });
      context.stroke();
    };
    for (const {index, runs} of [...shown].reverse()) {
      const chosen = index >= 0 && index === state.hover;
      context.strokeStyle = chosen ? style("--accent") : index >= 0 ? state.colour(index) : style("--soft");
      context.lineWidth = chosen ? 2.5 : 1;
      context.globalAlpha = chosen || shown.length < 6 ? 1 : 0.6;
      runs.forEach(line);
    }
  }

  function nearest(event) {
    const [px, py] = d3.pointer(event, svg.node());
    let best = -1, distance = 12;
    for (const {index, runs} of shown) for (const run of runs) {
      const at = d3.bisectCenter(run[state.clock], x.invert(px));
      if (at < 0 || run.metric[at] === null || px > x(run[state.clock].at(-1)) + 5) continue;
      const away = Math.abs(y(run.metric[at]) - py);
      if (away < distance) { distance = away; best = index; }
    }
    return best;
  }
  svg.on("mousemove", (event) => { state.setHover(nearest(event)); tip.follow(event); })
    .on("mouseleave", () => { state.setHover(-1); tip.hide(); })
    .on("click", (event) => { const trial = nearest(event); if (trial >= 0) openTrial(trial); });
  return {show, draw};
}

const MOST_CURVES = 24; // more lines than that hide each other

/** The curves of the best trials that pass the filters. */
function learningCurves(root, note) {
  const chart = curveChart(root, 260, "Learning curves of the best trials that pass the filters");
  function layout() {
    const held = state.passing().filter((index) => state.data.trials.trial[index] in state.data.curves);
    const trials = held.slice(0, MOST_CURVES).map((index) => ({index, runs: state.data.curves[state.data.trials.trial[index]]}));
    note.text(`Every run of the ${trials.length} best trials that pass the filters; the dashed line is ${state.data.event}.`);
    chart.show(trials);
  }
  return {layout, changed: (what) => what === "hover" ? chart.draw() : layout()};
}
