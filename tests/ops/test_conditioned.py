"""Gradients of linear algebra and of Fourier transforms at condition numbers up to 1e4, against differences to 1e-7.

CONDITIONED_SEEDS=100 tries as many matrices of each kind.
"""

import itertools
import os

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import grad

SEEDS = range(int(os.environ.get("CONDITIONED_SEEDS", "2")))
CONDITIONS = (1e1, 1e2, 1e4)
N = 4
la = tl.linalg


# By kind of matrix: `general` ones, `symmetric` ones with eigenvalues of both signs, `positive` ones.
# Of eigenvectors and of singular vectors, whose signs are the library's, the squares are taken.
GENERAL = {
    "inv": lambda x, b: la.inv(x),
    "det": lambda x, b: la.det(x),
    "slogdet": lambda x, b: la.slogdet(x)[1],
    "solve": lambda x, b: la.solve(x, b),
    "solve for the right side": lambda x, b: la.solve(tl.sin(b @ la.matrix_transpose(b)) + 2 * np.eye(N), x),
    "solve_triangular": lambda x, b: la.solve_triangular(la.qr(x)[1], b, upper=True),
    "lstsq": lambda x, b: la.lstsq(x[..., :3], b)[0],
    "pinv": lambda x, b: la.pinv(x[..., :3]),
    "pinv of a square one": lambda x, b: la.pinv(x, rcond=1e-9),
    "qr": lambda x, b: la.qr(x)[0] @ b,
    "qr, r": lambda x, b: la.qr(x)[1],
    "qr of a tall one": lambda x, b: la.qr(x[..., :2])[0],
    "svd, u": lambda x, b: la.svd(x)[0] ** 2,
    "svd, s": lambda x, b: la.svd(x)[1],
    "svd, v": lambda x, b: la.svd(x)[2] ** 2,
    "svdvals": lambda x, b: la.svdvals(x),
    "cond": lambda x, b: la.cond(x),
    "matrix_power": lambda x, b: la.matrix_power(x, 3),
    "matrix_power, negative": lambda x, b: la.matrix_power(x, -2),
    "expm": lambda x, b: la.expm(x),
    "norm": lambda x, b: la.norm(x, axis=(-2, -1)),
    "norm, nuclear": lambda x, b: la.norm(x, "nuc", axis=(-2, -1)),
    "norm, 2": lambda x, b: la.norm(x, 2, axis=(-2, -1)),
    "norm, -2": lambda x, b: la.norm(x, -2, axis=(-2, -1)),
    "norm, 1": lambda x, b: la.norm(x, 1, axis=(-2, -1)),
    "norm, inf": lambda x, b: la.norm(x, np.inf, axis=(-2, -1)),
    "vector_norm, 3": lambda x, b: la.vector_norm(x, axis=-1, ord=3),
    "multi_dot": lambda x, b: tl.stack([la.multi_dot([y, y, c]) for y, c in zip(x, b, strict=True)]),
    "tensorinv": lambda x, b: la.tensorinv(tl.reshape(x[0], (2, 2, 4)), ind=2),
    "tensorsolve": lambda x, b: la.tensorsolve(tl.reshape(x[0], (2, 2, 2, 2)), tl.reshape(b[0, :, 0], (2, 2))),
}  # fmt: skip
SYMMETRIC = {
    "eigh, values": lambda x, b: la.eigh(x)[0],
    "eigh, vectors": lambda x, b: la.eigh(x)[1] ** 2,
    "eigvalsh": lambda x, b: la.eigvalsh(x),
    "inv": GENERAL["inv"],
    "solve": GENERAL["solve"],
    "svd, u": GENERAL["svd, u"],
    "pinv": lambda x, b: la.pinv(x, rcond=1e-9, hermitian=True),
    "expm": GENERAL["expm"],
}
POSITIVE = {
    "cholesky": lambda x, b: la.cholesky(x),
    "cholesky, upper": lambda x, b: la.cholesky(x, upper=True),
    "inv": GENERAL["inv"],
    "slogdet": GENERAL["slogdet"],
    "log of the density": lambda x, b: tl.sum(la.solve(x, b) * b, axis=-1) + la.slogdet(x)[1][:, None],
}
REAL = "fft ifft rfft ihfft fft2 ifft2 rfft2 fftn ifftn rfftn"
TRANSFORMS = {
    f"{name}, {norm}": (lambda x, b, name=name, norm=norm: getattr(tl.fft, name)(x, norm=norm))
    for name in f"{REAL} irfft hfft irfft2 irfftn".split()
    for norm in ("backward", "ortho", "forward")
} | {
    "fft, longer": lambda x, b: tl.fft.fft(x, n=7, axis=1),
    "rfft, shorter": lambda x, b: tl.fft.rfft(x, n=3),
    "irfft, odd": lambda x, b: tl.fft.irfft(x, n=5),
    "filtered": lambda x, b: tl.fft.irfft(tl.fft.rfft(x, axis=1) * tl.fft.rfft(b, axis=1)[..., :1], axis=1),
    "fftshift": lambda x, b: tl.fft.fftshift(x, axes=(1,)),
    "ifftshift": lambda x, b: tl.fft.ifftshift(x),
}  # fmt: skip
KINDS = {"general": GENERAL, "symmetric": SYMMETRIC, "positive": POSITIVE, "transform": TRANSFORMS}
CASES = [(kind, name) for kind, functions in KINDS.items() for name in functions]


def matrices(kind, condition, draws):
    """Two matrices of this kind with singular values from 1 down to ``1 / condition``."""
    left, right = (np.linalg.qr(draws.normal(size=(2, N, N)))[0] for _ in range(2))
    values = np.geomspace(1, 1 / condition, N)
    if kind in ("symmetric", "positive"):
        right = left
    if kind == "symmetric":
        values = values * [1, -1, 1, -1]
    x = left * values @ right.swapaxes(-1, -2)
    return (x + x.swapaxes(-1, -2)) / 2 if right is left else x


def by_differences(f, smallest):
    """The derivative of `f` at 0 by central differences, extrapolated: where two steps agree best.

    Source
        Ridders 1982, Advances in Engineering Software 4; the steps go from half of `smallest`, within which `f` is
        smooth whatever it is, to 1/100 of it, and from there upwards for what is smooth beyond.
    """
    best, least = 0.0, np.inf
    for step in (*smallest * np.geomspace(0.01, 0.5, 8), *np.geomspace(smallest, 0.3, 6)):
        rows = [(f(h) - f(-h)) / (2 * h) for h in step / 2 ** np.arange(4)]
        previous = rows[-1]
        for k in range(1, 4):
            rows = [(4**k * b - a) / (4**k - 1) for a, b in itertools.pairwise(rows)]
            if abs(rows[-1] - previous) < least:
                best, least = rows[-1], abs(rows[-1] - previous)
            previous = rows[-1]
    return best


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_gradient_of_linear_algebra_agrees_with_differences_up_to_condition_1e4(kind, name, seed):
    function, draws = KINDS[kind][name], np.random.default_rng(seed)
    for condition in CONDITIONS:
        x, v = matrices(kind, condition, draws), draws.normal(size=(2, N, N))
        v = (v + v.swapaxes(-1, -2)) / 2 if kind in ("symmetric", "positive") else v
        v /= np.linalg.norm(v)
        b = draws.normal(size=(2, N, 2))
        y = function(tl.tensor(x), tl.tensor(b)).numpy()
        w = draws.normal(size=y.shape) + (1j * draws.normal(size=y.shape) if y.dtype.kind == "c" else 0)

        def total(x, b=b, w=w):
            return tl.sum(tl.real(function(x, tl.tensor(b)) * w))

        g = grad(total)(tl.tensor(x)).numpy()
        expected = by_differences(
            lambda t, x=x, v=v: float(total(tl.tensor(x + t * v)).numpy()), 1 / condition
        )
        assert abs(np.sum(g * v) - expected) <= 1e-7 * np.linalg.norm(g), f"condition {condition:g}"
