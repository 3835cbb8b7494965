// What is shown: the clock, the scale, the filters, and which trials pass them. Views subscribe and draw themselves.
const state = (() => {
  const listeners = [];
  const filters = new Map(); // dimension key -> {low, high} of numbers, or a Set of words
  let passes = null;

  const self = {
    data: null, clock: "steps", log: false, hover: -1, dimensions: [],

    begin(data) {
      self.data = data;
      self.clock = data.clock;
      self.size = data.trials.trial.length;
      passes = new Uint8Array(self.size).fill(1);
      self.dimensions = [...data.dimensions, {key: "", log: false, words: null}];
    },
    /** The dimension's name: the mean time is the one without a key. */
    label: (dimension) => dimension.key || `mean ${self.clock}`,
    /** A trial's value; null where the hyperparameter has no effect. */
    value(dimension, trial) {
      if (!dimension.key) return self.data.trials.mean[self.clock][trial];
      const value = self.data.trials.values[dimension.key][trial];
      return value;
    },
    passes: (trial) => passes[trial] === 1,
    passing: () => d3.range(self.size).filter(self.passes),
    filter: (dimension) => filters.get(dimension.key),
    filtered: () => filters.size > 0,
    setFilter(dimension, range) {
      if (range === null) filters.delete(dimension.key); else filters.set(dimension.key, range);
      self.sift();
    },
    clear() { filters.clear(); self.sift(); },
    sift() {
      const active = self.dimensions.filter((each) => filters.has(each.key)).map((each) => [each, filters.get(each.key)]);
      for (let trial = 0; trial < self.size; trial++) {
        passes[trial] = active.every(([dimension, range]) => {
          const value = self.value(dimension, trial);
          if (value === null) return false;
          return range instanceof Set ? range.has(value) : value >= range.low && value <= range.high;
        }) ? 1 : 0;
      }
      self.changed("filter");
    },
    setHover(trial) {
      if (trial === self.hover) return;
      self.hover = trial;
      self.changed("hover");
    },
    set(name, value) {
      self[name] = value;
      if (name === "clock") { filters.delete(""); self.sift(); }
      self.changed("scale");
    },
    subscribe: (listener) => listeners.push(listener),
    changed: (what) => listeners.forEach((listener) => listener(what)),

    /** The colour of a trial's rank; trials are in that order, and share 24 colours. */
    band: (trial) => Math.floor(24 * trial / self.size),
    bandColour(band) {
      const share = 0.85 * band / 23;
      return d3.interpolateViridis(dark() ? 1 - share : share);
    },
    colour: (trial) => self.bandColour(self.band(trial)),
    mean(trial) {
      const {sign, mean, reached} = self.data.trials;
      if (sign[trial] === "≤" && !reached[trial]) return "unknown"; // cut short before any run arrived
      return `${sign[trial] ? sign[trial] + " " : ""}${number(mean[self.clock][trial])}`;
    },
    configuration: (trial) => self.data.dimensions
      .map((dimension) => [dimension.key, self.value(dimension, trial)])
      .filter(([, value]) => value !== null),
  };
  return self;
})();

const number = (value) => value === null ? "-"
  : Math.abs(value) >= 1000 ? d3.format(",.0f")(value) : d3.format(Number.isInteger(value) ? "," : ".4~g")(value);

/** Ticks: thousands as 2k, what is less than 1 as it is. */
const tick = (value) => Math.abs(value) >= 1000 ? d3.format("~s")(value) : d3.format("~g")(value);

/** An axis with a label for every word, or for some numbers. */
function ticked(axis, count) {
  const scale = axis.scale();
  if (!scale.invert) return axis;
  if (scale.whole && !scale.base) axis.tickValues(scale.ticks(count).filter(Number.isInteger));
  return (axis.tickValues() ? axis : axis.ticks(count)).tickFormat(scale.base ? scale.tickFormat(count, tick) : tick); // a log scale leaves some out
}

const dark = () => document.documentElement.dataset.theme
  ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Canvases of one view, one above the other: the trials that are filtered out, those that pass, the one pointed at. */
function layers(root) {
  const [all, passing, hover] = [0, 1, 2].map(() => root.append("canvas").attr("aria-hidden", "true").node());
  return {all, passing, hover};
}

/** Trials by colour, the best last, so that they are drawn above the others. */
const byBand = (trials) => [...d3.group(trials, state.band)].reverse();

/** Trials in small lots: a browser is slow to draw one path of thousands of shapes. */
const batches = (trials) => d3.range(0, trials.length, 50).map((start) => trials.slice(start, start + 50));

/** A canvas as sharp as the screen, its 2D context scaled to CSS pixels. */
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  Object.assign(canvas, {width: width * ratio, height: height * ratio});
  Object.assign(canvas.style, {width: `${width}px`, height: `${height}px`});
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** A scale of a dimension from its values to [0, 1] times `length`. */
function scaleOf(dimension, range) {
  if (dimension.words) return d3.scalePoint(dimension.words, range).padding(0.5);
  const values = d3.range(state.size).map((trial) => state.value(dimension, trial)).filter((each) => each !== null);
  let [low, high] = d3.extent(values);
  if (low === undefined) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const logarithmic = (dimension.key ? dimension.log : state.log) && low > 0;
  const scale = (logarithmic ? d3.scaleLog() : d3.scaleLinear()).domain([low, high]).range(range);
  return Object.assign(scale, {whole: values.every(Number.isInteger)});
}

/** What a brush from `one` to `other` pixels selects. */
function selected(dimension, scale, one, other) {
  if (dimension.words) return new Set(dimension.words.filter((word) => scale(word) >= one && scale(word) <= other));
  const ends = [scale.invert(one), scale.invert(other)];
  return {low: Math.min(...ends), high: Math.max(...ends)};
}
