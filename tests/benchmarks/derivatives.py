"""Derivatives of orders 1 to 4 beside JAX's, each by four mixtures of forward and reverse mode.

    PYTHONPATH=. .peers/jax/bin/python tests/benchmarks/derivatives.py            a line for each case; ten minutes
    PYTHONPATH=. .peers/jax/bin/python tests/benchmarks/derivatives.py "F.erf"    those that contain this text
    PYTHONPATH=. .peers/jax/bin/python tests/benchmarks/derivatives.py 1/4        the first quarter of them

A case is a function of an array x in the names that both have. It is weighted, summed, and differentiated along a
direction. A line has the largest difference of each order, relative to the derivative, or to 0.01 if that is smaller, and
is followed by what differs. At the points of `POINTS` a limit that JAX misses, where it gives NaN, is in `LIMITS`,
from calculus.
"""

import re
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


WAYS = "rrrr", "ffff", "rfff", "frrr"  # of each derivative, the innermost first: r or f
LIMIT = 1e-7


def further(pair, jvp, h, way):
    """A function of a number that gives several, with the derivative of the last one, too."""
    if way == "f":

        def both(t):
            y, slope = jvp(h, (t,), (t * 0 + 1.0,))
            return (*y, slope[-1])
    else:
        last = pair(lambda t: (h(t)[-1], h(t)[:-1]), has_aux=True)

        def both(t):
            (y, others), slope = last(t)
            return (*others, y, slope)

    return both


def derivatives(ours, code, x, ways):
    """Derivatives of orders 1 to `len(ways)` of a case along a direction; None where the value itself overflows."""
    F = tl if ours else Names()
    draw = np.random.default_rng(7)
    along = draw.normal(size=x.shape) if x.ndim else np.ones(())
    known = {"np": np, "PLACES": PLACES, "ALONG": ALONG, "E": np.eye(3), "F": F}
    f = eval(f"lambda x, n: {code}", known)
    y = f(tl.Tensor(x), tl.Tensor(x)) if ours else f(jnp.asarray(x), jnp.asarray(x))
    weights = 1 + draw.normal(size=y.shape) if len(y.shape) else 1.0

    def h(t):
        return (F.sum(f(x + t * along, x + t * along) * weights),)

    for way in ways:
        h = further(*((tl.value_and_grad, tl.jvp) if ours else (jax.value_and_grad, jax.jvp)), h, way)
    value, *found = (float(d) for d in h(0.0))
    return found if np.isfinite(value) else None


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


def off(found, expected):
    """How far a derivative is from what it should be; infinite where one of both is no number."""
    if found == expected or (np.isnan(found) and np.isnan(expected)):
        return 0.0
    difference = abs(found - expected) / max(0.01, abs(expected))
    return difference if np.isfinite(difference) else np.inf


def compare(code, x):
    """A line about a case; the number of orders that differ."""
    expected = LIMITS.get((code, float(x)) if not x.ndim else code) or derivatives(False, code, x, "rfff")
    if expected is None:
        print(f"{code} at {x} overflows")
        return 0
    found = {ways: derivatives(True, code, x, ways) for ways in WAYS}
    worst = [max(off(ds[i], expected[i]) for ds in found.values()) for i in range(4)]
    wrong = [i for i in range(4) if not worst[i] <= LIMIT]
    place = "" if x.ndim else f" at {x}"
    print(f"{code + place:70}", *[f"{d:8.0e}" for d in worst], "  DIFFERS" if wrong else "", flush=True)
    for i in wrong:
        told = ", ".join(f"{ways[: i + 1]} {ds[i]:.10g}" for ways, ds in found.items())
        print(f"    order {i + 1}: expected {expected[i]:.10g}, found {told}", flush=True)
    return len(wrong)


def main(text=""):
    """Compare; the number of derivatives that differ."""
    chosen = [case for case in cases() if text in case[0]]
    if re.fullmatch(r"\d+/\d+", text):
        part, parts = map(int, text.split("/"))
        chosen = list(cases())[part - 1 :: parts]
    wrong = sum(compare(*case) for case in chosen)
    print(f"{len(chosen)} cases of 4 orders by 4 ways each, {wrong} derivatives differ")
    return wrong


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(bool(main(*sys.argv[1:2])))
