"""`mx.autograd`: what is computed inside of ``with autograd.record():`` can be differentiated."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import held, module_of, own_copy
from tinygrad_lesson.eager.operators import recorded_sweep, sweep
from tinygrad_lesson.eager.tensor import Tensor, wrap
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import Label, Node, ancestors
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.mxnet.held import MODE
from tinygrad_lesson.mxnet.ndarray import MARKED, NDArray, as_ndarray, mark
from tinygrad_lesson.mxnet.recorded import from_tensor
from tinygrad_lesson.mxnet.symbol import Symbol

OUTSIDE = (
    "Cannot differentiate node because it is not in a computational graph. You need to set is_recording to true or "
    "use autograd.record() to save computational graphs for backward. If you want to differentiate the same graph "
    "twice, you need to pass retain_graph=True to backward."
)


def set_recording(is_recording: bool) -> bool:
    """Record from now on, or do not; what held before."""
    before, MODE.recording = MODE.recording, bool(is_recording)
    return before


def set_training(train_mode: bool) -> bool:
    """Let operators act as in training from now on, or as in prediction; what held before."""
    before, MODE.training = MODE.training, bool(train_mode)
    return before


def is_recording() -> bool:
    """Whether this thread records."""
    return MODE.recording


def is_training() -> bool:
    """Whether operators act as in training."""
    return MODE.training


@contextlib.contextmanager
def mode(recording: bool | None, training: bool | None) -> Iterator[None]:
    """Something else inside; None for what stays as it is."""
    before = MODE.recording, MODE.training
    try:
        MODE.recording = before[0] if recording is None else recording
        MODE.training = before[1] if training is None else training
        yield
    finally:
        MODE.recording, MODE.training = before


def record(train_mode: bool = True) -> contextlib.AbstractContextManager[None]:
    """Record what is computed inside; operators act as in training."""
    return mode(True, train_mode)


def pause(train_mode: bool = False) -> contextlib.AbstractContextManager[None]:
    """Do not record what is computed inside; operators act as in prediction."""
    return mode(False, train_mode)


def train_mode() -> contextlib.AbstractContextManager[None]:
    """Operators act as in training inside."""
    return mode(None, True)


def predict_mode() -> contextlib.AbstractContextManager[None]:
    """Operators act as in prediction inside."""
    return mode(None, False)


def mark_variables(variables: Any, gradients: Any, grad_reqs: Any = "write") -> None:
    """Make arrays variables, whose gradients go into other arrays.

    Errors
        ShapeError if a gradient has another shape; AttributeValueError for an unknown request.
    """
    if isinstance(variables, NDArray):
        variables, gradients = [variables], [gradients]
    requests = [grad_reqs] * len(variables) if isinstance(grad_reqs, str) else grad_reqs
    for x, g, request in zip(variables, gradients, requests, strict=True):
        if g.shape != x.shape:
            raise ShapeError(f"mark_variables: a gradient is {show(g.shape)}, expected {show(x.shape)}")
        mark(x, g, request)


def heads_of(heads: Any, head_grads: Any) -> list[tuple[Tensor, Any]]:
    """The results of a graph, and the cotangent of each: ones if none is given.

    Errors
        GraphError for one that was not recorded, or whose graph is gone; ShapeError for a cotangent that does not fit.
    """
    if isinstance(heads, NDArray):
        heads, head_grads = [heads], [head_grads] if head_grads is not None else None
    grads = [None] * len(heads) if head_grads is None else list(head_grads)
    if len(grads) != len(heads):
        raise AttributeValueError(
            f"heads and head_grads must be lists of the same length: {len(heads)}, {len(grads)}"
        )
    found = []
    for y, g in zip(heads, grads, strict=True):
        node = y.tensor.node
        if node is None or (node.op is not None and not node.inputs):
            raise GraphError(OUTSIDE)
        if g is not None and g.shape != y.shape:
            raise ShapeError(f"a head gradient is {show(g.shape)}, expected {show(y.shape)} as its head")
        seed = wrap(module_of(y.tensor.array).ones(y.shape, y.dtype)) if g is None else g.taken()
        found.append((y.tensor, seed))
    return found


def swept(pairs: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Any, np.ndarray]]:
    """Heads with their cotangents as bare arrays."""
    return [(y, module_of(g.array).array(g.array, y.dtype)) for y, g in pairs]


def spend(nodes: Sequence[Node]) -> None:
    """Let a graph go."""
    for node in nodes:
        if node.op is not None:
            node.inputs = ()


@np.errstate(all="ignore")  # as in the run forward
def backward(heads: Any, head_grads: Any = None, retain_graph: bool = False, train_mode: bool = True) -> None:
    """Put the gradient of results, times their own, into the `grad` of every variable they were computed from.

    Errors
        GraphError for what was not recorded, and the second time unless `retain_graph`.
    """
    pairs = heads_of(heads, head_grads)
    graph = ancestors([y.node for y, _ in pairs])  # type: ignore[misc]
    found = dict(sweep(swept(pairs), None))
    for node in graph:
        x = MARKED[node]() if node in MARKED else None
        if x is None or x.grad is None:
            continue
        g, place = found.get(node), x.grad.memory() if not MODE.recording else x.grad.tensor.array
        if x.request == "add":
            place[...] += 0 if g is None else g
        else:
            place[...] = 0 if g is None else g
        x._fresh_grad = True
    move_states(graph)
    if not retain_graph:
        spend(graph)


def move_states(graph: Sequence[Node]) -> None:
    """Write the new values of states, as batch normalization's moving means: MXNet does it on the way back."""
    for node in graph:
        if node.op is None or not node.op.states or node.op.immediate or not node.inputs:
            continue
        count = len(node.op.states)
        for state, new in zip(node.inputs[-count:], node.values[-count:], strict=True):
            module_of(new).copyto(state.array, new)


@np.errstate(all="ignore")
def grad(
    heads: Any,
    variables: Any,
    head_grads: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    train_mode: bool = True,
) -> list[NDArray]:
    """Gradients of results for arrays, one for each; with `create_graph` they are recorded themselves.

    Errors
        GraphError for what was not recorded, and for an array that the results were not computed from.
    """
    wrt = [variables] if isinstance(variables, NDArray) else list(variables)
    if not wrt:
        raise AttributeValueError("grad: variables cannot be an empty list.")
    pairs = heads_of(heads, head_grads)
    graph = ancestors([y.node for y, _ in pairs])  # type: ignore[misc]
    known = set(graph)
    for i, x in enumerate(wrt):
        if x.tensor.node not in known:
            raise GraphError(
                f"Cannot differentiate with respect to the {i + 1}-th variable because it is unreachable from the "
                "outputs."
            )
    tensors = [x.tensor for x in wrt]
    found: list[Any]
    if create_graph:
        with mode(True, None):
            found = recorded_sweep(pairs, tensors)
    else:
        found = [None if g is None else wrap(own_copy(g)) for g in sweep(swept(pairs), tensors)]
    if not (create_graph if retain_graph is None else retain_graph):
        spend(graph)
    zeros = [np.zeros_like(x.tensor.array) if g is None else None for x, g in zip(wrt, found, strict=True)]
    made = [wrap(zero) if g is None else g for zero, g in zip(zeros, found, strict=True)]
    if create_graph:
        return [NDArray(tied(g, x)) for g, x in zip(made, tensors, strict=True)]
    return [as_ndarray(g.array) for g in made]


@declares
class Tied(Op):
    """A gradient that is part of the graph of what it belongs to, even where it is constant: then its own is zero."""

    name: ClassVar[str] = "Tied"
    inputs: ClassVar[tuple[str, ...]] = ("gradient", "x")
    fits: ClassVar[bool] = True

    def vjp(self, F: Any, g: Any, y: Any, gradient: Any, x: Any) -> Any:
        """That of the gradient."""
        return g, None


TIED = Tied()


def tied(g: Tensor, x: Tensor) -> Tensor:
    """A gradient as a part of the graph of `x`."""
    array = held(g.array)
    return wrap(array, Node(TIED, (g, x), values=array, operands=(array, x.capture())))


def get_symbol(x: NDArray) -> Symbol:
    """The graph that made a recorded array, as a symbol.

    Errors
        GraphError if it was not recorded.
    """
    if x.tensor.node is None:
        raise GraphError(OUTSIDE)
    return from_tensor(x.tensor)[0]


@declares
class Called(Op):
    """A call of a `Function`: its gradient is what the function's `backward` gives."""

    name: ClassVar[str] = "Function"
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    variadic: ClassVar[bool] = True
    of: Any = attr(shown=False, doc="whose `backward` is called")
    count: int = attr(doc="number of results")

    @property
    def outputs(self) -> tuple[str, ...]:
        """One for each result."""
        return tuple(f"output{i}" for i in range(self.count))

    def vjp(self, F: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """What `backward` gives; what nobody used has a gradient of zeros."""
        gs, ys = (g, y) if self.count > 1 else ((g,), (y,))
        again = any(isinstance(one, Tensor) for one in (*gs, *inputs))
        given = [
            np.zeros_like(getattr(one, "array", one)) if part is None else part
            for part, one in zip(gs, ys, strict=True)
        ]
        handed = [NDArray(part) if isinstance(part, Tensor) else as_ndarray(held(part)) for part in given]
        with mode(again, None):
            found = self.of.backward(*handed)
        found = [found] if isinstance(found, NDArray) else list(found)
        if len(found) != len(inputs):
            raise GraphError(
                f"{type(self.of).__name__}.backward gave {len(found)} gradients for {len(inputs)} inputs"
            )
        return tuple([x.tensor if again else x.tensor.array for x in found])


class Function:
    """A function with a gradient of its own: a subclass has ``forward(*inputs)`` and ``backward(*output_grads)``.

    Source
        MXNet 1.9, ``mx.autograd.Function``.
    """

    def __init__(self) -> None:
        self._saved: tuple[NDArray, ...] = ()

    def save_for_backward(self, *arrays: NDArray) -> None:
        """Keep arrays for `backward`, which finds them in `saved_tensors`."""
        self._saved = arrays

    @property
    def saved_tensors(self) -> tuple[NDArray, ...]:
        """What `save_for_backward` kept."""
        return self._saved

    def forward(self, *inputs: NDArray) -> Any:
        """The result, or several."""
        raise NotImplementedError

    def backward(self, *output_grads: NDArray) -> Any:
        """A gradient for each input, given those of the results."""
        raise NotImplementedError

    def __call__(self, *inputs: NDArray) -> Any:
        """The result of `forward`, recorded if it is wanted."""
        with pause():
            made = self.forward(*inputs)
        results = [made] if isinstance(made, NDArray) else list(made)
        for x in (*inputs, *results):
            if not isinstance(x, NDArray):
                raise DTypeError(f"{type(self).__name__}: {x!r:.80} is no NDArray")
        tensors = [x.tensor for x in inputs]
        if not MODE.recording or all(t.node is None for t in tensors):
            return made
        arrays = [x.asnumpy() for x in results]
        op = Called(of=self, count=len(results))
        values = tuple(arrays) if len(arrays) > 1 else arrays[0]
        node = Node(op, tensors, Label(), values, [t.capture() for t in tensors])
        recorded = [
            NDArray(wrap(a, node, i), x.place) for i, (a, x) in enumerate(zip(arrays, results, strict=True))
        ]
        return recorded[0] if isinstance(made, NDArray) else type(made)(recorded)


def backward_of(
    self: NDArray, out_grad: NDArray | None = None, retain_graph: bool = False, train_mode: bool = True
) -> None:
    """Put the gradient of this result, times `out_grad`, into the `grad` of every variable it was computed from.

    Errors
        GraphError for what was not recorded, and the second time unless `retain_graph`.
    """
    backward([self], None if out_grad is None else [out_grad], retain_graph)


NDArray.backward = backward_of  # type: ignore[attr-defined]
__all__ = [
    "Function", "NDArray", "backward", "get_symbol", "grad", "is_recording", "is_training", "mark_variables", "pause",
    "predict_mode", "record", "set_recording", "set_training", "train_mode",
]  # fmt: skip
