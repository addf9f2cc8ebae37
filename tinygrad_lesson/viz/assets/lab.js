// The laboratory: two networks learn here, by the plans in #kit. Its settings stand in the address.
"use strict";
const Laboratory = (() => {
const root = document.getElementById("lab");
if (!root) return undefined;
const kit = JSON.parse(document.getElementById("kit").textContent);
const byId = (id) => document.getElementById(`lab-${id}`);
const { make } = Draw;
const span = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => String(from + i));
const SETTINGS = { // of a network, in the order in which they stand in the address
  structure: ["structure", kit.structures],
  depth: ["hidden layers", span(1, 30)],
  width: ["units in each", span(1, 16)],
  activation: ["activation", kit.activations],
  normalized: ["batch normalization", ["no", "yes"]],
  bound: ["first weights within \u00b1", ["0.001", "0.003", "0.01", "0.03", "0.1", "0.2", "0.3", "0.5", "1", "2"]],
  optimizer: ["optimizer", Object.keys(kit.optimizers)],
  rate: ["learning rate", ["0.0001", "0.0003", "0.001", "0.003", "0.01", "0.03", "0.05", "0.1", "0.3", "1"]],
};
const SHARED = { // by both
  data: Object.keys(kit.rows), seed: span(0, 9), last: ["100", "300", "1000"], speed: ["1", "5", "60"],
};
const SPEEDS = { 1: "1 step a frame", 5: "1 epoch a frame", 60: "60 steps a frame" };
const START = kit.examples[0][1];
const MOST = 14; // milliseconds of each frame for training
const state = { playing: false, goal: 0, epoch: 1, layer: 0 };
let nets = [], charts, asked;

// Settings and the address.

function read(entries) { // what is not known stays as it is
  const known = { ...START, ...entries };
  for (const [name, values] of Object.entries(SHARED)) {
    state[name] = values.includes(known[name]) ? known[name] : START[name] ?? values[0];
  }
  const number = (text, most) => Math.min(most, Math.max(1, Math.floor(Number(text)) || 1));
  state.epoch = number(known.epoch, Number(state.last));
  state.layer = number(known.layer, 31) - 1;
  nets = ["a", "b"].map((name) => new Trainee(name, settingsOf(known[name], START[name])));
}
function settingsOf(text, otherwise) {
  const parts = String(text).split(","), usual = otherwise.split(",");
  return Object.fromEntries(Object.entries(SETTINGS).map(([name, [, values]], i) => [
    name, values.includes(parts[i]) ? parts[i] : usual[i]]));
}
function write() {
  const entries = { tab: "laboratory", data: state.data };
  for (const name of ["seed", "last", "speed"]) if (state[name] !== START[name]) entries[name] = state[name];
  for (const net of nets) entries[net.name] = Object.values(net.settings).join(",");
  Address.write({ ...entries, epoch: state.epoch, layer: state.layer + 1 });
}

// A network that learns.

class Trainee {
  constructor(name, settings) {
    this.name = name;
    this.settings = settings;
    this.begin();
  }
  begin() {
    const { structure, activation, optimizer } = this.settings, rows = kit.rows[state.data];
    this.features = rows.train[0].length;
    this.net = new PlanRunner.Network(kit, { structure, activation, optimizer, normalized: this.settings.normalized === "yes",
      depth: Number(this.settings.depth), width: Number(this.settings.width), features: this.features });
    this.net.start(Number(this.settings.bound), Number(state.seed));
    this.data = Float32Array.from(rows.train.flat());
    this.labels = oneHot(rows.train_kinds);
    this.tests = Float32Array.from(rows.test.flat());
    this.steps = 0;
    this.loss = [];
    this.gradients = [];
    this.looks = [];
    this.sum = this.net.weights.map(() => 0);
    this.total = 0;
  }
  get epochs() { return this.loss.length; }
  step() {
    const { batch, kinds } = kit, batches = this.labels.length / kinds / batch, b = this.steps % batches;
    const part = (array, wide) => array.subarray(b * batch * wide, (b + 1) * batch * wide);
    this.total += this.net.step(part(this.data, this.features), part(this.labels, kinds), Number(this.settings.rate));
    this.net.magnitudes().forEach((value, i) => { this.sum[i] += value; });
    this.steps++;
    if (this.steps % batches) return;
    this.loss.push(this.total / batches);
    this.gradients.push(this.sum.map((value) => value / batches));
    this.total = 0;
    this.sum.fill(0);
  }
  look() { // how the test rows are told now, and the plane
    const batches = this.data.length / this.features / kit.batch, true_ = kit.rows[state.data].test_kinds;
    if (this.steps % batches || this.looks[this.epochs]) return;
    const answers = this.net.answer(this.tests);
    const best = (i) => [0, 1, 2].reduce((a, b) => (answers[3 * i + b] > answers[3 * i + a] ? b : a));
    const right = true_.filter((kind, i) => kind === best(i)).length / true_.length;
    const image = this.features === 2 ? LabView.picture(this.net.answer(LabView.plane)) : undefined;
    this.looks[this.epochs] = { right, image };
  }
}
function oneHot(kinds) {
  const labels = new Float32Array(kinds.length * kit.kinds);
  kinds.forEach((kind, i) => { labels[i * kit.kinds + kind] = 1; });
  return labels;
}

// Frames: train for some milliseconds, then show.

function wake() {
  asked ??= requestAnimationFrame(frame);
}
function frame() {
  asked = undefined;
  const began = performance.now(), batches = nets[0].labels.length / kit.kinds / kit.batch, last = Number(state.last);
  const reached = Math.min(...nets.map((net) => net.epochs)) >= state.epoch;
  if (state.playing && reached) state.goal = Math.min(last * batches, state.goal + Number(state.speed));
  const goal = Math.max(state.goal, state.epoch * batches), waiting = () => nets.filter((net) => net.steps < goal);
  for (let late = waiting(); late.length && performance.now() - began < MOST; late = waiting()) late.forEach((net) => net.step());
  nets.forEach((net) => net.look());
  const done = Math.min(...nets.map((net) => net.epochs));
  if (state.playing) state.epoch = Math.max(1, Math.min(Math.floor(goal / batches), Math.max(done, state.epoch)));
  if (state.playing && state.epoch >= last) play(false);
  show();
  if (state.playing || waiting().length) wake();
}
function play(on) {
  state.playing = on;
  if (on && state.epoch >= Number(state.last)) restart();
  state.goal = state.epoch * nets[0].labels.length / kit.kinds / kit.batch;
  byId("play").textContent = on ? "\u275a\u275a" : "\u25b6";
  byId("play").setAttribute("aria-label", on ? "Pause" : "Train");
  write();
  wake();
}
function restart() {
  state.epoch = 1;
  state.goal = 0;
  nets.forEach((net) => net.begin());
}

// What is seen.

function show() {
  byId("epoch").max = state.last;
  byId("epoch").value = String(state.epoch);
  byId("epoch-told").textContent = String(state.epoch);
  nets.forEach(showNet);
  showCharts();
}
function at(net) { // the epoch of this network that is shown: the last if it is not yet there
  return Math.min(state.epoch, net.epochs);
}
function showNet(net) {
  const epoch = at(net), { view } = net;
  if (!epoch) return;
  const gradients = net.gradients[epoch - 1], first = gradients[0], end = gradients.at(-1);
  LabView.recolour(view.rows, kit.ramp, gradients, Math.min(state.layer, gradients.length - 1));
  const looks = net.looks.slice(0, epoch + 1), when = looks.length - 1, look = looks[when];
  const share = first > 0 && end > 0 ? `first layer / last layer: ${Draw.brief(first / end)}` : "no gradient reaches the first layer";
  view.told.textContent = `loss ${net.loss[epoch - 1].toFixed(4)}; ${look ? `test rows right: ${Math.round(100 * look.right)} %; ` : ""}${share}`;
  if (net.features === 2 && view.image !== look?.image) {
    view.image = look?.image;
    const { train, train_kinds } = kit.rows[state.data];
    LabView.decision(view.canvas, view.image, { points: train, kinds: train_kinds });
  }
}
function showCharts() {
  const last = Number(state.last), longest = Math.max(...nets.map((net) => net.gradients[0]?.length ?? 0));
  const epochs = Array.from({ length: Math.max(...nets.map((net) => net.epochs)) }, (_, i) => i + 1);
  const put = (one, x, values, marked) => {
    one.marked = marked;
    one.setData([x, ...values.map((v) => x.map((_, i) => v[i] ?? null))]);
  };
  put(charts.loss, epochs, nets.map((net) => LabView.shown(net.loss)), state.epoch);
  put(charts.depth, Array.from({ length: longest }, (_, i) => i + 1),
    nets.map((net) => LabView.shown(net.gradients[at(net) - 1] ?? [], LabView.SCALE.low)), state.layer + 1);
  put(charts.course, epochs, nets.map((net) => LabView.shown(net.gradients.map((g) => g[state.layer]), LabView.SCALE.low)), state.epoch);
  byId("depth-told").textContent = `Gradient from layer to layer, in epoch ${state.epoch} of ${last}`;
  byId("course-told").textContent = `Gradient of layer ${state.layer + 1}, epoch by epoch`;
}
function build() { // anew, where settings, the scheme of colours or the width are others
  const last = Number(state.last), deepest = Math.max(...nets.map((net) => net.net.weights.length));
  nets.forEach(buildNet);
  const decades = Object.values(LabView.SCALE), all = (u, low, high) => (low > 0
    ? [10 ** Math.floor(Math.log10(low) + 1e-9), 10 ** Math.ceil(Math.log10(high) - 1e-9)] : [0.1, 1]);
  charts = {
    loss: LabView.chart(byId("loss"), ["epoch", "loss"], [1, last], all),
    depth: LabView.chart(byId("depth"), ["layer", "mean |gradient|"], [1, deepest], decades, true),
    course: LabView.chart(byId("course"), ["epoch", "mean |gradient|"], [1, last], decades),
  };
  show();
  wake();
}
function summary(s) {
  const parts = [s.structure, `${s.depth} \u00d7 ${s.width}`, s.activation];
  if (s.normalized === "yes") parts.push("batch norm");
  return parts.join(" \u00b7 ");
}
function buildNet(net) {
  const place = byId(`net-${net.name}`), list = place.querySelector(".lab-layers");
  place.querySelector("h2 span").textContent = summary(net.settings);
  place.querySelector("summary").textContent = `settings: first weights \u00b1${net.settings.bound}, ${net.settings.optimizer}, rate ${net.settings.rate}`;
  place.querySelector(".lab-picture").classList.toggle("two", net.features === 2);
  place.querySelector("figure").hidden = net.features !== 2;
  const choose = (i) => { state.layer = i; show(); write(); };
  net.view = { told: place.querySelector(".lab-told"), canvas: place.querySelector("canvas"),
    rows: LabView.layers(list, net.net.weights.length, net.settings.structure, choose) };
  for (const input of place.querySelectorAll("[data-setting]")) {
    const name = input.dataset.setting;
    input.value = net.settings[name];
    if (input.type === "range") input.previousSibling.textContent = `${SETTINGS[name][0]}: ${net.settings[name]}`;
  }
}
function card(name) { // one network's place, made once
  const place = make("section", undefined, { class: "lab-net", id: `lab-net-${name}`, "aria-label": `network ${name.toUpperCase()}` });
  const heading = make("h2"), settings = make("div", undefined, { class: "lab-settings" }), details = make("details");
  heading.append(make("b", name.toUpperCase(), { class: `of-${name}` }), make("span"));
  for (const [key, [label, values]] of Object.entries(SETTINGS)) {
    const wide = key === "depth" || key === "width", most = values.at(-1);
    const input = wide ? make("input", undefined, { type: "range", min: 1, max: most, step: 1 }) : make("select");
    if (!wide) input.append(...values.map((value) => make("option", value, { value })));
    input.dataset.setting = key;
    input.addEventListener("input", () => change(name, key, input.value));
    const labelled = make("label");
    labelled.append(make("span", label), input);
    settings.append(labelled);
  }
  details.append(make("summary"), settings);
  details.open = matchMedia("(min-width: 62rem)").matches;
  const picture = make("div", undefined, { class: "lab-picture" }), figure = make("figure");
  const list = make("div", undefined, { class: "lab-layers", role: "listbox", tabindex: 0, "aria-label": `layers of network ${name.toUpperCase()}` });
  list.addEventListener("keydown", (e) => {
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -99, End: 99 }[e.key];
    if (by === undefined) return;
    e.preventDefault();
    const net = nets.find((one) => one.name === name);
    state.layer = Math.min(net.net.weights.length - 1, Math.max(0, state.layer + by));
    show();
    write();
  });
  figure.append(make("canvas", undefined, { role: "img", "aria-label": "what the network says of each point" }),
    make("figcaption", `the plane, \u2212${LabView.SPAN} to ${LabView.SPAN} both ways`));
  picture.append(list, figure);
  place.append(heading, details, make("p", "", { class: "lab-told" }), picture);
  return place;
}
function change(name, key, value) {
  const net = nets.find((one) => one.name === name);
  net.settings = { ...net.settings, [key]: value };
  net.begin();
  build();
  write();
}
function openWith(entries) {
  read(entries);
  for (const name of Object.keys(SHARED)) byId(name).value = state[name];
  const same = ({ a, b, data }) => data === state.data && [a, b].every((text, i) => text === Object.values(nets[i].settings).join(","));
  byId("example").value = String(kit.examples.findIndex(([, entries]) => same(entries)));
  state.goal = 0;
  build();
}
function listen() {
  byId("nets").append(card("a"), card("b"));
  for (const [name, values] of Object.entries(SHARED)) {
    byId(name).append(...values.map((value) => make("option", name === "speed" ? SPEEDS[value] : value, { value })));
    byId(name).addEventListener("change", (e) => {
      state[name] = e.target.value;
      state.epoch = Math.min(state.epoch, Number(state.last));
      if (name === "data" || name === "seed") nets.forEach((net) => net.begin());
      build();
      write();
    });
  }
  byId("example").append(make("option", "your own", { value: -1 }), ...kit.examples.map(([title], i) => make("option", title, { value: i })));
  byId("example").addEventListener("change", (e) => {
    if (e.target.value === "-1") return;
    play(false);
    openWith(kit.examples[e.target.value][1]);
    write();
  });
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("again").addEventListener("click", () => { play(false); restart(); build(); write(); });
  byId("epoch").addEventListener("input", (e) => {
    if (state.playing) play(false);
    state.epoch = Number(e.target.value);
    wake();
  });
  byId("epoch").addEventListener("change", write);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width && !root.hidden) build();
    width = innerWidth;
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (!root.hidden) build(); });
  addEventListener("hashchange", () => {
    const { tab = "laboratory", ...entries } = Address.read();
    if (!root.hidden && tab === "laboratory") openWith(entries);
  });
  Draw.drawScale(byId("ramp"), byId("ticks"), kit.ramp, LabView.SCALE);
}
function enter() { // it is seen from now on
  root.hidden = false;
  const { tab, ...entries } = Address.read();
  if (nets.length && tab !== "laboratory") build();
  else openWith(tab === undefined || tab === "laboratory" ? entries : {});
}
function leave() {
  if (state.playing) play(false);
  root.hidden = true;
}
listen();
if (document.getElementById("panel")) root.hidden = true;
else enter();
return { enter, leave, write, nets: () => nets };
})();
