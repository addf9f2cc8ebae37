"""Steps as instructions of the interpreter: where operands lie, and one encoder for each op that has a kernel."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import index, linear, movement, nn, reduce
from tinygrad_lesson.run.interpreter import CODES

Row = list[int]  # one instruction: a code, then offsets and sizes
LARGEST_PRODUCT = 64**3  # multiplications; above it BLAS is faster
LONGEST_SUM = 512  # products that are added up one after the other
WORD = 1 << 64
FLAGS = 10  # the word of a product and of a normalization that holds
RELU = {"product": 2, "batch_norm": 4}  # that the positive part is wanted
MOVABLE, PLACES = 1 << 62, 40  # mark of an offset in a movable array; its number is above the lower 40 bits


class Operand(NamedTuple):
    """A float32 array as the kernels see it: where it begins, and its strides, all in elements."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Noted(list[int]):
    """An instruction that knows the operands of its step."""

    touched: Sequence[Operand] = ()


def noted(rows: list[Row] | None, operands: Sequence[Operand]) -> list[Row] | None:
    """Instructions for one step, of which the last knows what it touches."""
    if rows:
        rows[-1] = last = Noted(rows[-1])
        last.touched = operands
    return rows


class Memory:
    """Addresses relative to the base of one array; temporaries and numbers that live as long as the tape."""

    def __init__(self, arena: np.ndarray) -> None:
        self.base = (
            np.zeros(16, np.float32) if arena.nbytes < 64 else arena[: arena.nbytes // 4 * 4].view(np.float32)
        )
        self.origin = address(self.base)
        self.kept: list[Any] = []
        self.vectors: dict[int, Operand] = {}
        self.matrices: dict[tuple[int, int], Operand] = {}
        self.numbers: dict[bytes, np.ndarray] = {}  # by their bits: 0. and -0. are two
        self.movable: list[tuple[int, int]] = []  # begin and end of arrays that may lie elsewhere next time

    def operand(self, x: Any) -> Operand | None:
        """An array, or a number, as an operand; None if it is no float32, or not where float32 can be reached."""
        if not isinstance(x, np.ndarray):
            x = np.array(x, np.float32)
            x = self.numbers.setdefault(x.tobytes(), x)
        if x.dtype != np.float32 or not x.flags.aligned or any(s % 4 for s in x.strides):
            return None
        return Operand(self.offset(x), x.shape, tuple(s // 4 % WORD for s in x.strides))

    def offset(self, x: np.ndarray) -> int:
        """Distance from the base, in elements, as an unsigned word; marked, in a movable array."""
        at = address(x)
        for i, (start, stop) in enumerate(self.movable):
            if start <= at < stop:
                return MOVABLE | i << PLACES | (at - start) // 4
        return (at - self.origin) // 4 % WORD

    def temporary(self, *shape: int) -> Operand:
        """A new array."""
        self.kept.append(np.zeros(shape, np.float32))
        found = self.operand(self.kept[-1])
        assert found is not None
        return found

    def ones(self, size: int) -> Operand:
        """A vector of ones; the same for all that ask for its length."""
        if size not in self.vectors:
            self.vectors[size] = self.temporary(size)
            self.kept[-1][:] = 1
        return self.vectors[size]

    def ones_before(self, w: Operand) -> Operand:
        """A row of ones, with which a product adds up the rows of `w`."""
        return Operand(self.ones(w.shape[0]).offset, (1, w.shape[0]), (0, 1))

    def scratch(self, rows: int, columns: int) -> Operand:
        """A matrix for the very next instruction alone; the same for all that ask for its shape."""
        if (rows, columns) not in self.matrices:
            self.matrices[rows, columns] = self.temporary(rows, columns)
        return self.matrices[rows, columns]


@functools.cache
def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of an array whose elements lie one after the other."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def address(x: np.ndarray) -> int:
    """Where the elements begin."""
    return x.__array_interface__["data"][0]  # type: ignore[no-any-return]


def spread(x: Operand, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of `x` broadcast to `shape`."""
    padded = (0,) * (len(shape) - len(x.shape)) + x.strides
    sizes = (1,) * (len(shape) - len(x.shape)) + x.shape
    return tuple(0 if n == 1 else s for n, s in zip(sizes, padded, strict=True))


def as_matrix(
    shape: tuple[int, ...], *strides: tuple[int, ...]
) -> tuple[int, int, list[tuple[int, int]]] | None:
    """Rows, columns and strides of loops over `shape`; None if two loops are not enough."""
    axes: list[tuple[int, list[int]]] = []  # (size, stride of each operand), outermost first
    for a, n in enumerate(shape):
        if n == 1:
            continue
        mine = [s[a] for s in strides]
        if axes and all(outer == inner * n % WORD for outer, inner in zip(axes[-1][1], mine, strict=True)):
            axes[-1] = (axes[-1][0] * n, mine)
        else:
            axes.append((n, mine))
    if len(axes) > 2:
        return None
    while len(axes) < 2:
        axes.insert(0, (1, [0] * len(strides)))
    (m, rows), (n, steps) = axes
    return m, n, list(zip(rows, steps, strict=True))


def elementwise(name: str) -> Callable[..., list[Row] | None]:
    """An instruction for an op that treats each element alike."""

    def encode(memory: Memory, op: Op, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
        if contiguous(target) and all(x[1:] == target[1:] for x in sources):
            one_row = [word for x in sources for word in (x.offset, 0, 1)]
            return [[CODES[name], target.offset, 0, *one_row, 1, math.prod(target.shape)]]
        loops = as_matrix(target.shape, target.strides, *(spread(x, target.shape) for x in sources))
        if loops is None or (loops[2][0][1] != 1 and loops[1] != 1):
            return None
        m, n, (to, *others) = loops
        row = [CODES[name], target.offset, to[0]]
        for x, strides in zip(sources, others, strict=True):
            row += [x.offset, *strides]
        return [[*row, m, n]]

    return encode


def rows_of(memory: Memory, w: Operand) -> tuple[list[Row], Operand] | None:
    """A matrix with contiguous rows: `w` itself, or a copy that instructions make of its transpose."""
    k, n = w.shape
    if w.strides[1] == 1 or n == 1:
        return [], w
    if w.strides[0] != 1:
        return None
    copy = memory.scratch(k, n)
    return [[CODES["transposed"], w.offset, w.strides[1], copy.offset, n, k]], copy


def product(memory: Memory, x: Operand, w: Operand, o: Operand, start: Operand | None) -> list[Row] | None:
    """``o = x @ w``, plus `start`, in every row if it is a vector."""
    (m, k), n = x.shape, w.shape[1]
    packed = rows_of(memory, w)
    if m * k * n > LARGEST_PRODUCT or packed is None or (o.strides[1] != 1 and n != 1):
        return None
    before, w = packed
    begin = [o.offset, 0, 0]
    if start is not None:  # a bias, the same for every row, or a matrix
        begin = [start.offset, start.strides[0] if len(start.shape) == 2 else 0, 1]
    if k > LONGEST_SUM and (m == 1 or o.strides[0] == n):
        parts = memory.temporary(-(-k // LONGEST_SUM), m * n)
        before, begin = [*before, *partial_products(x, w, parts, begin)], [0, 0, 0]
        x, w = memory.ones_before(parts), parts
        o, m, k, n = Operand(o.offset, (1, m * n), (m * n, 1)), 1, parts.shape[0], m * n
    at = [x.offset, *x.strides, w.offset, w.strides[0], o.offset, o.strides[0], *begin]
    return [*before, [CODES["product"], *at, m, k, n]]


def partial_products(x: Operand, w: Operand, parts: Operand, begin: list[int]) -> list[Row]:
    """``x @ w`` in parts along the inner axis, a row of `parts` for each: a long sum loses small numbers."""
    (m, k), n, rows = x.shape, w.shape[1], []
    for i, first in enumerate(range(0, k, LONGEST_SUM)):
        of_x, of_w = ((v.offset + first * step) % WORD for v, step in ((x, x.strides[1]), (w, w.strides[0])))
        at = [of_x, *x.strides, of_w, w.strides[0], parts.offset + i * m * n, n, *([0, 0, 0] if i else begin)]
        rows.append([CODES["product"], *at, m, min(LONGEST_SUM, k - first), n])
    return rows


def matmul(memory: Memory, op: Op, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """A product of two matrices."""
    a, b = sources
    return product(memory, a, b, target, None) if len(a.shape) == len(b.shape) == 2 else None


def fully_connected(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """Rows times the transposed weight, plus the bias."""
    x, weight = sources[:2]
    if len(x.shape) != 2 or (len(sources) == 3 and sources[2].strides != (1,) and sources[2].shape != (1,)):
        return None
    transposed = Operand(weight.offset, weight.shape[::-1], weight.strides[::-1])
    return product(memory, x, transposed, target, sources[2] if len(sources) == 3 else None)


def contiguous(x: Operand) -> bool:
    """Whether the elements lie one after the other in row-major order."""
    if x.strides == row_major(x.shape):
        return True
    expected = 1
    for n, s in zip(x.shape[::-1], x.strides[::-1], strict=True):
        if n != 1 and s != expected:
            return False
        expected *= n
    return True


def total(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """A sum over all elements, down the columns, or along the rows."""
    (x,) = sources
    axes, rank = op.axes(len(x.shape)), len(x.shape)
    if not contiguous(target):
        return None
    if len(axes) == rank and contiguous(x):
        size = int(np.prod(x.shape, dtype=int))
        return [[CODES["row_sums"], x.offset, 0, 1, target.offset, 1, size]]
    if rank == 2 and axes == (0,) and (x.strides[1] == 1 or x.shape[1] == 1):
        row = Operand(target.offset, (1, x.shape[1]), (x.shape[1], 1))
        return product(memory, memory.ones_before(x), x, row, None)
    if rank == 2 and axes == (1,):
        return [[CODES["row_sums"], x.offset, *x.strides, target.offset, *x.shape]]
    return None


def softmax(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """Probabilities along the rows of a matrix."""
    (x,) = sources
    rank = len(x.shape)
    if (
        rank != 2
        or op.axis not in (1, -1)
        or op.temperature != 1
        or not contiguous(target)
        or x.strides[1] != 1
    ):
        return None
    return [[CODES["softmax"], x.offset, x.strides[0], target.offset, *x.shape]]


def full(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """One number everywhere."""
    value = memory.operand(op.value)
    assert value is not None
    size = int(np.prod(target.shape, dtype=int))
    return [[CODES["filled"], target.offset, value.offset, size]] if contiguous(target) else None


def batch_norm(
    memory: Memory, op: Any, sources: Sequence[Operand], targets: Sequence[Operand]
) -> list[Row] | None:
    """Normalization of the columns of a matrix."""
    x, gamma, beta, moving_mean, moving_var = sources
    o, mean, var, new_mean, new_var = targets
    if len(x.shape) != 2 or op.axis not in (1, -1) or not all(map(contiguous, (*sources, *targets))):
        return None
    settings = memory.temporary(2)
    memory.kept[-1][:] = op.eps, op.momentum
    places = (x, gamma, beta, mean, var, o, new_mean, new_var)
    row = [CODES["batch_norm"], *(p.offset for p in places), settings.offset]
    row += [int(op.uses_batch) + 2 * int(op.fix_gamma), *x.shape, moving_mean.offset, moving_var.offset]
    return [row]


def pieces(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """Arrays one after the other: a copy for each."""
    rows: list[Row] = []
    axis, start = op.dim % len(target.shape), 0
    for x in sources:
        part = Operand((target.offset + start * target.strides[axis]) % WORD, x.shape, target.strides)
        copy = elementwise("copy")(memory, op, [x], part)
        if copy is None:
            return None
        rows += copy
        start += x.shape[axis]
    return rows


ENCODERS: dict[type[Op], Callable[..., list[Row] | None]] = {
    e.Add: elementwise("add"), e.Subtract: elementwise("subtract"), e.Multiply: elementwise("multiply"),
    e.Divide: elementwise("divide"), e.Maximum: elementwise("maximum"), e.Minimum: elementwise("minimum"),
    e.Negative: elementwise("negative"), e.Square: elementwise("square"), e.Sqrt: elementwise("sqrt"),
    e.Rsqrt: elementwise("rsqrt"), e.Abs: elementwise("abs"), e.Sign: elementwise("sign"),
    e.Relu: elementwise("relu"), e.Exp: elementwise("exp"), e.Log: elementwise("log"),
    e.Tanh: elementwise("tanh"),
    e.Sigmoid: elementwise("sigmoid"), e.Log1p: elementwise("log1p"), movement.Identity: elementwise("copy"),
    linear.MatMul: matmul, linear.FullyConnected: fully_connected, reduce.Sum: total, reduce.Full: full,
    nn.Softmax: softmax, nn.BatchNorm: batch_norm, index.Concat: pieces,
}  # fmt: skip
