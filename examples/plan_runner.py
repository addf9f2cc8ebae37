"""A plan in a file is enough to train from, its optimizer included: a runner of its own, in plain Python with NumPy.

python examples/plan_runner.py

    epoch 1: loss 0.3662
    epoch 100: loss 0.0342
    the first test row: [0.9363111  0.06158901 0.00209987]
"""

import json
import tempfile
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided

# The runner: it knows nothing but the file, which it trusts; `Plan.load` is the one for files of strangers.


class Runner:
    def __init__(self, path):
        self.plan = json.loads(Path(path).read_text())
        arena, flat, self.named = np.zeros(self.plan["arena"], np.uint8), {}, {}
        for v, a in enumerate(self.plan["arrays"]):
            size, dtype = int(np.prod(a["shape"], dtype=int)), np.dtype(a["dtype"])
            if "name" in a:
                self.named[a["name"]] = np.zeros(a["shape"], dtype)
                flat[v] = self.named[a["name"]].reshape(-1)
            elif "offset" in a:
                flat[v] = arena[a["offset"] : a["offset"] + size * dtype.itemsize].view(dtype)
        self.arrays = [a.get("value", flat.get(a.get("of", v))) for v, a in enumerate(self.plan["arrays"])]
        for v, a in enumerate(self.plan["arrays"]):
            if "value" not in a:
                strides = (
                    a.get("strides")
                    or np.cumprod([1, *a["shape"][:0:-1]], dtype=int)[::-1][: len(a["shape"])]
                )
                part = self.arrays[v][a.get("start", 0) :]
                self.arrays[v] = as_strided(part, a["shape"], [s * part.itemsize for s in strides])
        self.run("setup")

    def operand(self, x):
        if isinstance(x, list):
            return tuple(map(self.operand, x))
        if isinstance(x, dict):
            ((kind, value),) = x.items()
            return (
                self.arrays[value]
                if kind == "array"
                else np.dtype(value)
                if kind == "dtype"
                else float(value)
            )
        return x

    def run(self, part):
        for call in (call for step in self.plan[part] for call in step["calls"]):
            inputs, out = self.operand(call["in"]), self.arrays[call["out"]]
            named = {key: self.operand(x) for key, x in call.get("named", {}).items()}
            made = inputs[1] if call["call"] == "copyto" else attrgetter(call["call"])(np)(*inputs, **named)
            out[...] = made


# The lesson's network with six residual layers, as a file, and its training.

from tinygrad_lesson.lesson.data import load  # noqa: E402
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy  # noqa: E402
from tinygrad_lesson.random import MXNetGenerator  # noqa: E402
from tinygrad_lesson.train.initializer import Uniform  # noqa: E402
from tinygrad_lesson.train.optimizer import SGD  # noqa: E402

rows, prediction = load(), NETWORKS["res6"].build()
loss = cross_entropy(prediction)
trained = dict.fromkeys((n for n in loss.list_arguments() if n not in ("data", "label")), "write")
with tempfile.TemporaryDirectory() as folder:
    train = loss.simple_bind(grad_req=trained, data=(20, 4), label=(20, 3))
    train.plan(is_train=True, optimizer=SGD(momentum=0.9)).save(f"{folder}/train.json")
    prediction.simple_bind(data=(50, 4), grad_req="null").plan(is_train=False).save(f"{folder}/predict.json")
    runner, answer = Runner(f"{folder}/train.json"), Runner(f"{folder}/predict.json")
generator, draw = MXNetGenerator(0), Uniform(0.01)
for name, weight in ((name, runner.named[name]) for name in trained):
    weight[...] = draw(name, weight.shape, generator, weight.dtype)
runner.named["rate"][...] = 0.05
for epoch in range(1, 101):
    losses = []
    for start in range(0, 100, 20):
        runner.named["data"][...] = rows.train_data[start : start + 20]
        runner.named["label"][...] = rows.train_label[start : start + 20]
        runner.run("forward")
        losses.append(runner.arrays[runner.plan["outputs"]["output 0"]].mean())
        runner.run("backward")
        runner.run("update")
    if epoch in (1, 100):
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}")
for name in trained:
    answer.named[name][...] = runner.named[name]
answer.named["data"][...] = rows.test_data
answer.run("forward")
print("the first test row:", answer.arrays[answer.plan["outputs"]["output 0"]][0])
