// How the page shows what varies by epoch, and what is in a layer: curves and histograms.
"use strict";
const PageView = (() => {
const { css, make, put, brief } = Draw;

function chart(place, lines, label, now, choose) { // an upright line at epoch `now()`; a click on another chooses it
  const x = lines[0].values.map((_, i) => i + 1);
  const positive = lines.flatMap((l) => l.values).filter((v) => v > 0);
  const options = {
    width: place.clientWidth, height: 210, plugins: [{ hooks: { draw: (u) => Draw.upright(u, now(), "--accent") } }],
    scales: { x: { time: false }, y: positive.length ? { distr: 3, range: bounds(positive) } : {} },
    axes: Draw.axes(["epoch", label]),
    series: [{ label: "epoch" }, ...lines.map((l) => ({
      label: l.name, stroke: l.strong ? css("--after") : css("--other"), width: l.strong ? 3 : 1, points: { show: false },
    }))],
    legend: { show: false }, cursor: { points: { show: false }, drag: { x: false, y: false } },
  };
  place.replaceChildren();
  const made = new uPlot(options, [x, ...lines.map((l) => l.values.map((v) => (v > 0 ? v : null)))], place);
  made.over.addEventListener("click", () => {
    if (made.cursor.idx !== null && made.cursor.idx !== undefined) choose(made.cursor.idx + 1);
  });
  return made;
}
function bounds(values) {
  const low = Math.floor(Math.log10(values.reduce((a, b) => Math.min(a, b))) + 1e-9);
  const high = Math.ceil(Math.log10(values.reduce((a, b) => Math.max(a, b))) - 1e-9);
  return [10 ** low, 10 ** Math.max(high, low + 1)];
}

function histogram(caption, spread, kind, [from, to]) { // its axis goes from `from` to `to`, as that of the other beside it
  const figure = make("figure");
  const svg = put(figure, "svg", { viewBox: "0 0 100 40", preserveAspectRatio: "none", role: "img", "aria-label": caption });
  const { counts, low, high, mean, deviation } = spread, most = Math.max(1, ...counts);
  const at = (x) => (to > from ? 100 * (x - from) / (to - from) : 50), start = at(low);
  const wide = Math.max((at(high) - start) / (counts.length || 1), 0.4);
  put(svg, "line", { x1: 0, x2: 100, y1: 39.5, y2: 39.5 });
  if (counts.length === 1) put(svg, "rect", { x: Math.min(98, Math.max(0, start - 1)), width: 2, y: 2, height: 38, class: kind });
  else counts.forEach((n, i) => put(svg, "rect", {
    x: start + i * wide, width: wide * 0.96, y: 40 - 38 * Math.sqrt(n / most), height: 38 * Math.sqrt(n / most), class: kind }));
  if (from < 0 && to > 0) put(svg, "line", { x1: at(0), x2: at(0), y1: 0, y2: 40, "stroke-dasharray": "2 2", "stroke-width": 0.4 });
  const range = counts.length === 1 ? `all ${brief(low)}` : `${brief(low)} to ${brief(high)}`, ends = make("div", undefined, { class: "ends" });
  ends.append(make("span", brief(from)), make("span", brief(to)));
  figure.append(ends, make("figcaption", `${caption}: ${range}; mean ${brief(mean)}, deviation ${brief(deviation)}`));
  return figure;
}
return { chart, histogram };
})();
