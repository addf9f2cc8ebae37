"""Ops that one kernel carries out whole, because it is faster than their calls, or more exact.

What is not here is encoded call by call (`lower.CALLS`). Each pattern has a name; `run.patterns()` lists them all, and
``Passes(patterns=False)`` does without.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

from tinygrad_lesson.engine.backprop import gradient_of
from tinygrad_lesson.engine.namespace import array_namespace
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.ops import activations, conv, linear, nn, norms, order, probabilities, ramps
from tinygrad_lesson.run import folds, windows
from tinygrad_lesson.run.elements import elementwise
from tinygrad_lesson.run.operands import FLOATS, Encoder, Memory, Operand, Row, contiguous
from tinygrad_lesson.run.products import product
from tinygrad_lesson.run.tape import loops, normalization
from tinygrad_lesson.run.tape import softmax as rows
from tinygrad_lesson.run.tape.expressions import EXPRESSIONS
from tinygrad_lesson.run.tape.expressions import SINGLE as OF_SINGLE
from tinygrad_lesson.run.tape.machine import address
from tinygrad_lesson.run.tape.vector import lanes_of

SINGLE = FLOATS[:1]
LONG = 16  # vectors of a row


@declares
class Slope(Op):
    """The `vjp` of an op by one of its inputs, as an op of the cotangent, the result and the inputs."""

    of: Op = attr(doc="the op")
    number: int = attr(0, doc="which of the inputs")

    name: ClassVar[str] = "Slope"
    inputs: ClassVar[tuple[str, ...]] = ("g", "y", "x")

    def shape(self, g: Any, y: Any, *inputs: Any) -> Any:  # type: ignore[override]
        """That of the input."""
        return inputs[self.number]

    @property
    def contracts(self) -> bool:  # type: ignore[override]
        """As the op."""
        return self.of.contracts

    def apart(self, rank: int) -> bool:
        """As the op."""
        return self.of.apart(rank)

    def forward(self, xp: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """What the rule gives for bare arrays."""
        return gradient_of(array_namespace(xp), self.of, (g, y, *inputs), self.number)


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
    x, weight, *bias = sources
    if len(x.shape) != 2 or any(v.strides != (v.itemsize,) and v.shape != (1,) for v in bias):
        return None
    transposed = weight._replace(shape=weight.shape[::-1], strides=weight.strides[::-1])
    return product(memory, x, transposed, target, bias)


def softmax(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """Probabilities along the rows of a matrix."""
    (x,) = sources
    plain = len(x.shape) == 2 and along_rows(op, 2) and x.kind == target.kind
    if not plain or x.kind not in FLOATS or not contiguous(target) or x.strides[1] != x.itemsize:
        return None
    n, lanes = x.shape[1], lanes_of(x.kind)
    if (
        n % lanes and n < LONG * lanes
    ):  # what ends within a vector is read as soon as it is written, and has to wait
        return None
    return [[address(rows.softmax, x.kind), x.offset, x.strides[0], target.offset, *x.shape]]


def along_rows(op: Any, rank: int) -> bool:
    """Whether a softmax of arrays of so many axes goes along their rows, as they are."""
    return op.axis in (rank - 1, -1) and op.temperature == 1


def softmax_slope(name: str) -> Encoder:
    """The slope of a softmax, or of its logarithm, along dense rows: of the cotangent, the result and the input."""

    def encode(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
        g, y, _ = sources
        dense = all(contiguous(x) and x.kind == target.kind for x in (g, y, target))
        if not dense or target.kind not in FLOATS or not along_rows(op, len(target.shape)):
            return None
        n = target.shape[-1]
        return [
            [address(rows.slope, name, target.kind), g.offset, y.offset, target.offset, target.size // n, n]
        ]

    return encode


def put_along_rows(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
    """Elements that fill rows in another order."""
    x, at = sources
    if not op.distinct or op.axis not in (len(target.shape) - 1, -1) or at.kind != "int64":
        return None
    if any(v.shape != target.shape or not contiguous(v) for v in (x, at, target)) or x.kind != target.kind:
        return None
    flag, n = memory.temporary(1, kind="int64"), target.shape[-1]
    memory.wrong = memory.kept[-1]
    places = [v.offset for v in (target, at, x, flag)]
    return [[address(loops.put, x.kind), *places, target.size // n, n]]


def batch_norm(
    memory: Memory, op: Any, sources: Sequence[Operand], targets: Sequence[Operand]
) -> list[Row] | None:
    """Normalization of the columns of a matrix."""
    x, gamma, beta, moving_mean, moving_var = sources
    o, mean, var, new_mean, new_var = targets
    all_of_them = (*sources, *targets)
    if len(x.shape) != 2 or op.axis not in (1, -1) or not all(map(contiguous, all_of_them)):
        return None
    if x.kind not in FLOATS or any(v.kind != x.kind for v in all_of_them):
        return None
    settings = memory.temporary(2, kind=x.kind)
    memory.kept[-1][:] = op.eps, op.momentum
    places = (x, gamma, beta, mean, var, o, new_mean, new_var, settings, moving_mean, moving_var)
    kernel = address(normalization.batch_norm, x.kind, bool(op.uses_batch), bool(op.fix_gamma))
    return [[kernel, *[p.offset for p in places], *x.shape]]


def of_floats(name: str, kinds: Sequence[str] = FLOATS) -> Encoder:
    """An elementwise function of floats of one type, which is one of these."""

    def encode(memory: Memory, op: Any, sources: Sequence[Operand], target: Operand) -> list[Row] | None:
        fits = target.kind in kinds and all(x.kind == target.kind for x in sources)
        return elementwise(name)(memory, op, sources, target) if fits else None

    return encode


PATTERNS = (
    Pattern("fully_connected", (linear.FullyConnected,), fully_connected, "a product begins with its bias"),
    Pattern("softmax", (nn.Softmax,), softmax, "all rows of a softmax in one instruction"),
    Pattern("batch_norm", (nn.BatchNorm,), batch_norm, "a normalization with its statistics in two passes"),
    Pattern("norm", (norms.Norm,), folds.norm, "squares, or absolute values, as they are added up"),
    Pattern("sliding_product", (conv.SlidingProduct,), windows.sliding_product,
            "a convolution packs what windows see, panel by panel"),
    Pattern("sliding_data", (conv.SlidingProductData,), windows.sliding_product_data,
            "so does its gradient by the image"),
    Pattern("sliding_weight", (conv.SlidingProductWeight,), windows.sliding_product_weight,
            "so does its gradient by the weight"),
    Pattern("sigmoid", (ramps.Sigmoid,), of_floats("sigmoid"), "the logistic function in one loop, to two ulp"),
    Pattern("ndtr", (probabilities.Ndtr,), of_floats("ndtr", SINGLE), "in single precision one loop, to four ulp"),
    Pattern("normal_hazard", (probabilities.NormalHazard,), of_floats("normal_hazard", SINGLE),
            "the density by the probability of more in one loop, to four ulp, in single precision"),
    Pattern("gelu", (activations.Gelu,), of_floats("gelu", SINGLE), "in single precision one loop, to four ulp"),
)  # fmt: skip
OTHERS = {
    "joined_loop": "elementwise steps over large arrays as one loop in machine code",
    "recurring_loop": "elementwise steps that follow each other again and again as one loop, compiled once",
    "summed_products": "products of matrices that are added up as one instruction",
    "fetch_ahead": "in large plans what an instruction needs from far away is fetched some instructions earlier",
}
# What is done otherwise outside of plans, where NumPy comes after it if `Memory.wrong` says so.
ALONE: dict[type[Op], Encoder] = {order.AddAlongAxis: put_along_rows}
# The slopes of ops outside of plans, as what `vjp` is given: the cotangent, the result, the inputs.
SLOPES: dict[type[Op], Encoder] = {
    nn.Softmax: softmax_slope("softmax"), nn.LogSoftmax: softmax_slope("log_softmax"),
}  # fmt: skip
SLOPE_OF: dict[type[Op], str] = {
    activations.Gelu: "gelu_slope",
    probabilities.LogNdtr: "log_ndtr_slope",
}  # likewise, those that are one expression
OF_OP = {pattern.ops[0]: pattern for pattern in PATTERNS}


def by_pattern(
    memory: Memory, op: Any, sources: Sequence[Operand], targets: Sequence[Operand]
) -> list[Row] | None:
    """The instructions of the pattern of an op; None where there is none, or it does not fit."""
    pattern = OF_OP.get(type(op))
    return pattern and pattern.encode(memory, op, sources, targets if len(targets) > 1 else targets[0])


def as_expression(op: Op, kind: str) -> str | None:
    """The one expression that an elementwise op is, or the slope of one; None where its calls say more."""
    pattern = OF_OP.get(type(op))
    name = SLOPE_OF.get(type(op.of)) if isinstance(op, Slope) else pattern and pattern.name
    return name if name in EXPRESSIONS and (kind in SINGLE or name not in OF_SINGLE) else None
