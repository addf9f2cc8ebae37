"""`check.pair`: a function and its hand-written gradient, from wherever they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.check.gradients import gradients
from tinygrad_lesson.check.report import Report
from tinygrad_lesson.check.subject import name_of, parameter_names
from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.engine.op import Op, attr, declares


@declares
class Pair(Op):
    """A function of arrays and its gradient, as an op: what checks and property tests take.

    `f(*inputs)` gives an array, a number, or a tuple of them. `vjp(g, *inputs)` gives the gradient for each input,
    None where there is none; `g` is a tuple if there are several results. Both are handed NumPy arrays of doubles
    in one piece (integers as they are), and may give anything that NumPy takes for an array. `along(v, *inputs)`, if it
    is given, is the change of the result along `v` (a tuple if there are several inputs of floats); it is compared
    with `vjp` by the dot-product test, ``<g, J v> = <J' g, v>``.

    Example
        >>> check = __import__("tinygrad_lesson").check
        >>> check.gradients(check.Pair(np.sin, lambda g, x: g * np.cos(x)), [0.5, 2.0]).verdict
        'ok'
    """

    name = "Pair"
    traceable = False
    mixes_dtypes = True
    count: ClassVar[int] = 1  # of results; known once `f` was called
    f: Callable[..., Any] = attr(doc="the function")
    rule: Callable[..., Any] = attr(doc="its gradient")
    along: Callable[..., Any] | None = attr(None, doc="its change along a direction, if that is known")

    def __post_init__(self) -> None:
        for given in (self.f, self.rule):
            if not callable(given):
                raise DTypeError(f"Pair: expected a function and its gradient, not {given!r}")

    def label(self) -> str:
        """The name of the function."""
        return name_of(self.f)

    __repr__ = label

    @property
    def outputs(self) -> tuple[str, ...]:
        """As many as the function gave."""
        return ("output",) if self.count == 1 else tuple(f"output{i}" for i in range(self.count))

    def name_inputs(self, count: int) -> tuple[str, ...]:
        """The parameters of the function."""
        return tuple(parameter_names(self.f, count))

    def complete(self, shapes: Any, results: Any) -> Any:
        """Nothing follows from shapes alone."""
        return list(shapes), list(results)

    def forward(self, xp: Any, *inputs: Any, out: Any = None) -> Any:
        """What the function gives, as arrays."""
        y = self.f(*map(plain, inputs))
        if not isinstance(y, tuple):
            return as_array(y, self)
        vars(self)["count"] = len(y)
        found = tuple(as_array(part, self) for part in y)
        return found if len(found) != 1 else found[0]

    def vjp(self, F: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """What the gradient gives, one for each input."""
        several = isinstance(g, tuple)
        parts = zip(g, y, strict=True) if several else ()
        given = (
            tuple(plain(np.zeros(np.shape(p)) if c is None else c) for c, p in parts) if several else plain(g)
        )
        found = self.rule(given, *map(plain, inputs))
        if not isinstance(found, tuple) and (len(inputs) == 1 or not isinstance(found, list)):
            found = (found,)
        return tuple(None if x is None else as_array(x, self) for x in found)

    @property
    def jvp(self) -> Any:  # type: ignore[override]
        """The rule of forward mode, if there is one."""
        return self.tangent if self.along else None

    def tangent(self, F: Any, tangents: Sequence[Any], y: Any, *inputs: Any) -> Any:
        """What `along` gives for the inputs of floats; those that do not move have tangents of 0."""
        floats = [(t, x) for t, x in zip(tangents, inputs, strict=True) if np.asarray(x).dtype.kind == "f"]
        vs = [plain(np.zeros(np.shape(x)) if t is None else t) for t, x in floats]
        moved = self.along(vs[0] if len(vs) == 1 else tuple(vs), *map(plain, inputs))  # type: ignore[misc]
        several = isinstance(moved, tuple | list) and isinstance(y, tuple)
        return tuple(as_array(m, self) for m in moved) if several else as_array(moved, self)


def plain(x: Any) -> Any:
    """Doubles in one piece; anything else as it is. A copy, so that nobody writes into what is ours."""
    array = np.array(x, order="C")
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def as_array(y: Any, pair: Pair) -> np.ndarray:
    """What a function gave, as an array of numbers.

    Errors
        DTypeError if it is none.
    """
    found = np.array(y.detach() if hasattr(y, "detach") else y)
    if found.dtype.kind not in "fiub":
        raise DTypeError(f"{pair.label()} gave {y!r}, expected an array of real numbers, or several")
    return found.astype(np.float64) if found.dtype.kind == "f" else found


def pair(
    f: Callable[..., Any], vjp: Callable[..., Any], *inputs: Any, jvp: Callable[..., Any] | None = None,
    seed: int = 0, full: bool | None = None,
) -> Report:  # fmt: skip
    """Check the hand-written gradient `vjp(g, *inputs)` of any function `f(*inputs)` of arrays at `inputs`.

    NumPy, SciPy, PyTorch, JAX, numba, C: whatever takes arrays and gives arrays; see `Pair`. `jvp` is its
    `along`, the rule of forward mode.

    Errors
        Whatever `f` raises.

    Example
        >>> pair(lambda x: x @ x, lambda g, x: 2 * g * x, [1.0, 2.0, -0.5]).verdict
        'ok'
    """
    made = Pair(f, vjp, jvp)
    report = gradients(made, *map(np.asarray, inputs), seed=seed, full=full, float32=False)
    report.reproduce = report.reproduce.replace("check.gradients(", "check.pair(").replace(
        f"({made.label()}", f"({made.label()}, {name_of(vjp)}", 1
    )
    return report
