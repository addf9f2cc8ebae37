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

from tinygrad_lesson.devices import is_number
from tinygrad_lesson.engine.shapes import size_of
from tinygrad_lesson.plan.trace import DRAW
from tinygrad_lesson.run.counted import DRAWN, PHILOX, Count
from tinygrad_lesson.run.cuda import INNER, OPERATIONS, Row, UnsuitedError, merged, substituted
from tinygrad_lesson.run.gpu import DeviceRunner
from tinygrad_lesson.run.groups import Item
from tinygrad_lesson.run.parts import Run
from tinygrad_lesson.run.steps import StepRunner, Steps

WORDS, RANK, THREADS = 34, 4, 256
FEW = 1 << 15  # elements of an array, or products of a matrix multiplication, up to which one block is enough
CODES = {name: i for i, name in enumerate([*OPERATIONS, *INNER, DRAW])}
# words: 0 code, 1 inner size, 2 and 3 inner strides, 4 sizes, 8 strides of out, 12 of a, 16 of b, 20 of c, 24 addresses
# of these four, 28 bytes from step to step of out and whether they begin anew, 30 of a, 32 which are truth values
KERNEL = """
typedef long long word; typedef float T;
__device__ float load(const char* p, word at, bool truth) {
  return truth ? (float)*(const unsigned char*)(p + at) : *(const float*)(p + at);
}
extern "C" __global__ void carry_out(const long long* tape, long long rows,
                                     long long first, long long end, long long rounds,
                                     long long draw, long long each, long long seed) {
  for (word s = first; s < end; s++) for (word r = 0; r < rows; r++) {
    const word* t = tape + r * WORDS; const word code = t[0], n = t[4] * t[5] * t[6] * t[7];
    const bool o1 = t[32] & 1, a1 = t[32] & 2, b1 = t[32] & 4, c1 = t[32] & 8;
    for (word i = threadIdx.x; i < n; i += blockDim.x) {
      char* out = (char*)t[24] + (t[29] ? s % rounds : s) * t[28];
      const char* a = (const char*)t[25] + (t[31] ? s % rounds : s) * t[30];
      const char *b = (const char*)t[26], *c = (const char*)t[27];
      word left = i;
      for (int d = 3; d >= 0; d--) {
        const word k = left % t[4 + d]; left /= t[4 + d];
        out += k * t[8 + d]; a += k * t[12 + d]; b += k * t[16 + d]; c += k * t[20 + d];
      }
      float v = 0;
      if (code == DRAW) v = philox(i, n, draw + (s - first) * each + t[1], seed);
      else if (code < OPERATIONS) {
        const float x = load(a, 0, a1), y = b ? load(b, 0, b1) : 0, z = c ? load(c, 0, c1) : 0;
        switch (code) { CASES }
      } else switch (code) { LOOPS }
      if (o1) *(unsigned char*)out = v != 0; else *(float*)out = v;
    }
    __syncthreads();
  }
}
"""
LOOP = """case {code}: v = {first}; for (word j = 0; j < t[1]; j++) {{
  const float x = load(a, j * t[2], a1), y = b ? load(b, j * t[3], b1) : 0; v = {further}; }} break;"""


def source() -> str:
    """The kernel as CUDA C."""
    cases = "\n".join(f"case {CODES[name]}: v = {text}; break;" for name, text in OPERATIONS.items())
    loops = "\n".join(
        LOOP.format(code=CODES[name], first=first, further=further)
        for name, (first, further, _) in INNER.items()
    )
    text = KERNEL.replace("CASES", cases).replace("LOOPS", loops)
    numbers = {"OPERATIONS": str(len(OPERATIONS)), "WORDS": str(WORDS), "DRAW": str(CODES[DRAW])}
    return PHILOX + substituted(text, numbers)


@functools.cache
def kernel(xp: Any) -> Any:
    """The kernel, compiled when it is first launched."""
    return xp.RawKernel(source(), "carry_out")


class Tape:
    """Rows of words, and the numbers in them; those that draw are counted by `count`."""

    def __init__(self, rows: Sequence[Row | Item] = (), count: Count | None = None) -> None:
        self.count, self.draws = count, 0
        self.rows: list[np.ndarray] = []
        self.numbers: dict[float, int] = {}
        self.places: list[
            tuple[int, int, int]
        ] = []  # row, word, number: whose address comes when all are known
        self.kept: Any = None  # what the rows point to
        for row in rows:
            if not isinstance(row, Row):
                raise UnsuitedError(row)
            self.add(row)

    def add(self, row: Row) -> None:
        """One more row.

        Errors
            UnsuitedError for one that is too large, of too many axes, or of other types than float32 and bool; and for
            draws of two generators.
        """
        if row.name == DRAWN:
            if self.count is None or row.operands[0].array is not self.count.words:
                raise UnsuitedError(row.name)
            self.draws += row.operands[2]
            return
        later = row.operands[3] if row.name == DRAW else 0
        row = row._replace(operands=row.operands[:1]) if row.name == DRAW else row
        operands = [x for x in row.operands if not is_number(x)]
        types = {row.kind, *[x.array.dtype for x in operands]}
        if math.prod(row.shape) > FEW * 8 or types - {np.dtype(np.float32), np.dtype(np.bool)}:
            raise UnsuitedError(f"{row.name} of {row.shape}")
        sizes, strides = merged(*along(row, row.kept, operands))
        inner, steps = merged(*along(row, row.axes, operands))
        if len(sizes) > RANK or len(inner) > 1:
            raise UnsuitedError(f"{row.name} of {row.shape}")
        words = np.zeros(WORDS, np.int64)
        words[:2] = CODES[row.name], later if row.name == DRAW else math.prod(inner)
        words[4:8] = (*[1] * (RANK - len(sizes)), *sizes)
        lying = iter(zip(operands, strides, steps, strict=True))
        for i, x in enumerate(row.operands):
            if is_number(x):
                self.places.append(
                    (len(self.rows), 24 + i, self.numbers.setdefault(float(x), len(self.numbers)))
                )
                continue
            part, over, within = next(lying)
            words[8 + 4 * i : 12 + 4 * i] = (*[0] * (RANK - len(over)), *over)
            words[24 + i] = part.array.data.ptr
            words[32] |= (part.array.dtype == np.bool) << i
            if i in (1, 2) and within:
                words[1 + i] = within[0]
            if part.step:
                words[28 + 2 * i : 30 + 2 * i] = part.step, part.rounds > 0
        self.rows.append(words)

    def ready(self, xp: Any) -> Any:
        """The words on the device, with the addresses of their numbers."""
        held = xp.asarray(np.array([*self.numbers, 0], np.float32))
        for row, word, number in self.places:
            self.rows[row][word] = held.data.ptr + 4 * number
        self.kept = held
        return xp.asarray(np.array(self.rows, np.int64).reshape(-1))


def along(row: Row, axes: Sequence[int], operands: Sequence[Any]) -> tuple[list[int], list[list[int]]]:
    """Sizes of some axes of a row, and the strides of its arrays there."""
    return [row.shape[a] for a in axes], [[x.strides[a] for a in axes] for x in operands]


class BlockRunner(StepRunner):
    """A plan whose parts are one launch of one block each, and many steps of training too.

    Errors
        UnsuitedError where the plan holds what the kernel does not know, or is too large.
    """

    name = "block"

    def __init__(self, plan: Any, arrays: Mapping[str, Any], generator: Any, **settings: Any) -> None:
        if max((size_of(b.shape) for b in plan.buffers), default=0) > FEW:  # type: ignore[type-var]
            raise UnsuitedError("a large array")
        super().__init__(plan, arrays, generator, **settings)

    def carried_out(self, parts: Any) -> list[list[Run]]:
        """A launch for each part."""
        self.tapes = [Tape(self.items(part), self.count) for part in parts]
        return [
            [functools.partial(self.launch, tape.ready(self.xp), tape, 0, 1)] if tape.rows else []
            for tape in self.tapes
        ]

    def __str__(self) -> str:
        count = ", ".join(str(len(tape.rows)) for tape in self.tapes)
        return f"on {self.place}, one launch of one block a part: {count} rows"

    def launch(self, words: Any, tape: Tape, first: int, steps: int, rounds: int = 1) -> None:
        """One launch."""
        draw, seed = self.count.now if tape.draws else (0, 0)
        counts = len(tape.rows), first, first + steps, rounds, draw, tape.draws, seed
        given = np.array(counts, np.uint64).view(np.int64)
        kernel(self.xp)((1,), (THREADS,), (words, *given))
        if tape.draws:
            self.count.took(steps * tape.draws, there=False)

    def step_of(self, noted: Steps, update: DeviceRunner) -> tuple[Any, Tape]:
        """As rows."""
        tape = Tape(self.rows_of_step(noted, update), self.count)
        return tape.ready(self.xp), tape

    def take(self, step: tuple[Any, Tape], noted: Steps, first: int, count: int) -> None:
        """In one launch."""
        self.launch(*step, first, count, noted.rounds)
