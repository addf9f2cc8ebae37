"""Densities of MXNet's distributions at samples that are given, or their logarithms.

Source
    MXNet 1.9, `random_pdf_uniform` and its kin.
"""

from __future__ import annotations

import math

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import merge, show
from tinygrad_lesson.ops.composing import FloatComposite

ROOT = 0.5 * math.log(2 * math.pi)


@declares
class Density(FloatComposite):
    """What a distribution says of `sample`, which has axes of its own behind those of the parameters.

    Shapes
        sample (*parameters, ...), each parameter (*parameters) -> as sample
    """

    is_log: bool = attr(False, doc="the logarithm of the density")
    method = False

    def shape(self, sample, *parameters):
        for name, known in zip(self.inputs[1:], parameters, strict=True):
            try:
                merge(sample[: len(known)], known)
            except ShapeError:
                raise ShapeError(
                    f"{name} is {show(known)}, expected the first axes of sample {show(sample)}"
                ) from None
        return sample

    def log_density(self, F, x, *parameters):
        """The logarithm, of arrays that broadcast."""
        raise NotImplementedError

    def alike(self, F, *inputs):
        """The inputs in the element type of the result, in which all is computed."""
        kind = self.dtype(*map(F.dtype, inputs))
        return [x if kind is None or F.dtype(x) == kind else F.cast(x, dtype=str(kind)) for x in inputs]

    def compose(self, F, sample, *parameters):
        sample, *parameters = self.alike(F, sample, *parameters)
        rank = len(F.shape(sample))
        along = [F.reshape(p, shape=(*F.shape(p), *[1] * (rank - len(F.shape(p))))) for p in parameters]
        y = self.log_density(F, sample, *along)
        return y if self.is_log else F.exp(y)

    @classmethod
    def sample(cls, draw):
        shape, own = draw.shape(max_rank=2), draw.shape(max_rank=1)
        parameters = {name: draw.array(shape, low=0.3, high=0.8) for name in cls.inputs[1:]}
        return cls(is_log=draw.boolean()), {"sample": cls.samples(draw, (*shape, *own)), **parameters}

    @classmethod
    def samples(cls, draw, shape):
        """Where the density is smooth."""
        return draw.array(shape, low=0.5, high=2)


@declares
class Counting(Density):
    """A distribution of whole numbers, by which there is no derivative."""

    def compose(self, F, sample, *parameters):
        return super().compose(F, F.stop_gradient(sample), *parameters)

    @classmethod
    def samples(cls, draw, shape):
        return np.rint(draw.array(shape, low=0, high=5)).astype(np.int64)


@op
class RandomPdfUniform(Density):
    """The density of the uniform distribution between `low` and `high`, which is not looked at outside of them."""

    def compose(self, F, sample, low, high):
        return super().compose(F, sample, low, high)

    def log_density(self, F, x, low, high):
        return 0 * F.stop_gradient(x) - F.log(high - low)

    @classmethod
    def sample(cls, draw):
        made, arrays = super().sample(draw)
        return made, {**arrays, "high": arrays["high"] + 1}


@op
class RandomPdfNormal(Density):
    """The density of the normal distribution with mean `mu` and standard deviation `sigma`."""

    def compose(self, F, sample, mu, sigma):
        return super().compose(F, sample, mu, sigma)

    def log_density(self, F, x, mu, sigma):
        return -0.5 * F.square((x - mu) / sigma) - F.log(sigma) - ROOT


@op
class RandomPdfGamma(Density):
    """The density of the gamma distribution with shape `alpha` and rate `beta`, which is 1 over its scale."""

    def compose(self, F, sample, alpha, beta):
        return super().compose(F, sample, alpha, beta)

    def log_density(self, F, x, alpha, beta):
        return alpha * F.log(beta) + (alpha - 1) * F.log(x) - beta * x - F.gammaln(alpha)


@op
class RandomPdfExponential(Density):
    """The density of the exponential distribution with rate `lam`."""

    def compose(self, F, sample, lam):
        return super().compose(F, sample, lam)

    def log_density(self, F, x, lam):
        return F.log(lam) - lam * x


@op
class RandomPdfPoisson(Counting):
    """The probability of `sample` under Poisson's distribution with mean `lam`."""

    def compose(self, F, sample, lam):
        return super().compose(F, sample, lam)

    def log_density(self, F, x, lam):
        return x * F.log(lam) - lam - F.gammaln(x + 1)


@op
class RandomPdfNegativeBinomial(Counting):
    """The probability of `sample` successes before `k` failures, each with probability `p`."""

    def compose(self, F, sample, k, p):
        return super().compose(F, sample, k, p)

    def log_density(self, F, x, k, p):
        return F.gammaln(x + k) - F.gammaln(x + 1) - F.gammaln(k) + k * F.log(p) + x * F.log1p(-p)


@op
class RandomPdfGeneralizedNegativeBinomial(Counting):
    """The probability of `sample` under the negative binomial distribution with mean `mu` and dispersion `alpha`."""

    def compose(self, F, sample, mu, alpha):
        return super().compose(F, sample, mu, alpha)

    def log_density(self, F, x, mu, alpha):
        k, spread = 1 / alpha, mu * alpha
        choices = F.gammaln(x + k) - F.gammaln(x + 1) - F.gammaln(k)
        return choices - (k + x) * F.log1p(spread) + x * F.log(spread)


@op
class RandomPdfDirichlet(Density):
    """The density of Dirichlet's distribution with concentrations `alpha`, at vectors along the last axis.

    Shapes
        sample (*parameters, ..., k), alpha (*parameters, k) -> (*parameters, ...)
    """

    def shape(self, sample, alpha):
        if not sample or not alpha or len(alpha) > len(sample):
            raise ShapeError(
                f"alpha is {show(alpha)}, expected the first axes of sample {show(sample)} and its last"
            )
        super().shape((*sample[: len(alpha) - 1], sample[-1]), alpha)
        return sample[:-1]

    def compose(self, F, sample, alpha):
        sample, alpha = self.alike(F, sample, alpha)
        shape, rank = F.shape(alpha), len(F.shape(sample))
        along = F.reshape(alpha, shape=(*shape[:-1], *[1] * (rank - len(shape)), shape[-1]))
        terms = F.sum((along - 1) * F.log(sample) - F.gammaln(along), axis=-1)
        y = terms + F.gammaln(F.sum(along, axis=-1))
        return y if self.is_log else F.exp(y)

    @classmethod
    def sample(cls, draw):
        shape, own, k = draw.shape(max_rank=1), draw.shape(max_rank=1), draw.size(2, 3)
        alpha = draw.array((*shape, k), low=0.5, high=2)
        return cls(is_log=draw.boolean()), {
            "sample": draw.array((*shape, *own, k), low=0.2, high=0.8),
            "alpha": alpha,
        }
