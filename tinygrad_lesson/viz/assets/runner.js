// Carries out the calls of plans on arrays of float32. Which calls there are for a network of some size is data.
"use strict";
const PlanRunner = (() => {
const ELEMENTWISE = {
@@kernels@@
};

// Whole numbers in the data are themselves, or coefficients of what a network's sizes are.

function filled(x, terms) {
  if (Array.isArray(x)) return x.map((part) => filled(part, terms));
  if (x === null || typeof x !== "object" || !x["#"]) return x;
  return x["#"].reduce((sum, coefficient, i) => sum + coefficient * terms[i], 0);
}
function callsOf(family, { depth, width, features }) {
  const calls = [];
  for (const { repeated, calls: stretch } of family) {
    for (let i = 0; i < (repeated ? depth - 1 : 1); i++) {
      const terms = [1, i, depth, width, width * i, width * depth, features];
      for (const { part, call } of stretch) calls.push({ part, call: filled(call, terms) });
    }
  }
  return calls;
}

// Arrays: a part of memory, with a size and a step for rows and for columns.

const product = (shape) => shape.reduce((a, b) => a * b, 1);

class Calls {
  // `called` gives an array's own name for the one in the data; arrays that have a name are shared in `named`.
  constructor(calls, named, called = (name) => name) {
    this.named = named;
    this.called = called;
    this.made = new Map();
    this.parts = { setup: [], forward: [], backward: [], update: [] };
    calls.forEach(({ part, call }) => this.parts[part].push(this.bound(call)));
  }
  run(part) {
    for (const step of this.parts[part]) step();
  }
  memory(at, shape) {
    const name = Array.isArray(at) ? at[0].replace("#", at[1]) : at;
    const [known, key] = typeof at === "number" ? [this.made, at] : [this.named, this.called(name)];
    if (!known.has(key)) known.set(key, new Float32Array(product(shape)));
    return known.get(key);
  }
  operand(x) {
    if (typeof x === "number") return { data: Float32Array.of(x), start: 0, shape: [], steps: [] };
    if (!Array.isArray(x) || x[0] !== "array") throw new Error(`an operand is ${JSON.stringify(x)}`);
    const [, at, shape, strides, start] = x;
    const steps = strides ?? shape.map((_, axis) => product(shape.slice(axis + 1)));
    const data = this.memory(at, shape);
    const last = shape.reduce((sum, n, axis) => sum + (n - 1) * steps[axis], start);
    if (shape.length > 2 || last >= data.length) throw new Error(`no such array: ${JSON.stringify(x)}`);
    return { data, start, shape, steps };
  }
  bound([name, out, inputs, named]) {
    const to = this.operand(out), option = Object.fromEntries(named);
    if (name === "full") return () => to.data.fill(inputs[1]);
    if (name === "concatenate") return concatenate(to, inputs[0].slice(1).map((x) => this.operand(x)), option.axis);
    const from = (name === "copyto" ? inputs.slice(1) : inputs).map((x) => this.operand(x));
    if (name === "matmul") return () => matmul(to, ...from);
    if (name === "add.reduce") return reduce(to, from[0], option.axis, sum);
    if (name === "maximum.reduce") return reduce(to, from[0], option.axis, largest);
    return elementwise(name, to, from);
  }
}

function elementwise(name, to, from) {
  const kernel = ELEMENTWISE[name];
  if (!kernel) throw new Error(`there is no call ${name}`);
  const [rows, columns] = [1, 1, ...to.shape].slice(-2);
  const spread = [to, ...from].map(({ data, start, shape, steps }) => {
    const [row, column] = [0, 0, ...steps.map((step, axis) => (shape[axis] === 1 ? 0 : step))].slice(-2);
    return { data, start, row, column };
  });
  const joined = spread.every((x) => x.row === columns * x.column);
  return joined ? () => kernel(...spread, 1, rows * columns) : () => kernel(...spread, rows, columns);
}
function matmul(to, a, b) { // four results at a time, which do not wait for each other
  const [m, n] = to.shape, k = a.shape[1], A = a.data, B = b.data, C = to.data;
  const [downA, alongA] = a.steps, [downB, alongB] = b.steps;
  let place = to.start;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j += 4) {
      const q1 = j + 1 < n ? alongB : 0, q2 = j + 2 < n ? 2 * alongB : 0, q3 = j + 3 < n ? 3 * alongB : 0;
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, p = a.start + i * downA, q = b.start + j * alongB;
      for (let l = 0; l < k; l++) {
        const x = A[p];
        s0 += x * B[q];
        s1 += x * B[q + q1];
        s2 += x * B[q + q2];
        s3 += x * B[q + q3];
        p += alongA;
        q += downB;
      }
      C[place++] = s0;
      if (q1) C[place++] = s1;
      if (q2) C[place++] = s2;
      if (q3) C[place++] = s3;
    }
  }
}
function reduce(to, from, axes, over) {
  const [axis] = [axes].flat(2).filter((x) => x !== "list");
  const count = from.shape[axis], step = from.steps[axis], other = from.shape.length === 2 ? 1 - axis : undefined;
  const next = other === undefined ? 0 : from.steps[other], results = to.data.length;
  return () => {
    for (let i = 0; i < results; i++) to.data[i] = over(from.data, from.start + i * next, step, count);
  };
}
function sum(data, at, step, count) {
  let total = 0;
  for (let i = 0; i < count; i++, at += step) total += data[at];
  return total;
}
function largest(data, at, step, count) {
  let found = data[at];
  for (let i = 1; i < count; i++) if (!(data[at += step] <= found)) found = data[at];
  return found;
}
function concatenate(to, from, axis) {
  let start = to.start;
  const copies = from.map((x) => {
    const part = { ...to, shape: x.shape, start };
    start += x.shape[axis] * to.steps[axis];
    return elementwise("positive", part, [x]);
  });
  return () => copies.forEach((copy) => copy());
}

// Random numbers: MXNet's streams on the CPU.

function twister(seed) { // MT19937
  const state = new Uint32Array(624);
  let at = 624;
  state[0] = seed;
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  return () => {
    if (at === 624) {
      for (let i = 0; i < 624; i++) {
        const y = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
}
class Generator {
  constructor(seed) {
    this.seed = seed;
    this.streams = [];
  }
  fill(array, bound) { // evenly between -bound and bound
    const low = Math.fround(-bound), range = Math.fround(Math.fround(bound) - low);
    const streams = Math.min(Math.ceil(array.length / 64), 1024), run = Math.ceil(array.length / streams);
    for (let i = 0; i < array.length; i++) {
      const n = Math.floor(i / run);
      this.streams[n] ??= twister((127 * this.seed + n) >>> 0);
      const u = Math.min(Math.fround(this.streams[n]()) * 2 ** -32, 1 - 2 ** -24);
      array[i] = low + Math.fround(range * u);
    }
  }
}

// A network that learns: the calls of its training, of its optimizer for each parameter, and of its answers.

class Network {
  constructor(kit, asked) {
    const { structure, activation, normalized, optimizer, features } = asked;
    const { training, prediction } = kit.families[[structure, activation, normalized ? "normalized" : "as it is"].join(", ")];
    this.features = features;
    this.optimizer = kit.optimizers[optimizer];
    this.named = new Map();
    const learning = callsOf(training, asked);
    this.training = new Calls(learning, this.named);
    this.loss = this.training.made.get(resultOf(learning, "forward"));
    const given = (name) => `gradient ${name}`;
    for (const [name, { length }] of [...this.named]) { // a parameter that nothing reads is changed all the same
      const own = name.replace(/^gradient /, "");
      if (own !== name && !this.named.has(own)) this.named.set(own, new Float32Array(length));
    }
    const parameters = [...this.named.keys()].filter((name) => this.named.has(given(name)));
    this.weights = parameters.filter((name) => name.endsWith("weight"));
    this.gradients = this.weights.map((name) => this.named.get(given(name)));
    this.updates = parameters.map((name) => new Calls(
      callsOf(this.optimizer.calls, { depth: 1, width: this.named.get(name).length, features: 1 }), this.named,
      (array) => ({ weight: name, gradient: given(name), rate: "rate" })[array] ?? `${array}:${name}`));
    const asking = callsOf(prediction, asked), memory = new Map(this.named);
    memory.set("data", new Float32Array(kit.asked * features)); // of its own: more rows than a batch
    this.prediction = new Calls(asking, memory);
    [this.questions, this.answers] = [memory.get("data"), this.prediction.made.get(resultOf(asking, "forward"))];
    this.training.run("setup");
    this.prediction.run("setup");
    for (const name of this.weights) this.named.get(name).fill(0);
    this.steps = 0;
  }
  start(bound, seed) { // the first values of all parameters
    const generator = new Generator(seed);
    for (const [name, array] of this.named) {
      if (this.weights.includes(name)) generator.fill(array, bound);
      else array.fill(/(gamma|moving_var)$/.test(name) && !name.startsWith("gradient ") && !name.startsWith("moment") ? 1 : 0);
    }
    this.steps = 0;
  }
  step(rows, labels, rate) { // one batch: its loss
    this.named.get("data").set(rows);
    this.named.get("label").set(labels);
    this.steps++;
    const { corrected } = this.optimizer, t = this.steps;
    this.named.get("rate")[0] = corrected ? rate * Math.sqrt(1 - corrected[1] ** t) / (1 - corrected[0] ** t) : rate;
    this.training.run("forward");
    this.training.run("backward");
    for (const update of this.updates) update.run("update");
    return this.loss[0];
  }
  magnitudes() { // mean |gradient| of each layer's weight, in the last batch
    return this.gradients.map((gradient) => {
      let total = 0;
      for (let i = 0; i < gradient.length; i++) total += Math.abs(gradient[i]);
      return total / gradient.length;
    });
  }
  answer(rows) { // probabilities of the kinds, row by row
    const size = this.questions.length, found = [];
    for (let at = 0; at < rows.length; at += size) {
      this.questions.fill(0);
      this.questions.set(rows.subarray(at, at + size));
      this.prediction.run("forward");
      found.push(...this.answers.subarray(0, this.answers.length * Math.min(1, (rows.length - at) / size)));
    }
    return found;
  }
}
function resultOf(calls, part) { // the array that its last call of this part writes to
  const at = calls.findLast((one) => one.part === part).call[1][1];
  return at;
}
return { Network, Generator, callsOf };
})();
