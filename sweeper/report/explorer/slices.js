// Slices: the mean time against each hyperparameter. Filled: every run arrived; triangles: only a bound is known.
function slices(root) {
  const height = 190, margin = {top: 10, right: 10, bottom: 34, left: 48};
  const dimensions = state.dimensions.filter((each) => each.key), time = state.dimensions.at(-1);
  const panels = dimensions.map((dimension) => {
    const box = root.append("div").attr("class", "panel");
    return {dimension, box, canvases: layers(box),
      svg: box.append("svg").attr("role", "img").attr("aria-label", `Mean time against ${dimension.key}`)};
  });

  function layout() {
    for (const panel of panels) {
      const width = Math.max(panel.box.node().clientWidth, 160);
      panel.x = scaleOf(panel.dimension, [margin.left, width - margin.right]);
      const words = panel.dimension.words, longest = 6 * (d3.max(words ?? [], (word) => word.length) ?? 0);
      const slanted = words && longest > panel.x.step() - 4; // words that would run into each other
      const bottom = slanted ? margin.bottom + Math.min(0.5 * longest, 50) : margin.bottom;
      panel.y = scaleOf(time, [height - bottom, margin.top]);
      panel.width = width;
      place(panel);
      panel.svg.attr("width", width).attr("height", height).selectAll("*").remove();
      panel.svg.append("g").attr("class", "axis").attr("transform", `translate(0,${height - bottom})`).call(ticked(d3.axisBottom(panel.x), 4))
        .selectAll("text").attr("text-anchor", slanted ? "end" : null).attr("transform", slanted ? "rotate(-35) translate(-4,-4)" : null);
      panel.svg.append("g").attr("class", "axis").attr("transform", `translate(${margin.left},0)`).call(ticked(d3.axisLeft(panel.y), 5));
      panel.svg.append("text").attr("class", "title").attr("x", (margin.left + width) / 2).attr("y", height - 3).text(panel.dimension.key);
      const brush = d3.brush().extent([[margin.left, margin.top], [width - margin.right, height - bottom]])
        .on("end", (event) => {
          if (!event.sourceEvent) return;
          if (!event.selection) { state.setFilter(panel.dimension, null); state.setFilter(time, null); return; }
          const [[left, top], [right, bottom]] = event.selection;
          state.setFilter(panel.dimension, selected(panel.dimension, panel.x, left, right));
          state.setFilter(time, selected(time, panel.y, top, bottom));
          panel.svg.select(".brush").call(brush.move, null);
        });
      panel.svg.append("g").attr("class", "brush").call(brush)
        .on("mousemove", (event) => { if (!event.buttons) { state.setHover(nearest(panel, event)); tip.follow(event); } })
        .on("mouseleave", () => { state.setHover(-1); tip.hide(); })
        .on("click", (event) => { const trial = nearest(panel, event); if (trial >= 0) openTrial(trial); });
    }
    drawAll();
  }

  /** Where each trial's mark is; NaN where the hyperparameter has no effect. */
  function place(panel) {
    const spread = panel.dimension.words ? Math.min(panel.x.step() / 3, 24) : 0;
    panel.at = {x: new Float32Array(state.size).fill(NaN), y: new Float32Array(state.size)};
    for (let trial = 0; trial < state.size; trial++) {
      const value = state.value(panel.dimension, trial);
      if (value === null) continue;
      panel.at.x[trial] = panel.x(value) + ((trial * 0.618) % 1 - 0.5) * spread; // fixed, so that marks stay where they are
      panel.at.y[trial] = panel.y(state.value(time, trial));
    }
  }

  /** Add a trial's mark to the shapes that are filled, or to those that are outlined. */
  function mark(panel, shapes, trial, size) {
    const x = panel.at.x[trial], y = panel.at.y[trial], sign = state.data.trials.sign[trial];
    if (Number.isNaN(x)) return;
    if (!sign) { shapes.filled.moveTo(x + size, y); shapes.filled.arc(x, y, size, 0, 2 * Math.PI); return; }
    const up = sign === "≥" ? -1 : 1; // the truth lies above, or below
    shapes.outlined.moveTo(x, y + up * size * 1.4);
    shapes.outlined.lineTo(x - size, y - up * size * 0.7);
    shapes.outlined.lineTo(x + size, y - up * size * 0.7);
    shapes.outlined.closePath();
  }

  function marks(panel, context, trials, colour, size) {
    context.fillStyle = context.strokeStyle = colour;
    for (const part of batches(trials)) {
      const shapes = {filled: new Path2D(), outlined: new Path2D()};
      part.forEach((trial) => mark(panel, shapes, trial, size));
      context.fill(shapes.filled);
      context.stroke(shapes.outlined);
    }
  }

  const size = () => state.size > 2000 ? 1.8 : 3;

  function drawAll() {
    for (const panel of panels) {
      marks(panel, prepare(panel.canvases.all, panel.width, height), d3.range(state.size), style("--faint"), size());
    }
    draw();
  }

  function draw() {
    const bands = byBand(state.passing());
    for (const panel of panels) {
      const context = prepare(panel.canvases.passing, panel.width, height);
      for (const [band, trials] of bands) marks(panel, context, trials, state.bandColour(band), size());
    }
    emphasise();
  }

  function emphasise() {
    for (const panel of panels) {
      const context = prepare(panel.canvases.hover, panel.width, height);
      context.lineWidth = 2;
      if (state.hover >= 0) marks(panel, context, [state.hover], style("--accent"), 6);
    }
  }

  function nearest(panel, event) {
    const [x, y] = d3.pointer(event, panel.svg.node());
    let best = -1, distance = 100;
    for (let trial = 0; trial < state.size; trial++) {
      const away = (panel.at.x[trial] - x) ** 2 + (panel.at.y[trial] - y) ** 2;
      if (away < distance && state.passes(trial)) { distance = away; best = trial; }
    }
    return best;
  }
  const views = {scale: layout, filter: draw, hover: emphasise};
  return {layout, changed: (what) => views[what]()};
}
