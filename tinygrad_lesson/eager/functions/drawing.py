"""Random tensors, with the parameters of NumPy's generators; `tl.random` has them.

Numbers come from the generator of `tl.random.seed`, or from one that is given: the same seed gives the same numbers.
Where a number is a smooth function of a parameter and of what was drawn, it has a gradient: `loc` and `scale` of
normal numbers, the ends of uniform ones, `scale` of exponential and gamma ones. Other parameters are constants.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import Context, at
from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.creation import as_in_pytorch
from tinygrad_lesson.eager.functions.table import constant, made, tensor
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.ops.draws import numpys

RANDOM: dict[str, Callable[..., Any]] = {}  # what `tl.random` has


def drawing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a function under its name; with `device` its numbers are copied there."""

    @functools.wraps(function)
    def placed(*given: Any, device: Context | None = None, **named: Any) -> Any:
        with at(device):
            return function(*given, **named)

    told = inspect.signature(function)
    more = inspect.Parameter("device", inspect.Parameter.KEYWORD_ONLY, default=None)
    placed.__signature__ = told.replace(parameters=[*told.parameters.values(), more])  # type: ignore[attr-defined]
    RANDOM[function.__name__] = placed
    return placed


def drawn(name: str, generator: Any, *parameters: Any, size: Any, **more: Any) -> Any:
    """Numbers of NumPy's generator that begins where ours is.

    Errors
        AttributeValueError for parameters that the distribution does not have.
    """
    numpy = numpys(random.default_generator() if generator is None else generator)
    try:
        return made(np.asarray(getattr(numpy, name)(*parameters, size=size, **more)))
    except ValueError as error:
        raise AttributeValueError(f"{name}: {error}") from None


def sized(size: Any, *parameters: Any) -> Any:
    """The shape of the result: as told, or that of the parameters together."""
    return np.broadcast_shapes(*map(np.shape, parameters)) if size is None else size


@drawing
def uniform(low: Any = 0.0, high: Any = 1.0, size: Any = None, *, generator: Any = None) -> Any:
    """Numbers from `low` up to, but not including, `high`; both have a gradient."""
    low, high = tensor(low), tensor(high)
    return low + (high - low) * drawn("random", generator, size=sized(size, low, high))


@drawing
def normal(loc: Any = 0.0, scale: Any = 1.0, size: Any = None, *, generator: Any = None) -> Any:
    """Numbers with mean `loc` and standard deviation `scale`; both have a gradient."""
    loc, scale = tensor(loc), tensor(scale)
    return loc + scale * drawn("standard_normal", generator, size=sized(size, loc, scale))


@drawing
def standard_normal(size: Any = None, *, generator: Any = None) -> Any:
    """Numbers with mean 0 and standard deviation 1; constants."""
    return normal(size=size, generator=generator)


@as_in_pytorch
def rand(*size: Any, device: Context | None = None) -> Any:
    """Numbers from 0 up to, but not including, 1, of the shape `size`: ``tl.rand(2, 3)``, as in PyTorch.

    Example
        >>> import tinygrad_lesson as tl
        >>> x = tl.rand(2, 3)
        >>> x.shape, bool(tl.all(x >= 0) and tl.all(x < 1))
        ((2, 3), True)
    """
    return uniform(size=listed(size), device=device)


@as_in_pytorch
def randn(*size: Any, device: Context | None = None) -> Any:
    """Numbers with mean 0 and standard deviation 1, of the shape `size`: ``tl.randn(2, 3)``, as in PyTorch.

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.randn(2, 3).shape
        (2, 3)
    """
    return normal(size=listed(size), device=device)


def listed(size: tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes that were given one by one, or as one sequence."""
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], list | tuple) else size


@drawing
def exponential(scale: Any = 1.0, size: Any = None, *, generator: Any = None) -> Any:
    """Numbers of the exponential distribution with mean `scale`, which has a gradient."""
    scale = tensor(scale)
    return scale * drawn("standard_exponential", generator, size=sized(size, scale))


@drawing
def gamma(shape: Any, scale: Any = 1.0, size: Any = None, *, generator: Any = None) -> Any:
    """Numbers of the gamma distribution with mean ``shape * scale``; `scale` has a gradient."""
    scale, shape = tensor(scale), constant("gamma: shape", shape)
    return scale * drawn("standard_gamma", generator, shape, size=sized(size, shape, scale))


@drawing
def beta(a: Any, b: Any, size: Any = None, *, generator: Any = None) -> Any:
    """Numbers between 0 and 1 of the beta distribution with mean ``a / (a + b)``; constants."""
    a, b = constant("beta: a", a), constant("beta: b", b)
    return tensor(drawn("beta", generator, a, b, size=sized(size, a, b)))


@drawing
def poisson(lam: Any = 1.0, size: Any = None, *, generator: Any = None) -> Any:
    """Counts of events of which `lam` are expected; integers."""
    lam = constant("poisson: lam", lam)
    return tensor(drawn("poisson", generator, lam, size=sized(size, lam)))


@drawing
def negative_binomial(n: Any, p: Any, size: Any = None, *, generator: Any = None) -> Any:
    """Counts of failures before success number `n`, each of probability `p`; integers."""
    n, p = constant("negative_binomial: n", n), constant("negative_binomial: p", p)
    return tensor(drawn("negative_binomial", generator, n, p, size=sized(size, n, p)))


@drawing
def multinomial(n: Any, pvals: Any, size: Any = None, *, generator: Any = None) -> Any:
    """How often each class comes up in `n` draws with probabilities `pvals`, along the last axis; integers."""
    pvals = constant("multinomial: pvals", pvals)
    return tensor(drawn("multinomial", generator, n, pvals, size=size))


@drawing
def bernoulli(p: Any = 0.5, size: Any = None, *, generator: Any = None) -> Any:
    """Truth values, True with probability `p`."""
    p = constant("bernoulli: p", p)
    if not (np.all(p >= 0) and np.all(p <= 1)):
        raise AttributeValueError("bernoulli: p has numbers outside of 0 to 1")
    return tensor(drawn("random", generator, size=sized(size, p)) < p)


@drawing
def randint(low: Any, high: Any = None, size: Any = None, dtype: Any = int, *, generator: Any = None) -> Any:
    """Integers from `low` up to, but not including, `high`; with one number from 0 up to that."""
    return tensor(drawn("integers", generator, low, high, size=size, dtype=dtype))


@drawing
def permutation(x: Any, axis: int = 0, *, generator: Any = None) -> Any:
    """The parts of `x` along `axis` in random order, each with its gradient; of a number `n` those of ``arange(n)``."""
    x = made(np.arange(x)) if isinstance(x, int | np.integer) else tensor(x)
    numpy = numpys(random.default_generator() if generator is None else generator)
    return F.take(x, made(numpy.permutation(x.shape[axis])), axis=axis)


@drawing
def shuffle(x: Any, axis: int = 0, *, generator: Any = None) -> Any:
    """As `permutation`: the elements of a tensor do not change, so another one is given back."""
    return permutation(x, axis, generator=generator)


@drawing
def choice(
    a: Any, size: Any = None, replace: bool = True, p: Any = None, axis: int = 0, *, generator: Any = None
) -> Any:
    """Parts of `a` along `axis`, with probabilities `p`; without `replace` none twice. Each has its gradient.

    Of a number `n` those of ``arange(n)``.
    """
    a = made(np.arange(a)) if isinstance(a, int | np.integer) else tensor(a)
    p = None if p is None else constant("choice: p", p)
    places = drawn("choice", generator, a.shape[axis], size=size, replace=replace, p=p)
    return F.take(a, places, axis=axis)


RANDOM |= {"rand": rand, "randn": randn}
