// Parallel coordinates: a line a trial, an axis a hyperparameter and one for the mean time; brush an axis to filter.
function parallelCoordinates(root) {
  const canvases = layers(root);
  const svg = root.append("svg").attr("role", "img").attr("aria-label", "Parallel coordinates of all trials; filters can also be typed above.");
  const height = 260, margin = {top: 34, bottom: 12, left: 44, right: 56};
  const first = state.dimensions[0].words;
  if (first) margin.left = Math.max(margin.left, 16 + 6.5 * d3.max(first, (word) => word.length)); // the labels stand left of the axis
  let places = [];

  function layout() {
    const width = Math.max(root.node().clientWidth, 90 * state.dimensions.length);
    const gap = (width - margin.left - margin.right) / Math.max(state.dimensions.length - 1, 1);
    places = state.dimensions.map((dimension, index) => {
      const scale = scaleOf(dimension, [height - margin.bottom, margin.top]);
      const x = margin.left + index * gap;
      const none = height - margin.bottom + 8; // a hyperparameter without an effect passes below its axis
      const y = new Float32Array(state.size);
      for (let trial = 0; trial < state.size; trial++) {
        const value = state.value(dimension, trial);
        y[trial] = value === null ? none : scale(value);
      }
      return {dimension, scale, x, y};
    });
    svg.attr("width", width).attr("height", height);
    axes();
    drawAll();
  }

  function axes() {
    const groups = svg.selectAll("g.axis").data(places, (place) => place.dimension.key).join("g").attr("class", "axis")
      .attr("transform", (place) => `translate(${place.x},0)`);
    groups.each(function (place) {
      const group = d3.select(this);
      group.selectAll("*").remove();
      const ticks = ticked(d3.axisLeft(place.scale), 5);
      group.call(ticks);
      group.append("text").attr("class", "title").attr("y", 14).text(state.label(place.dimension));
      const brush = d3.brushY().extent([[-14, margin.top - 4], [14, height - margin.bottom + 4]])
        .on("brush end", (event) => {
          if (!event.sourceEvent) return;
          state.setFilter(place.dimension, event.selection && selected(place.dimension, place.scale, ...event.selection));
        });
      group.append("g").attr("class", "brush").call(brush);
      place.brush = brush;
      place.group = group;
    });
  }

  function follow() { // filters that were typed, or cleared
    for (const place of places) {
      const range = state.filter(place.dimension);
      let pixels = null;
      if (range instanceof Set) {
        const at = [...range].map((word) => place.scale(word));
        if (at.length) pixels = [Math.max(d3.min(at) - 6, margin.top - 4), Math.min(d3.max(at) + 6, height - margin.bottom + 4)];
      } else if (range) {
        const [low, high] = place.scale.domain(); // a filter without one end reaches to the end of the axis
        pixels = [Math.min(range.high, high), Math.max(range.low, low)].map((each) => place.scale(Math.min(Math.max(each, low), high)));
      }
      place.group.select(".brush").call(place.brush.move, pixels);
    }
  }

  function path(context, trial) {
    places.forEach((place, index) => index ? context.lineTo(place.x, place.y[trial]) : context.moveTo(place.x, place.y[trial]));
  }

  function stroke(context, trials) {
    for (const part of batches(trials)) {
      context.beginPath();
      part.forEach((trial) => path(context, trial));
      context.stroke();
    }
  }

  function drawAll() {
    const context = prepare(canvases.all, +svg.attr("width"), height);
    context.strokeStyle = style("--faint");
    stroke(context, d3.range(state.size));
    draw();
  }

  function draw() {
    const context = prepare(canvases.passing, +svg.attr("width"), height), shown = state.passing();
    context.globalAlpha = Math.max(0.15, Math.min(0.9, 6 / Math.sqrt(shown.length + 1)));
    for (const [band, trials] of byBand(shown)) {
      context.strokeStyle = state.bandColour(band);
      stroke(context, trials);
    }
    emphasise();
  }

  function emphasise() {
    const context = prepare(canvases.hover, +svg.attr("width"), height);
    if (state.hover < 0) return;
    context.strokeStyle = style("--accent");
    context.lineWidth = 3;
    stroke(context, [state.hover]);
  }

  function nearest(event) {
    const [x, y] = d3.pointer(event, svg.node());
    const right = places.findIndex((place) => place.x >= x);
    if (right < 1) return -1;
    const [a, b] = [places[right - 1], places[right]], share = (x - a.x) / (b.x - a.x);
    let best = -1, distance = 8;
    for (let trial = 0; trial < state.size; trial++) {
      if (!state.passes(trial)) continue;
      const away = Math.abs(a.y[trial] + share * (b.y[trial] - a.y[trial]) - y);
      if (away < distance) { distance = away; best = trial; }
    }
    return best;
  }

  svg.on("mousemove", (event) => { if (!event.buttons) { state.setHover(nearest(event)); tip.follow(event); } })
    .on("mouseleave", () => { state.setHover(-1); tip.hide(); })
    .on("click", (event) => { const trial = nearest(event); if (trial >= 0) openTrial(trial); });
  const views = {scale: layout, filter: () => { follow(); draw(); }, hover: emphasise};
  return {layout, changed: (what) => views[what]()};
}
