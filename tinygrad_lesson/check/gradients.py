"""`check.gradients`: is the gradient of a function, an op or a symbol right, and if not, why?"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.culprit import blame
from tinygrad_lesson.check.report import GradientError, Report, as_code
from tinygrad_lesson.check.subject import (
    Subject,
    differentiable,
    doubled,
    name_of,
    sample_of,
    second,
    subject_of,
)
from tinygrad_lesson.check.verdict import Options, check
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.engine.errors import LessonError, near
from tinygrad_lesson.engine.op import FUNCTIONS, OPS, Op
from tinygrad_lesson.mxnet import Symbol

SAMPLES = 5  # of an op class that is given without inputs
FEW = 200  # elements of such a sample up to which each is moved on its own
TELLING = (
    "wrong",
    "kink",
    "float noise",
    "non-deterministic",
    "non-finite",
)  # verdicts that an op may be to blame for


def gradients(
    f: Any,
    *inputs: Any,
    order: int = 1,
    seed: int = 0,
    full: bool | None = None,
    float32: bool = True,
    culprit: bool = True,
    **attributes: Any,
) -> Report:
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
        f = by_name(f)
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


def by_name(name: str) -> type[Op]:
    """The op called so, as a class or as a function.

    Errors
        LessonError if there is none.
    """
    cls = OPS.get(name) or FUNCTIONS.get(name)
    if cls is None:
        raise LessonError(
            f"check: there is no op {name!r}; {near(name, OPS).replace('it takes', 'there are')}"
        )
    return cls


def in_order(subject: Subject, options: Options, order: int, culprit: bool) -> Report:
    """The first order, and if it is right and more is asked for, the second."""
    report = judged(subject, options, culprit, 1, subject)
    if not report.ok or order < 2 or not differentiable(subject):
        return report
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
    if not alone and report.verdict in TELLING:
        if order > 1:  # perhaps an op that the rules use has a wrong rule of its own
            blame(subject, report, options, 1)
        if report.culprit is None:
            blame(base, report, options, order)
    return report


def of_class(cls: type[Op], attributes: dict[str, Any], order: int, seed: int, options: Options) -> Report:
    """Check an op by samples of its own, or by numbers that fit; the first that fails is reported."""
    compared, report = 0, Report(cls.name)
    for n in range(seed, seed + SAMPLES):
        op, sample = sample_of(cls, Draw(n), attributes)
        arrays = list(sample.values())
        if not any(x.dtype.kind == "f" and x.size for x in arrays):
            continue
        large = options.full is None and sum(x.size for x in arrays) > FEW
        report = gradients(
            op, *arrays, order=order, seed=n, full=False if large else options.full, float32=options.float32
        )
        compared += report.compared
        if not report.ok:
            return report
    report.compared = compared
    report.title = cls.name
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
    called = (
        repr(f) if isinstance(f, Op) else str(f.name or "symbol") if isinstance(f, Symbol) else name_of(f)
    )
    given += [f"{name}={value!r}" for name, value in attributes.items()]
    given += [f"order={order}"] if order > 1 else []
    return f"check.gradients({', '.join([called, *given])}, seed={seed})"
