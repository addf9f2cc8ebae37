"""Gradient checks of other libraries on our own cases: what each catches, where it raises an alarm, how long it takes.

    python tests/benchmarks/checks.py --install     PyTorch, JAX and autograd go into .peers/; prints the table
    python tests/benchmarks/checks.py --write       puts the table into docs/gradient_checks.md too

The cases are those of the tests: broken rules and right but hard functions. Every check gets the same two things from a
case: a function of arrays, and a rule that reads what this function left behind, wrapped as that library wants it
(`autograd.Function`, `custom_vjp`, `primitive`), and runs with its own defaults. Cases of second order, losses whose
gradient is no derivative, and the largest are left out. The times are of ten functions in the words of each
library, the least of five each; the last row is their median.
"""

import argparse
import collections
import json
import os
import re
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "gradient_checks.md"
TITLES = {"ours": "check.gradients", "torch": "gradcheck", "jax": "JAX", "autograd": "autograd"}
AT_A_KINK = ("kink", "discontinuity")  # there a rule of the list of broken ones is right
LIMIT = 1800  # seconds after which a library is given up
ROUNDS = 5
LARGEST = 1000  # numbers in the inputs of a case: the others build whole Jacobians


# The cases.


def cases():
    """(heading, class, function, inputs) of every case."""
    from broken_more import MORE
    from broken_rules import BROKEN
    from broken_strange import STRANGE
    from right_functions import OPEN, SMOOTH

    listed = [(cause, f, inputs) for _, cause, f, inputs in BROKEN + MORE]
    listed += [(causes[0], f, inputs) for _, causes, f, inputs, order in STRANGE if order == 1]
    for cause, f, inputs in listed:
        yield (
            "open" if cause in AT_A_KINK else "broken",
            "at a kink" if cause in AT_A_KINK else cause,
            f,
            inputs,
        )
    for heading, kinds in (("right", SMOOTH), ("open", OPEN)):
        for kind, functions in kinds.items():
            for f, *inputs in functions.values():
                yield heading, kind, f, inputs


class Pair:
    """A case as a function of those of its inputs that have a gradient, and the way back."""

    def __init__(self, f, inputs):
        from tinygrad_lesson.check.subject import subject_of

        self.subject = subject_of(f, inputs, np.random.default_rng(0))
        self.inputs = [self.subject.arrays[i] for i in self.subject.wanted]

    def run(self, *inputs):
        """The results at `inputs` as one array, and the rule, which takes its gradient."""
        from tinygrad_lesson.check.subject import pull_back

        arrays = list(self.subject.arrays)
        for i, x in zip(self.subject.wanted, inputs, strict=True):
            arrays[i] = np.asarray(x)
        tensors, results = self.subject.recorded(arrays)
        wrt, values = [tensors[i] for i in self.subject.wanted], [np.asarray(y.array) for y in results]

        def back(g):
            parts = (
                np.split(np.ravel(g), np.cumsum([v.size for v in values])[:-1]) if len(values) > 1 else [g]
            )
            rows = [np.reshape(part, v.shape) for part, v in zip(parts, values, strict=True)]
            found = pull_back(wrt, results, rows)
            return [
                np.zeros(x.shape) if d is None else np.asarray(d, float)
                for d, x in zip(found, inputs, strict=True)
            ]

        return (values[0] if len(values) == 1 else np.concatenate([v.ravel() for v in values])), back


# Ten functions in the words that NumPy, PyTorch, JAX and we share.


def softmax(F, x):
    e = F.exp(x)
    return e / F.sum(e, axis=-1, keepdims=True)


def normalized(F, x):
    d = x - F.mean(x, axis=-1, keepdims=True)
    return d / F.sqrt(F.mean(d * d, axis=-1, keepdims=True) + 1e-5)


def perceptron(F, x, w, b, v, c):
    z = F.tanh(x @ w + b) @ v + c
    return F.sum(F.log(F.sum(F.exp(z), axis=-1))) - F.sum(z[:, 0])


FUNCTIONS = {
    "tanh": (lambda F, x: F.tanh(x), (3, 4)),
    "sum of squares": (lambda F, x: F.sum(x * x), (20,)),
    "log of a sum": (lambda F, x: F.log(F.sum(F.exp(x), axis=-1)), (6,)),
    "gelu": (lambda F, x: 0.5 * x * (1 + F.tanh(0.8 * (x + 0.0447 * x * x * x))), (3, 4)),
    "running sum": (lambda F, x: F.cumsum(x * x, axis=0), (12,)),
    "huber": (lambda F, x: F.where(F.abs(x) < 1, 0.5 * x * x, F.abs(x) - 0.5), (10,)),
    "softmax of a product": (lambda F, x, w: softmax(F, x @ w), (4, 5), (5, 6)),
    "layer norm": (normalized, (4, 6)),
    "attention": (lambda F, q, k, v: softmax(F, q @ k.T) @ v, (4, 3), (5, 3), (5, 2)),
    "perceptron": (perceptron, (8, 10), (10, 16), (16,), (16, 3), (3,)),
}


# A check of each library: of a pair, and of a function in its own words.


def ours():
    """This project."""
    import tinygrad_lesson as tl

    def passes(f, *inputs):
        return tl.check.gradients(f, *inputs).verdict

    return passes, lambda f: lambda *inputs: f(tl, *inputs), passes, tl.__version__


def torch():
    """PyTorch's gradcheck."""
    import torch
    from torch.autograd import Function, gradcheck

    torch.set_num_threads(1)

    def passes(f, *inputs):
        return gradcheck(f, [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs])

    def of_pair(pair):
        class Made(Function):
            @staticmethod
            def forward(ctx, *inputs):
                y, ctx.back = pair.run(*(x.detach().numpy() for x in inputs))
                return torch.tensor(y)

            @staticmethod
            def backward(ctx, g):
                return tuple(torch.tensor(d) for d in ctx.back(g.numpy()))

        return passes(Made.apply, *pair.inputs)

    return passes, lambda f: lambda *inputs: f(torch, *inputs), of_pair, torch.__version__


def jax():
    """JAX's check_grads, in reverse mode."""
    import jax
    from jax import numpy
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)

    def passes(f, *inputs):
        return check_grads(f, inputs, order=1, modes=["rev"])

    def of_pair(pair):
        backs = []
        like = lambda x: jax.ShapeDtypeStruct(np.shape(x), np.result_type(x))  # noqa: E731
        results = (like(pair.run(*pair.inputs)[0]), like(np.int64(0)))

        def run(*inputs):
            y, back = pair.run(*map(np.array, inputs))
            backs.append(back)
            return y, np.int64(len(backs) - 1)

        f = jax.custom_vjp(lambda *inputs: jax.pure_callback(run, results, *inputs)[0])
        f.defvjp(
            lambda *inputs: jax.pure_callback(run, results, *inputs),
            lambda n, g: jax.pure_callback(
                lambda n, g: tuple(backs[int(n)](np.array(g))), tuple(map(like, pair.inputs)), n, g
            ),
        )
        return passes(f, *pair.inputs)

    return passes, lambda f: lambda *inputs: f(numpy, *inputs), of_pair, jax.__version__


def autograd():
    """The check_grads of HIPS autograd, in reverse mode."""
    from importlib.metadata import version

    from autograd import numpy
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    def passes(f, *inputs):
        np.random.seed(0)
        return check_grads(f, tuple(range(len(inputs))), modes=["rev"], order=1)(*inputs)

    def of_pair(pair):
        backs = {}

        @primitive
        def f(*inputs):
            y, back = pair.run(*inputs)
            backs[id(y)] = (y, back)
            return y

        defvjp(f, *[lambda y, *_, i=i: lambda g: backs[id(y)][1](g)[i] for i in range(len(pair.inputs))])
        return passes(f, *pair.inputs)

    return passes, lambda f: lambda *inputs: f(numpy, *inputs), of_pair, version("autograd")


def spoken(check, *given):
    """The verdict of a check: a word of ours, else `ok`, or `wrong` where it raises."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = check(*given)
        return found if isinstance(found, str) else "ok"
    except Exception:
        return "wrong"


def judge(name):
    """What one library says of every case, and how long it takes; printed as JSON."""
    passes, native, of_pair, version = globals()[name]()
    told = collections.defaultdict(list)
    for heading, kind, f, inputs in cases():
        pair = Pair(f, inputs)
        if pair.subject.has_loss(pair.subject.arrays) or sum(x.size for x in pair.inputs) > LARGEST:
            continue
        given = (f, *inputs) if name == "ours" else (pair,)
        told[f"{heading}|{kind}"].append(spoken(of_pair, *given))
    times = {}
    for title, (f, *shapes) in FUNCTIONS.items():
        inputs = [np.random.default_rng(n).normal(size=shape) for n, shape in enumerate(shapes)]
        spent = []
        for _ in range(ROUNDS):
            began = time.process_time()
            assert spoken(passes, native(f), *inputs) == "ok", (name, title)
            spent.append(time.process_time() - began)
        times[title] = min(spent)
    print(json.dumps({"version": version, "told": told, "times": times}))


# The table.


def table(results):
    """What all libraries say, in Markdown; `results` by name."""
    told = next(iter(results.values()))["told"]
    headings = {
        "broken": "broken rules that are caught, by mistake",
        "right": "right functions that are refused, by kind",
        "open": "rules called wrong where nobody can tell, by kind",
    }
    lines = []
    for heading, title in headings.items():
        kinds = [kind for kind in told if kind.startswith(heading)]
        titles = [title, "cases", *(TITLES[name] for name in results)]
        lines += (
            [row([f"**{t}**" for t in titles])]
            if lines
            else [row(titles), "|---|" + "---:|" * (len(titles) - 1)]
        )
        for kind, some in [*((kind.partition("|")[2], [kind]) for kind in sorted(kinds)), ("*all*", kinds)]:
            counts = [
                sum(is_counted(heading, v) for k in some for v in r["told"][k]) for r in results.values()
            ]
            lines.append(row([kind, sum(len(told[k]) for k in some), *counts]))
    times = [f"{statistics.median(r['times'].values()) * 1e3:.2g}" for r in results.values()]
    return "\n".join([*lines, row([f"**milliseconds**, median of {len(FUNCTIONS)} functions", "", *times])])


def is_counted(heading, verdict):
    """Whether a verdict counts: a refusal, or in doubt only that a rule is called wrong."""
    return verdict == "wrong" if heading == "open" else verdict != "ok"


def row(cells):
    """A row of the table."""
    return f"| {' | '.join(map(str, cells))} |"


def asked(name, python):
    """What the process of one library says; None where it fails."""
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE)))
    env = os.environ | threads | {"PYTHONPATH": path, "JAX_PLATFORMS": "cpu"}
    command = [str(python), str(HERE / "checks.py"), "--of", name]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=LIMIT)
    if done.returncode:
        print(f"{name}: FAILED, and is left out: {(done.stderr.strip().splitlines() or ['it ended'])[-1]}")
        return None
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--install", action="store_true", help="install the libraries first")
    parser.add_argument("--write", action="store_true", help="put the table into the page about checks")
    parser.add_argument("--of", choices=TITLES, help="one library, in this process; prints JSON")
    options = parser.parse_args()
    if options.of:
        judge(options.of)
        return
    from peers import VENVS, install

    others = [name for name in TITLES if name != "ours"]
    if options.install:
        install([{"jax": "jax:jit"}.get(name, name) for name in others])
    results = {"ours": asked("ours", sys.executable)}
    for name in others:
        python = VENVS / name / "bin" / "python"
        found = asked(name, python) if python.exists() else print(f"absent: {name} ({VENVS})")
        if found:
            results[name] = found
    made = table(results)
    versions = ", ".join(f"{TITLES[n]} {r['version']}" for n, r in results.items())
    print(f"{made}\n\n{versions}")
    for title in FUNCTIONS:
        print(f"{title:24}", *(f"{r['times'][title] * 1e3:10.2f}" for r in results.values()))
    if options.write:
        text = PAGE.read_text()
        PAGE.write_text(
            re.sub(r"\| broken rules that.*?(?=\n\n)", lambda _: made, text, count=1, flags=re.DOTALL)
        )


if __name__ == "__main__":
    main()
