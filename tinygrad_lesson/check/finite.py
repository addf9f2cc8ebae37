"""`check.first_nonfinite`: which op made the first NaN or infinity, forward or backward?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.gradients import called_at, has_floats
from tinygrad_lesson.check.report import Element, OneOp, as_code, element_at
from tinygrad_lesson.check.subject import (
    as_results,
    as_tuple,
    complete_arrays,
    is_loss,
    name_of,
    parameter_names,
    recorded_nodes,
    repeatable,
)
from tinygrad_lesson.eager.apply import AS_TOLD, TENSORS
from tinygrad_lesson.eager.operators import sweep
from tinygrad_lesson.eager.recording import recording
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.backprop import apply_vjp
from tinygrad_lesson.engine.graph import Edge, Node
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.op import FUNCTIONS, Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet import Symbol
from tinygrad_lesson.mxnet.leaves import variables
from tinygrad_lesson.mxnet.recorded import evaluate

Arrays = Sequence[Any]


@dataclasses.dataclass
class NonFinite(OneOp):
    """Where the first NaN or infinity came from; `str` of it is the page, `ok` whether there was none.

    `direction` is forward or backward; `what` is the result or the gradient that holds `value` at `element`; `source`
    is the input that held it already, if one did; `code` are lines of Python that show it again.
    """

    direction: str = ""
    what: str = ""
    value: float = 0.0
    element: Element = ()
    source: str = ""
    sizes: list[str] = dataclasses.field(default_factory=list)
    code: str = ""

    def __str__(self) -> str:
        if self.ok:
            return f"{self.title}: all finite, {self.count} ops forward and backward"
        text = [f"{self.title}: the first {self.value} is made {self.direction} by", f"  {self.which}"]
        text.append(f"  {self.what} is {self.value}{f' at {list(self.element)}' if self.element else ''}")
        if self.source:
            text.append(f"  {self.source} held it already")
        text += [f"  {line}" for line in self.sizes]
        return "\n".join([*text, "To see it again:", *(f"  {line}" for line in self.code.splitlines())])


@dataclasses.dataclass
class Applied:
    """An op as it was applied: the name of its node, its inputs, its results, and what was recorded."""

    op: Op
    name: str
    inputs: Sequence[Tensor]
    results: tuple[Any, ...]
    node: Node | None

    @property
    def named(self) -> list[tuple[str, Any]]:
        """The inputs by name."""
        return list(zip(self.op.name_inputs(len(self.inputs)), (t.value for t in self.inputs), strict=True))

    def told(self, position: int, direction: str, what: str, array: Any, element: Element) -> NonFinite:
        """What is said of the op where an array is not finite."""
        sizes = [f"{name} {extent(x)}" for name, x in self.named]
        return NonFinite(
            "", 0, self.op.name, self.op.label(), self.name, position, direction=direction, what=what,
            value=float(np.asarray(array)[element]), element=element, sizes=sizes,
        )  # fmt: skip


@np.errstate(all="ignore")
def first_nonfinite(f: Any, *inputs: Any) -> NonFinite:
    """Find the first NaN or infinity in `f` at `inputs`, forward and then backward, in their own dtypes.

    `f` is a function of Tensors, an op or a Symbol. A result that is no loss gets a gradient from 0.5 to
    1.5. Nothing has to be switched on before, and nothing is slower for it.

    Errors
        LessonError or whatever `f` raises, where it cannot be computed.
    """
    run, leaves, title = prepared(f, inputs)
    applied, results = run()
    found = look_forward(applied, leaves) or look_backward(applied, results) or NonFinite("")
    found.title, found.count = title, len(applied)
    if not found.ok and not isinstance(f, Symbol | Op):
        found.called = called_at(lambda: [a.node for a in run()[0] if a.node], found.position - 1)
    return found


def prepared(f: Any, inputs: Sequence[Any]) -> tuple[Any, dict[int, str], str]:
    """What records `f` at `inputs`; the names of these by the identity of their tensors; a title."""
    if isinstance(f, Symbol):
        arrays = complete_arrays(f, inputs, np.random.default_rng(0), as_given)
        short = next((x.dtype for x in arrays.values() if x.dtype == np.float32), np.dtype(float))
        states = {node.name for node in variables(f.nodes)[1]}
        cast = {name: x.astype(short) if x.dtype == float else x for name, x in arrays.items()}
        leaves = {n: Tensor(x, requires_grad=n not in states and has_floats([x])) for n, x in cast.items()}
        return lambda: of_symbol(f, leaves), {id(t): name for name, t in leaves.items()}, str(f.name or f)
    title, names, call = name_of(f), parameter_names(f, len(inputs)), f
    if isinstance(f, Op):
        title, names, call = f.label(), list(f.name_inputs(len(inputs))), lambda *xs: TENSORS.apply(f, xs)
    given = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in map(as_given, inputs)]
    known = {id(t): name for t, name in zip(given, names, strict=True)}
    return lambda: of_function(call, given, title), known, title


def as_given(x: Any) -> np.ndarray:
    """A copy in its own element type."""
    return np.array(x.value if isinstance(x, Tensor) else x)


def of_function(f: Any, tensors: Sequence[Tensor], title: str) -> tuple[list[Applied], list[Tensor]]:
    """The ops that a function records, in order, and its results."""
    with repeatable(), recording(True):
        results = as_results(f(*tensors), title)
    nodes = recorded_nodes(results)
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


def bad_place(x: Any) -> Element | None:
    """Index of the first element that is not finite, None where all are."""
    array = np.asarray(0.0 if x is None else x)
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return None
    return element_at(np.argmin(np.isfinite(array)), array.shape)


def extent(x: Any) -> str:
    """Shape, type and range of an array."""
    array = np.asarray(x)
    known = array[~np.isnan(array)] if array.dtype.kind in "fc" else array
    span = f", from {known.min():.4g} to {known.max():.4g}" if known.size else ""
    return f"{show(array.shape)} {array.dtype}{span}"


def look_forward(applied: Sequence[Applied], leaves: dict[int, str]) -> NonFinite | None:
    """The first op whose result is not finite."""
    for position, a in enumerate(applied, 1):
        for k, y in enumerate(a.results):
            place = bad_place(y)
            if place is None:
                continue
            pairs = zip(a.inputs, a.named, strict=True)
            held = [leaves.get(id(t), f"{n}, a constant,") for t, (n, x) in pairs if bad_place(x) is not None]
            what = "its result" if len(a.results) == 1 else f"its result {k}"
            found = a.told(position, "forward", what, y, place)
            found.source, found.code = " and ".join(held), lines(a, (), k, place)
            return found
    return None


def look_backward(applied: Sequence[Applied], results: Sequence[Tensor]) -> NonFinite | None:
    """The first op on the way back whose rule turns finite gradients into others."""
    recorded = [(p, a, a.node) for p, a in enumerate(applied, 1) if a.node is not None]
    heads = [(y, cotangent(y)) for y in results if y.node is not None]
    edges = [Edge(node, k) for _, a, node in recorded for k in range(len(a.results))]
    found = dict(zip(edges, sweep(heads, edges), strict=True)) if heads else {}
    for position, a, node in reversed(recorded):
        given = [found[Edge(node, k)] for k in range(len(a.results))]
        if all(g is None for g in given):
            continue
        for k, g in enumerate(given):
            if (place := bad_place(g)) is not None:  # every rule before was finite, so the sum is not
                what = f"the sum of the gradients that reach its result {k}"
                return a.told(position, "backward", what, g, place)
        g, y = (given[0], a.results[0]) if len(given) == 1 else (tuple(given), a.results)
        gradients = apply_vjp(AS_TOLD, a.op, (g, y, *[t.array for t in a.inputs]))
        for i, (t, gradient) in enumerate(zip(a.inputs, gradients, strict=True)):
            place = bad_place(gradient)
            if place is not None and t.node is not None:
                report = a.told(position, "backward", f"its gradient of {a.named[i][0]}", gradient, place)
                report.sizes += [f"incoming gradient {extent(h)}" for h in given if h is not None]
                report.code = lines(a, given, i, place)
                return report
    return None


def cotangent(y: Tensor) -> np.ndarray:
    """The gradient with which a result begins: 1 for a loss or a single number."""
    if y.size == 1 or is_loss(y):
        return np.ones(y.shape, y.dtype)
    return np.linspace(0.5, 1.5, y.size).reshape(y.shape).astype(y.dtype)


# A few lines of Python in which the op makes the same NaN or infinity once more.


def lines(applied: Applied, cotangents: Arrays, number: int, element: Element) -> str:
    """The op at the smallest inputs found at which result `number`, or gradient `number`, is not finite.

    `cotangents` are those of its results, none forward.
    """
    op, count = applied.op, len(applied.inputs)
    every = smallest(op, [*(x for _, x in applied.named), *cotangents], count, number, element)
    arrays, given = every[:count], every[count:]
    names = [name if name.isidentifier() else f"x{i}" for i, (name, _) in enumerate(applied.named)]
    call, imports = as_call(op, names)
    text = ["import numpy as np", "import tinygrad_lesson as tl", *imports]
    for name, x in zip(names, arrays, strict=True):
        more = ", requires_grad=True" if given and has_floats([x]) and name not in op.states else ""
        made = f"tl.Tensor({as_code(x)}{more})" if isinstance(x, np.ndarray) else repr(x)
        text.append(f"{name} = {made}")
    if not given:
        return "\n".join([*text, f"print({call}{f'[{number}]' if 0 < number < op.visible else ''})"])
    parts = [f"y[{k}]" if op.visible > 1 else "y" for k in range(len(given))]
    heads = [f"({y} * {as_code(g)}).sum()" for y, g in zip(parts, given, strict=True) if g is not None]
    text += [f"y = {call}", f"({' + '.join(heads)}).backward()", f"print({names[number]}.grad)"]
    return "\n".join(text)


def as_call(op: Op, names: Sequence[str]) -> tuple[str, list[str]]:
    """A call of an op as Python, and what has to be imported for it."""
    values, cls = {f.name: (getattr(op, f.name), f.default) for f in dataclasses.fields(op)}, type(op)
    attributes = [f"{name}={x!r}" for name, (x, default) in values.items() if x != default]
    if FUNCTIONS.get(op.function) is cls and not any(isinstance(x, Op) for x, _ in values.values()):
        return f"tl.{op.function}({', '.join([*names, *attributes])})", []
    made = f"{cls.__name__}({', '.join(attributes)})"
    imports = [f"from {cls.__module__} import {cls.__name__}"]
    return f"tl.Tensor.F.apply({made}, ({', '.join(names)},))", imports


def smallest(op: Op, every: Arrays, count: int, number: int, element: Element) -> Arrays:
    """Inputs, and cotangents behind them, cut down: to the element of an elementwise op, or the row of any, that fails.

    Where ones fail too, they are ones.
    """
    kind = outcome(op, every, count, number)
    shape = np.broadcast_shapes(*map(np.shape, every[:count])) if isinstance(op, Elementwise) else ()
    at, most = element if len(element) == len(shape) else (0,) * len(shape), max(map(np.ndim, every[:count]))

    def one(x: Any) -> Any:
        return np.broadcast_to(x, shape)[at].reshape(1) if isinstance(x, np.ndarray) else x

    def row(x: Any) -> Any:
        long = isinstance(x, np.ndarray) and x.ndim == most and len(x) > element[0]
        return x[element[0] :][:1] if long else x

    for cut in ([one] if shape else []) + [row] if element else []:
        if outcome(op, tried := list(map(cut, every)), count, number) == kind:
            every = tried
            break
    for i, x in enumerate(every):
        tried = [*every[:i], np.ones_like(x), *every[i + 1 :]]
        if has_floats([x]) and outcome(op, tried, count, number) == kind:
            every = tried
    return every


def outcome(op: Op, every: Arrays, count: int, number: int) -> str:
    """Whether result `number`, or where cotangents follow the inputs gradient `number`, holds NaN, else infinity."""

    def kind_of(x: Any) -> str:
        array = np.asarray(x, float)
        return "nan" if np.isnan(array).any() else "inf" if np.isinf(array).any() else ""

    arrays, cotangents = every[:count], every[count:]
    try:
        y = op.forward(np, *[np.array(x) if isinstance(x, np.ndarray) else x for x in arrays])
        if not cotangents:
            return kind_of(as_tuple(y)[number])
        if any(map(kind_of, as_tuple(y))):
            return "forward"
        g = tuple(cotangents) if isinstance(y, tuple) else cotangents[0]
        return kind_of(apply_vjp(AS_TOLD, op, (g, y, *arrays))[number])
    except Exception:
        return "error"
