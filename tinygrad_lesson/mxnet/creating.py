"""What the attributes of MXNet's operators mean that make arrays from nothing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.mxnet.register import DTYPE_CODES
from tinygrad_lesson.ops import creation, draws, fills, index


def full(shape: tuple[int, ...], value: float, dtype: str = "float32") -> Op:
    """The op behind `_full`."""
    return filled(value)(shape, dtype)


def filled(value: float) -> Callable[..., Op]:
    """An array of one number."""

    def build(shape: tuple[int, ...], dtype: str = "float32") -> Op:
        if min(shape, default=0) < -1:
            raise AttributeValueError(
                f"shape is {shape}, expected sizes of 0 or more, or -1 for an unknown one"
            )
        if dtype not in DTYPE_CODES:
            raise AttributeValueError(f"dtype is {dtype[:80]!r}, expected one of {', '.join(DTYPE_CODES)}")
        return fills.Full(to=shape, value=value, type=dtype)

    return build


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool = False,
    dtype: str = "float32",
) -> Op:
    """The op behind `_arange`."""
    return creation.Counted(start=start, stop=stop, step=step, repeat=repeat, open=infer_range, type=dtype)


def linspace(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool = False,
    num: int = 50,
    endpoint: bool = True,
    dtype: str = "float32",
) -> Op:
    """The op behind `_linspace`; `step`, `repeat` and `infer_range` say nothing."""
    start, stop = (0.0, start) if stop is None else (start, stop)
    return creation.Linspace(start=start, stop=stop, num=num, endpoint=endpoint, type=dtype)


def cropped(x: int, y: int, width: int, height: int) -> Op:
    """The op behind `_image_crop`: a part of a picture (height, width, channel), or of a batch of them."""
    key = (..., slice(y, y + height), slice(x, x + width), slice(None))
    return index.Slice(key=index.freeze(key))


def eye(N: int, M: int = 0, k: int = 0, dtype: str = "float32") -> Op:
    """The op behind `_eye`."""
    return creation.Eye(rows=N, columns=M, k=k, type=dtype)


DRAWN: dict[
    str, dict[str, float]
] = {  # MXNet's names for the parameters of distributions, with their defaults
    "uniform": {"low": 0.0, "high": 1.0},
    "normal": {"loc": 0.0, "scale": 1.0},
    "gamma": {"alpha": 1.0, "beta": 1.0},
    "exponential": {"lam": 1.0},
    "poisson": {"lam": 1.0},
    "negative_binomial": {"k": 1, "p": 1.0},
    "generalized_negative_binomial": {"mu": 1.0, "alpha": 1.0},
}


def attributes(*parameters: inspect.Parameter) -> inspect.Signature:
    """A signature for functions whose parameters differ by distribution."""
    return inspect.Signature(list(parameters))


def named(name: str, default: Any, kind: Any) -> inspect.Parameter:
    """A parameter by name."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


def random_numbers(distribution: str, like: bool = False) -> Callable[..., Op]:
    """The op behind `_random_uniform` and its kin, or behind `_random_uniform_like`."""
    known = DRAWN[distribution]

    def build(*, shape: tuple[int, ...] = (1,), dtype: str = "float32", **values: float) -> Op:
        given = tuple(float(values.get(key, default)) for key, default in known.items())
        if like:
            return draws.RandomLike(distribution=distribution, given=given)
        dtype = "float32" if dtype == "None" else dtype
        return draws.RandomNumbers(distribution=distribution, given=given, to=shape, type=dtype)

    own = [named(key, default, float) for key, default in known.items()]
    more = [] if like else [named("shape", (1,), tuple[int, ...]), named("dtype", "float32", str)]
    build.__signature__ = attributes(*own, *more)  # type: ignore[attr-defined]
    build.__doc__ = f"Numbers of the distribution `{distribution}`."
    return build


def random_integers(low: int, high: int, shape: tuple[int, ...] = (1,), dtype: str = "int32") -> Op:
    """The op behind `_random_randint`: whole numbers from `low` up to, but not including, `high`."""
    given = float(low), float(high)
    return draws.RandomNumbers(distribution="randint", given=given, to=shape, type=dtype)


def sample(distribution: str) -> Callable[..., Op]:
    """The op behind `_sample_uniform` and its kin."""
    cls = draws.SampleOfOne if len(DRAWN[distribution]) == 1 else draws.SampleOfTwo

    def build(shape: tuple[int, ...] = (), dtype: str = "float32") -> Op:
        return cls(distribution=distribution, to=shape, type="float32" if dtype == "None" else dtype)

    return build


def multinomial(shape: tuple[int, ...] = (), get_prob: bool = False, dtype: str = "int32") -> Op:
    """The op behind `_sample_multinomial`: class numbers, and with `get_prob` the logarithms of their probabilities."""
    return (draws.SampleMultinomialLog if get_prob else draws.SampleMultinomial)(to=shape, type=dtype)
