"""Functions that see, or change, the gradient of a tensor on its way: `register_hook`, `retain_grad`."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import held, own_copy
from tinygrad_lesson.eager.recording import RECORDING, UNRECORDED
from tinygrad_lesson.eager.tensor import Tensor, wrap
from tinygrad_lesson.engine.errors import GraphError, ShapeError
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import show

OF_LEAVES: weakref.WeakKeyDictionary[Node, Hooks] = weakref.WeakKeyDictionary()


class Hook:
    """A function that is called with a gradient; what it gives, if anything, takes its place."""

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        self.function: Callable[[Tensor], Any] | None = function

    def remove(self) -> None:
        """Do not call it any more."""
        self.function = None

    def __call__(self, g: Any) -> Any:
        """The gradient, an array or a tensor as it came.

        Errors
            ShapeError if the function gives another shape.
        """
        if self.function is None:
            return g
        new = self.function(g if isinstance(g, Tensor) else wrap(held(g)))
        if new is None:
            return g
        if np.shape(new) != np.shape(g):
            told = f"{show(np.shape(new))}, expected {show(np.shape(g))}"
            raise ShapeError(f"register_hook: the function gave a gradient of shape {told}")
        if isinstance(g, Tensor):
            return new
        return held(new.array if isinstance(new, Tensor) else new).astype(g.dtype, copy=False)


class Hooks:
    """The hooks of one tensor, called in the order in which they were registered."""

    def __init__(self) -> None:
        self.hooks: list[Hook] = []

    def __call__(self, g: Any) -> Any:
        """The gradient after all of them."""
        for hook in self.hooks:
            g = hook(g)
        return g


@declares
class Hooked(Op):
    """What hooks hang on: the tensor itself."""

    name: ClassVar[str] = "Hooked"
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    fits: ClassVar[bool] = True
    analytic: ClassVar[bool] = True
    hooks: Any = attr(shown=False, doc="its hooks")

    def shape(self, *shapes: Any) -> Any:
        """As the tensor."""
        return shapes[0]

    def forward(self, xp: Any, x: Any) -> Any:
        """The tensor itself."""
        return x

    def vjp(self, F: Any, g: Any, y: Any, x: Any) -> Any:
        """What the hooks make of the gradient."""
        return (self.hooks(g),)


def register_hook(x: Tensor, function: Callable[[Tensor], Any]) -> Hook:
    """Call `function(gradient)` when the gradient of this tensor is known; what it gives takes the gradient's place.

    Of a result only what is computed from it afterwards counts. `remove()` of what comes back takes the hook away.

    Errors
        GraphError if nothing is recorded, or while a function is traced.
    """
    if x.node is None:
        raise GraphError(f"register_hook: {UNRECORDED}")
    if RECORDING.tracing:
        raise GraphError("jit: a hook has no meaning while a function is traced")
    hook = Hook(function)
    if x.node.is_variable:
        hooks = OF_LEAVES.setdefault(x.node, Hooks())
    elif isinstance(x.node.op, Hooked):
        hooks = x.node.op.hooks
    else:
        hooks, (before, held) = Hooks(), x.again()
        x.node, x.index = Node(Hooked(hooks=hooks), (before,), values=(held,), operands=(held,)), 0
    hooks.hooks.append(hook)
    return hook


def retain_grad(x: Tensor) -> None:
    """Keep the gradient of a result in its `grad` too, as a leaf does."""
    if x.node is not None and x.node.is_variable:
        return
    there = weakref.ref(x)

    def keep(g: Tensor) -> None:
        x = there()
        if x is not None:
            x.grad = wrap(own_copy(g.array) if x.grad is None else x.grad.array + g.array)

    register_hook(x, keep)


def hooked(leaf: Node, g: Any) -> Any:
    """The gradient of a leaf, after its hooks."""
    return OF_LEAVES[leaf](g) if leaf in OF_LEAVES else g


Tensor.register_hook, Tensor.retain_grad = register_hook, retain_grad  # type: ignore[attr-defined]
