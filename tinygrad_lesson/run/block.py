"""A small plan as one launch of one block: a kernel that reads its calls, and goes from step to step by itself.

Each call is a row of words: what is done, sizes, strides in bytes, addresses. The threads of the block share the
elements of a row, and meet at a barrier behind it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.devices import is_number, on
from tinygrad_lesson.engine.shapes import size_of
from tinygrad_lesson.plan.calls import Line
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.plan.trace import Call
from tinygrad_lesson.run.gpu import DeviceRunner

WORDS, RANK, THREADS = 34, 4, 256
FEW = 1 << 15  # elements of an array, or products of a matrix multiplication, up to which one block is enough
OPERATIONS = {  # name: of x, y and z
    "add": "x + y", "subtract": "x - y", "multiply": "x * y", "divide": "x / y",
    "maximum": "(x != x || x > y) ? x : y", "minimum": "(x != x || x < y) ? x : y", "negative": "-x",
    "positive": "x", "copyto": "x", "exp": "expf(x)", "log": "logf(x)", "sqrt": "sqrtf(x)", "square": "x * x",
    "sign": "x > 0 ? 1.0f : x < 0 ? -1.0f : x", "absolute": "fabsf(x)", "tanh": "tanhf(x)", "log1p": "log1pf(x)",
    "expm1": "expm1f(x)", "greater": "x > y", "greater_equal": "x >= y", "less": "x < y", "less_equal": "x <= y",
    "equal": "x == y", "not_equal": "x != y", "where": "x != 0 ? y : z",
}  # fmt: skip
INNER = {  # name: how it begins, and what is done with each further element
    "matmul": ("0", "v + load(a, j * t[2], a1) * load(b, j * t[3], b1)"),
    "add.reduce": ("0", "v + load(a, j * t[2], a1)"),
    "absolute.sum": ("0", "v + fabsf(load(a, j * t[2], a1))"),
    "maximum.reduce": ("load(a, 0, a1)", "(v != v || v > load(a, j * t[2], a1)) ? v : load(a, j * t[2], a1)"),
    "minimum.reduce": ("load(a, 0, a1)", "(v != v || v < load(a, j * t[2], a1)) ? v : load(a, j * t[2], a1)"),
}
CODES = {name: i for i, name in enumerate([*OPERATIONS, *INNER])}
# words: 0 code, 1 inner size, 2 and 3 inner strides, 4 sizes, 8 strides of out, 12 of a, 16 of b, 20 of c, 24 addresses
# of these four, 28 bytes from step to step of out and how many there are, 30 of a, 32 which are truth values
KERNEL = """
typedef long long word;
__device__ float load(const char* p, word at, bool truth) {
  return truth ? (float)*(const unsigned char*)(p + at) : *(const float*)(p + at);
}
extern "C" __global__ void carry_out(const long long* tape, long long rows, long long steps) {
  for (word s = 0; s < steps; s++) for (word r = 0; r < rows; r++) {
    const word* t = tape + r * WORDS; const word code = t[0], n = t[4] * t[5] * t[6] * t[7];
    const bool o1 = t[32] & 1, a1 = t[32] & 2, b1 = t[32] & 4, c1 = t[32] & 8;
    for (word i = threadIdx.x; i < n; i += blockDim.x) {
      char* out = (char*)t[24] + (t[29] ? s % t[29] * t[28] : 0);
      const char* a = (const char*)t[25] + (t[31] ? s % t[31] * t[30] : 0);
      const char *b = (const char*)t[26], *c = (const char*)t[27];
      word left = i;
      for (int d = 3; d >= 0; d--) {
        const word k = left % t[4 + d]; left /= t[4 + d];
        out += k * t[8 + d]; a += k * t[12 + d]; b += k * t[16 + d]; c += k * t[20 + d];
      }
      float v = 0;
      if (code < OPERATIONS) {
        const float x = load(a, 0, a1), y = b ? load(b, 0, b1) : 0, z = c ? load(c, 0, c1) : 0;
        switch (code) { CASES }
      } else switch (code) { LOOPS }
      if (o1) *(unsigned char*)out = v != 0; else *(float*)out = v;
    }
    __syncthreads();
  }
}
"""


def source() -> str:
    """The kernel as CUDA C."""
    cases = "\n".join(f"case {CODES[name]}: v = {text}; break;" for name, text in OPERATIONS.items())
    loops = "\n".join(
        f"case {CODES[name]}: v = {first}; for (word j = 0; j < t[1]; j++) v = {further}; break;"
        for name, (first, further) in INNER.items()
    )
    text = KERNEL.replace("CASES", cases).replace("LOOPS", loops)
    return text.replace("OPERATIONS", str(len(OPERATIONS))).replace("WORDS", str(WORDS))


@functools.cache
def kernel(xp: Any) -> Any:
    """The kernel, compiled when it is first launched."""
    return xp.RawKernel(source(), "carry_out")


class UnsuitedError(Exception):
    """A call that the kernel does not know, or too much for one block."""


class Tape:
    """Rows of words, and the numbers in them."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []
        self.numbers: dict[float, int] = {}
        self.places: list[
            tuple[int, int, int]
        ] = []  # row, word, number: whose address comes when all are known
        self.kept: Any = None  # what the rows point to

    def row(
        self,
        name: str,
        shape: Sequence[int],
        operands: Sequence[Any],
        *,
        inner: Any = (1, 0, 0),
        steps: Any = (0, 0, 0, 0),
    ) -> None:
        """A row: `operands` are out, a, b, c, each an array, a number, or (array, strides).

        `inner` are the size and strides of a reduction, `steps` how out and a go on from step to step.
        """
        words = np.zeros(WORDS, np.int64)
        words[:4] = CODES[name], *inner
        if len(shape) > RANK or math.prod(shape) * inner[0] > FEW * 8:
            raise UnsuitedError(f"{name} of {tuple(shape)}")
        words[4:8] = (*[1] * (RANK - len(shape)), *shape)
        words[28:32] = steps
        for i, x in enumerate(operands):
            if is_number(x):
                self.places.append(
                    (len(self.rows), 24 + i, self.numbers.setdefault(float(x), len(self.numbers)))
                )
                continue
            array, strides = x if isinstance(x, tuple) else (x, along(x, shape))
            if array.dtype not in (np.float32, np.bool):
                raise UnsuitedError(f"{name} of {array.dtype}")
            words[8 + 4 * i : 12 + 4 * i] = (*[0] * (RANK - len(strides)), *strides)
            words[24 + i] = array.data.ptr
            words[32] |= (array.dtype == np.bool) << i
        self.rows.append(words)

    def call(self, call: Call, inputs: Sequence[Any], named: Mapping[str, Any], out: Any) -> None:
        """The rows of one call."""
        name = call.name
        if name == "concatenate":
            start, axis = 0, named.get("axis", 0) % out.ndim
            for part in inputs[0]:
                key = (*[slice(None)] * axis, slice(start, start + part.shape[axis]))
                self.row("copyto", part.shape, (out[key], part))
                start += part.shape[axis]
        elif name == "full" and not named.keys() - {"dtype"}:
            self.row("copyto", out.shape, (out, inputs[1]))
        elif name == "matmul":
            a, b = inputs
            if a.ndim != 2 or b.ndim != 2:
                raise UnsuitedError(name)
            (n, k), m = a.shape, b.shape[1]
            left, right = (a, (a.strides[0], 0)), (b, (0, b.strides[1]))
            self.row(name, (n, m), (out, left, right), inner=(k, a.strides[1], b.strides[0]))
        elif name in INNER:
            self.reduction(name, inputs[0], named, out)
        elif name == "copyto":
            self.row(name, out.shape, (out, inputs[1]))
        elif name in OPERATIONS and not named:
            self.row(name, out.shape, (out, *inputs))
        else:
            raise UnsuitedError(name)

    def reduction(self, name: str, x: Any, named: Mapping[str, Any], out: Any) -> None:
        """The row of a reduction along one axis, or over all of an array that lies row by row."""
        axis = named.get("axis", 0)
        axes = tuple(range(x.ndim)) if axis is None else tuple(np.atleast_1d(axis) % x.ndim)
        if named.keys() - {"axis", "keepdims"} or (
            len(axes) > 1 and (len(axes) < x.ndim or not x.flags.c_contiguous)
        ):
            raise UnsuitedError(name)
        if len(axes) > 1:
            self.row(name, (), ((out, ()), (x, ())), inner=(x.size, x.itemsize, 0))
            return
        kept = [d for d in range(x.ndim) if d not in axes]
        target = out.reshape([x.shape[d] for d in kept])
        inner = (x.shape[axes[0]], x.strides[axes[0]], 0)
        self.row(name, target.shape, (target, (x, [x.strides[d] for d in kept])), inner=inner)

    def ready(self, xp: Any) -> Any:
        """The words on the device, with the addresses of their numbers."""
        held = xp.asarray(np.array([*self.numbers, 0], np.float32))
        for row, word, number in self.places:
            self.rows[row][word] = held.data.ptr + 4 * number
        self.kept = held
        return xp.asarray(np.array(self.rows, np.int64).reshape(-1))


def along(x: Any, shape: Sequence[int]) -> list[int]:
    """Strides of an array repeated to a shape."""
    strides = [0 if n == 1 else s for n, s in zip(x.shape, x.strides, strict=True)]
    return [*[0] * (len(shape) - x.ndim), *strides]


class BlockRunner(DeviceRunner):
    """A plan whose parts are one launch of one block each, and many steps of training too.

    Errors
        UnsuitedError where the plan holds what the kernel does not know, or is too large.
    """

    name = "block"

    def __init__(self, plan: Any, arrays: Mapping[str, Any], generator: Any, **settings: Any) -> None:
        if max((size_of(b.shape) for b in plan.buffers), default=0) > FEW:  # type: ignore[type-var]
            raise UnsuitedError("a large array")
        self.noted: dict[int, list[tuple[Step, Line]]] = {}
        super().__init__(plan, arrays, generator, **settings)
        with on(self.place) as xp:
            self.tapes = [Tape() for _ in self.told[1:]]
            for tape, part in zip(self.tapes, self.told[1:], strict=True):
                self.write(tape, part)
            self.words = [tape.ready(xp) for tape in self.tapes]
        self.calls = [
            [functools.partial(self.launch, words, len(tape.rows), 1)] if tape.rows else []
            for words, tape in zip(self.words, self.tapes, strict=True)
        ]

    def __str__(self) -> str:
        count = ", ".join(str(len(tape.rows)) for tape in self.tapes)
        return f"on {self.place}, one launch of one block a part: {count} rows"

    def write(self, tape: Tape, part: Sequence[tuple[Step, Line]]) -> None:
        """The rows of some steps."""
        for _, line in part:
            if line.untraced:
                raise UnsuitedError(line.untraced)
            for call in line.calls:
                named = {key: self.array(x) for key, x in call.named}
                tape.call(call, self.array(call.inputs), named, self.buffers[call.out])

    def launch(self, words: Any, rows: int, steps: int) -> None:
        """One launch."""
        kernel(self.xp)((1,), (THREADS,), (words, np.int64(rows), np.int64(steps)))

    def train(
        self, batches: Mapping[str, Any], steps: int, updater: Any, loss: str, watched: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As of `DeviceRunner`, in one launch."""
        update = updater.made()
        if not isinstance(update.run, BlockRunner) or not steps:
            return super().train(batches, steps, updater, loss, watched)
        with on(self.place) as xp:
            tape, known, kept = Tape(), self.plan.arguments, []
            for name in (name for name in batches if name in known):
                x = self.buffers[known[name]]
                kept.append(xp.asarray(np.ascontiguousarray(batches[name], x.dtype)))
                tape.row(
                    "copyto",
                    x.shape,
                    (x, (kept[-1], along(kept[-1][0], x.shape))),
                    steps=(0, 0, x.nbytes, len(kept[-1])),
                )
            for part in self.told[1:3]:
                self.write(tape, part)
            result, grad = self.result(loss), updater.grad
            losses, magnitudes = xp.empty(steps, np.float32), xp.empty((steps, len(watched)), np.float32)
            self.mean(tape, "add.reduce", result.reshape(-1), losses, 0, (4, steps))
            numbers = np.array(updater.numbers(steps), np.float32)
            for place, column in zip(update.places, numbers.T, strict=True):
                kept.append(xp.asarray(np.ascontiguousarray(column)))
                tape.row("copyto", (), (place, (kept[-1], ())), steps=(0, 0, 4, steps))
            for k, (start, size) in enumerate(watched.tolist()):
                part = grad[start : start + size]
                self.mean(tape, "absolute.sum", part, magnitudes, 4 * k, (4 * len(watched), steps))
            update.run.write(tape, update.run.told[3])
            self.launch(tape.ready(xp), len(tape.rows), steps)
            updater.num_update += steps
            return losses.get(), magnitudes.get()

    def mean(self, tape: Tape, name: str, x: Any, out: Any, offset: int, steps: tuple[int, int]) -> None:
        """Rows for the mean of a flat array, into a place of `out` that goes on from step to step."""
        place = (out.reshape(-1)[offset // 4 :], ())
        tape.row(name, (), (place, (x, ())), inner=(x.size, x.strides[0], 0), steps=(*steps, 0, 0))
        tape.row("divide", (), (place, place, float(x.size)), steps=(*steps, *steps))


def block_or_calls(plan: Any, arrays: Mapping[str, Any], generator: Any, **settings: Any) -> DeviceRunner:
    """The runner for a plan: one block where it is small enough, else call by call."""
    try:
        return BlockRunner(plan, arrays, generator, **settings)
    except UnsuitedError:
        return DeviceRunner(plan, arrays, generator, **settings)
