"""Densities as SciPy has them."""

import numpy as np
from scipy import stats


def density(of):
    """One of SciPy's distributions: `of` makes it from the parameters."""

    def oracle(op, sample, *parameters):
        along = [np.reshape(p, p.shape + (1,) * (sample.ndim - p.ndim)).astype(float) for p in parameters]
        distribution = of(*along)
        name = f"log{'pmf' if hasattr(distribution, 'pmf') else 'pdf'}"
        y = getattr(distribution, name)(sample)
        return y if op.is_log else np.exp(y)

    return oracle


def everywhere(op, sample, low, high):
    """SciPy's uniform distribution, in its middle: MXNet does not look at the sample."""
    along = [np.reshape(p, p.shape + (1,) * (sample.ndim - p.ndim)) for p in (low, high)]
    middle = np.broadcast_to((along[0] + along[1]) / 2, sample.shape)
    return density(lambda a, b: stats.uniform(a, b - a))(op, middle, low, high)


def dirichlet(op, sample, alpha):
    """The product of powers over its integral, for SciPy's `dirichlet` wants vectors that add up to 1."""
    y, sample, alpha = np.empty(sample.shape[:-1]), sample.astype(float), alpha.astype(float)
    for i in np.ndindex(y.shape):
        a, x = alpha[i[: alpha.ndim - 1]], sample[i]
        total = stats.dirichlet(a).logpdf(x / x.sum())
        y[i] = total + np.sum(a - 1) * np.log(x.sum())  # of degree sum(a - 1) in x
    return y if op.is_log else np.exp(y)


ORACLES_OF_DENSITIES = {
    "RandomPdfUniform": everywhere,
    "RandomPdfNormal": density(stats.norm),
    "RandomPdfGamma": density(lambda alpha, beta: stats.gamma(alpha, scale=1 / beta)),
    "RandomPdfExponential": density(lambda lam: stats.expon(scale=1 / lam)),
    "RandomPdfPoisson": density(stats.poisson),
    "RandomPdfNegativeBinomial": density(stats.nbinom),
    "RandomPdfGeneralizedNegativeBinomial": density(
        lambda mu, alpha: stats.nbinom(1 / alpha, 1 / (1 + mu * alpha))
    ),
    "RandomPdfDirichlet": dirichlet,
}
