// The page of a training. All that varies is in the JSON of #data; every name from there goes in as text.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const { css, make, put, told } = Draw;
const SIGNS = { v: "\u25bc", e: "\u25b2", 0: "\u2205", n: "\u2715" };
const WORDS = { v: "vanishing", e: "exploding", 0: "exactly 0", n: "not a number" };
const READABLE = 0.6; // of its own size, at which a network can still be read
const MOST_LINES = 40; // of other layers or networks in a chart
const lab = typeof Laboratory === "undefined" ? undefined : Laboratory; // where the page has one
let net, epoch = 1, layer = 0, panzoom, charts = [], timer;
let membersOf = new Map(); // by the group in the drawing: the layers it stands for
let unfolded = false; // whether all layers of a deep network are drawn

function colour(value) {
  return value > 0 ? Draw.colour(value, data.ramp, data.scale) : css("--box");
}
function mark(i) {
  return net.layers[i].marks[epoch - 1] ?? ".";
}
function drawScale() {
  Draw.drawScale(byId("ramp"), byId("ticks"), data.ramp, data.scale);
  const present = [...new Set(data.nets.flatMap((n) => n.layers.flatMap((l) => [...l.marks])))];
  byId("marks").textContent = Object.keys(SIGNS).filter((m) => present.includes(m))
    .map((m) => `${SIGNS[m]} ${WORDS[m]}`).join("  ");
}

// The network.

function drawNetwork() {
  const stage = byId("drawing");
  panzoom?.destroy();
  panzoom = undefined;
  membersOf = new Map();
  stage.replaceChildren();
  const text = (!unfolded && net.folded) || net.svg;
  byId("fold").hidden = !net.folded || net.folded === net.svg;
  byId("fold").textContent = unfolded ? "fold" : "all layers";
  const picture = text && new DOMParser().parseFromString(text, "image/svg+xml");
  if (!picture || picture.querySelector("parsererror")) {
    stage.append(make("p", data.missing));
    return;
  }
  const svg = document.importNode(picture.documentElement, true);
  svg.removeAttribute("width");
  svg.removeAttribute("height");
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", "the network, layer by layer");
  stage.append(svg);
  const place = new Map(net.layers.map((l, i) => [l.weight, i]));
  for (const group of svg.querySelectorAll("g.layer")) prepare(group, place);
  const box = svg.getBBox();
  svg.setAttribute("viewBox", [box.x - 6, box.y - 6, box.width + 12, box.height + 12].join(" "));
  panzoom = Panzoom(svg, { touchAction: "pan-y", maxScale: 40, minScale: 0.5, step: 0.35, cursor: "grab", handleStartEvent: (e) => {
    if (!e.target.closest?.(".layer")) e.preventDefault();
  } });
  startAt(svg, box);
}
function startAt(svg, box) { // whole, or from the first layers where that would be too small to be read
  const stage = byId("stage").getBoundingClientRect();
  const fits = Math.min(stage.height / (box.height + 12), stage.width / (box.width + 12));
  const scale = Math.min(1.1 / fits, stage.width / ((box.width + 12) * fits));
  if (fits < READABLE && scale > 1) {
    panzoom.zoom(scale, { animate: false });
    const down = stage.height / 2 * (1 - 1 / scale);
    setTimeout(() => { // after Panzoom's own start
      panzoom?.pan(0, down, { animate: false, force: true });
      reveal();
    });
  }
}
let asked; // the frame that reveals
function reveal() { // move the network so far that the chosen layer is seen
  cancelAnimationFrame(asked);
  asked = requestAnimationFrame(moveToChosen); // Panzoom draws a move in the next frame; only then can places be measured
}
function moveToChosen() {
  const [group] = [...membersOf].find(([, members]) => members.includes(layer)) ?? [];
  if (!group || !panzoom) return;
  for (const id of ["stage", "drawing"]) byId(id).scrollTo(0, 0); // where the focus has scrolled it
  const box = group.getBoundingClientRect(), stage = byId("stage").getBoundingClientRect();
  const off = (low, high, from, to) => (low < from || high > to ? (from + to - low - high) / 2 : 0);
  const x = off(box.left, box.right, stage.left, stage.right), y = off(box.top, box.bottom, stage.top, stage.bottom);
  if (x || y) panzoom.pan(x / panzoom.getScale(), y / panzoom.getScale(), { relative: true, force: true });
}
function prepare(group, place) {
  const members = JSON.parse(group.dataset.weights).map((w) => place.get(w)).filter((i) => i !== undefined);
  if (!members.length) return;
  membersOf.set(group, members);
  const choose = () => chooseLayer(members.includes(layer) && members.length > 1
    ? members[(members.indexOf(layer) + 1) % members.length] : members[0]);
  group.setAttribute("tabindex", "0");
  group.setAttribute("role", "button");
  const lines = group.querySelectorAll("text");
  if (members.length > 1) stripe(group, members);
  lines[0].dataset.name = lines[0].textContent;
  let from;
  group.addEventListener("pointerdown", (e) => { from = [e.clientX, e.clientY]; });
  group.addEventListener("click", (e) => {
    if (!from || Math.hypot(e.clientX - from[0], e.clientY - from[1]) < 6) choose();
  });
  group.addEventListener("keydown", (e) => {
    if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(); }
  });
}
function stripe(group, members) { // a stripe for each layer that it stands for, the first at the left
  const gradient = put(group, "linearGradient", { id: `stripes-${members[0]}` });
  members.forEach((m, i) => [i, i + 1].forEach((edge) => put(gradient, "stop", { offset: edge / members.length })));
  group.classList.add("many");
}
function recolour() {
  for (const [group, members] of membersOf) {
    const worst = members.reduce((a, b) => (rank(b) < rank(a) ? b : a));
    const value = net.layers[worst].grad[epoch - 1], kind = mark(worst), fill = colour(value);
    const shape = group.querySelector("path, polygon"), text = group.querySelector("text");
    if (members.length > 1) {
      const stops = group.querySelectorAll("stop");
      members.forEach((m, i) => [0, 1].forEach((edge) => stops[2 * i + edge].setAttribute("stop-color", colour(net.layers[m].grad[epoch - 1]))));
    }
    shape.setAttribute("fill", members.length > 1 ? `url(#stripes-${members[0]})` : fill);
    text.setAttribute("fill", Draw.ink(fill));
    const least = members.length > 1 ? "\u2265 " : "";
    const number = `${SIGNS[kind] ? SIGNS[kind] + " " : ""}${value === null ? "NaN" : least + told(value)}`;
    text.textContent = `${text.dataset.name}  ${number}`;
    fit(text, shape.getBBox().width - 8);
    for (const m of Object.keys(SIGNS)) group.classList.toggle(m === "0" ? "d" : m, m === kind);
    group.classList.toggle("chosen", members.includes(layer));
    group.setAttribute("aria-pressed", String(members.includes(layer)));
    const more = members.length > 1 ? `, the worst of ${members.length} layers` : "";
    group.setAttribute("aria-label",
      `${net.layers[worst].name}: mean gradient ${told(value)} in epoch ${epoch}${kind === "." ? "" : ", " + WORDS[kind]}${more}`);
  }
}
function rank(i) {
  const value = net.layers[i].grad[epoch - 1];
  return value === null ? -1 : value;
}
function fit(text, width) {
  text.setAttribute("font-size", "12");
  const length = text.getComputedTextLength();
  if (length > width) text.setAttribute("font-size", Math.max(4, 12 * width / length).toFixed(1));
}

// Charts.

function padded(values, count) {
  return Array.from({ length: count }, (_, i) => values[i] ?? null);
}
function drawCharts() {
  charts.forEach((c) => c.destroy());
  charts = [];
  const draw = (id, lines, label) => charts.push(PageView.chart(byId(id), lines, label, () => epoch, chooseEpoch));
  if (net.layers.length) {
    const step = Math.ceil(net.layers.length / MOST_LINES);
    const others = net.layers.filter((l, i) => i !== layer && i % step === 0);
    const lines = [...others.map((l) => ({ name: l.name, values: padded(l.grad, net.epochs) })),
      { name: net.layers[layer].name, values: padded(net.layers[layer].grad, net.epochs), strong: true }];
    draw("layer-chart", lines, "mean |gradient|");
    byId("layer-hint").textContent = `Orange: ${net.layers[layer].name}; grey: the other layers; the upright line: the epoch shown.`;
  }
  const longest = Math.max(...data.nets.map((n) => n.loss.length));
  const others = data.nets.filter((n) => n !== net && n.loss.length).slice(0, MOST_LINES);
  byId("loss-hint").textContent = others.length ? `Orange: ${net.name}; grey: the losses of ${others.map((n) => n.name).join(", ")}.` : "";
  if (!longest) return;
  draw("loss-chart", [...others.map((n) => ({ name: n.name, values: padded(n.loss, longest) })),
    { name: net.name, values: padded(net.loss, longest), strong: true }], "loss");
}
function shortened(name) {
  return name.length > 14 ? `${name.slice(0, 13)}\u2026` : name;
}
function drawHeat() {
  const canvas = byId("heat"), rows = net.layers.length;
  canvas.width = net.epochs;
  canvas.height = Math.max(1, rows);
  canvas.setAttribute("aria-label", `mean gradient of ${rows} layers in ${net.epochs} epochs as colours`);
  const context = canvas.getContext("2d");
  net.layers.forEach((l, y) => l.grad.forEach((value, x) => {
    context.fillStyle = colour(value);
    context.fillRect(x, y, 1, 1);
  }));
  const step = Math.ceil(rows / 16), by = Draw.WHOLE.find((n) => net.epochs / n <= canvas.clientWidth / 48) ?? net.epochs;
  byId("heat-names").replaceChildren(...[...net.layers.keys()].filter((i) => i % step === 0).map((i) => make("span", shortened(net.layers[i].name))));
  [...byId("heat-names").children].forEach((name, i) => { name.style.top = `${100 * (i * step + 0.5) / rows}%`; });
  const widest = Math.max(0, ...[...byId("heat-names").children].map((name) => name.getBoundingClientRect().width));
  byId("heat-names").style.width = `${widest}px`;
  byId("heat-epochs").replaceChildren();
  for (let e = by; e <= net.epochs; e += by) {
    const tick = byId("heat-epochs").appendChild(make("span", e === by ? `epoch ${e}` : e)), along = 100 * (e - 0.5) / net.epochs;
    tick.style.left = `${along}%`;
    tick.style.transform = `translateX(-${along > 95 ? 100 : 50}%)`;
  }
}

// What is told in words and tables.

function drawDiagnosis() {
  const place = byId("diagnosis");
  place.replaceChildren(make("p", net.headline));
  place.classList.toggle("healthy", net.healthy);
  let list;
  for (const line of net.told) {
    if (/^ {2}/.test(line)) {
      if (!list) place.append((list = make("ul")));
      list.append(make("li", line.replace(/^ +(- )?/, "")));
    } else {
      list = undefined;
      place.append(make("p", line));
    }
  }
}
function drawTables() {
  const place = byId("confusion");
  place.replaceChildren();
  byId("confusion-hint").hidden = !net.tables.length;
  byId("confusion-part").hidden = !net.tables.length && net.accuracy === null;
  byId("accuracy").textContent = net.accuracy === null ? "" : `${(100 * net.accuracy).toFixed(0)} % are told right.`;
  for (const { name, rows } of net.tables) {
    const table = make("table");
    table.append(make("caption", name));
    const head = make("tr");
    head.append(make("th", ""), ...rows[0].map((_, j) => make("th", j + 1, { scope: "col" })));
    table.append(head);
    rows.forEach((row, i) => {
      const line = make("tr");
      line.append(make("th", i + 1, { scope: "row" }), ...row.map((n, j) => make("td", n, i === j ? { class: "right" } : {})));
      table.append(line);
    });
    place.append(table);
  }
}
function drawLayer() {
  const one = net.layers[layer];
  byId("spreads").replaceChildren();
  byId("spreads-hint").textContent = "";
  if (!one) return;
  byId("layer").value = String(layer);
  const facts = [`mean |gradient| ${told(one.grad[epoch - 1])} in epoch ${epoch}`];
  if (one.arrives !== null && one.arrives !== undefined) facts.push(`of a gradient at the last layer ${told(one.arrives)} arrives here, says the product of Jacobians at the first weights`);
  if (one.last && one.last.dead.length) facts.push(`${one.last.dead.length} of ${one.last.units} units are dead after training: ${one.last.dead.join(", ")}`);
  byId("layer-facts").textContent = facts.join("; ");
  const known = one.between.map((spreads, k) => [net.kept[k], spreads]);
  if (one.last) known.push([net.epochs, one.last]);
  byId("spreads-hint").textContent = known.length < 2 ? "" :
    `Bars are as high as the root of their count; two histograms side by side have one axis. Known after epochs ${known.map(([e]) => e).join(", ")}; shown at the right is the nearest to epoch ${epoch}.`;
  if (!known.length) return;
  const [at, now] = known.reduce((a, b) => (Math.abs(b[0] - epoch) < Math.abs(a[0] - epoch) ? b : a));
  for (const what of ["weights", "activations"]) {
    const both = one.first ? [one.first[what], now[what]] : [now[what]];
    const range = [Math.min(...both.map((s) => s.low)), Math.max(...both.map((s) => s.high))];
    if (one.first) byId("spreads").append(PageView.histogram(`${what} before training`, one.first[what], "before", range));
    byId("spreads").append(PageView.histogram(`${what} after ${at === net.epochs ? "training" : `epoch ${at}`}`, now[what], "after", range));
  }
}

// What can be chosen; it stands in the address.

function write() {
  if (!timer) Address.write({ tab: net.name, epoch, layer: layer + 1 });
}
function follow() { // what the address says, as far as it is known here
  const { tab, epoch: asked, layer: chosen } = Address.read();
  const named = data.nets.findIndex((n) => n.name === tab);
  const number = (text, usual) => (Number.isInteger(Number(text)) && Number(text) > 0 ? Number(text) : usual);
  [epoch, layer] = [number(asked, 1), number(chosen, 1) - 1];
  if (named < 0 && tab === "laboratory" && lab) chooseLab();
  else chooseNet(named < 0 ? data.opening : named);
}
function chooseLayer(i) {
  layer = i;
  recolour();
  drawLayer();
  drawCharts();
  write();
}
function chooseTab(i) { // the laboratory has the last
  if (timer) play();
  byId("panel").hidden = i >= data.nets.length;
  [...byId("tabs").children].forEach((tab, j) => {
    tab.setAttribute("aria-selected", String(i === j));
    tab.tabIndex = i === j ? 0 : -1;
  });
}
function chooseLab() {
  chooseTab(data.nets.length);
  lab.enter();
}
function chooseEpoch(e) {
  epoch = Math.min(Math.max(1, e), net.epochs);
  byId("epoch").value = String(epoch);
  byId("epoch-told").textContent = `${epoch} of ${net.epochs}`;
  recolour();
  drawLayer();
  charts.forEach((c) => c.redraw(false, false));
  write();
}
function chooseNet(i) {
  lab?.leave();
  chooseTab(i);
  net = data.nets[i];
  layer = Math.min(layer, Math.max(0, net.layers.length - 1));
  byId("panel").setAttribute("aria-labelledby", `tab-${i}`);
  byId("layer").replaceChildren(...net.layers.map((l, j) => make("option", l.name, { value: j })));
  byId("epoch").max = String(Math.max(1, net.epochs));
  byId("note").textContent = `${net.layers.length} layers with weights${net.note ? `; ${net.note}` : ""}`;
  drawNetwork();
  drawDiagnosis();
  drawTables();
  drawHeat();
  drawCharts();
  chooseEpoch(epoch);
}
function play() {
  const button = byId("play");
  if (timer) {
    clearInterval(timer);
    timer = undefined;
    write();
  } else {
    if (epoch >= net.epochs) chooseEpoch(1);
    timer = setInterval(() => (epoch < net.epochs ? chooseEpoch(epoch + 1) : play()), 120);
  }
  button.textContent = timer ? "\u275a\u275a" : "\u25b6";
  button.setAttribute("aria-label", timer ? "Pause" : "Play the epochs");
}
function zoom(how) {
  if (!panzoom) return;
  if (how === "in") panzoom.zoomIn();
  if (how === "out") panzoom.zoomOut();
  if (how === "all") panzoom.reset();
}
function listen() {
  const addTab = (name, i, panel, choose) => {
    const tab = make("button", name, { type: "button", role: "tab", id: `tab-${i}`, "aria-controls": panel, title: name });
    tab.addEventListener("click", choose);
    byId("tabs").append(tab);
  };
  data.nets.forEach((n, i) => addTab(n.name, i, "panel", () => chooseNet(i)));
  if (lab) addTab("Laboratory", data.nets.length, "lab", () => { chooseLab(); lab.write(); });
  byId("tabs").addEventListener("keydown", (e) => {
    const tabs = [...byId("tabs").children], now = tabs.indexOf(document.activeElement), last = tabs.length - 1;
    const to = { ArrowRight: now === last ? 0 : now + 1, ArrowLeft: now <= 0 ? last : now - 1, Home: 0, End: last }[e.key];
    if (to === undefined) return;
    e.preventDefault();
    tabs[to].click();
    tabs[to].focus();
  });
  byId("epoch").addEventListener("input", (e) => chooseEpoch(Number(e.target.value)));
  byId("layer").addEventListener("change", (e) => { chooseLayer(Number(e.target.value)); reveal(); });
  byId("play").addEventListener("click", play);
  byId("zoom").addEventListener("click", (e) => zoom(e.target.dataset.zoom));
  byId("fold").addEventListener("click", () => { unfolded = !unfolded; drawNetwork(); recolour(); reveal(); });
  byId("stage").addEventListener("wheel", (e) => panzoom?.zoomWithWheel(e), { passive: false });
  byId("stage").addEventListener("keydown", (e) => {
    const how = { "+": "in", "=": "in", "-": "out", 0: "all" }[e.key];
    if (how) zoom(how);
  });
  byId("heat").addEventListener("click", (e) => {
    const box = byId("heat").getBoundingClientRect();
    chooseLayer(Math.min(net.layers.length - 1, Math.floor((e.clientY - box.top) / box.height * net.layers.length)));
    chooseEpoch(1 + Math.floor((e.clientX - box.left) / box.width * net.epochs));
    reveal();
  });
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width && net) drawCharts();
    width = innerWidth;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => net && drawCharts());
}

drawScale();
listen();
follow();
addEventListener("hashchange", follow);
})();
