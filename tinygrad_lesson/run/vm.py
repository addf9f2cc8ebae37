"""The interpreter's runner: a plan as a tape for one compiled function.

What has no kernel there runs as NumPy steps between two interpreted stretches, so an op never has to be
declared twice to work, only to be faster.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.arrays import aligned_zeros
from tinygrad_lesson.op import Op
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import index, linear, movement, nn, reduce
from tinygrad_lesson.plan.blocks import Blockwise
from tinygrad_lesson.plan.plan import Plan
from tinygrad_lesson.plan.step import Step
from tinygrad_lesson.run.interpreter import BASES, CODES, OFFSETS, WIDTH, interpret, train
from tinygrad_lesson.run.numpy_ import NumpyRunner

Row = list[int]  # one instruction: a code, then offsets and sizes
LARGEST_PRODUCT = 64**3  # multiplications; above it BLAS is faster
WORD = 1 << 64
MOVABLE, PLACES = 1 << 62, 40  # mark of an offset in a movable array; its number is above the lower 40 bits
LOOP_BLOCK = (
    2048  # elements; what a loop over blocks reads and writes at a time stays in the first two caches
)


class Operand(NamedTuple):
    """A float32 array as the kernels see it: where it begins, and its strides, all in elements."""

    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Memory:
    """Addresses relative to the base of one array; temporaries and numbers that live as long as the tape."""

    def __init__(self, arena: np.ndarray) -> None:
        self.base = (
            np.zeros(16, np.float32) if arena.nbytes < 64 else arena[: arena.nbytes // 4 * 4].view(np.float32)
        )
        self.origin = address(self.base)
        self.kept: list[np.ndarray] = []
        self.vectors: dict[int, Operand] = {}
        self.matrices: dict[tuple[int, int], Operand] = {}
        self.numbers: dict[float, np.ndarray] = {}
        self.movable: list[
            tuple[int, int]
        ] = []  # where arrays begin and end that may lie elsewhere next time

    def operand(self, x: Any) -> Operand | None:
        """An array, or a number, as an operand; None if it is no float32."""
        if not isinstance(x, np.ndarray):
            x = self.numbers.setdefault(float(x), np.array(x, np.float32))
        if x.dtype != np.float32 or any(s % 4 for s in x.strides):
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

    def scratch(self, rows: int, columns: int) -> Operand:
        """A matrix for the very next instruction alone; the same for all that ask for its shape."""
        if (rows, columns) not in self.matrices:
            self.matrices[rows, columns] = self.temporary(rows, columns)
        return self.matrices[rows, columns]


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
    """``o = x @ w``, plus `start` in every row."""
    (m, k), n = x.shape, w.shape[1]
    packed = rows_of(memory, w)
    if m * k * n > LARGEST_PRODUCT or packed is None or (o.strides[1] != 1 and n != 1):
        return None
    before, w = packed
    begin = [start.offset, 0, 1] if start is not None else [o.offset, 0, 0]
    row = [
        CODES["product"],
        x.offset,
        *x.strides,
        w.offset,
        w.strides[0],
        o.offset,
        o.strides[0],
        *begin,
        m,
        k,
        n,
    ]
    return [*before, row]


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
        ones = memory.ones(x.shape[0])
        row = Operand(target.offset, (1, x.shape[1]), (x.shape[1], 1))
        return product(memory, Operand(ones.offset, (1, x.shape[0]), (0, 1)), x, row, None)
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
    row = [
        CODES["batch_norm"],
        *(p.offset for p in places),
        settings.offset,
        int(op.uses_batch),
        int(op.fix_gamma),
    ]
    return [[*row, *x.shape, moving_mean.offset, moving_var.offset]]


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


class Stretch:
    """Instructions that run in one go."""

    def __init__(self, tape: np.ndarray, memory: Memory) -> None:
        self.tape, self.base, self.origin = tape, memory.base, memory.origin
        self.places = np.nonzero(tape >> np.uint64(62) == 1)
        marked = tape[self.places] & np.uint64(MOVABLE - 1)
        self.numbers, self.within = marked >> np.uint64(PLACES), marked & np.uint64((1 << PLACES) - 1)
        self.move([start for start, _ in memory.movable])

    def move(self, addresses: Sequence[int]) -> None:
        """Let the movable arrays begin there."""
        if len(self.numbers):
            starts = np.array([(at - self.origin) // 4 % WORD for at in addresses], np.uint64)
            self.tape[self.places] = starts[self.numbers] + self.within

    def __call__(self) -> None:
        """Carry them out."""
        interpret(self.tape, self.base, STEP)


STEP = np.uint64(0)
UNHELD = 2  # references to an array that only the function knows which asks


class VMRunner(NumpyRunner):
    """Carries out a plan by the interpreter where it has kernels, by NumPy elsewhere."""

    name = "vm"

    def __init__(
        self, plan: Plan, arrays: Mapping[str, np.ndarray], generator: Any, *, movable: bool = False
    ) -> None:
        self.memory: Memory | None = None
        self.given: dict[str, np.ndarray] = {}
        super().__init__(plan, arrays, generator, movable=movable)
        self.calls = [stretches(part, self.memory) for part in self.calls]

    def call(self, values: Mapping[str, Any], results: Sequence[str]) -> list[np.ndarray]:
        """As on NumPy, but where every step is interpreted nothing is copied."""
        parts = [part for part in self.calls[1] if isinstance(part, Stretch)]
        if len(parts) < len(self.calls[1]):
            return super().call(values, results)
        new = {name: self.array_for(name) for name in results}
        new.update(
            {name: np.require(value, self.arrays[name].dtype, ["C", "A"]) for name, value in values.items()}
        )
        if any(new[name].shape != self.arrays[name].shape for name in values):
            return super().call(values, results)
        addresses = [address(new.get(name, x)) for name, x in self.arrays.items()]
        for part in parts:
            part.move(addresses)
            part()
        return [new[name] for name in results]

    def array_for(self, name: str) -> np.ndarray:
        """An array for a result: the one given out last, if nobody holds it or a view of it. New memory costs time."""
        array = self.given.pop(name, None)
        if array is None or max(sys.getrefcount(array), sys.getrefcount(array.base)) > UNHELD:
            array = aligned_zeros(self.arrays[name].size, self.arrays[name].dtype).reshape(
                self.arrays[name].shape
            )
        self.given[name] = array
        return array

    def prepare(self, step: Step) -> list[Any]:
        """Instructions for one step where there is a kernel, else calls."""
        if self.memory is None:
            self.memory = Memory(self.arena)
            if self.movable:
                ends = [(address(x), address(x) + x.nbytes) for x in self.arrays.values()]
                self.memory.movable = ends
        if step in self.plan.setup or step.op.view:
            return super().prepare(step)
        rows = self.encode_blocks(step.op) if isinstance(step.op, Blockwise) else self.encode(step)
        return super().prepare(step) if rows is None else [np.array(row, dtype=object) for row in rows]

    def encode_blocks(self, op: Blockwise) -> list[Row] | None:
        """A loop over blocks as instructions; None where there is no kernel for one of them."""
        flat, memory = self.in_order(op), self.memory
        if flat is None or memory is None:
            return None
        before: list[Row] = []
        rows: list[Row] = []
        for step in op.steps:
            found = [self.block_operand(flat.get(v, self.buffers[v])) for v in (*step.sources, *step.targets)]
            operands = [x for x in found if x is not None]
            encoder: Any = ENCODERS.get(type(step.op))
            if len(operands) < len(found) or encoder is None:
                return None
            sources, target = operands[:-1], operands[-1]
            if type(step.op) is reduce.Sum:
                zero = memory.operand(0.0)
                assert zero is not None
                before.append([CODES["filled"], target.offset, zero.offset, 1])
                row, values = [CODES["add_sum"], sources[0].offset, target.offset, 0], step.sources
            else:
                row, values = encoder(memory, step.op, sources, target)[0], (*step.targets, *step.sources)
            bits = sum(1 << i for i, v in enumerate(values) if v in flat and self.moves(v, flat[v]))
            padded = [*row, *[0] * (BASES - len(row))]
            rows.append([*padded, *[padded[c] for c in OFFSETS], bits, len(row) - 1])
        return [*before, [CODES["blocks"], len(rows), op.size, min(LOOP_BLOCK, op.block)], *rows]

    def moves(self, v: int, x: np.ndarray) -> bool:
        """Whether a loop over blocks goes through an array."""
        return x.size > 1 and any(x.strides) and not self.plan.buffers[v].block

    def block_operand(self, x: Any) -> Operand | None:
        """One block of an array whose elements lie in a row, or a number."""
        assert self.memory is not None
        operand = self.memory.operand(x)
        one = not isinstance(x, np.ndarray) or x.size == 1 or not any(x.strides)
        return operand and (
            Operand(operand.offset, (), ()) if one else Operand(operand.offset, (LOOP_BLOCK,), (1,))
        )

    def encode(self, step: Step) -> list[Row] | None:
        """Instructions for one step; None where there is no kernel for it."""
        encoder = ENCODERS.get(type(step.op))
        if encoder is None or any(self.buffers[v] is None for v in (*step.sources, *step.targets)):
            return None
        assert self.memory is not None
        sources = [self.memory.operand(self.buffers[v]) for v in step.sources]
        targets = [self.memory.operand(self.buffers[v]) for v in step.targets]
        if None in sources or None in targets or any(0 in x.shape for x in targets if x):
            return None
        return encoder(self.memory, step.op, sources, targets if len(targets) > 1 else targets[0])

    def train(
        self, batches: Mapping[str, np.ndarray], steps: int, updater: Any, loss: str, watched: Any
    ) -> Any:
        """Many steps in one call: forward, backward and the optimizer, batch after batch.

        `batches` has for each input one more leading axis, over batches that are gone through in turn, until
        `steps` are done. `updater.take(steps)` tells
        what the optimizer does in them, `watched` the (start, size) of gradients whose mean magnitude is
        wanted. Gives losses (steps,) and magnitudes (steps, watched), or None where the plan has parts that
        need NumPy between.
        """
        parts = [call for part in self.calls for call in part]
        tapes = [part.tape for part in parts if isinstance(part, Stretch)]
        inputs = {name: self.buffers[v] for name, v in self.plan.arguments.items() if name in batches}
        result, memory = np.asarray(self.result(loss)), self.memory
        update = updater.take(steps) if memory is not None and result.dtype == np.float32 else None
        if update is None or memory is None:
            return None
        kept = {name: np.ascontiguousarray(batches[name], x.dtype) for name, x in inputs.items()}
        losses, magnitudes = np.empty(steps, np.float32), np.empty((steps, len(watched)), np.float32)
        tail = Tail(memory, update, result, watched)
        if len(tapes) == len(parts) and all(x.dtype == np.float32 for x in inputs.values()):
            rows = [[CODES["gather"], memory.offset(x), memory.offset(kept[name]), x.size, len(kept[name])]
                    for name, x in inputs.items()]  # fmt: skip
            tail(np.concatenate([as_tape(rows), *tapes]), steps, losses, magnitudes, update.rates)
            return losses, magnitudes
        for i in range(steps):
            for name, x in inputs.items():
                np.copyto(x, kept[name][i % len(kept[name])])
            self.forward()
            self.backward()
            tail(as_tape([]), 1, losses[i:], magnitudes[i:], update.rates[i : i + 1])
        return losses, magnitudes


class Tail:
    """What comes after the gradients: the loss, the optimizer's step, what the monitor wants to know.

    `watched` are the (start, size) of gradients whose mean magnitude is wanted.
    """

    def __init__(self, memory: Memory, update: Any, result: np.ndarray, watched: Any = ()) -> None:
        self.memory, self.update = memory, update
        moments = [*update.moments, *[update.weight] * (2 - len(update.moments))]
        self.constants = np.array(update.constants, np.float32)
        places = map(memory.offset, (update.weight, update.grad, *moments))
        code = [update.kind, *places, update.weight.size, memory.offset(self.constants)]
        self.code = np.array(code, np.uint64)
        self.result = np.array([memory.offset(result), result.size], np.uint64)
        self.watched = np.array(watched, np.uint64).reshape(-1, 2)

    def __call__(self, tape: np.ndarray, steps: int, losses: Any, magnitudes: Any, rates: Any) -> None:
        """Carry out `tape` and this so many times."""
        at, rates = self.memory.offset, np.array(rates, np.float32)
        train(
            tape, self.memory.base, np.uint64(steps), self.code, np.uint64(at(rates)), np.uint64(at(losses)),
            self.result, np.uint64(at(magnitudes)), self.watched,
        )  # fmt: skip


class Update:
    """An optimizer's step over flat arrays, by the interpreter."""

    def __init__(self, update: Any) -> None:
        memory = Memory(aligned_zeros(16, np.float32).view(np.uint8))
        self.rates, losses = np.zeros(1, np.float32), np.zeros(1, np.float32)
        tail = Tail(memory, update, losses)
        at = [np.uint64(memory.offset(x)) for x in (self.rates, losses)]
        self.kept = tail, losses
        self.arguments = (
            as_tape([]),
            memory.base,
            np.uint64(1),
            tail.code,
            *at,
            tail.result,
            at[1],
            tail.watched,
        )

    def __call__(self, rate: float) -> None:
        """Take a step with this rate."""
        self.rates[0] = rate
        train(*self.arguments)


def stretches(calls: Sequence[Any], memory: Memory | None) -> list[Any]:
    """Neighbouring instructions joined into stretches."""
    joined: list[Any] = []
    rows: list[Any] = []
    for call in [*calls, None]:
        if isinstance(call, np.ndarray):
            rows.append(call)
            continue
        if rows:
            assert memory is not None
            joined.append(Stretch(as_tape(rows), memory))
            rows = []
        if call is not None:
            joined.append(call)
    return joined


def as_tape(rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Instructions as one array of unsigned words."""
    tape = np.zeros((len(rows), WIDTH), np.uint64)
    for i, row in enumerate(rows):
        tape[i, : len(row)] = np.array([int(v) % WORD for v in row], np.uint64)
    return tape


__all__ = ["Update", "VMRunner", "train"]
