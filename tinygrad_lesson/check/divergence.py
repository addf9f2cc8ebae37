"""Where runners, element types and devices part: `check.where_parted` of a graph, and both faces of one op."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.arrays import Context
from tinygrad_lesson.check.precision import ROUNDINGS, shaking
from tinygrad_lesson.check.report import Element, OneOp, element_at
from tinygrad_lesson.check.subject import (
    Arrays,
    as_tuple,
    complete_arrays,
    doubled,
    executor_of,
    name_of,
    repeatable,
    subject_of,
)
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.eager.operators import sweep
from tinygrad_lesson.eager.recording import recording
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.graph import Edge, Label, Node, ancestors, outputs_of
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet import Symbol
from tinygrad_lesson.mxnet.recorded import evaluate, from_tensor
from tinygrad_lesson.run import RUNNERS, available_runners

EAGER = "eager"  # a runner too: every op by itself
Values = dict[Edge, np.ndarray]


class Setting(NamedTuple):
    """A way of carrying out a symbol."""

    runner: str = "numpy"
    dtype: np.dtype[Any] = np.dtype(np.float64)
    context: Context = Context()

    def __str__(self) -> str:
        return f"{self.runner} {self.dtype} {self.context}"


@dataclasses.dataclass
class Divergence(OneOp):
    """Where ways part; `str` of it is the page to read, `ok` whether they do not.

    `way` is the one whose op does not do what its `forward` says in double precision on the same inputs;
    `found` and `expected` are the two values at `element`, `others` what the other ways have there.
    """

    way: str = ""
    element: Element = ()
    found: float = 0.0
    expected: float = 0.0
    limit: float = 0.0
    others: dict[str, float] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def __str__(self) -> str:
        notes = [f"  note: {note}" for note in self.notes]
        if self.ok:
            return "\n".join([f"{self.title}: none of {self.count} ops parts", *notes])
        at = f"{list(self.element)}" if self.element else ""
        lines = [f"{self.title}: parted by"]
        lines.append(f"  {self.which}, on {self.way}")
        lines.append(f"  result{at} is {self.found:.9g}, from the same inputs in float64 {self.expected:.9g}")
        lines.append(f"  off by {abs(self.found - self.expected):.2g}, rounding explains {self.limit:.1g}")
        return "\n".join([*lines, *(f"  {way}: {value:.9g}" for way, value in self.others.items()), *notes])


@np.errstate(all="ignore")
def where_parted(f: Any, runners: Sequence[Any], *inputs: Any, is_train: bool = True) -> Divergence:
    """Find the first op of `f` whose result differs between `runners` by more than rounding.

    `f` is a Symbol, or a function of Tensors or an op: then the graph that it records at `inputs` is looked at.
    A runner is the name of one (`numpy`, `vm`, or `eager` for op by op), a dtype (`float32`), a device
    (`gpu(0)`), or a dict with some of the keys `runner`, `dtype`, `context`. `inputs` are arrays in the
    order of the arguments, or one dict by name; those left out are drawn. Each op is judged on the inputs
    that it had there, so what an earlier op has done is not held against it. Where none parts, but the results do,
    a note names the op that makes most of small differences.

    Errors
        LessonError for a runner that is unknown, DeviceError for a device that is not there.
    """
    ways = [way_of(runner) for runner in runners]
    if isinstance(f, Symbol):
        symbol, arrays = f, complete_arrays(f, inputs, np.random.default_rng(0))
    else:
        symbol, arrays = recorded(f, inputs)
    results = [carried_out(symbol, way, arrays, is_train) for way in ways]
    nodes = [node for node in symbol.nodes if node.op is not None]
    title = f"{(symbol.name or symbol) if f is symbol else name_of(f)} on {', '.join(map(str, ways))}"
    done = Divergence(title, len(nodes))
    for position, node in enumerate(nodes, 1):
        for way, values in zip(ways, results, strict=True):
            judgement = judged(node, values, results[0], is_train)
            if judgement is None:
                continue
            op: Any = node.op
            at, found, expected, limit = judgement
            theirs = {str(w): float(each[Edge(node)][at]) for w, each in zip(ways, results, strict=True)}
            theirs.pop(str(way))
            which = op.name, op.label(), node.name, position, "", str(way)
            return Divergence(title, len(nodes), *which, at, found, expected, limit, theirs)
    for way, values in zip(ways, results, strict=True):
        if way.runner != EAGER and parts_alone(symbol, way, arrays, is_train, values):
            said = f"on {way} the result is another one if what lies between is not kept"
            done.notes.append(f"{said}: its plan is to blame")
    far = max(apart(edge, results) for edge in symbol.heads)
    done.notes.append(f"the results differ by at most {far:.1e} of their size")
    if far > max(np.sqrt(unit_of(values[edge])) for values in results for edge in symbol.heads):
        done.notes.append(magnifier(nodes, results))
    return done


def recorded(f: Any, inputs: Sequence[Any]) -> tuple[Symbol, dict[str, np.ndarray]]:
    """What a function or an op records, as a symbol, and its arrays by name. LessonError where nothing is recorded."""
    subject = subject_of(f, inputs, np.random.default_rng(0))
    tensors, results = subject.recorded(subject.arrays)
    nodes = ancestors([y.node for y in results if y.node is not None])
    used = {n: t for n, t in zip(subject.names, tensors, strict=True) if t.node in nodes}
    if not any(node.op is not None for node in nodes):
        raise LessonError(f"where_parted: {name_of(f)} records no op that has a gradient")
    return from_tensor([y for y in results if y.node is not None], **used)


def magnifier(nodes: Sequence[Node], results: Sequence[Values]) -> str:
    """A sentence about the op after which the ways lie farthest apart beside what they do before it."""
    found = []
    for position, node in enumerate(nodes, 1):
        unit = max(unit_of(values[Edge(node)]) for values in results)
        before = max([unit, *(apart(edge, results) for edge in node.inputs)])
        after = apart(Edge(node), results)
        found.append((after / before, -position, before, after))
    _, position, before, after = max(found)
    most: Any = nodes[-position - 1]
    return (
        f"{most.name} = {most.op.label()}, op {-position} of {len(nodes)}, magnifies most: "
        f"what differs by {before:.1e} of its size goes in, {after:.1e} comes out"
    )


def way_of(runner: Any) -> Setting:
    """What a user calls a runner, a dtype or a device."""
    if isinstance(runner, Mapping):
        if unknown := set(runner) - set(Setting._fields):
            expected = ", ".join(Setting._fields)
            raise LessonError(f"where_parted: unknown key {min(unknown)!r}; expected {expected}")
        known = Setting(**runner)
        return known._replace(dtype=np.dtype(known.dtype))
    if isinstance(runner, Context):
        return Setting(context=runner)
    if isinstance(runner, str) and (runner in RUNNERS or runner == EAGER):
        return Setting(runner=runner)
    try:
        return Setting(dtype=np.dtype(runner))
    except TypeError:
        names = ", ".join((*RUNNERS, EAGER))
        raise LessonError(f"where_parted: {runner!r} is no runner ({names}), dtype or device") from None


def cast(arrays: Mapping[str, np.ndarray], way: Setting) -> dict[str, np.ndarray]:
    """The arrays in the element type of a way; copies."""
    return {n: x.astype(way.dtype) if x.dtype.kind == "f" else x.copy() for n, x in arrays.items()}


def carried_out(symbol: Symbol, way: Setting, arrays: Mapping[str, np.ndarray], is_train: bool) -> Values:
    """Every result of every op, and the variables."""
    given = cast(arrays, way)
    values = {Edge(node): given[node.name].copy() for node in symbol.nodes if node.is_variable}
    if way.runner == EAGER:

        def seen(node: Node, _: Any, results: Sequence[Tensor]) -> None:
            values.update({Edge(node, k): y.numpy() for k, y in enumerate(results)})

        with repeatable(), recording(False):
            evaluate(symbol, {name: Tensor(x) for name, x in given.items()}, seen, is_train)
        return values
    edges = [e for node in symbol.nodes if node.op is not None for e in outputs_of(node)[: node.op.visible]]
    return values | dict(zip(edges, planned_results(edges, given, way, is_train), strict=True))


def planned_results(edges: Sequence[Edge], given: Any, way: Setting, is_train: bool) -> list[Any]:
    """Some edges as a plan computes them."""
    executor = executor_of(edges, given, context=way.context, runner=way.runner)
    return [np.array(y) for y in executor.forward(is_train=is_train)]


def judged(node: Node, values: Values, first: Values, is_train: bool) -> tuple[Any, ...] | None:
    """Where an op's result is not what its inputs give in double precision, up to rounding; both, and the limit."""
    op: Any = node.op.at_mode(is_train)  # type: ignore[union-attr]
    inputs, pinned = [values[edge] for edge in node.inputs], op.pinned()
    names = op.name_inputs(len(inputs))
    inputs = [np.full_like(x, pinned[n]) if n in pinned else x for n, x in zip(names, inputs, strict=True)]
    for edge in outputs_of(node)[: op.visible]:
        found = values[edge]
        if op.random:  # what was drawn depends on what was drawn before
            expected = first[edge].astype(float)
            limit = np.full(found.shape, ROUNDINGS * unit_of(found) * size_of(found))
        else:
            expected, limit = meaning(op, inputs, edge.index, found)
        same = (np.abs(found - expected) <= limit) | (found == expected)
        same |= np.isnan(found) & np.isnan(expected)
        if not same.all():
            at = element_at(np.argmin(same), found.shape)
            return at, float(found[at]), float(expected[at]), float(limit[at])
    return None


def unit_of(x: np.ndarray) -> float:
    """The unit of rounding of an array's type, 0 for integers."""
    return float(np.finfo(x.dtype).eps) if x.dtype.kind == "f" else 0.0


def size_of(x: np.ndarray) -> float:
    """The largest finite number."""
    return float(np.max(np.abs(x), where=np.isfinite(x), initial=0.0)) if x.dtype.kind in "fi" else 1.0


def meaning(op: Op, inputs: Arrays, k: int, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Result `k` of an op in double precision, and how far that of a shorter type may lie from it."""
    unit, generator = unit_of(found), np.random.default_rng(0)

    def result(shaken: Callable[[Any], Any]) -> np.ndarray:
        return np.asarray(as_tuple(op.forward(np, *[shaken(doubled(x)) for x in inputs]))[k])

    exact, rough = result(lambda x: x), shaking(unit, generator)
    if exact.dtype.kind != "f":
        return exact, np.zeros(exact.shape)
    moved = np.max([np.abs(result(rough) - exact) for _ in range(2)], axis=0)
    count = max([x.size for x in inputs], default=1)
    limit = ROUNDINGS * np.nan_to_num(moved, posinf=0.0) + unit * (ROUNDINGS + count**0.5) * size_of(exact)
    return exact, limit


def parts_alone(symbol: Symbol, way: Setting, arrays: Any, is_train: bool, values: Values) -> bool:
    """Whether a way gives other results once nobody looks at what lies between."""
    found = planned_results(symbol.heads, cast(arrays, way), way, is_train)
    return any(
        np.any(np.abs(y - values[edge]) > ROUNDINGS * np.sqrt(unit_of(y)) * size_of(values[edge]))
        for edge, y in zip(symbol.heads, found, strict=True)
    )


def apart(edge: Edge, results: Sequence[Values]) -> float:
    """How far the values of an edge lie apart on all ways, relative to their size."""
    size = max(size_of(values[edge]) for values in results)
    gaps = [np.abs(values[edge].astype(float) - results[0][edge]) for values in results]
    return max(float(np.nanmax(gap, initial=0.0)) for gap in gaps) / (size or 1.0)


# One op in both faces: eagerly, and as the plan of every runner.


class OpError(LessonError, AssertionError):
    """A property that an op lacks: faces that differ, a rule of shapes that is wrong, an input written to."""


def learnable(op: Op, arrays: Arrays) -> list[int]:
    """Numbers of the inputs that a gradient may reach: floats that are no states."""
    return [i for i, x in enumerate(arrays[: len(arrays) - len(op.states)]) if x.dtype.kind == "f"]


def eager(op: Op, arrays: Arrays, g: Arrays | None) -> dict[str, Any]:
    """Outputs, gradients and new states by the eager face, by name; no gradients without cotangents `g`."""
    wanted, names = learnable(op, arrays), op.name_inputs(len(arrays))
    with repeatable(), recording(True):
        tensors = [Tensor(x, requires_grad=i in wanted) for i, x in enumerate(arrays)]
        results = as_tuple(apply(op, tensors))
        found = {f"output {i}": t.numpy() for i, t in enumerate(results)}
        if g is not None:
            heads = [(t, gi) for t, gi in zip(results, g, strict=True) if t.requires_grad]
            for i, x in zip(wanted, sweep(heads, [tensors[i] for i in wanted]), strict=True):
                found[f"gradient of {names[i]}"] = np.zeros_like(arrays[i]) if x is None else np.asarray(x)
    count = len(arrays) - len(op.states)
    return found | {f"new {names[i]}": tensors[i].numpy() for i in range(count, len(arrays))}


def planned(op: Op, arrays: Arrays, g: Arrays | None, runner: str) -> dict[str, Any]:
    """The same by the plan of one node and of its gradient, as `runner` carries it out."""
    wanted, names = learnable(op, arrays), op.name_inputs(len(arrays))
    edges = tuple(Edge(Node(None, label=Label(name))) for name in names)
    heads = outputs_of(Node(op, edges, Label(op.function)))[: op.visible]
    asked = [names[i] for i in wanted if g is not None]
    executor = executor_of(heads, dict(zip(names, arrays, strict=True)), asked, runner=runner)
    found = {f"output {i}": np.array(y) for i, y in enumerate(executor.forward(is_train=True))}
    if g is not None:
        executor.backward([None if op.is_loss else gi for gi in g])
    found |= {f"gradient of {name}": x for name, x in executor.gradients.items()}
    return found | {f"new {name}": x for name, x in (executor.states.items() if g is not None else ())}


@np.errstate(all="ignore")
def assert_faces_agree(op: Op, arrays: Arrays, g: Arrays | None = None) -> None:
    """Refuse an op of which the faces differ in more than the last half of their digits.

    Errors
        OpError naming the runner, the result and the element.
    """
    op = op.at_mode(True)
    expected = eager(op, arrays, g)
    for runner in available_runners():
        found = planned(op, arrays, g, runner)
        for name, y in found.items():
            what = f"{op!r}: {name} by runner {runner!r}"
            assert_close(y, expected[name], what, "the eager face gives", by_largest=True)


@np.errstate(all="ignore")
def assert_close(
    found: Any, expected: Any, what: str, whose: str = "expected", *, rtol: float | None = None,
    atol: float | None = None, equal_nan: bool = True, by_largest: bool = False,
) -> None:  # fmt: skip
    """Refuse arrays that differ in shape, or by more than ``atol + rtol * |expected|``.

    Where one is not given, half of the digits must agree. `by_largest` measures `atol` by the largest element, as
    befits sums that cancel.

    Errors
        OpError naming the worst element.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        raise OpError(f"{what} has the shape {show(found.shape)}, {whose} {show(expected.shape)}")
    floats = [x.dtype for x in (found, expected) if x.dtype.kind in "fc"]
    half = float(np.sqrt(max(np.finfo(d).eps for d in floats))) if found.dtype.kind in "fc" else 0.0
    rtol, atol = half if rtol is None else rtol, half if atol is None else atol
    size = np.abs(expected)
    if by_largest:
        atol *= max(1.0, float(np.max(size, where=np.isfinite(size), initial=0)))
    right = np.isclose(found, expected, rtol=rtol, atol=atol, equal_nan=equal_nan)
    gap = np.abs(found - expected.astype(np.result_type(expected, float)))
    excess = np.nan_to_num(gap / np.maximum(atol + rtol * size, 1e-300), nan=np.inf)
    if right.all():
        return
    at = element_at(np.argmax(np.where(right, 0.0, excess)), found.shape)
    place = f" at {list(at)}" if found.ndim else ""
    raise OpError(
        f"{what}{place} is {found[at]:.8g}, {whose} {expected[at]:.8g}; "
        f"{np.count_nonzero(~right)} of {found.size} elements differ by more than {atol:.1g} + {rtol:.1g} * |expected|"
    )
