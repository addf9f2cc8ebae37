// How the laboratory shows a network: its layers in colours, curves, and what it says of each point of a plane.
"use strict";
const LabView = (() => {
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const LOW = 1e-16, HIGH = 1; // where the colours end
const KINDS = [[230, 159, 0], [86, 180, 233], [0, 158, 115]]; // Okabe and Ito
const SIDE = 40; // points along each side of a decision picture
const SPAN = 1.3; // from -SPAN to SPAN

function make(tag, text, attributes = {}) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
const told = (value) => // 0.73, 5.1e-9
  value >= 0.01 && value < 1000 ? String(Number(value.toPrecision(2))) : exponential(value);
const exponential = (value) => (value === 0 ? "0" : Number.isFinite(value) ? value.toExponential(1) : "not a number");

// Colours.

function colour(ramp, value) {
  const share = Math.log(value / LOW) / Math.log(HIGH / LOW);
  return ramp[Math.round(Math.min(1, Math.max(0, share)) * (ramp.length - 1))];
}
function ink(hex) { // black or white, whichever has more contrast, by the luminance of WCAG 2
  const [r, g, b] = [1, 3, 5].map((i) => (parseInt(hex.slice(i, i + 2), 16) / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}
function drawScale(place, ticks, ramp) {
  place.style.background = `linear-gradient(90deg, ${ramp.join(",")})`;
  const [from, to] = [LOW, HIGH].map((v) => Math.round(Math.log10(v)));
  for (let k = from; k <= to; k += 4) {
    const along = 100 * (k - from) / (to - from), edge = along < 1 ? 0 : along > 99 ? 100 : 50;
    const tick = make("span", k === from ? `\u2264 1e${k}` : k === to ? "\u2265 1" : `1e${k}`);
    tick.style.left = `${along}%`;
    tick.style.transform = `translateX(-${edge}%)`;
    ticks.append(tick);
  }
}

// A network as a column of layers.

function layers(place, count, structure, choose) {
  const high = count <= 12 ? 30 : count <= 20 ? 21 : 16, size = high >= 30 ? 13 : high > 20 ? 12 : 10.5;
  const names = Array.from({ length: count }, (_, i) => (i === count - 1 ? "answer" : `fc${i + 1}`));
  const rows = names.map((name, i) => {
    const row = make("div", undefined, { class: "lab-layer", role: "option", "aria-selected": "false" });
    row.style.height = `${high}px`;
    row.style.fontSize = `${size}px`;
    row.append(make("span", name), make("span", ""));
    row.addEventListener("click", () => choose(i));
    return row;
  });
  place.classList.toggle("skips", structure !== "plain");
  place.replaceChildren(...(structure === "plain" ? [] : [skips(count, high, structure)]), ...rows);
  return rows;
}
function skips(count, high, structure) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("viewBox", `0 0 30 ${count * high}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const put = (d) => svg.appendChild(document.createElementNS(svg.namespaceURI, "path")).setAttribute("d", d);
  const middle = (i) => (i + 0.5) * high;
  if (structure === "residual") {
    for (let i = 0; i < count - 2; i++) {
      const from = middle(i) + 3, to = middle(i + 1) - 3, edge = high >= 30 ? 2 : 9;
      put(`M 30 ${from} H ${edge + 6} Q ${edge} ${from} ${edge} ${(from + to) / 2} Q ${edge} ${to} ${edge + 6} ${to} H 30`);
    }
  }
  if (structure === "dense" && count > 2) {
    put(`M 8 ${middle(0)} V ${middle(count - 1)}`);
    for (let i = 0; i < count; i++) put(`M 8 ${middle(i)} H 30`);
  }
  return svg;
}
function recolour(rows, ramp, gradients, chosen) {
  rows.forEach((row, i) => {
    const value = gradients[i], fill = value > 0 ? colour(ramp, value) : "";
    row.classList.toggle("lab-zero", !fill);
    row.style.background = fill;
    row.style.color = fill ? ink(fill) : "";
    row.lastChild.textContent = exponential(value);
    row.setAttribute("aria-selected", String(i === chosen));
  });
}

// Curves.

function chart(place, labels, numbers, range, points = false) { // of networks A and B, on a logarithmic scale
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line") },
    font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif" };
  const decades = (u, i, low, high) => {
    const from = Math.ceil(Math.log10(low) - 1e-9), to = Math.floor(Math.log10(high) + 1e-9), found = [];
    for (let k = from; k <= to; k += Math.ceil((to - from + 1) / 6)) found.push(10 ** k);
    return found;
  };
  const line = (label, name) => ({ label, stroke: css(name), width: 2, points: { show: (u) => points || u.data[0].length < 3, size: 6, fill: css(name) } });
  const whole = [1, 2, 5, 10, 20, 50, 100, 200, 500];
  place.replaceChildren();
  return new uPlot({
    width: place.clientWidth, height: 160, legend: { show: false }, cursor: { show: false },
    scales: { x: { time: false, range: numbers }, y: { distr: 3, range } },
    axes: [{ ...axis, label: labels[0], labelSize: 16, size: 30, incrs: whole },
      { ...axis, label: labels[1], labelSize: 16, size: 52, splits: decades, filter: (u, splits) => splits,
        values: (u, splits) => splits.map((v) => (v >= 0.01 && v <= 1000 ? String(+v.toPrecision(1)) : v.toExponential(0))) }],
    series: [{}, line("A", "--net-a"), line("B", "--net-b")],
    plugins: [{ hooks: { draw: (u) => mark(u) } }],
  }, [[], [], []], place);
}
function mark(u) { // where `u.marked` is
  if (u.marked === undefined) return;
  const at = u.valToPos(u.marked, "x", true);
  u.ctx.save();
  u.ctx.strokeStyle = css("--soft");
  u.ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  u.ctx.beginPath();
  u.ctx.moveTo(at, u.bbox.top);
  u.ctx.lineTo(at, u.bbox.top + u.bbox.height);
  u.ctx.stroke();
  u.ctx.restore();
}
function shown(values, least = 0) { // what has a logarithm
  return values.map((v) => (v > least ? v : null));
}

// What a network says of each point of the plane.

const plane = Float32Array.from({ length: 2 * SIDE * SIDE }, (_, i) => {
  const point = i >> 1, along = i % 2 ? SIDE - 1 - Math.floor(point / SIDE) : point % SIDE;
  return SPAN * (2 * (along + 0.5) / SIDE - 1);
});
function picture(probabilities) {
  const image = new ImageData(SIDE, SIDE);
  for (let i = 0; i < SIDE * SIDE; i++) {
    for (let c = 0; c < 3; c++) {
      let mixed = 0;
      for (let kind = 0; kind < 3; kind++) mixed += probabilities[3 * i + kind] * KINDS[kind][c];
      image.data[4 * i + c] = mixed;
    }
    image.data[4 * i + 3] = 120;
  }
  return image;
}
const small = make("canvas", undefined, { width: SIDE, height: SIDE });
function decision(canvas, image, rows) {
  const size = canvas.width = canvas.height = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio));
  const context = canvas.getContext("2d");
  context.fillStyle = css("--paper");
  context.fillRect(0, 0, size, size);
  if (image) {
    small.getContext("2d").putImageData(image, 0, 0);
    context.drawImage(small, 0, 0, size, size);
  }
  rows.points.forEach(([x, y], i) => {
    context.beginPath();
    context.arc(size * (x / SPAN + 1) / 2, size * (1 - y / SPAN) / 2, size / 70, 0, 7);
    context.fillStyle = `rgb(${KINDS[rows.kinds[i]].join(",")})`;
    context.strokeStyle = "#000";
    context.lineWidth = size / 300;
    context.fill();
    context.stroke();
  });
}
return { LOW, HIGH, SPAN, make, told, drawScale, layers, recolour, chart, shown, plane, picture, decision, css };
})();
