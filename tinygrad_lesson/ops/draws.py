"""Ops that draw numbers from a distribution, with the generator of the executor."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError, DeviceError, ShapeError
from tinygrad_lesson.engine.op import Op, attr, declares


def numpys(generator: Any) -> np.random.Generator:
    """A generator of NumPy's that begins where `generator` is, which goes on; the same seed gives the same one."""
    if getattr(generator, "on_device", False):
        raise DeviceError(
            "only uniform and normal numbers are drawn on a GPU; draw on the processor and use x.to()"
        )
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

    def drawn(self, xp, generator, parameters, shape, dtype):
        """The numbers."""
        try:
            y = DISTRIBUTIONS[self.distribution](generator, *parameters, shape)
        except ValueError as error:
            raise AttributeValueError(f"{self.distribution}: {error}") from None
        return xp.asarray(y).astype(dtype)

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
        return self.drawn(xp, generator, self.given, self.to, self.type)

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
        return self.drawn(xp, generator, self.given, data.shape, data.dtype)

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
        return self.drawn(xp, generator, wide, shape, self.type)

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

    host_only = "its draws are made on the processor"
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


@declares
class Classes(Op):
    """Class numbers for vectors of probabilities: the first class at which their sum exceeds a draw."""

    host_only = "its draws are made on the processor"
    random = True
    mixes_dtypes = True
    to: tuple[int, ...] = attr((), alias="shape", doc="shape of the numbers for each vector")
    type: str = attr("int32", alias="dtype", doc="element type of the class numbers")

    def drawn_shape(self, data):
        """The shape of the class numbers."""
        if not data:
            raise ShapeError("data has no axes, expected (..., classes)")
        return (*data[:-1], *self.to) or (1,)

    def places(self, data, generator):
        """Rows of probabilities, and for each row the class numbers that are drawn."""
        rows = np.asarray(data).reshape(-1, data.shape[-1])
        count = math.prod(self.to)
        draws = generator.uniform(0, 1, (len(rows) * count,)).reshape(len(rows), count)
        below = np.cumsum(rows, axis=1)[:, None, :] <= draws[:, :, None]
        first = np.argmin(below, axis=2)
        return rows, np.where(below.all(axis=2), rows.shape[1] - 1, first)

    @classmethod
    def sample(cls, draw):  # no draw lies where a class begins: each is the first whose sum is positive
        shape = (*draw.shape(max_rank=2), draw.size(1, 3))
        data = draw.array(shape, low=-1.0, high=-0.5)
        chosen = np.floor(draw.array((*shape[:-1], 1), low=0, high=shape[-1] - 0.01)).astype(np.int64)
        np.put_along_axis(
            data, chosen, shape[-1] + 3.0 + draw.array(chosen.shape, low=-1.0, high=1.0), axis=-1
        )
        return cls(to=draw.shape(max_rank=1)), {"data": data}


@op
class SampleMultinomial(Classes):
    """For each vector of probabilities class numbers that have them; those that MXNet draws on the CPU for a seed.

    Shapes
        data (..., classes), each summing to 1 -> (..., *shape); of one vector and no `shape` (1,)

    Source
        MXNet 1.9, `sample_multinomial`.
    """

    differentiable = False

    def shape(self, data):
        return self.drawn_shape(data)

    def dtype(self, data):
        return np.dtype(self.type)

    def forward(self, xp, data, *, generator=None):
        places = self.places(data, generator)[1]
        return xp.asarray(places.reshape(self.shape(data.shape)).astype(self.type))

    def vjp(self, F, g, y, data):
        return (None,)


@op
class SampleMultinomialLog(Classes):
    """`SampleMultinomial`, and as a second result the logarithms of the probabilities, which have a gradient.

    Times a reward it is that of the expected reward: Williams 1992.

    Shapes
        data (..., classes), each summing to 1 -> twice (..., *shape); of one vector and no `shape` (1,)
    """

    outputs = ("output0", "output1")

    def shape(self, data):
        return self.drawn_shape(data), self.drawn_shape(data)

    def dtype(self, data):
        return np.dtype(self.type), floating(data)

    def forward(self, xp, data, *, generator=None):
        rows, places = self.places(data, generator)
        shape, kind = self.drawn_shape(data.shape), floating(data.dtype)
        with np.errstate(divide="ignore", invalid="ignore"):  # of what is no probability
            logs = np.log(np.take_along_axis(rows, places, axis=1).astype(kind))
        return xp.asarray(places.reshape(shape).astype(self.type)), xp.asarray(logs.reshape(shape))

    def vjp(self, F, g, y, data):
        def gradient():
            shape = F.shape(data)
            rows, count = math.prod(shape[:-1]), math.prod(self.to)
            places = F.reshape(F.cast(y[0], dtype="int64"), shape=(rows, count))
            chosen = F.take_along_axis(F.reshape(data, shape=(rows, shape[-1])), places, axis=1)
            slopes = F.reshape(g[1], shape=(rows, count)) / chosen
            where = F.one_hot(places, depth=shape[-1], dtype=str(F.dtype(data)))
            return F.reshape(F.sum(where * F.expand_dims(slopes, axis=2), axis=1), shape=shape)

        return (None if g[1] is None else gradient,)
