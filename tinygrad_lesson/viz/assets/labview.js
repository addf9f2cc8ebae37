// How the laboratory shows a network: its layers in colours, curves, and what it says of each point of a plane.
"use strict";
const LabView = (() => {
const { css, make, put, told } = Draw;
const SCALE = { low: 1e-16, high: 1 }; // of colours
const KINDS = [[230, 159, 0], [86, 180, 233], [0, 158, 115]]; // Okabe and Ito
const SIDE = 40; // points along each side of a decision picture
const SPAN = 1.3; // from -SPAN to SPAN

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
  const look = { "aria-hidden": "true", viewBox: `0 0 30 ${count * high}`, preserveAspectRatio: "none" };
  const svg = put(document.createDocumentFragment(), "svg", look), line = (d) => put(svg, "path", { d });
  const middle = (i) => (i + 0.5) * high;
  if (structure === "residual") {
    for (let i = 0; i < count - 2; i++) {
      const from = middle(i) + 3, to = middle(i + 1) - 3, edge = high >= 30 ? 2 : 9;
      line(`M 30 ${from} H ${edge + 6} Q ${edge} ${from} ${edge} ${(from + to) / 2} Q ${edge} ${to} ${edge + 6} ${to} H 30`);
    }
  }
  if (structure === "dense" && count > 2) {
    line(`M 8 ${middle(0)} V ${middle(count - 1)}`);
    for (let i = 0; i < count; i++) line(`M 8 ${middle(i)} H 30`);
  }
  return svg;
}
function recolour(rows, ramp, gradients, chosen) {
  rows.forEach((row, i) => {
    const value = gradients[i], fill = value > 0 ? Draw.colour(value, ramp, SCALE) : "";
    row.classList.toggle("lab-zero", !fill);
    row.style.background = fill;
    row.style.color = fill ? Draw.ink(fill) : "";
    row.lastChild.textContent = told(value);
    row.setAttribute("aria-selected", String(i === chosen));
  });
}

// Curves.

function chart(place, labels, numbers, range, points = false) { // of networks A and B, on a logarithmic scale
  const line = (label, name) => ({ label, stroke: css(name), width: 2, points: { show: (u) => points || u.data[0].length < 3, size: 6, fill: css(name) } });
  const plain = (v) => (v >= 0.01 && v <= 1000 ? String(+v.toPrecision(1)) : v.toExponential(0));
  place.replaceChildren();
  return new uPlot({
    width: place.clientWidth, height: 160, legend: { show: false }, cursor: { show: false },
    scales: { x: { time: false, range: numbers }, y: { distr: 3, range } },
    axes: Draw.axes(labels, plain),
    series: [{}, line("A", "--net-a"), line("B", "--net-b")],
    plugins: [{ hooks: { draw: (u) => u.marked !== undefined && Draw.upright(u, u.marked, "--soft", [4, 4]) } }],
  }, [[], [], []], place);
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
return { SCALE, SPAN, layers, recolour, chart, shown, plane, picture, decision };
})();
