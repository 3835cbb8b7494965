// Unpacks the page's data and ties the views together.
async function unpacked(text) {
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

(async () => {
  state.begin(await unpacked(document.getElementById("data").textContent));
  document.getElementById("explore").hidden = false;
  const views = [
    parallelCoordinates(d3.select("#explore-parallel")), slices(d3.select("#explore-slices")),
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
