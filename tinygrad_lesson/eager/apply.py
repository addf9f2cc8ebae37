"""Ops on tensors: computed, and recorded where a gradient may be asked for; and the worlds of what was recorded."""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import MODULES, NEEDS_SLOW_PATH, PLACES, module_of
from tinygrad_lesson.eager.given import devices
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.eager.tensor import (
    Pair,
    Tensor,
    as_array,
    lent,
    operand,
    recorded_as,
    results_of,
    same,
    wrap,
)
from tinygrad_lesson.engine.blocks import LARGE, Compiled
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.errors import DTypeError, GraphError, LessonError, ShapeError, kind_for
from tinygrad_lesson.engine.graph import UNNAMED, Node
from tinygrad_lesson.engine.namespace import numbers_only
from tinygrad_lesson.engine.op import Op, check_result
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.engine.world import Arrays, World
from tinygrad_lesson.ops.elementwise import Add

ndarray, FLOAT = np.ndarray, np.dtype(float)
_TWICE = "of the real and imaginary parts a and b, {} of np.block([[a, -b], [b, a]]) gives each {} twice"
_SORTED = "write x[np.argsort(np.abs(x).detach().numpy())], or another order by real numbers"
AS_REAL = {  # what to write where an op is not for complex numbers
    "Eigh": _TWICE.format("np.linalg.eigvalsh", "eigenvalue"),
    "Svd": _TWICE.format("np.linalg.svd", "singular value"),
    "Sort": _SORTED,
    "Max": _SORTED,
    "Min": _SORTED,
}


def apply(op: Op, inputs: Sequence[Any], every: bool = False, xp: Any = np) -> Any:
    """Compute `op`, and record it where a gradient may be asked for. It gives `every` result, or those that it shows.

    `xp` computes: CuPy, if the tensors lie on a GPU.

    Errors
        ShapeError or DTypeError naming the op, its inputs and their shapes; DeviceError for inputs on two devices.
    """
    tensors = tuple([x if x.__class__ is Tensor else operand(x) for x in inputs])
    if NEEDS_SLOW_PATH and xp is np:
        level = uppermost(tensors) if RECORDING.levels else None
        if level is not None:
            return level.apply(op, tensors, every)
        if RECORDING.tracing and RECORDING.states is not None and (op.states or RECORDING.states.known):
            tensors = RECORDING.states.read(op, tensors)
        if MODULES and (there := on_device(op, tensors)) is not None:
            with devices().on(there[0]) as module:
                return apply(op, there[1], every, module)
    extra = {"generator": generator().on(xp)} if op.random else {}
    recorded = is_recorded(op, tensors)
    arrays: Any = [t.capture() if recorded else t.array for t in tensors]
    try:
        result = asked(op, tensors, xp, arrays, extra) if op.asks else op.forward(xp, *arrays, **extra)
    except AttributeError:  # a number has no shape
        if not any(type(x) in NUMBERS for x in arrays):
            raise
        arrays = [same(t, xp.asarray(t.array)) if type(t.array) in NUMBERS else t for t in tensors]
        return apply(op, arrays, every)
    except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise explained(op, tensors, error) from error
    if recorded and not op.analytic:
        refuse_complex(op, arrays)
    if not op.ours:
        check_results(op, tensors, result)
    if op.results == 1:
        if result.__class__ is not np.ndarray or not result.ndim:
            result = as_array(result, tensors)
        if not recorded:
            return own(result, tensors)
        return wrap(result, Node(op, tensors, UNNAMED, result, arrays))
    result = tuple(as_array(y, tensors) for y in result)
    node = Node(op, tensors, UNNAMED, result, arrays) if recorded else None
    states = () if RECORDING.replaying else tensors[len(tensors) - len(op.states) :]
    for i, state in enumerate(states, len(op.outputs)):
        update(state, result[i], op, node, i)
    shown = tuple(wrap(result[i], node, i) for i in range(op.results if every else op.visible))
    return shown[0] if len(shown) == 1 else shown


def generator() -> Any:
    """What random ops draw from; another one while a function is traced, whose plan is to draw the first numbers."""
    return random.MXNetGenerator(0) if RECORDING.tracing else random.default_generator()


def on_device(op: Op, tensors: Sequence[Tensor]) -> tuple[Any, Sequence[Tensor]] | None:
    """The GPU that an op is carried out on, and its inputs; None where that is the processor.

    A constant of the processor without axes goes along as a number; while a function is traced, any that has none.
    """
    arrays = [t.array for t in tensors]
    if any(x.__class__ in MODULES for x in arrays):
        alone = [
            (t.node is None or RECORDING.tracing) and x.__class__ is ndarray and not x.ndim
            for t, x in zip(tensors, arrays, strict=True)
        ]
        tensors = [same(t, t.array[()]) if is_one else t for is_one, t in zip(alone, tensors, strict=True)]
        arrays = [t.array for t in tensors]
    place = devices().place_for(op, arrays)
    return None if place.on_host else (place, tensors)


def uppermost(tensors: Sequence[Tensor]) -> Any:
    """The level of the transformation that began last, of those that tensors belong to; None for plain ones."""
    found = None
    for t in tensors:
        if t.__class__ is not Tensor:
            level = t.level
            if level is not None and (found is None or level.number > found.number):
                t.check()  # type: ignore[attr-defined]
                found = level
    return found


def own(value: Any, tensors: Sequence[Tensor]) -> Tensor:
    """The result of an op that was not recorded, which may be a view of an input: of what others write to, or may."""
    tensor = wrap(value)
    if value.__class__ is ndarray and (value.base is not None or any([value is t.array for t in tensors])):  # noqa: C419
        for t in tensors:
            if not np.may_share_memory(value, t.array):
                continue
            if not hasattr(t, "kept"):
                return lent(value)
            tensor.held = t.held = True  # each copies it before it lets it out
    return tensor


def update(state: Tensor, new: Any, op: Op, node: Node | None = None, i: int = 0) -> None:
    """Write the new values of a state: into the array that the caller has too, else in the place of that one.

    While a function is traced, result `i` of a node stands for it from now on.

    Errors
        GraphError where a batch of samples changes it while a function is traced.
    """
    if new is state.array:
        return
    if RECORDING.tracing:
        if node is None or RECORDING.states is None:
            raise GraphError(
                f"jit: {op.label()} changes its states sample by sample in vmap, which a traced function cannot; "
                f"call it with is_train=False, or on the whole batch"
            )
        RECORDING.states.move(state, new, node, i)
        return
    if hasattr(state, "kept"):
        state.array = state.kept = module_of(new).array(new, state.dtype)
    else:
        module_of(new).copyto(state.array, new)


def refuse_complex(op: Op, arrays: Sequence[Any]) -> None:
    """Refuse to record complex numbers that a rule is not made for."""
    for x in arrays:
        if x.__class__ is complex or getattr(x, "dtype", FLOAT).kind == "c":
            told = AS_REAL.get(
                op.name,
                "arithmetic, powers, exp, log, sines, sums, products, inv, solve, det and abs have one",
            )
            raise DTypeError(
                f"{op.label()} has no gradient for complex numbers; {told}; "
                f"take detach() of an input that is meant as a constant"
            )


def is_recorded(op: Op, tensors: Sequence[Tensor]) -> bool:
    """Whether a node is made of what was just computed."""
    if RECORDING.tracing:
        return True
    return RECORDING.on and op.differentiable and any([t.node is not None for t in tensors])  # noqa: C419


def asked(op: Op, tensors: Sequence[Tensor], xp: Any, arrays: Sequence[Any], extra: Any) -> Any:
    """What an op computes that learns, or that machine code carries out where its arrays are large."""
    if op.learns:
        check_parameters(op, tensors)
    if op.compiled and xp is np and not RECORDING.tracing:
        result = in_machine_code(op, arrays)
        if result is not None:
            return result
    return op.forward(xp, *arrays, **extra)


def in_machine_code(op: Op, inputs: Sequence[Any]) -> Any:
    """What an op makes of large arrays; None of small ones, and where NumPy is to compute it."""
    for x in inputs:
        if x.__class__ is ndarray and x.size >= LARGE:
            return machine_code().carried_out(op, inputs)
    return None


@functools.cache
def machine_code() -> Any:
    """What carries out one op in machine code, imported when it is first wanted."""
    return importlib.import_module("tinygrad_lesson.run")


def check_parameters(op: Op, tensors: Sequence[Tensor]) -> None:
    """Refuse learnable inputs of other shapes, which might broadcast."""
    wanted = op.parameters(tensors[0].shape)
    for name, x in zip(op.input_names, tensors, strict=True):
        if name in wanted and x.shape != wanted[name]:
            raise ShapeError(f"{name} is {show(x.shape)}, expected {show(wanted[name])}")


def explained(op: Op, tensors: Sequence[Tensor], error: Exception) -> LessonError:
    """An error that names the op and its inputs, from one that NumPy or a rule raised."""
    problem = str(error)
    with contextlib.suppress(LessonError, IndexError):
        shapes = [t.shape for t in tensors]
        try:
            op.complete(shapes, [None] * op.results)
        except ShapeError as better:
            problem = str(better)
    names = op.name_inputs(len(tensors))
    given = "".join(f"\n  {name}  {show(t.shape)} {t.dtype}" for name, t in zip(names, tensors, strict=False))
    kind = ShapeError if isinstance(error, MemoryError) else kind_for(error)
    return kind(f"{op.label()}: {problem}{given}")


def check_results(op: Op, tensors: Sequence[Tensor], result: Any) -> None:
    """Compare what a user's op gives with its shape rule.

    Errors
        ShapeError that names the op and both shapes.
    """
    try:
        shapes: Any = op.complete([t.shape for t in tensors], [None] * op.results)[1]
    except LessonError as error:
        raise explained(op, tensors, error) from error
    for y, shape in zip(result if op.results > 1 else (result,), shapes, strict=True):
        check_result(op, y, shape)


class Tensors(World):
    """Tensors: whatever is done is recorded. Ops act as in training or as in prediction, or as they are."""

    def __init__(self, is_train: bool | None = None) -> None:
        super().__init__(apply)
        self.is_train = is_train

    def evaluate(self, node: Node, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """The op of a node; what is recorded has its name, so that a culprit can be named."""
        op: Any = node.op if self.is_train is None else node.op.at_mode(self.is_train)  # type: ignore[union-attr]
        y = apply(op, inputs)
        results = y if isinstance(y, tuple) else (y,)
        if results[0].node is not None:
            results[0].node.label = node.label
        return results

    def results(self, node: Any) -> Sequence[Any]:
        """What was recorded, as tensors that are recorded again."""
        return [wrap(y, node, i) for i, y in enumerate(results_of(node))]

    def inputs(self, node: Any) -> Sequence[Any]:
        """What was recorded, as tensors that are recorded again."""
        return [recorded_as(t, x) for t, x in zip(node.inputs, node.operands, strict=True)]

    def shape(self, x: Any) -> tuple[int, ...]:
        """The shape of a tensor, an array or a number."""
        return x.shape if isinstance(x, Tensor) else np.shape(x)

    def holds(self, x: Any) -> bool:
        """Tensors, and arrays as constants."""
        return isinstance(x, Tensor | np.ndarray | np.generic) or x.__class__ in MODULES


Compiled.forward = staticmethod(in_machine_code)
Compiled.slope = staticmethod(lambda *given, number=0: machine_code().slope(*given, number=number))
TENSORS = Tensor.F = Tensors()


class Recorded(Arrays):
    """The bare arrays that tensors recorded."""

    def forward(self, op: Op, inputs: Sequence[Any]) -> Any:
        """What the op computes, of large arrays in machine code."""
        y = in_machine_code(op, inputs) if op.compiled else None
        return super().forward(op, inputs) if y is None else y

    def operands(self, node: Any, gs: Sequence[Any]) -> Sequence[Any]:
        """What was recorded; with one result on the shortest way."""
        y = node.values
        if y.__class__ is not ndarray:
            return super().operands(node, gs)
        g = gs[0]
        if g.dtype is not y.dtype:
            g = self.typed(g, y.dtype)
        if node.__class__ is Pair:
            return g, y, node.a, node.b
        return g, y, *node.operands

    def results(self, node: Any) -> Sequence[Any]:
        """What was recorded."""
        return results_of(node)

    def inputs(self, node: Any) -> Sequence[Any]:
        """What was recorded."""
        return node.operands  # type: ignore[no-any-return]

    def typed(self, g: Any, dtype: Any) -> Any:
        """A cotangent in the type of what it belongs to; of a real number, the real part."""
        return typed(g, dtype)


class AsTold(Recorded):
    """Gradients of whatever shape and type the rules give: for those who look for what is wrong with a rule."""

    compares = False

    def typed(self, g: Any, dtype: Any) -> Any:
        """The cotangent as it is; of a real number, the real part."""
        kinds = [getattr(t, "kind", "") for t in (getattr(g, "dtype", None), dtype)]
        return g.real if kinds == ["c", "f"] else g


def typed(g: Any, dtype: Any) -> Any:
    """A cotangent in the type of what it belongs to; of a real number, the real part."""
    if dtype is None or g.dtype == dtype or dtype.kind not in "fc":
        return g
    return (g.real if dtype.kind == "f" else g).astype(dtype)


class OnDevices(Recorded):
    """Arrays that lie wherever they lie: an op is carried out where its inputs are."""

    def forward(self, op: Op, inputs: Sequence[Any]) -> Any:
        """What the op computes."""
        with devices().on(devices().place_for(op, inputs)) as xp:
            y = op.forward(xp, *inputs)
        return y.item() if inputs and type(inputs[0]) in NUMBERS and numbers_only(inputs) else y

    def operands(self, node: Any, gs: Sequence[Any]) -> Sequence[Any]:
        """What was recorded; what a rule makes of numbers alone is made where the result lies."""
        PLACES.stack = (*PLACES.stack[:-1], devices().device_of(results_of(node)[0]))
        return super().operands(node, gs)

    def holds(self, x: Any) -> bool:
        """Arrays of any device."""
        return x.__class__ in MODULES or super().holds(x)


class AsToldOnDevices(OnDevices, AsTold):
    """`AsTold` of arrays that lie wherever they lie."""


def added(a: Any, b: Any) -> Any:
    """Their sum. Of large arrays with gaps between rows, such as parts of one, NumPy's takes three times as long."""
    if b.__class__ is ndarray and b.size >= LARGE and not b.flags.c_contiguous:
        found = machine_code().carried_out(ADD, (a, b))
        if found is not None:
            return found
    return np.add(a, b)


ADD = Add()
ARRAYS, AS_TOLD, ON_DEVICES, AS_TOLD_ON_DEVICES = Recorded(), AsTold(), OnDevices(), AsToldOnDevices()
for _world in (ARRAYS, AS_TOLD):
    vars(_world).update(add=added)  # called most, so without a way around
