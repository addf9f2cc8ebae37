"""Every elementwise op and reduction on 1e6 float32 numbers, forward and backward, beside NumPy and PyTorch.

    python tests/benchmarks/operations.py                              NumPy alone, forward
    python tests/benchmarks/operations.py .peers/torch/bin/python      PyTorch too, where `make bench-peers` puts it
    python tests/benchmarks/operations.py PYTHON -o cumprod,sort -r 9  some of them, more rounds
    python tests/benchmarks/operations.py PYTHON --jit                 ours compiled by `tl.jit`

The ops are those that are declared; their samples say which numbers they take. `OTHERS` adds functions that are no
elementwise op; Fourier transforms and sorting are calls of NumPy or SciPy there. One thread, a process for each side,
rounds that go A B C A B C: times are minima in milliseconds. A ratio is our time divided by the other's: above 1, ours
is slower. `-` stands where the other has no such function, or no gradient of it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 1000
SLOW = 1.5
BUDGET = 0.03  # seconds that a round of one work takes at least
X, V = "x", "v"  # SIDE rows of SIDE numbers; the same as one vector
PLACES = np.random.default_rng(1).integers(0, SIDE * SIDE, SIDE * SIDE)

# What is asked where an op takes attributes.
OURS = {"clip": "tl.clip(x, -1, 1)", "with_scalar": "x + 1.5", "polygamma": "tl.polygamma(x, 1)"}
# What an op is in NumPy and in PyTorch, where it is not the function of its name; None where there is none.
NUMPY = {
    "log_ndtr": "special.log_ndtr(x)", "rsqrt": "1 / np.sqrt(x)", "rcbrt": "1 / np.cbrt(x)",
    "sigmoid": "special.expit(x)", "relu": "np.maximum(x, 0)", "softplus": "np.logaddexp(x, 0)",
    "softsign": "x / (1 + abs(x))", "leaky_relu": "np.where(x > 0, x, x * np.float32(0.25))",
    "clip": "np.clip(x, -1, 1)", "norm": "np.linalg.norm(x)", "polygamma": "special.polygamma(1, x)",
    "i0": "special.i0(x)", "widen": None, "with_scalar": "x + 1.5", "exp_share": "np.exp(x - total)",
    "hard_sigmoid": "np.clip(x * 0.2 + 0.5, 0, 1)", "smooth_l1": None, "gammaln": "special.gammaln(x)",
    "silu": "x * special.expit(x)", "gelu": "x * special.ndtr(x)", "elu": None,
}  # fmt: skip
TORCH = {
    "equal": "torch.eq(a, b)", "power": "torch.pow(a, b)", "degrees": "torch.rad2deg(x)",
    "radians": "torch.deg2rad(x)", "cbrt": None, "gammaln": "torch.lgamma(x)",
    "polygamma": "torch.polygamma(1, x)", "beta": None, "betaln": None, "rint": "torch.round(x)",
    "max": "torch.amax(x)", "min": "torch.amin(x)", "var": "torch.var(x, correction=0)", "gamma": None,
    "logsumexp": "torch.logsumexp(x, (0, 1))", "norm": "torch.linalg.vector_norm(x)", "widen": None,
    "clip": "torch.clip(x, -1, 1)", "with_scalar": "x + 1.5", "leaky_relu": "nn.leaky_relu(x, 0.25)",
    "j0": "torch.special.bessel_j0(x)", "j1": "torch.special.bessel_j1(x)", "exp_share": "torch.exp(x - total)",
    "smooth_l1": "nn.smooth_l1_loss(x, torch.zeros_like(x), reduction='none')", "conj": None,
    "hard_sigmoid": "torch.clip(x * 0.2 + 0.5, 0, 1)", "erfcinv": None, "rcbrt": None, "nanprod": None,
    "y0": "torch.special.bessel_y0(x)", "y1": "torch.special.bessel_y1(x)", "jv": None, "yv": None, "iv": None,
    "kv": None, "betainc": None, "copysign": "torch.copysign(a, b)", "heaviside": "torch.heaviside(a, b)",
}  # fmt: skip
OTHERS = {  # name: inputs, ours, NumPy, PyTorch
    "sum rows": (X, "tl.sum(x, 1)", "np.sum(x, 1)", "x.sum(1)"),
    "sum columns": (X, "tl.sum(x, 0)", "np.sum(x, 0)", "x.sum(0)"),
    "mean rows": (X, "tl.mean(x, 1)", "np.mean(x, 1)", "x.mean(1)"),
    "var rows": (X, "tl.var(x, 1)", "np.var(x, 1)", "x.var(1, correction=0)"),
    "std": (X, "tl.std(x)", "np.std(x)", "x.std(correction=0)"),
    "max rows": (X, "tl.max(x, 1)", "np.max(x, 1)", "x.amax(1)"),
    "prod rows": (X, "tl.prod(x, 1)", "np.prod(x, 1)", "x.prod(1)"),
    "nanmean": (X, "tl.nanmean(x)", "np.nanmean(x)", "x.nanmean()"),
    "argmax rows": (X, "tl.argmax(x, 1)", "np.argmax(x, 1)", "x.argmax(1)"),
    "cumsum": (V, "tl.cumsum(v)", "np.cumsum(v)", "v.cumsum(0)"),
    "cumsum rows": (X, "tl.cumsum(x, 1)", "np.cumsum(x, 1)", "x.cumsum(1)"),
    "cumsum columns": (X, "tl.cumsum(x, 0)", "np.cumsum(x, 0)", "x.cumsum(0)"),
    "cumprod": (V, "tl.cumprod(v)", "np.cumprod(v)", "v.cumprod(0)"),
    "cumprod rows": (X, "tl.cumprod(x, 1)", "np.cumprod(x, 1)", "x.cumprod(1)"),
    "sort": (V, "tl.sort(v)", "np.sort(v)", "torch.sort(v)[0]"),
    "sort rows": (X, "tl.sort(x, 1)", "np.sort(x, 1)", "torch.sort(x, 1)[0]"),
    "argsort": (V, "tl.argsort(v)", "np.argsort(v)", "torch.argsort(v)"),
    "median": (V, "tl.median(v)", "np.median(v)", "torch.quantile(v, 0.5)"),
    "median rows": (X, "tl.median(x, 1)", "np.median(x, 1)", "torch.quantile(x, 0.5, 1)"),
    "quantile rows": (X, "tl.quantile(x, 0.3, 1)", "np.quantile(x, 0.3, 1)", "torch.quantile(x, 0.3, 1)"),
    "gradient": (V, "tl.gradient(v)", "np.gradient(v)", "torch.gradient(v)[0]"),
    "gradient rows": (X, "tl.gradient(x, axis=1)", "np.gradient(x, axis=1)", "torch.gradient(x, dim=1)[0]"),
    "diff": (V, "tl.diff(v)", "np.diff(v)", "torch.diff(v)"),
    "trapezoid": (V, "tl.trapezoid(v)", "np.trapezoid(v)", "torch.trapezoid(v)"),
    "rfft": (V, "tl.abs(tl.fft.rfft(v))", "np.abs(np.fft.rfft(v))", "torch.fft.rfft(v).abs()"),
    "rfft rows": (X, "tl.abs(tl.fft.rfft(x))", "np.abs(np.fft.rfft(x))", "torch.fft.rfft(x).abs()"),
    "fft rows": (X, "tl.abs(tl.fft.fft(x))", "np.abs(np.fft.fft(x))", "torch.fft.fft(x).abs()"),
    "softmax": (X, "tl.softmax(x)", None, "x.softmax(-1)"),
    "log_softmax": (X, "tl.log_softmax(x)", None, "x.log_softmax(-1)"),
    "sinc": (X, "tl.sinc(x)", "np.sinc(x)", "torch.sinc(x)"),
    "flip": (X, "tl.flip(x, 1)", "np.flip(x, 1).copy()", "x.flip(1)"),
    "roll": (X, "tl.roll(x, 7, 1)", "np.roll(x, 7, 1)", "x.roll(7, 1)"),
    "transpose": (X, "tl.transpose(x) * 2", "x.T * 2", "x.T * 2"),
    "concatenate": (X, "tl.concatenate([x, x], 1)", "np.concatenate([x, x], 1)", "torch.cat([x, x], 1)"),
    "slice": (X, "x[:, 1:-1]", "x[:, 1:-1].copy()", "x[:, 1:-1].clone()"),
    "take": (V, "tl.take(v, places)", "np.take(v, places)", "v[places]"),
    "pad": (X, "tl.pad(x, 1)", "np.pad(x, 1)", "nn.pad(x, (1, 1, 1, 1))"),
}  # fmt: skip


def declared(folder: Path) -> dict[str, dict[str, str | None]]:
    """Every declared elementwise op and reduction: what is asked of each side; its inputs are left in a file."""
    from tinygrad_lesson.engine.draw import Draw
    from tinygrad_lesson.engine.kinds import Elementwise, Reduction
    from tinygrad_lesson.engine.op import OPS

    class Large(Draw):
        """Samples of a million numbers, with the first of what may be chosen."""

        def shape(self, *given, **named):
            return SIDE, SIDE

        def broadcasting(self, n, max_rank=3):
            return [(SIDE, SIDE)] * n

    works = {}
    for cls in OPS.values():
        if cls.ours and issubclass(cls, Elementwise | Reduction):
            name, inputs = cls.function, Large(0, integer=lambda low, high: low).sample(cls)[1]
            kinds = {np.dtype(float): np.float32}
            np.savez(folder / name, **{k: x.astype(kinds.get(x.dtype, x.dtype)) for k, x in inputs.items()})
            given = f"({', '.join(inputs)})"
            works[name] = {
                "inputs": name,
                "ours": OURS.get(name, f"tl.{name}{given}"),
                "numpy": NUMPY.get(name, f"named({name!r}){given}"),
                "torch": TORCH.get(name, f"named({name!r}){given}"),
            }
    return works


def others(folder: Path) -> dict[str, dict[str, str | None]]:
    """The functions of `OTHERS`."""
    x = np.random.default_rng(0).uniform(0.5, 1.5, (SIDE, SIDE)).astype(np.float32)
    np.savez(folder / "x", x=x)
    np.savez(folder / "v", v=x.ravel())
    return {name: dict(zip(("inputs", *SIDES), told, strict=True)) for name, told in OTHERS.items()}


class Ours:
    """This project: `tl` and tensors."""

    def __init__(self, jit: bool) -> None:
        import tinygrad_lesson as tl

        self.names, self.tl, self.jit = {"tl": tl, "places": PLACES}, tl, jit

    def leaf(self, x):
        return self.tl.Tensor(x, requires_grad=x.dtype.kind == "f")

    def of(self, inputs, source):
        function = eval(f"lambda {', '.join(inputs)}: {source}", self.names)
        return self.tl.jit(function) if self.jit else function

    def back(self, y):
        if y.node is None:
            return None
        g = np.ones(y.shape, y.dtype)
        return lambda: y.backward(g)


class NumPy:
    """NumPy, and SciPy's special functions."""

    def __init__(self, jit: bool) -> None:
        from scipy import special

        self.names = {"np": np, "special": special, "places": PLACES}
        self.names["named"] = lambda name: getattr(np, name, None) or getattr(special, name)

    def leaf(self, x):
        return x

    def of(self, inputs, source):
        return eval(f"lambda {', '.join(inputs)}: {source}", self.names)

    def back(self, y):
        return None


class Torch(NumPy):
    """PyTorch."""

    def __init__(self, jit: bool) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch, nn = torch, torch.nn.functional
        self.names = {"torch": torch, "nn": nn, "places": torch.from_numpy(PLACES)}
        homes = (torch, torch.special, nn)
        self.names["named"] = lambda name: next(getattr(home, name) for home in homes if hasattr(home, name))

    def leaf(self, x):
        return self.torch.from_numpy(x).requires_grad_(x.dtype.kind == "f")

    def back(self, y):
        if not y.requires_grad:
            return None
        g = self.torch.ones_like(y)
        return lambda: y.backward(g, retain_graph=True)


SIDES = {"ours": Ours, "numpy": NumPy, "torch": Torch}


def serve(side: str, folder: Path, jit: bool) -> None:
    """Answer each line, a work, by the least seconds of a forward and of a backward call."""
    world: Any = SIDES[side](jit)
    for line in sys.stdin:
        work = json.loads(line)
        with np.load(folder / f"{work['inputs']}.npz") as file:
            leaves = {name: world.leaf(file[name]) for name in file}
        try:
            found = measured(world, world.of(leaves, work[side]), list(leaves.values()))
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:200]}
        print(json.dumps(found), flush=True)


def measured(world: Any, function: Any, leaves: list[Any]) -> list[float | None]:
    """The least seconds of a forward and of a backward call."""
    least: list[float | None] = [None, None]
    end = time.process_time() + BUDGET
    for _ in range(100):
        start = time.process_time()
        y = function(*leaves)
        took = [time.process_time() - start]
        back = world.back(y)
        if back is not None:
            for leaf in leaves:
                leaf.grad = None
            start = time.process_time()
            back()
            took.append(time.process_time() - start)
        least = [
            t if s is None else min(s, t) for s, t in zip(least, [*took, None][:2], strict=True) if t
        ] + [None]
        least = least[:2]
        if start > end:
            break
    return least


class Side:
    """A process that measures one library."""

    def __init__(self, side: str, python: str, folder: Path, jit: bool) -> None:
        threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
        command = [python, __file__, "--serve", side, "--folder", str(folder), *["--jit"] * jit]
        self.name, self.least = side, {}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=os.environ | threads, text=True,
        )  # fmt: skip

    def measure(self, name: str, work: dict[str, str | None]) -> None:
        """One round of a work; the minima of all stay in `least`."""
        if work[self.name] is None or isinstance(self.least.get(name), str):
            return
        self.process.stdin.write(json.dumps(work) + "\n")
        self.process.stdin.flush()
        found = json.loads(self.process.stdout.readline())
        if "error" in found:
            self.least[name] = found["error"]
            return
        before = self.least.get(name, [None, None])
        self.least[name] = [
            b if a is None or b is None else min(a, b) for a, b in zip(before, found, strict=True)
        ]

    def of(self, name: str) -> list[float | None]:
        """The least seconds forward and backward; None for what there is not."""
        found = self.least.get(name)
        return found if isinstance(found, list) else [None, None]


def ratio(ours: float | None, other: float | None) -> float | None:
    """Our time by the other's."""
    return ours / other if ours and other else None


def show(names: list[str], sides: list[Side], slow: float) -> None:
    """A line for each work, then medians and what is slower than `slow`."""
    ours, *peers = sides
    titles = [("np forward", "numpy", 0), ("torch forward", "torch", 0), ("torch backward", "torch", 1)]
    columns = [
        (t, next(p for p in peers if p.name == n), i) for t, n, i in titles if n in [p.name for p in peers]
    ]
    print(f"{'':16}{'forward':>9}{'backward':>9} ms", *(f"{title:>15}" for title, _, _ in columns))
    ratios: dict[str, dict[str, float]] = {title: {} for title, _, _ in columns}
    for name in names:
        times = ours.of(name)
        cells = []
        for title, peer, i in columns:
            r = ratio(times[i], peer.of(name)[i])
            cells.append(f"{r:15.2f}" if r else f"{'-':>15}")
            if r:
                ratios[title][name] = r
        print(f"{name:16}", *(f"{t * 1e3:9.3f}" if t else f"{'-':>9}" for t in times), *cells, flush=True)
    print()
    for title, found in ((title, found) for title, found in ratios.items() if found):
        worst = sorted((r, name) for name, r in found.items() if r > slow)[::-1]
        print(f"{title}: {len(found)} works, median {statistics.median(found.values()):.2f}; slower than {slow}:",
              ", ".join(f"{name} {r:.1f}" for r, name in worst) or "none")  # fmt: skip
    for side in sides:
        failed = [f"{name} ({told})" for name, told in side.least.items() if isinstance(told, str)]
        if failed:
            print(f"{side.name} cannot: {'; '.join(failed)}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", nargs="?", help="an interpreter that has PyTorch")
    parser.add_argument("-o", "--only", default="", help="names with commas between; default all")
    parser.add_argument("-r", "--rounds", type=int, default=5)
    parser.add_argument("--jit", action="store_true", help="ours compiled by tl.jit, forward")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.folder, given.jit)
        return
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        works = declared(Path(folder)) | others(Path(folder))
        names = [name for name in given.only.split(",") if name] or list(works)
        pythons = {"ours": sys.executable, "numpy": sys.executable, "torch": given.python}
        sides = [Side(side, python, Path(folder), given.jit) for side, python in pythons.items() if python]
        try:
            for name in names:
                for _ in range(given.rounds):
                    for side in sides:
                        side.measure(name, works[name])
            show(names, sides, SLOW)
        finally:
            for side in sides:
                side.process.kill()


if __name__ == "__main__":
    main()
