// What the page of a training and the laboratory both draw with: elements, numbers, colours, axes of curves.
"use strict";
const Draw = (() => {
const SVG = "http://www.w3.org/2000/svg";
const WHOLE = [1, 10, 100, 1e3, 1e4, 1e5].flatMap((k) => [k, 2 * k, 5 * k]); // steps between epochs that are told
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
function put(place, tag, attributes = {}) { // an element of a picture
  const element = place.appendChild(document.createElementNS(SVG, tag));
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
function told(value) { // 0, 5.1e-9
  return value === 0 ? "0" : Number.isFinite(value) ? value.toExponential(1) : "not a number";
}
function brief(value) { // 0.36, -12, 2.0e-6
  const size = Math.abs(value);
  return size >= 0.001 && size < 1000 ? String(Number(value.toPrecision(2))) : told(value);
}

// Colours, of numbers from `low` to `high`, powers of ten.

function colour(value, ramp, { low, high }) {
  const share = Math.log(value / low) / Math.log(high / low);
  return ramp[Math.round(Math.min(1, Math.max(0, share)) * (ramp.length - 1))];
}
function ink(hex) { // black or white, whichever has more contrast, by the luminance of WCAG 2
  const [r, g, b] = [1, 3, 5].map((i) => (parseInt(hex.slice(i, i + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}
function drawScale(place, ticks, ramp, { low, high }) {
  place.style.background = `linear-gradient(90deg, ${ramp.join(",")})`;
  const [from, to] = [low, high].map((v) => Math.round(Math.log10(v))), step = Math.ceil((to - from) / 4), powers = [to];
  for (let k = from; k <= to - (step + 1) / 2; k += step) powers.splice(-1, 0, k);
  for (const k of powers) { // beyond the ends all numbers have one colour
    const along = 100 * (k - from) / (to - from), name = k === 0 ? "1" : `1e${k}`;
    const tick = ticks.appendChild(make("span", k === from ? `\u2264 ${name}` : k === to ? `\u2265 ${name}` : name));
    tick.style.left = `${along}%`;
    tick.style.transform = `translateX(-${k === from ? 0 : k === to ? 100 : 50}%)`; // the first and the last stay inside
  }
}

// Curves on a logarithmic axis.

function axes(labels, told = (v) => v.toExponential(0)) {
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") },
    font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif", labelSize: 18 };
  return [{ ...axis, label: labels[0], size: 32, incrs: WHOLE },
    { ...axis, label: labels[1], size: 56, splits: (u, i, ...ends) => decades(...ends), filter: (u, splits) => splits,
      values: (u, splits) => splits.map(told) }];
}
function decades(low, high) { // seven at most
  const from = Math.ceil(Math.log10(low) - 1e-9), to = Math.floor(Math.log10(high) + 1e-9), found = [];
  for (let k = from; k <= to; k += Math.ceil((to - from + 1) / 7)) found.push(10 ** k);
  return found;
}
function upright(u, x, name, dash = []) { // a line at `x`, in the colour of this name
  const at = u.valToPos(x, "x", true);
  u.ctx.save();
  u.ctx.strokeStyle = css(name);
  u.ctx.lineWidth = 2 * devicePixelRatio;
  u.ctx.setLineDash(dash.map((length) => length * devicePixelRatio));
  u.ctx.beginPath();
  u.ctx.moveTo(at, u.bbox.top);
  u.ctx.lineTo(at, u.bbox.top + u.bbox.height);
  u.ctx.stroke();
  u.ctx.restore();
}
return { WHOLE, css, make, put, told, brief, colour, ink, drawScale, axes, upright };
})();
