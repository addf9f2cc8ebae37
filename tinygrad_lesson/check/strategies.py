"""What hypothesis draws from: arrays, shapes that broadcast, attributes, samples of ops.

hypothesis makes a failing example as small as it can. It is imported when a strategy is first asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.draw import MARGIN, Draw
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.op import Op

MOST = 40  # elements that hypothesis draws one by one; those of a larger array follow from a seed
LONG = (9, 300)  # lengths of an axis: longer than a vector of the processor, and than a block of sums
LARGE = (30.0, 1e3, 1e6, 1e12)  # bounds of numbers: squares overflow in half precision, then in single
STEPS = 1000  # into which an interval is divided
DECIMALS = 3  # of a drawn number, so that a failing input can be read


def needed() -> Any:
    """The module hypothesis. LessonError where it is not installed."""
    try:
        import hypothesis.extra.numpy
    except ModuleNotFoundError:
        raise LessonError("property tests need hypothesis: pip install hypothesis") from None
    return hypothesis


def away_from(
    kinks: float | Sequence[float] = (), low: float = -2.0, high: float = 2.0, margin: float = MARGIN
) -> Any:
    """Numbers from `low` to `high`, each at least `margin` from every number of `kinks`; few decimals.

    Errors
        LessonError if there are none.
    """
    found = simple_first(tuple(np.ravel(np.asarray(kinks, float)).tolist()), float(low), float(high), margin)
    return needed().strategies.sampled_from(found)


numbers = away_from  # for `arrays`, which has a parameter of that name


@functools.lru_cache
def simple_first(kinks: tuple[float, ...], low: float, high: float, margin: float) -> tuple[float, ...]:
    """Numbers all over what the kinks leave of an interval; those with few digits first, as a failure shrinks.

    Errors
        LessonError if there are none.
    """
    found: set[float] = set()
    ends = [low, *(kink + side * margin for kink in sorted(kinks) for side in (-1, 1)), high]
    for start, stop in zip(np.maximum(ends[::2], low), np.minimum(ends[1::2], high), strict=True):
        even = np.linspace(start, stop, STEPS + 1) if start <= stop else np.zeros(0)
        short = [x + 0.0 for x in even.round(DECIMALS).tolist() if start <= x <= stop]
        found.update(short if len(short) > 2 else even.tolist())
    if not found:
        raise LessonError(f"no number from {low:g} to {high:g} is {margin:g} away from {list(kinks)}")
    return tuple(sorted(found, key=lambda x: (len(repr(abs(x))), abs(x), x < 0)))


def special_numbers(dtype: Any = np.float64) -> Any:
    """Those on which arithmetic stumbles: infinities, NaN, both zeros, the largest and the smallest."""
    info = np.finfo(dtype)
    numbers = [0.0, -0.0, np.inf, -np.inf, np.nan, info.max, info.min, info.tiny, info.smallest_subnormal]
    return needed().strategies.sampled_from([float(x) for x in numbers])


def arrays(
    shape: Any = None, dtype: Any = np.float64, low: float = -2.0, high: float = 2.0,
    away_from: float | Sequence[float] = (), special: bool = False, elements: Any = None,
) -> Any:  # fmt: skip
    """Arrays of `shape`, a tuple or a strategy (any small one by default), elements from `low` to `high`.

    Floats keep away from the kinks in `away_from`, and are NaN or infinite now and then if `special`.
    """
    strategies, kind = needed().strategies, np.dtype(dtype)
    if elements is None and kind.kind == "b":
        elements = strategies.booleans()
    elif elements is None and kind.kind in "iu":
        elements = strategies.integers(max(int(low), 0) if kind.kind == "u" else int(low), int(high))
    elif elements is None:
        elements = numbers(away_from, low, high)
    if kind.kind == "f":
        elements = strategies.one_of(elements, special_numbers(kind)) if special else elements
        elements = elements.map(kind.type)
    shape = shapes() if shape is None else shape
    return needed().extra.numpy.arrays(kind, shape, elements=elements, fill=strategies.nothing())


def shapes(min_rank: int = 0, max_rank: int = 3) -> Any:
    """Shapes with few and short axes."""
    return needed().extra.numpy.array_shapes(min_dims=min_rank, max_dims=max_rank, max_side=3)


def broadcastable_shapes(n: int = 2, max_rank: int = 3, max_size: int = 3) -> Any:
    """Tuples of `n` shapes that broadcast against each other."""
    found = needed().extra.numpy.mutually_broadcastable_shapes(
        num_shapes=n, max_dims=max_rank, min_side=1, max_side=max_size
    )
    return found.map(lambda shapes: tuple(shapes.input_shapes))


def attributes(op: type[Op] | Op) -> Any:
    """Attributes of an op by name, within the ranges that it declares; `cls(**attributes)` is the op.

    Those that its `sample` draws, where it has one; else from its fields.

    Errors
        LessonError for an attribute that has neither range nor default.
    """
    cls = op if isinstance(op, type) else type(op)
    if hasattr(cls, "sample"):
        names = [field.name for field in dataclasses.fields(cls)]
        ops = samples().map(lambda draw: draw.sample(cls)[0])
        return ops.map(lambda op: {name: getattr(op, name) for name in names})
    hints = typing.get_type_hints(cls)
    fields = {field.name: values_of(cls, field, hints[field.name]) for field in dataclasses.fields(cls)}
    return needed().strategies.fixed_dictionaries(fields)


def values_of(cls: type[Op], field: dataclasses.Field[Any], kind: Any) -> Any:
    """What one attribute may be, by the choices or the range that its declaration states, and its type."""
    strategies, range_ = needed().strategies, field.metadata
    low, high, choices = range_.get("minimum"), range_.get("maximum"), range_.get("choices")
    default = [] if field.default is dataclasses.MISSING else [strategies.just(field.default)]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next((k for k in typing.get_args(kind) if k is not type(None)), kind)
    if choices is not None:
        return strategies.sampled_from(choices)
    if kind is bool:
        return strategies.booleans()
    open_end = low is None and high is None
    if kind is int and not (open_end and default):
        start: Any = int(low if low is not None else high - 3 if high is not None else 1)
        return strategies.integers(start, int(high) if high is not None else start + 3)
    if kind is float and not (open_end and default):
        start = low if low is not None else high - 2 if high is not None else 0.5
        return strategies.one_of(*default, away_from((), start, high if high is not None else start + 2))
    if not default:
        wanted = "choices, range nor default; declare `sample`"
        raise LessonError(f"{cls.name}: attribute {field.name!r} has neither {wanted}")
    return default[0]


def samples(kind: str = "") -> Any:
    """A `Draw` whose shapes, axes, attributes and elements hypothesis chooses and shrinks.

    Of the kind "long" one axis has 9 to 300 elements, of the kind "large" numbers go up to 1,000 and further, wherever
    a sample leaves it open; the sample may then raise.

    Example
        A test of every op begins with ``@given(draw=samples())`` and ``op, inputs = draw.sample(cls)``.
    """
    strategies = needed().strategies

    @strategies.composite  # type: ignore[untyped-decorator]
    def drawn(draw: Any) -> Draw:
        def elements(shape: tuple[int, ...], low: float, high: float, kinks: Any) -> np.ndarray | None:
            large = int(np.prod(shape)) > MOST
            return None if large else draw(arrays(shape, low=low, high=high, away_from=kinks))

        def integer(low: int, high: int) -> int:
            return int(draw(strategies.integers(low, high)))

        found = Draw(integer(0, 999), integer=integer, elements=elements)
        if kind == "long":
            found.long = {integer(0, 3): integer(*LONG)}
        if kind == "large":
            found.largest = draw(strategies.sampled_from(LARGE))
        return found

    return drawn()
