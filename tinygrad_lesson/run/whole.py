"""Ops that one kernel carries out whole, because it is faster than their calls, or more exact.

What is not here is encoded call by call (`lower.CALLS`). Each pattern has a name; `run.patterns()` lists them all, and
``Passes(patterns=False)`` does without.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import linear, nn
from tinygrad_lesson.run.interpreter import CODES
from tinygrad_lesson.run.lower import Encoder, elementwise, product
from tinygrad_lesson.run.operands import Memory, Operand, Row, contiguous

FLAGS = 10  # the word of a product and of a normalization that holds
RELU = {"product": 2, "batch_norm": 4}  # that the positive part is wanted


class Pattern(NamedTuple):
    """What matches an op, or two neighbours of which only the second needs what the first makes.

    `encode` gives instructions, or None where the pattern does not fit after all.
    """

    name: str
    ops: tuple[type[Op], ...]
    encode: Encoder
    meaning: str

    def of(self) -> str:
        """The ops that it matches."""
        return " and ".join([op.name for op in self.ops])


def fully_connected(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """Rows times the transposed weight, plus the bias."""
    x, weight = sources[:2]
    if len(x.shape) != 2 or (len(sources) == 3 and sources[2].strides != (1,) and sources[2].shape != (1,)):
        return None
    transposed = Operand(weight.offset, weight.shape[::-1], weight.strides[::-1])
    return product(memory, x, transposed, target, sources[2] if len(sources) == 3 else None)


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


PATTERNS = (
    Pattern("fully_connected", (linear.FullyConnected,), fully_connected, "a product begins with its bias"),
    Pattern("softmax", (nn.Softmax,), softmax, "all rows of a softmax in one instruction"),
    Pattern("batch_norm", (nn.BatchNorm,), batch_norm, "a normalization with its statistics in two passes"),
    Pattern("relu", (e.Relu,), elementwise("relu"), "the positive part reads one operand"),
    Pattern("rsqrt", (e.Rsqrt,), elementwise("rsqrt"), "a root and its reciprocal in one loop"),
    Pattern("sigmoid", (e.Sigmoid,), elementwise("sigmoid"), "the logistic function in one loop, to two ulp"),
)
OTHERS = {
    "joined_loop": "elementwise steps over large arrays as one loop in machine code",
    "fetch_ahead": "in large plans what an instruction needs from far away is fetched some instructions earlier",
}
OF_OP = {pattern.ops[0]: pattern for pattern in PATTERNS}
