"""`check.first_nonfinite`: which op made the first NaN or infinity, forward or backward?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.culprit import called_at
from tinygrad_lesson.check.minimize import lines
from tinygrad_lesson.check.report import Element
from tinygrad_lesson.check.subject import (
    as_results,
    complete_arrays,
    evaluate,
    is_loss,
    name_of,
    parameter_names,
    repeatable,
)
from tinygrad_lesson.eager.apply import AS_TOLD, TENSORS
from tinygrad_lesson.eager.operators import sweep
from tinygrad_lesson.eager.recording import recording
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.backprop import apply_vjp
from tinygrad_lesson.engine.graph import Edge, Node, ancestors
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet import Symbol
from tinygrad_lesson.mxnet.executor import variables


@dataclasses.dataclass
class NonFinite:
    """Where the first NaN or infinity came from; `str` of it is the page, `ok` whether there was none.

    `direction` is forward or backward; `op` and `label` are the op, `name` its node in a symbol; `what`
    is the result or the gradient that holds `value` at `element`; `source` is the input that held it
    already, if one did; `code` are lines of Python that show it again.
    """

    title: str
    direction: str = ""
    op: str = ""
    label: str = ""
    name: str = ""
    position: int = 0
    count: int = 0
    called: str = ""
    what: str = ""
    value: float = 0.0
    element: Element = ()
    source: str = ""
    sizes: list[str] = dataclasses.field(default_factory=list)
    code: str = ""

    @property
    def ok(self) -> bool:
        """Whether all numbers are finite."""
        return not self.direction

    def __str__(self) -> str:
        if self.ok:
            return f"{self.title}: all finite, {self.count} ops forward and backward"
        named = f"{self.name} = " if self.name else ""
        called = f", called at {self.called}" if self.called else ""
        text = [f"{self.title}: the first {self.value} is made {self.direction} by"]
        text.append(f"  {named}{self.label}, op {self.position} of {self.count}{called}")
        text.append(f"  {self.what} is {self.value}{f' at {list(self.element)}' if self.element else ''}")
        if self.source:
            text.append(f"  {self.source} held it already")
        text += [f"  {line}" for line in self.sizes]
        return "\n".join([*text, "To see it again:", *(f"  {line}" for line in self.code.splitlines())])


@dataclasses.dataclass
class Applied:
    """An op as it was applied: the name of its node, and the names of its inputs if they are variables."""

    op: Op
    name: str
    inputs: Sequence[Tensor]
    values: tuple[Any, ...]
    node: Node | None


def first_nonfinite(f: Any, *inputs: Any) -> NonFinite:
    """Find the first NaN or infinity in `f` at `inputs`, forward and then backward, in their own dtypes.

    `f` is a function of Tensors, an op or a Symbol. A result that is no loss gets a gradient from 0.5 to
    1.5. Nothing has to be switched on before, and nothing is slower for it.

    Errors
        LessonError or whatever `f` raises, where it cannot be computed.
    """
    run, leaves, title = prepared(f, inputs)
    with np.errstate(all="ignore"):
        applied, results = run()
        found = look_forward(applied, leaves)
        found = look_backward(applied, results) if found is None else found
        if found is None:
            return NonFinite(title, count=len(applied))
        found.title, found.count = title, len(applied)
        if not isinstance(f, Symbol | Op):
            found.called = called_at(lambda: [a.node for a in run()[0] if a.node], found.position - 1)
    return found


def prepared(f: Any, inputs: Sequence[Any]) -> tuple[Any, dict[int, str], str]:
    """What records `f` at `inputs`; the names of these by the identity of their tensors; a title."""
    if isinstance(f, Symbol):
        arrays = complete_arrays(f, inputs, np.random.default_rng(0), as_given)
        short = next((x.dtype for x in arrays.values() if x.dtype == np.float32), np.dtype(float))
        states = {node.name for node in variables(f.nodes)[1]}
        cast = {name: x.astype(short) if x.dtype == float else x for name, x in arrays.items()}
        leaves = {name: Tensor(x) if name in states else leaf(x) for name, x in cast.items()}
        return lambda: of_symbol(f, leaves), {id(t): name for name, t in leaves.items()}, str(f.name or f)
    single = isinstance(f, Op)
    call = (lambda *tensors: TENSORS.apply(f, tensors)) if single else f
    names = f.name_inputs(len(inputs)) if isinstance(f, Op) else parameter_names(f, len(inputs))
    given = [leaf(as_given(x)) for x in inputs]
    title = f.label() if isinstance(f, Op) else name_of(f)
    known = {id(t): name for t, name in zip(given, names, strict=True)}
    return lambda: of_function(call, given, title), known, title


def as_given(x: Any) -> np.ndarray:
    """A copy in its own element type."""
    return np.array(x.value if isinstance(x, Tensor) else x)


def leaf(x: np.ndarray) -> Tensor:
    """A tensor of which everything that is computed is recorded."""
    return Tensor(x, requires_grad=x.dtype.kind == "f")


def of_function(f: Any, tensors: Sequence[Tensor], title: str) -> tuple[list[Applied], list[Tensor]]:
    """The ops that a function records, in order, and its results."""
    with repeatable(), recording(True):
        results = as_results(f(*tensors), title)
    nodes = [n for n in ancestors([y.node for y in results if y.node is not None]) if n.op is not None]
    return [Applied(n.op, n.name, n.inputs, as_tuple(n.values), n) for n in nodes if n.op], results


def of_symbol(symbol: Symbol, leaves: dict[str, Tensor]) -> tuple[list[Applied], list[Tensor]]:
    """The ops of a symbol, in order, and its results; those without a gradient are among them."""
    applied: list[Applied] = []

    def seen(node: Node, inputs: Sequence[Tensor], results: Sequence[Tensor]) -> None:
        assert node.op is not None
        made = results[0].node
        values = as_tuple(made.values) if made is not None else tuple(y.value for y in results)
        applied.append(Applied(node.op.at_mode(True), node.name, inputs, values, made))

    with repeatable(), recording(True):
        results = evaluate(symbol, {n: Tensor(x) if x.node is None else x for n, x in leaves.items()}, seen)
    return applied, [y for y in results if y.dtype.kind == "f"]


def as_tuple(values: Any) -> tuple[Any, ...]:
    """Several results, or one, as a tuple."""
    return values if isinstance(values, tuple) else (values,)


def bad_place(x: Any) -> Element | None:
    """Index of the first element that is not finite, None where all are."""
    array = np.asarray(x)
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return None
    return tuple(int(a) for a in np.argwhere(~np.isfinite(array))[0])


def look_forward(applied: Sequence[Applied], leaves: dict[int, str]) -> NonFinite | None:
    """The first op whose result is not finite."""
    for position, a in enumerate(applied, 1):
        places = [bad_place(y) for y in a.values]
        if all(place is None for place in places):
            continue
        k = next(k for k, place in enumerate(places) if place is not None)
        names = a.op.name_inputs(len(a.inputs))
        held = [
            leaves.get(id(t), f"{name}, a constant,")
            for t, name in zip(a.inputs, names, strict=True)
            if bad_place(t.value) is not None
        ]
        what = "its result" if len(a.values) == 1 else f"its result {k}"
        found = described(a, position, "forward", what, a.values[k], places[k] or ())
        found.source = " and ".join(held)
        found.code = lines(a.op, [t.value for t in a.inputs], None, k, places[k] or ())
        return found
    return None


def described(
    a: Applied, position: int, direction: str, what: str, array: Any, element: Element
) -> NonFinite:
    """What is said of an op in either direction."""
    names = a.op.name_inputs(len(a.inputs))
    sizes = [f"{name} {extent(t.value)}" for name, t in zip(names, a.inputs, strict=True)]
    value = float(np.asarray(array)[element])
    return NonFinite(
        "", direction, a.op.name, a.op.label(), a.name, position, 0, "", what, value, element, sizes=sizes
    )


def extent(x: Any) -> str:
    """Shape, type and range of an array."""
    array = np.asarray(x)
    known = array[~np.isnan(array)] if array.dtype.kind in "fc" else array
    if not known.size:
        return f"{show(array.shape)} {array.dtype}"
    return f"{show(array.shape)} {array.dtype}, from {known.min():.4g} to {known.max():.4g}"


def look_backward(applied: Sequence[Applied], results: Sequence[Tensor]) -> NonFinite | None:
    """The first op on the way back whose rule turns finite gradients into others."""
    recorded = [(p, a) for p, a in enumerate(applied, 1) if a.node is not None]
    heads = [(y, cotangent(y)) for y in results if y.node is not None]
    edges = [Edge(a.node, k) for _, a in recorded if a.node for k in range(len(a.values))]
    found = dict(zip(edges, sweep(heads, edges), strict=True)) if heads else {}
    for position, a in reversed(recorded):
        assert a.node is not None
        given = [found[Edge(a.node, k)] for k in range(len(a.values))]
        if all(g is None for g in given):
            continue
        for k, g in enumerate(given):
            place = None if g is None else bad_place(g)
            if place is not None:  # every rule before was finite, so the sum is not
                return described(
                    a, position, "backward", f"the sum of the gradients that reach its result {k}", g, place
                )
        single = len(given) == 1
        g, y = (given[0], a.values[0]) if single else (tuple(given), a.values)
        gradients = apply_vjp(AS_TOLD, a.op, (g, y, *[t.array for t in a.inputs]))
        for i, (t, gradient) in enumerate(zip(a.inputs, gradients, strict=True)):
            if t.node is None or gradient is None:
                continue
            place = bad_place(gradient)
            if place is not None:
                name = a.op.name_inputs(len(a.inputs))[i]
                report = described(a, position, "backward", f"its gradient of {name}", gradient, place)
                report.sizes += [f"incoming gradient {extent(h)}" for h in given if h is not None]
                report.code = lines(a.op, [t.value for t in a.inputs], given, i, place)
                return report
    return None


def cotangent(y: Tensor) -> np.ndarray:
    """The gradient with which a result begins: 1 for a loss or a single number."""
    if y.size == 1 or is_loss(y):
        return np.ones(y.shape, y.dtype)
    return np.linspace(0.5, 1.5, y.size).reshape(y.shape).astype(y.dtype)
