"""The floor: each small network as a C function with literal sizes, compiled for this processor.

It needs gcc or clang. gcc is given -O2 and what makes it fast: at -O3 gcc 12 vectorizes a loop of res25 wrongly,
which the loss shows.
"""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import workloads as wl
from _base import serve

KERNELS = Path(__file__).with_name("kernels.c")
CLANG, GCC = shutil.which("clang"), shutil.which("gcc")
LEVEL = {
    CLANG: "-O3",
    GCC: "-O2 -ftree-vectorize -fvect-cost-model=dynamic -fpeel-loops -funroll-loops",
}


def build(function="", compiler=GCC or CLANG):
    """The kernels and one more function, as a library."""
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "w.c"), Path(folder, "w.so")
        source.write_text(KERNELS.read_text() + function)
        how = f"{LEVEL[compiler]} -march=native -ffast-math -shared -fPIC -w".split()
        subprocess.run([compiler, *how, source, "-o", library, "-lmvec", "-lm"], check=True)
        return ctypes.CDLL(str(library))


class Tape:
    """Calls of the kernels for one step of training, and places in one array."""

    def __init__(self, w):
        self.size, self.first, self.calls = 0, [], []
        dims, (x, y) = wl.dims(w), wl.data(w)
        self.dims, self.rows, self.count = dims, len(x), len(dims)
        norms = wl.bn_params(w) if w == "bn8" else []
        ps = wl.dense_params(w) + [p for norm in norms for p in norm[:2]]
        n = sum(p.size for p in ps)
        weight, grad = self.take(n), self.take(n)
        starts = np.cumsum([0, *(p.size for p in ps)])[:-1].tolist()
        self.first += [(weight + at, p) for at, p in zip(starts, ps, strict=True)]
        self.p, self.g = [weight + at for at in starts], [grad + at for at in starts]
        self.states = [(self.put(mean), self.put(var)) for _, _, mean, var in norms]
        self.x, y, self.loss = self.put(x), self.put(y), self.take(1)
        z, self.dz = self.take(self.rows * 3), self.take(self.rows * 3)
        forward = self.dense if w == "dense6" else self.residual if wl.depth(w) else self.straight
        backward = forward(z, lambda: self.calls.append(("head", z, y, self.dz, self.loss, self.rows, 3)))
        backward()
        if w in wl.ADAM:
            self.calls.append(("adam", weight, grad, self.take(n), self.take(n), n, self.take(1)))
        else:
            rate = self.put(np.array([wl.LR_SGD[w]], wl.F))
            self.calls.append(("sgd", weight, grad, self.take(n), n, rate))

    def take(self, n):
        """A place for `n` numbers."""
        self.size += (n + 7) // 8 * 8
        return self.size - (n + 7) // 8 * 8

    def put(self, array):
        """A place that begins as `array`."""
        self.first.append((self.take(array.size), array))
        return self.first[-1][0]

    def fc(self, i, x, ldx, o, ldo, relu=1):
        self.calls.append(
            ("fc", x, ldx, self.p[2 * i], self.p[2 * i + 1], o, ldo, self.rows, *self.dims[i], relu)
        )

    def fc_back(self, i, x, ldx, d, ldd, dx=None, lddx=0, add=0):
        gradients, sizes = self.g[2 * i : 2 * i + 2], (self.rows, *self.dims[i])
        self.calls.append(("fc_weight", x, ldx, d, ldd, *gradients, *sizes))
        if dx is not None:
            self.calls.append(("fc_data", d, ldd, self.p[2 * i], dx, lddx, *sizes, add))

    def straight(self, z, head):
        """One layer after the other, with batch normalization or not."""
        last, hs, kept = self.count - 1, [self.x], []
        for i in range(last):
            size = self.dims[i][1]
            o = self.take(self.rows * size)
            self.fc(i, hs[-1], self.dims[i][0], o, size, not self.states)
            hs.append(o)
            if self.states:
                hs[-1], inv = self.take(self.rows * size), self.take(size)
                gamma, beta = self.p[2 * self.count + 2 * i :][:2]
                self.calls.append(("norm", o, hs[-1], gamma, beta, *self.states[i], inv, self.rows, size))
                kept.append((o, gamma, inv, *self.g[2 * self.count + 2 * i :][:2]))
        self.fc(last, hs[-1], self.dims[-1][0], z, 3, 0)
        head()

        def backward():
            d, spare = self.dz, [self.take(self.rows * 10) for _ in range(2)]
            for i in range(last, -1, -1):
                before, size = self.dims[i]
                if i < last:
                    self.calls.append(("relu_back", hs[i + 1], size, d, size, d, size, self.rows, size))
                    if kept:
                        self.calls.append(("norm_back", d, *kept[i], self.rows, size))
                below = spare[i & 1] if i else None
                self.fc_back(i, hs[i], before, d, size, below, before)
                d = below

        return backward

    def residual(self, z, head):
        """Layers that add to what they are given."""
        size, last = self.rows * 10, self.count - 1
        h, kept = self.take(size), []
        self.fc(0, self.x, 4, h, 10)
        for i in range(1, last):
            r, o = self.take(size), self.take(size)
            self.fc(i, h, 10, r, 10)
            self.calls.append(("add", h, r, o, size))
            kept.append((h, r))
            h = o
        self.fc(last, h, 10, z, 3, 0)
        head()

        def backward():
            d, dr = self.take(size), self.take(size)
            self.fc_back(last, h, 10, self.dz, 3, d, 10)
            for i in range(last - 1, 0, -1):
                x, r = kept[i - 1]
                self.calls.append(("relu_back", r, 10, d, 10, dr, 10, self.rows, 10))
                self.fc_back(i, x, 10, dr, 10, d, 10, 1)
            self.calls.append(("relu_back", kept[0][0], 10, d, 10, d, 10, self.rows, 10))
            self.fc_back(0, self.x, 4, d, 10)

        return backward

    def dense(self, z, head):
        """Layers that see all before them, side by side in one matrix."""
        width, last = self.dims[-1][0], self.count - 1
        wide, d, dr = self.take(self.rows * width), self.take(self.rows * width), self.take(self.rows * 8)
        self.calls.append(("copy", self.x, 4, wide, width, self.rows, 4))
        for i, (before, _) in enumerate(self.dims[:-1]):
            self.fc(i, wide, width, wide + before, width)
        self.fc(last, wide, width, z, 3, 0)
        head()

        def backward():
            self.fc_back(last, wide, width, self.dz, 3, d, width)
            for i in range(last - 1, -1, -1):
                before, size = self.dims[i]
                self.calls.append(
                    ("relu_back", wide + before, width, d + before, width, dr, size, self.rows, size)
                )
                self.fc_back(i, wide, width, dr, size, d if i else None, width, 1)

        return backward


class Train:
    def __init__(self, w):
        if w not in ("mlp4", "bn8", "res10", "res25", "dense6"):
            raise NotImplementedError
        tape = Tape(w)
        self.array = np.zeros(tape.size, wl.F)
        for at, values in tape.first:
            self.array[at : at + values.size] = values.ravel()
        calls = "\n".join(
            f"  {name}(A, {', '.join(map(str, map(int, rest)))});" for name, *rest in tape.calls
        )
        self.f = build(f"void step(float *A) {{\n{calls}\n}}\n").step
        self.pointer, self.at = ctypes.c_void_p(self.array.ctypes.data), tape.loss

    def step(self, n):
        for _ in range(n):
            self.f(self.pointer)

    def loss(self):
        return self.array[self.at]


class Chain:
    def __init__(self, w):
        self.x = wl.data(w)[0]
        self.gradient = np.empty_like(self.x)
        self.f = build().chain
        self.f.restype, self.f.argtypes = ctypes.c_double, [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long]

    def step(self, n):
        for _ in range(n):
            self.y = self.f(self.x.ctypes.data, self.gradient.ctypes.data, self.x.size)

    def loss(self):
        return self.y + self.gradient.sum(dtype=float)


def make(w):
    if w in ("eager", "predict") or not (CLANG or GCC):
        raise NotImplementedError
    return Chain(w) if w == "chain" else Train(w)


serve(make, f"{'gcc' if GCC else 'clang' if CLANG else 'no compiler;'} numpy {np.__version__}")
