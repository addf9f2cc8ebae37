"""Derivatives of orders 1 to 4 beside JAX's, each by four mixtures of forward and reverse mode.

    PYTHONPATH=. .peers/jax/bin/python tests/benchmarks/derivatives.py            prints what differs; some minutes
    PYTHONPATH=. .peers/jax/bin/python tests/benchmarks/derivatives.py "F.erf"    those that contain this text

A case is a function of an array x in the names that both have. It is weighted, summed, and differentiated along a
direction. At the points of `POINTS` a limit that JAX misses, where it gives NaN, is in `LIMITS`, from calculus.
"""

import sys
import warnings

import numpy as np

import tinygrad_lesson as tl

try:
    import jax
    import jax.numpy as jnp
    import jax.scipy.special as jsp
except ImportError:
    sys.exit("JAX is not installed: make bench-peers")

jax.config.update("jax_enable_x64", True)
RNG = np.random.default_rng(0)
X, NEAR = RNG.normal(size=(3, 4)), RNG.uniform(0.4, 0.9, size=(3, 4))
PLACES, ALONG = np.array([0, 2, 0]), np.array([[0, 2], [1, 1], [3, 0]])
INPUTS = {"x": X, "n": NEAR}

CASES = """
F.sin(x) | F.cos(x) | F.tan(x) | F.exp(x) | F.expm1(x) | F.exp2(x) | F.tanh(x) | F.sinh(x) | F.cosh(x) | F.arctan(x)
F.arcsinh(x) | F.arccosh(n + 1) | F.arcsin(n) | F.arccos(n) | F.arctanh(n) | F.log(n) | F.log1p(n) | F.log2(n) | F.log10(n)
F.sqrt(n) | F.cbrt(x) | F.reciprocal(x) | F.abs(x) | F.sigmoid(x) | F.softplus(x) | F.silu(x) | F.relu(x) | F.elu(x)
F.erf(x) | F.erfc(x) | F.erfinv(n) | F.logit(n) | F.gammaln(n) | F.digamma(n) | F.sinc(x) | x**3 | x**-2 | n**2.5 | 2.0**x | n**n
x / (x[::-1] ** 2 + 1) | F.arctan2(x, x[::-1] + 0.1) | F.hypot(x, x[::-1]) | F.logaddexp(x, 2 * x[::-1]) | F.maximum(x**2, x)
F.minimum(x**2, x) | F.remainder(x**3, 0.9) | F.clip(x**2, 0.2, 1.0) | F.where(x > 0, x**3, F.sin(x)) | F.xlogy(x, x**2 + 1)
F.sum(x**2, 1) | F.mean(x**3, 0) | F.prod(x, 1) | F.var(x, 1) | F.std(x, 1) | F.max(x**2, 1) | F.median(x**2, 1) | F.sort(x**2, 1)
F.cumsum(x**2, 1) | F.cumprod(x, 1) | F.logsumexp(x**2, 1) | F.softmax(x * x, 1) | F.log_softmax(x * x, 0) | F.ptp(x**2)
F.linalg.norm(x, axis=1) | F.linalg.norm(n, 3, axis=1) | x @ F.sin(x).T | F.dot(x, x[0]) | F.outer(x[0], x[1]) | F.kron(x, x[:2])
F.einsum("ij,kj->ik", x, x * x) | F.tensordot(x, x, 2) | F.cross(x[:, :3], x[:, 1:]) | F.linalg.inv(x @ x.T + E)
F.linalg.solve(x @ x.T + E, x) | F.linalg.det(x @ x.T + E) | F.linalg.slogdet(x @ x.T + E)[1] | F.linalg.cholesky(x @ x.T + E)
F.linalg.eigvalsh(x @ x.T) | F.linalg.eigh(x @ x.T)[1] ** 2 | F.linalg.svd(x, full_matrices=False)[1] | F.linalg.qr(x.T)[1] ** 2
F.take(x**3, PLACES, axis=1) | F.take_along_axis(x**3, ALONG, axis=1) | (x**3)[PLACES, PLACES] | (x**3)[::-1, 1:3]
(x**2).at[0, 1:3].set(F.sin(x[1, 1:3])) | (x**2).at[PLACES].add(F.sin(x)) | F.convolve(x[0], x[1] * x[0])
F.correlate(x[0], x[1], "full") | F.abs(F.fft.fft(x)) ** 2 | F.interp(x[0], np.array([-2.0, -0.5, 0.5, 2.0]), x[1] ** 2)
F.concatenate([x, x**2], 1) | F.pad(x**2, 1) | F.repeat(x**2, 2, axis=1) | F.diff(x**3) | F.trapezoid(x**2, x, axis=1)
"""
POINTS = {  # where one has to take care
    "F.{}(x)": (
        "tanh sigmoid softplus silu erf erfc sinc expm1 log1p arctan arcsinh square",
        (0.0, 1e-9, 20.0, -20.0, 800.0, -800.0),
    ),
    "x**{}": ("0 1 2 3 4 5 0.0 1.0 2.0 3.0", (0.0,)),
    "F.logaddexp({}, x)": ("-np.inf 800.0 1.0", (1.0,)),
    "{} * F.xlogy(x, 2.0)": ("1.0", (0.0,)),
    "F.prod(F.stack([x, {}]))": ("0.0 2.0", (0.0,)),
}
LIMITS = {  # (case, x, order)
    ("x**0.0", 0.0): (0, 0, 0, 0), ("x**1.0", 0.0): (1, 0, 0, 0), ("x**2.0", 0.0): (0, 2, 0, 0),
    ("x**3.0", 0.0): (0, 0, 6, 0), ("F.sinc(x)", 1e-9): (-1e-9 * np.pi**2 / 3, -np.pi**2 / 3, 1e-9 * np.pi**4 / 5, np.pi**4 / 5),
}  # fmt: skip


class Names:
    """The names of JAX, from where they are."""

    def __getattr__(self, name):
        return next(getattr(module, name) for module in (jnp, jax.nn, jsp) if hasattr(module, name))


def slope(grad, jvp, h, ways):
    """A derivative of a function of a number at 0, by ways that are r or f, the innermost first."""
    for way in ways:
        h = grad(h) if way == "r" else lambda t, h=h: jvp(h, (t,), (t * 0 + 1.0,))[1]
    return h


def derivative(ours, code, x, ways):
    """A derivative of order `len(ways)` of a case along a direction."""
    F = tl if ours else Names()
    draw = np.random.default_rng(7)
    along = draw.normal(size=x.shape) if x.ndim else np.ones(())
    known = {"np": np, "PLACES": PLACES, "ALONG": ALONG, "E": np.eye(3), "F": F}
    f = eval(f"lambda x, n: {code}", known)
    y = f(tl.Tensor(x), tl.Tensor(x)) if ours else f(jnp.asarray(x), jnp.asarray(x))
    weights = 1 + draw.normal(size=y.shape) if len(y.shape) else 1.0

    def h(t):
        return F.sum(f(x + t * along, x + t * along) * weights)

    return float(slope(*((tl.grad, tl.jvp) if ours else (jax.grad, jax.jvp)), h, ways)(0.0))


def cases():
    """All cases, with where each is taken."""
    for code in CASES.replace("\n", " | ").strip(" |").split(" | "):
        yield code, NEAR if "n" in names_in(code) else X
    for form, (parts, points) in POINTS.items():
        for part in parts.split():
            yield from ((form.format(part), np.array(x)) for x in points)


def names_in(code):
    """The variables that a case names."""
    return compile(code, "", "eval").co_names


def main(text=""):
    """Compare; the number of rows that differ."""
    wrong = count = 0
    for code, x in cases():
        if text not in code:
            continue
        count += 1
        limits = LIMITS.get((code, float(x)) if not x.ndim else code)
        for order in range(1, 5):
            expected = limits[order - 1] if limits else derivative(False, code, x, "r" + "f" * (order - 1))
            ways = {"r" * order, "f" * order, "r" + "f" * (order - 1), "f" + "r" * (order - 1)}
            found = {w: derivative(True, code, x, w) for w in sorted(ways)}
            bad = {w: y for w, y in found.items() if not np.isclose(y, expected, rtol=1e-7, atol=1e-9)}
            wrong += bool(bad)
            if bad:
                print(
                    f"{code} at {x if not x.ndim else 'x'}, order {order}: {expected}, here {bad}", flush=True
                )
    print(f"{count} cases, {wrong} rows differ")
    return wrong


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(bool(main(*sys.argv[1:2])))
