"""Property tests of ops: hypothesis looks for inputs at which an op is wrong, and makes them small."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.divergence import OpError, assert_close, assert_faces_agree, learnable
from tinygrad_lesson.check.duties import alike
from tinygrad_lesson.check.gradients import gradients
from tinygrad_lesson.check.numeric import FLOOR
from tinygrad_lesson.check.pair import Pair
from tinygrad_lesson.check.report import GradientError, Report, as_code
from tinygrad_lesson.check.strategies import attributes, needed, samples, special_numbers
from tinygrad_lesson.check.subject import SEED, as_tuple, name_of, repeatable
from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.engine.errors import DTypeError, LessonError
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import FUNCTIONS, Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet.custom import Custom
from tinygrad_lesson.mxnet.operator import CustomOpProp, registered_as
from tinygrad_lesson.random import MXNetGenerator

HARD = ("long", "large")  # kinds of examples at which differences may have nothing to say
KINDS = ("float64", "float64", "strided", "float32", "tied", "special", *HARD)  # many are plain
EXTREME = 1e30  # beyond it, and below one over it, differences say nothing
STUMBLES = (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError)  # of an op's code
UNDECIDED = ("cannot tell", "float noise", "non-finite")  # verdicts that are no mistake at hard examples
FULL = 20  # elements up to which each is moved on its own


class UndecidedError(GradientError):
    """A point at which there is no derivative, or none that differences can tell: no mistake of the rule."""


def refuse(report: Report, hard: bool = False) -> None:
    """Refuse what a check has found wrong.

    Errors
        UndecidedError at a kink, and where it was `hard` to tell, or a function rounded away what little is missing, as
        ``0.5 + 0.5 * tanh(x)`` does at -20; GradientError else.
    """
    if not report.ok:
        little = any(abs(entry.analytic - entry.numeric) <= FLOOR for entry in report.worst[:1])
        undecided = report.verdict == "kink" or (hard and (little or report.verdict in UNDECIDED))
        raise (UndecidedError if undecided else GradientError)(report)


@np.errstate(all="ignore")
def assert_op(op: Op, *inputs: Any, order: int = 2, oracle: Callable[..., Any] | bool | None = None) -> None:
    """Check all that an op promises, at these inputs.

    The rules of shape and type tell what `forward` returns; `forward` agrees with `oracle(op, *arrays)`, or with the
    `oracle` that the op declares, unless `oracle` is False; gradients agree with differences, up to `order`; both faces
    and all runners agree; no input is written. At inputs that are infinite, NaN or beyond `EXTREME`, and with order 0,
    the faces' results are all that is compared.

    Errors
        OpError or GradientError that says what is wrong.
    """
    oracle = type(op).oracle if oracle is None else oracle
    given = [np.asarray(x) for x in inputs]
    kept = [x.copy() for x in given]
    results = forward(op, given)
    if not alike(given, kept):
        raise OpError(f"{op!r}: forward writes into its inputs")
    assert_rules(op, given, results)
    floats = [np.abs(x[x != 0]) for x in (*given, *results) if x.dtype.kind == "f"]
    if not order or not all(np.all((size < EXTREME) & (size > 1 / EXTREME)) for size in floats):
        assert_faces_agree(op, given)
        return
    if callable(oracle):
        for y, z in zip(results, as_tuple(oracle(op, *given)), strict=True):
            assert_close(y, z, f"{op!r}: forward", "the oracle gives", by_largest=True)
    generator = np.random.default_rng(0)
    g = [np.asarray(generator.normal(size=y.shape), y.dtype) for y in results[: op.visible]]
    if any(given[i].size for i in learnable(op, given)):
        refuse(gradients(op, *given, order=order, full=sum(x.size for x in given) <= FULL))
    assert_faces_agree(op, given, g)


def forward(op: Op, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """All results of `forward`."""
    extra = {"generator": MXNetGenerator(SEED)} if op.random else {}
    with repeatable():
        return [np.asarray(y) for y in as_tuple(op.forward(np, *inputs, **extra))]


def assert_rules(op: Op, inputs: Sequence[np.ndarray], results: Sequence[np.ndarray]) -> None:
    """Refuse rules of shape and type that do not tell what `forward` returns."""
    if len(results) != op.results:
        raise OpError(f"{op!r}: forward returns {len(results)} results, declared are {op.results}")
    told, types = op.shape(*[x.shape for x in inputs]), op.dtype(*[x.dtype for x in inputs])
    told = [told] if op.results == 1 else list(told)
    types = list(types) if isinstance(types, tuple) else [types] * op.results
    for y, shape, dtype in zip(results, told, types, strict=True):
        if y.shape != tuple(shape):
            raise OpError(f"{op!r}: forward returns the shape {y.shape}, its shape rule says {tuple(shape)}")
        if dtype is not None and y.dtype != dtype:
            raise OpError(f"{op!r}: forward returns {y.dtype}, its type rule says {np.dtype(dtype)}")


# What hypothesis draws.


class Case:
    """An op, or a function of Tensors, and inputs for it; shown as the line that checks it again.

    It is `hard` where differences may have nothing to say, `guessed` where the op did not say what inputs it takes.
    """

    hard = False

    def __init__(self, subject: Any, inputs: Any, order: int, oracle: Any, guessed: bool = False) -> None:
        self.subject, self.inputs, self.order, self.oracle = subject, list(inputs), order, oracle
        self.guessed = guessed

    @property
    def is_op(self) -> bool:
        """Whether all that an op promises is checked."""
        return isinstance(self.subject, Op) and not isinstance(self.subject, Pair)

    def __repr__(self) -> str:
        what = repr(self.subject) if self.is_op else name_of(self.subject)
        inputs = "".join(f", {as_code(x)}" for x in self.inputs)
        more = f", order={self.order}" if self.order != 2 else ""
        more += ", oracle=False" if self.is_op and self.oracle is False else ""
        return f"check.{'assert_op' if self.is_op else 'assert_gradients'}({what}{inputs}{more})"

    def check(self) -> None:
        """Check it. OpError or GradientError that ends with the line that checks it again."""
        try:
            if self.is_op:
                assert_op(self.subject, *self.inputs, order=self.order, oracle=self.oracle)
            else:
                refuse(gradients(self.subject, *self.inputs, order=self.order))
        except GradientError as error:
            error.report.reproduce = repr(self)
            refuse(error.report, self.hard)
        except (OpError, *STUMBLES) as error:
            problem = str(error)
            if not isinstance(error, OpError):
                given = ", ".join(show(x.shape) for x in self.inputs)
                problem = f"{self.subject!r}: with inputs of shapes {given}: {type(error).__name__}: {error}"
            if self.guessed:
                problem += "\n  no `sample` is declared, which says what the op takes; so inputs are guessed"
            raise OpError(f"{problem}\n  again: {self!r}") from None


def cases(subject: Any, inputs: Sequence[Any], order: int, oracle: Any) -> Any:
    """Cases of an op class, an op, the properties of a custom operator or a function."""

    def draw_case(draw: Any) -> Case:
        is_class, made = isinstance(subject, type), subject
        if inputs:
            made = subject(**draw(attributes(subject))) if is_class else subject
            return Case(made, [np.asarray(draw(strategy)) for strategy in inputs], order, oracle)
        kind = draw(needed().strategies.sampled_from(KINDS))
        is_custom = is_class and issubclass(subject, CustomOpProp)
        guessed = not (is_custom or (is_class and hasattr(subject, "sample")))
        made = subject(**draw(attributes(subject))) if guessed and is_class else subject
        drawn = draw(samples(kind))
        try:
            if is_custom:
                texts, sample = subject.sample(drawn) if hasattr(subject, "sample") else ({}, None)
                made = Custom(registered_as(subject), **texts)
                found = list(sample.values()) if sample else drawn.fitting(made, min_rank=2, max_rank=2)
            elif guessed:
                found = drawn.fitting(made)
            else:
                made, sample = drawn.sample(subject)
                found = list(sample.values())
        except (LessonError, ValueError, IndexError):
            if guessed or kind in HARD:
                needed().reject()
            raise
        return coloured(Case(made, found, order, oracle, guessed), kind, draw)

    return needed().strategies.composite(draw_case)()


def coloured(case: Case, kind: str, draw: Any) -> Case:
    """The case as its kind says: in double or single precision, with equal numbers, in pieces, or with a special one.

    At the last the rule need not hold: it may be a kink, or outside of where the op is defined. A `sample` knows
    whether its op may have equal numbers (equal eigenvalues have no derivative), so only what was guessed gets some.
    """
    case.hard = kind in HARD
    if case.hard:
        case.order = min(case.order, 1)  # the second takes long
    if kind == "large":  # an oracle often overflows, or loses its digits, long before the op does
        case.oracle = False
    if kind == "float32":
        case.inputs = [x.astype(np.float32) if x.dtype == np.float64 else x for x in case.inputs]
    if kind == "tied" and case.guessed:
        for x in case.inputs:
            if x.dtype.kind == "f" and x.size > 1:
                x.flat[-1] = x.flat[0]
    if kind == "strided":
        case.inputs = [np.repeat(x[..., None], 2, axis=-1)[..., 0] for x in case.inputs]
    if kind == "special":
        case.order = 0
        alone = not isinstance(case.subject, Elementwise)  # how a sum of several overflows is not told
        found = [x for x in case.inputs if x.dtype == np.float64 and x.size]
        for x in found[: 1 if alone else None]:
            x.flat[draw(needed().strategies.integers(0, x.size - 1))] = draw(special_numbers())
    return case


def property_test(
    op: Any, *inputs: Any, order: int | None = None, max_examples: int | None = None,
    oracle: Callable[..., Any] | None = None, seed: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """A test that hypothesis runs: `test_swish = check.property_test(Swish)`, or as a decorator.

    Each example is an op with attributes and inputs, from `op.sample`, from the strategies `inputs`, or
    from what the declaration says; `assert_op` checks it. Elements are doubles, singles, now and then
    infinite or NaN. Points on a kink are passed over. As a decorator it hands each example on: the
    decorated function is called as `f(op, *arrays)` and may assert more. `op` is a class of ops, an op,
    the properties of a custom operator, or with `inputs` any function of Tensors. Their own `sample(draw)`,
    if there is one, gives attributes and inputs, as that of an op gives op and inputs. `order` is 2 but for
    custom operators, `max_examples` what the profile of hypothesis says, `oracle(op, *arrays)` what
    `forward` must give. With a `seed` the examples are the same each time.

    Errors
        OpError or GradientError about the smallest inputs at which something is wrong, with the line of
        Python that checks these again; LessonError where hypothesis is not installed.

    Example
        >>> import tinygrad_lesson as tl
        >>> property_test(tl.ops.elementwise.Tanh, max_examples=3)()
    """
    subject = declared(op)
    properties = isinstance(subject, type) and issubclass(subject, CustomOpProp)
    if not (isinstance(subject, type | Op) or inputs):
        raise DTypeError(f"property_test: {name_of(op)} is a function; give a strategy for each input too")
    order = (1 if properties or isinstance(subject, Custom | Pair) else 2) if order is None else order

    def test(body: Callable[..., Any] | None = None) -> Any:
        def call() -> None:
            run(cases(subject, inputs, order, oracle), max_examples, seed, body)

        return call() if body is None else call

    return test


def declared(op: Any) -> Any:
    """The class of an op that is given as its eager function; anything else as it is."""
    if isinstance(op, type | Op):
        return op
    cls = FUNCTIONS.get(getattr(op, "__name__", ""))
    return cls if cls is not None and op is getattr(TENSORS, cls.function) else op


def run(strategy: Any, max_examples: int | None, seed: int | None, body: Callable[..., Any] | None) -> None:
    """Let hypothesis try examples of `strategy`."""
    hypothesis = needed()
    more = {} if max_examples is None else {"max_examples": max_examples}
    settings = hypothesis.settings(
        deadline=None, database=None, report_multiple_bugs=False, print_blob=False,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
        phases=[phase for phase in hypothesis.Phase if phase is not hypothesis.Phase.explain], **more,
    )  # fmt: skip

    def each(case: Case) -> None:
        try:
            case.check()
        except UndecidedError:
            hypothesis.reject()
        if body is not None:
            body(case.subject, *case.inputs)

    test = settings(hypothesis.given(strategy)(each))
    (test if seed is None else hypothesis.seed(seed)(test))()
