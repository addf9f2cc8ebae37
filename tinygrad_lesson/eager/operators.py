"""Python's operators of tensors on the shortest way, `backward`, and functions that are no single op."""

from __future__ import annotations

import operator as python
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, NEEDS_SLOW_PATH, Context, module_of, own_copy, real, taken
from tinygrad_lesson.eager.apply import ARRAYS, AS_TOLD, AS_TOLD_ON_DEVICES, ON_DEVICES, TENSORS, apply, typed
from tinygrad_lesson.eager.given import devices
from tinygrad_lesson.eager.hooks import hooked
from tinygrad_lesson.eager.recording import RECORDING, UNRECORDED
from tinygrad_lesson.eager.tensor import Pair, Tensor, operand, wrap
from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import COUNT
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.ops.elementwise import Add, Divide, Multiply, Subtract
from tinygrad_lesson.ops.linear import FullyConnected


def arithmetic(cls: type[Op]) -> Any:
    """An operator of two tensors of arrays, on the shortest way; whatever else goes through `apply`."""
    ufunc, op, alike = getattr(np, cls.function), cls(), cls(same_shape=True)  # type: ignore[call-arg]
    new, ndarray = Tensor.__new__, np.ndarray

    def operator(self: Tensor, other: Any) -> Any:
        if other.__class__ is Tensor and not NEEDS_SLOW_PATH:
            try:
                a, b = self.kept, other.kept
                value = ufunc(a, b)
            except (ValueError, TypeError, AttributeError):
                return apply(op, (self, other))  # which says what is wrong, and copies what others write to
            if value.__class__ is ndarray:
                tensor = new(Tensor)
                tensor.array = tensor.kept = value
                tensor.index = 0
                tensor.grad = None
                left, right = self.node, other.node
                if left is None and right is None:
                    tensor.node = None
                    return tensor
                tensor.node = node = Pair()
                if left is None:
                    self.held = True
                    node.op = op
                elif right is None:
                    other.held = True
                    node.op = op
                else:
                    node.op = alike if a.shape == b.shape else op
                node.inputs = (self, other)
                node.values = value
                node.a, node.b = a, b
                node.number = next(COUNT)
                return tensor
        return apply(op, (self, other))

    return operator


def seed_of(tensor: Tensor, gradient: Any, copied: bool = True) -> Any:
    """The cotangent of a result: 1 for a single number, else what the caller gives, `copied` if a graph may hold it.

    Errors
        ShapeError if it is missing or does not fit.
    """
    if gradient is None:
        if tensor.size != 1:
            raise ShapeError(
                f"backward: a result of shape {show(tensor.shape)} needs its own gradient: "
                f"give an array of that shape, or reduce it first, e.g. y.sum()"
            )
        if MODULES:
            with devices().on(devices().device_of(tensor.example())) as xp:
                return xp.ones(tensor.shape, tensor.dtype)
        return np.ones(tensor.shape, tensor.dtype)
    if isinstance(gradient, Tensor) and gradient.level is not None and gradient.shape == tensor.shape:
        return gradient  # a tracer, whose value is not looked at
    given = operand(gradient).array
    if MODULES:
        devices().common("backward", ("the result", "the gradient"), (tensor.array, given))
    if tensor.dtype.kind != "c" and given.__class__ not in MODULES:
        given = real(given, "backward: the gradient")
    xp = module_of(given)
    value = (xp.array if copied else xp.asarray)(given, dtype=tensor.dtype)
    if value.shape != tensor.shape:
        raise ShapeError(f"backward: the gradient is {show(value.shape)}, expected {show(tensor.shape)}")
    return value


def sweep(heads: Sequence[tuple[Any, np.ndarray]], wrt: Sequence[Any] | None) -> list[Any]:
    """Gradients as arrays: nothing is recorded."""
    return backprop(ARRAYS, heads, wrt) if not MODULES else on_devices(ON_DEVICES, heads, wrt)


def sweep_as_told(heads: Sequence[tuple[Any, np.ndarray]], wrt: Sequence[Any]) -> list[Any]:
    """Gradients of whatever shape and type the rules give."""
    return backprop(AS_TOLD, heads, wrt) if not MODULES else on_devices(AS_TOLD_ON_DEVICES, heads, wrt)


def on_devices(F: Any, heads: Sequence[tuple[Any, Any]], wrt: Sequence[Any] | None) -> list[Any]:
    """As `backprop`; what a rule makes of numbers alone is made where the result of its op lies."""
    with devices().on(devices().device_of(heads[0][1]) if heads else Context()):
        return backprop(F, heads, wrt)


def recorded_sweep(heads: Sequence[tuple[Any, Any]], wrt: Sequence[Any]) -> list[Any]:
    """Gradients as tensors that can be differentiated again."""
    return backprop(TENSORS, heads, wrt)


def backward(
    self: Tensor, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False
) -> None:
    """Add to every leaf's `grad` the gradient of this result; `gradient` is its own cotangent.

    A graph lives as long as its results do, whatever `retain_graph` says, as PyTorch's users write it.

    Errors
        GraphError if nothing was recorded, or for `create_graph`; ShapeError if `gradient` is missing or does not fit.
    """
    if self.node is None:
        raise GraphError(f"backward: {UNRECORDED}")
    if create_graph:
        raise GraphError("backward: x.grad is not recorded; write tl.grad(y, [x], create_graph=True)")
    for pair in sweep([(self, seed_of(self, gradient, copied=False))], None):
        leaf, g = pair
        tensor = leaf.values()
        if tensor is not None and g is not None:
            new = hooked(leaf, typed(g, tensor.dtype))
            if tensor.grad is not None:
                tensor.grad = wrap(tensor.grad.array + new)
            else:  # `g` and `new` know it here
                tensor.grad = wrap(taken(pair, 1, 2) if new is g else own_copy(new))


def changing(told: str, new: str, function: Any) -> Any:
    """What is `told` as `x -= y`: a tensor that asks for no gradient, or is a leaf in `no_grad`, is changed itself.

    Elsewhere it is what is written `new`, as `x = x - y`; so it is while a derivative is taken.
    """

    def operator(self: Tensor, *others: Any, **named: Any) -> Any:
        is_leaf = self.node is None or self.node.is_variable
        if not is_leaf or RECORDING.tracing or RECORDING.deriving or type(self.array) in NUMBERS:
            return function(self, *others, **named)
        if self.node is not None and RECORDING.on:
            raise GraphError(
                f"{told}: a leaf that asks for a gradient is not changed while its uses are recorded; write "
                f"`with tl.no_grad(): {told}` to change it, or `{new}` for a new tensor"
            )
        y = function(self, *others, **named)
        if y.node is not None:
            return y
        if y.shape != self.shape or not np.can_cast(y.dtype, self.dtype, "same_kind"):
            kind = ShapeError if y.shape != self.shape else DTypeError
            raise kind(
                f"{told}: the result is {show(y.shape)} {y.dtype}, expected {show(self.shape)} {self.dtype}; "
                f"write `{new}` for a new tensor"
            )
        if not hasattr(self, "kept"):  # others see it change, as they see `x.value[...] = y`
            module_of(y.array).copyto(self.value, y.array)
            return self
        self.value = module_of(y.array).array(y.array, self.dtype)
        self.kept = self.array  # nobody else has it
        return self

    return operator


def in_place(name: str, function: Any, new: str = "") -> Callable[..., Tensor]:
    """PyTorch's `x.add_(y)`: `x += y`, but for where that is another tensor, which is written `new`.

    Errors
        GraphError there: for a tensor that was computed from others, or while a derivative is taken.
    """
    told, new = f"x.{name}(...)", new or f"x = x.{name.removesuffix('_')}(...)"
    operator = changing(told, new, function)

    def method(self: Tensor, *others: Any, **named: Any) -> Tensor:
        y: Tensor = operator(self, *others, **named)
        if y is not self:
            raise GraphError(f"{told}: what was recorded is not changed; write `{new}` for a new tensor")
        return y

    return method


def matmul(a: Any, b: Any) -> Any:
    """Product of matrices as NumPy's `@`: vectors count as one row or one column.

    Shapes
        a (..., n, k), b (..., k, m) -> (..., n, m); leading axes broadcast

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.matmul([[1.0, 2.0]], [[3.0], [4.0]])
        Tensor([[11.]], dtype=float64)
    """
    a, b = operand(a), operand(b)
    row, column = a.ndim == 1, b.ndim == 1
    y = TENSORS.matmul(TENSORS.expand_dims(a, 0) if row else a, TENSORS.expand_dims(b, 1) if column else b)
    axes = tuple(axis for axis, drop in ((-2, row), (-1, column)) if drop)
    return TENSORS.squeeze(y, axes) if axes else y


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    Shapes
        x (..., features), weight (results, features), bias (results,) or None -> (..., results)

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.linear([1.0, 2.0], [[3.0, 4.0], [0.0, 1.0]], [0.5, 0.0])
        Tensor([11.5,  2. ], dtype=float64)
    """
    weight = operand(weight)
    if weight.ndim != 2:
        raise ShapeError(f"linear: weight is {show(weight.shape)}, expected (results, features)")
    op = FullyConnected(num_hidden=weight.shape[0], no_bias=bias is None, flatten=False)
    return apply(op, (x, weight) if bias is None else (x, weight, bias))


def batch_norm(
    x: Any,
    gamma: Any,
    beta: Any,
    moving_mean: Tensor,
    moving_var: Tensor,
    *,
    is_train: bool = True,
    **more: Any,
) -> Any:
    """`BatchNorm` with a gamma that is learnt; training changes `moving_mean` and `moving_var` in place.

    Shapes
        x (batch, channel, ...), gamma, beta, moving_mean, moving_var (channel,) -> as x

    Parameters
        is_train: with the mean and variance of the batch, else with the moving ones
        more: further attributes of the op: eps (at least 0), momentum (from 0 to 1), axis of the channels

    Example
        >>> import tinygrad_lesson as tl
        >>> x, moving = tl.Tensor([[1.0], [3.0]]), (tl.zeros(1), tl.ones(1))
        >>> tl.batch_norm(x, [1.0], [0.0], *moving, eps=0.0)
        Tensor([[-1.],
                [ 1.]], dtype=float64)
    """
    more.setdefault("fix_gamma", False)
    return TENSORS.batch_norm(x, gamma, beta, moving_mean, moving_var, is_train=is_train, **more)


def dropout(x: Any, p: float = 0.5, *, is_train: bool = True) -> Any:
    """`Dropout` in training: elements are dropped with probability `p`, the rest grow to make up for it.

    Shapes
        x (...) -> (...)

    Parameters
        p: probability of each to be dropped, from 0 up to less than 1
        is_train: False lets all through

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.dropout([1.0, 2.0], 0.5, is_train=False)
        Tensor([1., 2.], dtype=float64)
    """
    return TENSORS.dropout(x, p, is_train=is_train)


for _name, _cls in (("add", Add), ("sub", Subtract), ("mul", Multiply), ("truediv", Divide)):
    setattr(Tensor, f"__{_name}__", arithmetic(_cls))
for _name, _sign in (
    ("add", "+"), ("sub", "-"), ("mul", "*"), ("truediv", "/"), ("pow", "**"), ("matmul", "@"), ("mod", "%"),
    ("floordiv", "//"), ("and", "&"), ("or", "|"), ("xor", "^"),
):  # fmt: skip
    setattr(
        Tensor,
        f"__i{_name}__",
        changing(f"x {_sign}= y", f"x = x {_sign} y", getattr(python, f"__{_name}__")),
    )
for _name, _function in (
    ("__matmul__", matmul),
    ("__rmatmul__", lambda b, a: matmul(a, b)),
    ("backward", backward),
):
    setattr(Tensor, _name, _function)
for _name, _ours in (("mod", "remainder"), ("floordiv", "floor_divide")):
    setattr(Tensor, f"__{_name}__", lambda a, b, ours=_ours: getattr(TENSORS, ours)(a, b))
    setattr(Tensor, f"__r{_name}__", lambda b, a, ours=_ours: getattr(TENSORS, ours)(a, b))
setattr(Tensor, "__divmod__", lambda a, b: (a // b, a % b))  # noqa: B010
vars(TENSORS).update(matmul_of_vectors=matmul)  # what `np.matmul` of an array and a tensor is
