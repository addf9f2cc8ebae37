"""`check.gradients`: is the gradient of a function, an op or a symbol right? If not, why, and which op is to blame?"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check import precision
from tinygrad_lesson.check.explain import unrecorded
from tinygrad_lesson.check.report import Culprit, GradientError, Report, as_code
from tinygrad_lesson.check.subject import Subject, SymbolSubject, doubled, name_of, second, subject_of
from tinygrad_lesson.check.verdict import PACKAGE, Options, check, raised
from tinygrad_lesson.eager.tensor import results_of
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.engine.errors import LessonError, near
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.engine.op import FUNCTIONS, OPS, Op
from tinygrad_lesson.mxnet import Symbol

SAMPLES = 5  # of an op class that is given without inputs: each kind of shape comes up, and it takes a moment


@np.errstate(all="ignore")
def gradients(
    f: Any, *inputs: Any, order: int = 1, seed: int = 0, full: bool | None = None, float32: bool = True,
    culprit: bool = True, **attributes: Any,
) -> Report:  # fmt: skip
    """Check the gradient of `f` at `inputs`: reverse mode against differences in double precision.

    `f` is a function of Tensors, an op, a class of ops or the name of one (without inputs, samples are
    drawn) or a Symbol (arrays in the order of its arguments, or one dict by name; those left out are
    drawn). `attributes` are handed to a function or to a class of ops. `order` 2 checks the gradient of
    the gradient too. `full` asks for every element, or for random directions only; without it the size
    decides. `float32` compares single precision with double, `culprit` looks for the recorded op that is
    to blame.

    Errors
        LessonError or whatever `f` raises, where there is nothing to be checked.

    Example
        >>> import tinygrad_lesson as tl
        >>> gradients(lambda x: tl.sum(tl.tanh(x)), [0.5, -1.0]).verdict
        'ok'
    """
    if order not in (1, 2):
        raise LessonError(f"check: order is {order!r}, expected 1 or 2")
    if isinstance(f, str):
        given, f = f, OPS.get(f) or FUNCTIONS.get(f)
        if f is None:
            known = near(given, OPS).replace("it takes", "there are")
            raise LessonError(f"check: there is no op {given!r}; {known}")
    options = Options(np.random.default_rng(seed), full, float32)
    if isinstance(f, type) and issubclass(f, Op):
        if not inputs:
            return of_class(f, attributes, order, seed, options)
        f, attributes = f(**attributes), {}
    called = functools.wraps(f)(functools.partial(f, **attributes)) if attributes else f
    subject = subject_of(called, inputs, options.generator)
    report = in_order(subject, options, order, culprit)
    report.reproduce = again_line(f, inputs, subject, attributes, order, seed)
    return report


def assert_gradients(f: Any, *inputs: Any, allow: Collection[str] = (), **options: Any) -> Report:
    """As `gradients`, but a check that fails raises; verdicts in `allow` pass.

    Errors
        GradientError that carries the report.
    """
    report = gradients(f, *inputs, **options)
    if not report.ok and report.verdict not in allow:
        raise GradientError(report)
    return report


def in_order(subject: Subject, options: Options, order: int = 1, culprit: bool = True) -> Report:
    """The first order, and if it is right and more is asked for, the second."""
    report, op = judged(subject, options, culprit, 1, subject), subject.op
    if not report.ok or order < 2 or (op is not None and (op.is_loss or not op.differentiable)):
        return report  # what stops gradients has no second order
    again = judged(second(subject, options.generator), options, culprit, 2, subject)
    again.title, again.compared = subject.title, again.compared + report.compared
    return again


def judged(subject: Subject, options: Options, culprit: bool, order: int, base: Subject) -> Report:
    """One check, and who is to blame for it; `base` is what was recorded first."""
    alone = not culprit or (base.op is not None and order == 1)
    try:
        report = check(subject, options)
    except Exception:
        report = Report(subject.title, order=order)
        if not alone:
            blame(base, report, options, order)
        if report.ok:
            raise
        return report
    report.order = order
    if not alone and report.verdict not in ("ok", "cannot tell"):
        if order > 1:  # perhaps an op that the rules use has a wrong rule of its own
            blame(subject, report, options, 1)
        if report.culprit is None:
            blame(base, report, options, order)
    return report


def of_class(cls: type[Op], attributes: dict[str, Any], order: int, seed: int, options: Options) -> Report:
    """Check an op by samples of its own, or by numbers that fit; the first that fails is reported."""
    compared, report = 0, Report(cls.name)
    for n in range(seed, seed + SAMPLES):
        draw = Draw(n)
        if hasattr(cls, "sample") and not attributes:
            op, sample = draw.sample(cls)
            arrays = list(sample.values())
        else:
            try:
                op = cls(**attributes)
            except TypeError:
                hint = "declare `sample`, so that the check knows attributes and inputs"
                raise LessonError(f"{cls.name}: {hint}") from None
            arrays = draw.fitting(op, min_rank=1, max_rank=2)
        if any(x.dtype.kind == "f" and x.size for x in arrays):
            report = gradients(op, *arrays, order=order, seed=n, full=options.full, float32=options.float32)
            compared += report.compared
            if not report.ok:
                return report
    report.compared, report.title = compared, cls.name
    return report


def again_line(
    f: Any, inputs: Sequence[Any], subject: Subject, attributes: dict[str, Any], order: int, seed: int
) -> str:
    """A line of Python that makes this check again; large arrays stand there by name and shape."""
    if len(inputs) == 1 and isinstance(inputs[0], dict):
        parts = [f"{name!r}: {as_code(doubled(x), name)}" for name, x in inputs[0].items()]
        given = ["{" + ", ".join(parts) + "}"]
    else:
        given = [as_code(doubled(x), name) for x, name in zip(inputs, subject.names, strict=False)]
    symbol = str(f.name or "symbol") if isinstance(f, Symbol) else ""
    called = repr(f) if isinstance(f, Op) else symbol or name_of(f)
    given += [f"{name}={value!r}" for name, value in attributes.items()]
    given += [f"order={order}"] if order > 1 else []
    return f"check.gradients({', '.join([called, *given])}, seed={seed})"


# Who is to blame: the first recorded op whose own check fails at the very inputs it had.


def blame(subject: Subject, report: Report, options: Options, order: int) -> None:
    """Name the culprit in `report`, and take over what its own check says; nothing happens where all pass.

    Each op is checked up to `order`.
    """
    nodes: list[Any] = subject.graph()
    kinked, single = list[str](), report.verdict == "float noise"
    quick, close = (Options(options.generator, full, single) for full in (False, None))
    for position, node in enumerate(nodes, 1):
        arrays = [t.array for t in node.inputs]
        if not has_floats(arrays):
            continue
        found = check_alone(node.op, arrays, quick, order)
        if found.ok:
            continue
        closer = check_alone(node.op, arrays, close, order)
        found = found if closer.ok else closer
        if report.verdict not in ("ok", found.verdict):
            kinked += [repr(node.op)] if found.verdict == "kink" else []
            report.notes.append(f"op {position}, {node.op!r}: {found.verdict}")
            continue
        own = subject.op is not None or isinstance(subject, SymbolSubject)  # then nobody's code has called it
        called = "" if own else called_at(subject.graph, position - 1)
        code = getattr(inspect.unwrap(type(node.op).vjp), "__code__", None)
        place = f"{code.co_filename}:{code.co_firstlineno}" if code else type(node.op).__module__
        label, op = repr(node.op), repr(node.op).partition("(")[0]
        which = op, label, node.name, position, called
        report.culprit = Culprit(report.title, len(nodes), *which, place, found)
        report.verdict, report.cause, report.factor = found.verdict, found.cause, found.factor
        report.sentence, report.worst = found.sentence, report.worst or found.worst
        if found.verdict == "non-finite":
            report.sentence = f"in {node.op!r} {found.sentence}"
        return
    of_rules = report.verdict == "wrong" and report.cause not in ("in place", "cotangent", "stale state")
    if kinked and of_rules and not any(unrecorded(subject, i)[0] for i in subject.wanted):
        said = f"every rule is right, but {kinked[0]} is at its kink here, where slopes need not add up"
        report.verdict, report.cause, report.sentence = "kink", "kink", f"{said}; move the point away"
    elif of_rules and order == 1 and any(block.wrong.any() for block in report.drawn):
        made = [node for node in nodes if has_floats(results_of(node), "fc")]
        alone = (check_alone(node.op, [t.array for t in node.inputs], close, 1) for node in made)
        if all(found.ok and found.compared for found in alone) and precision.is_replayed(subject):
            said = "every op is right alone, and nothing else is computed: rounding hides a part of the slope"
            report.refuse("cannot tell", "", said, report.worst)


def has_floats(arrays: Sequence[Any], kinds: str = "f") -> bool:
    """Whether there are numbers of these kinds among these."""
    return any(np.asarray(x).dtype.kind in kinds and np.size(x) for x in arrays)


def check_alone(op: Op, arrays: list[Any], options: Options, order: int) -> Report:
    """The check of one op; a rule that raises is wrong."""
    try:
        return in_order(subject_of(op, arrays, options.generator), options, order, culprit=False)
    except Exception as error:
        return Report(repr(op), "wrong", sentence=f"the rule raises {raised(error)}")


def called_at(graph: Callable[[], list[Node]], number: int) -> str:
    """Where the caller's code made op `number` of those that `graph` records, empty if it did not.

    It is recorded once more, and watched by Python's own means of profiling.
    """
    places: dict[Node, str] = {}

    def watch(frame: Any, event: str, _: Any) -> None:
        if event != "call" or frame.f_code is not Node.__init__.__code__:
            return
        node = frame.f_locals["self"]
        while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
            frame = frame.f_back
        if frame is not None:
            places[node] = f"{frame.f_code.co_filename}:{frame.f_lineno}"

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        nodes = graph()
    finally:
        sys.setprofile(before)
    return places.get(nodes[number], "") if number < len(nodes) else ""
