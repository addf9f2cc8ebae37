"""Ops that draw numbers from a distribution, with the generator of the executor."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.op import Op, attr, declares


def numpys(generator: Any) -> np.random.Generator:
    """A generator of NumPy's that begins where `generator` is, which goes on; the same seed gives the same one."""
    return np.random.default_rng(generator.uniform(0, 1 << 24, (4,)).astype(np.int64))


def binomial_kin(rng: Any, mean: Any, alpha: Any, shape: Any) -> Any:
    """A negative binomial of a mean and a dispersion: Poisson numbers whose means are drawn from a gamma."""
    small = np.maximum(alpha, 1e-12)
    return np.where(
        alpha == 0, rng.poisson(mean, shape), rng.poisson(rng.gamma(1 / small, mean * small, shape))
    )


Rule = Callable[..., Any]
DISTRIBUTIONS: dict[str, Rule] = {  # of a generator, its parameters, and a shape
    "uniform": lambda r, low, high, shape: low + (high - low) * r.uniform(0, 1, shape),
    "normal": lambda r, loc, scale, shape: loc + scale * r.normal(0, 1, shape),
    "gamma": lambda r, alpha, beta, shape: numpys(r).gamma(alpha, beta, shape),
    "exponential": lambda r, lam, shape: numpys(r).exponential(1, shape) / lam,
    "poisson": lambda r, lam, shape: numpys(r).poisson(lam, shape),
    "negative_binomial": lambda r, k, p, shape: numpys(r).negative_binomial(k, p, shape),
    "generalized_negative_binomial": lambda r, mu, alpha, shape: binomial_kin(numpys(r), mu, alpha, shape),
    "randint": lambda r, low, high, shape: numpys(r).integers(int(low), int(high), shape),
}


@declares
class Drawing(Op):
    """Numbers of a distribution; the draw has no gradient, as in MXNet."""

    random = True
    differentiable = False
    distribution: str = attr(choices=tuple(DISTRIBUTIONS), doc="the distribution")

    def drawn(self, generator, parameters, shape, dtype):
        """The numbers."""
        try:
            y = DISTRIBUTIONS[self.distribution](generator, *parameters, shape)
        except ValueError as error:
            raise AttributeValueError(f"{self.distribution}: {error}") from None
        return np.asarray(y).astype(dtype)

    def vjp(self, F, g, y, *inputs):
        return (None,) * len(inputs)


@op
class RandomNumbers(Drawing):
    """Numbers of one distribution, in an array of some shape.

    Uniform and normal numbers are those that MXNet draws on the CPU for a seed; the others have its distributions,
    from a generator of NumPy's that is seeded by it.
    """

    given: tuple[float, ...] = attr(doc="those of the distribution")
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the result")
    type: str = attr("float32", alias="dtype", doc="element type of the result")

    def shape(self):
        return self.to

    def dtype(self):
        return np.dtype(self.type)

    def forward(self, xp, *, generator=None):
        return xp.asarray(self.drawn(generator, self.given, self.to, self.type))

    @classmethod
    def sample(cls, draw):
        kind = draw.choice(("float64", "float32"))
        return cls(distribution="uniform", given=(-1.0, 2.0), to=draw.shape(), type=kind), {}


@op
class RandomLike(Drawing):
    """Numbers of one distribution, in an array like `data`."""

    given: tuple[float, ...] = attr(doc="the parameters of the distribution")

    def shape(self, data):
        return data

    def forward(self, xp, data, *, generator=None):
        return xp.asarray(self.drawn(generator, self.given, data.shape, data.dtype))

    @classmethod
    def sample(cls, draw):
        return cls(distribution="uniform", given=(-1.0, 2.0)), {"data": draw.array(draw.shape())}


@declares
class Sampled(Drawing):
    """For each element of the parameters, numbers of the distribution that has them."""

    mixes_dtypes = True
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the numbers for each element")
    type: str = attr("float32", alias="dtype", doc="element type of the result")

    def dtype(self, *parameters):
        return np.dtype(self.type)

    def numbers(self, xp, generator, *parameters):
        """The numbers, whose leading axes are those of the parameters."""
        shape = (*parameters[0].shape, *self.to)
        wide = [xp.reshape(x.astype(float), (*x.shape, *[1] * len(self.to))) for x in parameters]
        return xp.asarray(self.drawn(generator, wide, shape, self.type))

    @classmethod
    def sample(cls, draw):
        shape, name = draw.shape(), "normal" if len(cls.inputs) == 2 else "exponential"
        made = cls(distribution=name, to=draw.shape(max_rank=1), type=draw.choice(("float64", "float32")))
        return made, {key: draw.array(shape, low=0.5, high=2.0) for key in cls.inputs}


@op
class SampleOfOne(Sampled):
    """Numbers of distributions with one parameter, for each element of `first`.

    Shapes
        first (...) -> (..., *shape)
    """

    def shape(self, first):
        return (*first, *self.to)

    def forward(self, xp, first, *, generator=None):
        return self.numbers(xp, generator, first)


@op
class SampleOfTwo(Sampled):
    """Numbers of distributions with two parameters, for each pair of elements of `first` and `second`.

    Shapes
        first and second (...) -> (..., *shape)
    """

    def parameters(self, first):
        return {"second": first}

    def shape(self, first, second):
        return (*first, *self.to)

    def forward(self, xp, first, second, *, generator=None):
        return self.numbers(xp, generator, first, second)


@op
class Shuffle(Op):
    """The parts of `data` along the first axis in random order; each gradient goes to where its part came from."""

    random = True
    outputs = ("output", "places")
    visible = 1

    def shape(self, data):
        return data, data[:1]

    def dtype(self, data):
        return data, np.dtype(np.int64)

    def forward(self, xp, data, *, generator=None):
        places = numpys(generator).permutation(data.shape[0])
        return xp.take(data, xp.asarray(places), axis=0), xp.asarray(places)

    def vjp(self, F, g, y, data):
        return (None if g[0] is None else F.take(g[0], F.argsort(y[1]), axis=0),)

    @classmethod
    def sample(cls, draw):
        return cls(), {"data": draw.array(draw.shape(min_rank=1))}
