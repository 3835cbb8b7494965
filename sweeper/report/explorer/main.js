// Unpacks the page's data and ties the views together.
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("data").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  state.begin(await new Response(stream).json());
  document.getElementById("explore").hidden = false;
  const views = [
    parallelCoordinates(d3.select("#parallel")), slices(d3.select("#slices")),
    learningCurves(d3.select("#curves"), d3.select("#curves-note")), trialTable(d3.select("#trials")),
  ];
  views.forEach((view) => view.layout());
  views.push(controls());
  state.subscribe((what) => views.forEach((view) => view.changed(what)));
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; state.changed("scale"); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.changed("scale"));
  document.documentElement.dataset.ready = "yes";
})();
