"""`check.taylor`: what is left of a function once its value and its gradient are taken away, by length of step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.check.compare import pulled, unit_rows
from tinygrad_lesson.check.numeric import EPS, magnitude, noise_of
from tinygrad_lesson.check.pair import Pair
from tinygrad_lesson.check.subject import name_of, subject_of
from tinygrad_lesson.engine.errors import DTypeError

HALVINGS = 24  # of the longest step: by then a remainder of second order is rounding
TELLS = 100.0  # times rounding: what a remainder must be, or its order moves by a part of `TOLERANCE`
TOLERANCE = 0.1  # how far from its whole number the observed order may lie: a third-order term does that


@dataclasses.dataclass
class Taylor:
    """Remainders ``|f(x + h v) - f(x) - h g v|`` by step `h`; `ok` is whether they shrink as h squared, or faster.

    `order` is the exponent seen where the remainder stands out of rounding, not a number where it never does: then the
    function is a straight line, which is fine. `plain` are ``|f(x + h v) - f(x)|``, of order 1. `str` of it is a table,
    `plot()` a picture.
    """

    title: str
    steps: np.ndarray
    plain: np.ndarray
    remainders: np.ndarray
    noise: float
    order: float

    @property
    def ok(self) -> bool:
        """Whether the gradient is one; where it or the function is not finite nothing is."""
        return bool(np.isfinite(self.remainders[-1])) and not self.order < 2 - TOLERANCE

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        seen = "ok, a straight line" if self.ok else "the function or its gradient is not finite"
        if not np.isnan(self.order):
            seen = f"{'ok' if self.ok else 'wrong'}, order {self.order:.2f}, expected 2"
        lines = [f"{self.title}: {seen}", "  step      |f(x+hv) - f(x)|  without h g v"]
        rows = zip(self.steps, self.plain, self.remainders, strict=True)
        return "\n".join([*lines, *(f"  {h:.2e}  {a:.3e}          {b:.3e}" for h, a, b in list(rows)[::3])])

    def plot(self, axes: Any = None) -> Any:
        """Remainders by step on logarithmic scales, beside slopes 1 and 2; needs matplotlib. The axes."""
        from matplotlib import pyplot

        axes = pyplot.subplots()[1] if axes is None else axes
        curves = (self.plain, "o-", "f(x + h v) - f(x)"), (self.remainders, "s-", "the same less h g v")
        for moves, style, label in curves:
            axes.loglog(self.steps, moves, style, label=label)
        for power, (moves, *_) in enumerate(curves, 1):
            slope = (moves[0] or 1.0) * (self.steps / self.steps[0]) ** power
            axes.loglog(self.steps, slope, ":", label=f"order {power}")
        axes.set(xlabel="step h", title=self.title)
        axes.legend()
        return axes


@np.errstate(all="ignore")
def taylor(
    f: Callable[..., Any], *inputs: Any, gradient: Callable[..., Any] | None = None, step: float = 0.01, seed: int = 0
) -> Taylor:  # fmt: skip
    """Check the gradient of a scalar loss along a random direction by the Taylor remainder.

    With the right gradient `g` what is left of ``f(x + h v) - f(x) - h g v`` is a fourth when `h` is halved. It
    costs three dozen values and one gradient, however many inputs there are, so it works on a training step or a
    solver. `f` takes Tensors, unless `gradient(*inputs)` is given: then both take arrays from anywhere. `step` is
    the longest, as a part of the size of each input.

    Errors
        DTypeError if the result is not a single number.

    Source
        Farrell et al. 2013, "Automated derivation of the adjoint of high-level transient finite element
        programs", section 5, as ``taylor_test`` of dolfin-adjoint.

    Example
        >>> import tinygrad_lesson as tl
        >>> taylor(lambda x: tl.sum(tl.exp(x)), [0.5, 1.0]).ok
        True
    """
    made = f if gradient is None else Pair(f, lambda g, *xs: gradient(*xs))  # the one `g` is 1
    subject, generator = subject_of(made, inputs, np.random.default_rng(seed)), np.random.default_rng(seed)
    sizes = [float(np.max(magnitude(x), initial=0.0)) or 1.0 for x in subject.arrays]
    directions = {i: sizes[i] * generator.uniform(-1, 1, subject.arrays[i].shape) for i in subject.wanted}

    def value(h: float) -> float:
        moved = [x + h * directions[i] if i in directions else x for i, x in enumerate(subject.arrays)]
        (number,) = subject.value(moved)
        if number.size != 1:
            raise DTypeError(f"taylor: {name_of(f)} gave an array of shape {number.shape}, not one number")
        return float(number.reshape(()))

    here = value(0.0)
    found = pulled(subject, subject.arrays, unit_rows(subject.value(subject.arrays)))
    slope = sum(float(g[0] @ directions[i].ravel()) for i, g in zip(subject.wanted, found, strict=True))
    steps = step * 0.5 ** np.arange(HALVINGS)
    moves = np.array([value(h) for h in steps.tolist()]) - here
    remainders = np.abs(moves - steps * slope)
    noise = max(float(noise_of(lambda h: np.array([value(h)]), 1.0)[0]), EPS * float(np.max(np.abs(moves))))
    order = observed(steps, remainders, TELLS * noise)
    return Taylor(name_of(f), steps, np.abs(moves), remainders, noise, order)


def observed(steps: np.ndarray, remainders: np.ndarray, least: float) -> float:
    """The exponent at the shortest steps whose remainder is beyond `least`; not a number where there are none."""
    tells = np.flatnonzero(remainders > least)
    if len(tells) < 2:
        return float("nan")
    last = tells[-4:]
    return float(np.polyfit(np.log(steps[last]), np.log(remainders[last]), 1)[0])
