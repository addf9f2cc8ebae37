"""The eager face: arrays that remember how they were made."""

import contextlib
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import refuse_masked
from tinygrad_lesson.backprop import backprop
from tinygrad_lesson.display import Displayed
from tinygrad_lesson.errors import DTypeError, GraphError, LessonError, ShapeError
from tinygrad_lesson.graph import COUNT, UNNAMED, Node
from tinygrad_lesson.op import NUMBERS, Arithmetic, Methods, Namespace, Op, array_namespace, numbers_only
from tinygrad_lesson.ops.elementwise import Add, Divide, Multiply, Subtract
from tinygrad_lesson.ops.index import freeze
from tinygrad_lesson.ops.linear import FullyConnected
from tinygrad_lesson.ops.reduce import SumLike
from tinygrad_lesson.shapes import show


class Recording(threading.local):
    """Whether this thread records what it computes; with `tracing`, all of it, as `jit` needs."""

    on = True
    tracing = False


RECORDING = Recording()
UNUSUAL: list[str] = []  # an entry for every block, of any thread, in which something else holds
UNRECORDED = (
    "this tensor was computed without recording: set requires_grad=True on an input, outside of no_grad, "
    "and use no op without a gradient on the way"
)
ELSEWHERE = {  # what other libraries have: what there is here
    "astype": "Tensor(x.numpy(), dtype=...)", "clamp": "clip", "clone": "identity", "copy": "identity",
    "dot": "@", "mm": "@", "permute": "transpose", "ravel": "reshape(-1)", "std": "var().sqrt()",
    "tolist": "numpy().tolist()", "unsqueeze": "expand_dims", "view": "reshape", "zero_grad": "x.grad = None",
}  # fmt: skip


@contextlib.contextmanager
def recording(on: bool) -> Iterator[None]:
    """Record, or do not, what this thread computes inside."""
    before = RECORDING.on
    UNUSUAL.append("recording")
    try:  # Ctrl-C may come after any line: nothing else holds before this one, and first of all it ends
        RECORDING.on = on
        yield
    finally:
        RECORDING.on = before
        UNUSUAL.pop()


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Record everything inside, whether or not a gradient may be asked for."""
    before = RECORDING.tracing
    UNUSUAL.append("tracing")
    try:
        RECORDING.tracing = True
        yield
    finally:
        RECORDING.tracing = before
        UNUSUAL.pop()


def no_grad() -> contextlib.AbstractContextManager[None]:
    """Compute inside without recording: no gradient will reach back through it."""
    if RECORDING.tracing:
        raise GraphError(
            "jit: no_grad has no meaning while a function is traced; use stop_gradient on a value"
        )
    return recording(False)


class Tensor(Arithmetic, Methods, Displayed):
    """An array, and if a gradient may be asked for, the node of the graph that made it.

    `Tensor(data, requires_grad=True)` is a leaf; `backward` on a result adds to its `grad`.
    """

    __slots__ = ("__weakref__", "grad", "index", "node", "value")

    def __init__(self, data: Any, requires_grad: bool = False, *, dtype: Any = None) -> None:
        self.value: Any = numbers_in(data, dtype)
        self.node: Node | None = None
        self.index = 0
        self.grad: Tensor | None = None
        if requires_grad:
            self.requires_grad = True

    @property
    def requires_grad(self) -> bool:
        """Whether what is computed from this tensor is recorded."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if wanted and self.value.dtype.kind not in "fc":
            raise DTypeError(
                f"a tensor of {self.value.dtype} has no gradient; make it a float: Tensor(data, dtype=float)"
            )
        if not wanted and self.node is not None and not self.node.is_variable:
            raise GraphError("only a leaf can stop requiring a gradient; use detach() on a result")
        self.node = (self.node or Node(None, values=weakref.ref(self))) if wanted else None

    def requires_grad_(self, wanted: bool = True) -> "Tensor":
        """This tensor, from now on a leaf that asks for a gradient, or that does not."""
        self.requires_grad = wanted
        return self

    def __reduce__(self) -> Any:  # for copy and pickle
        if self.node is not None and not self.node.is_variable:
            raise GraphError("only a leaf can be copied or pickled; use detach() on a result")
        return Tensor, (self.value, self.requires_grad)

    # What it looks like.

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes."""
        return np.shape(self.value)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        return np.result_type(self.value)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return np.ndim(self.value)

    @property
    def size(self) -> int:
        """Number of elements."""
        return np.size(self.value)

    def numpy(self) -> np.ndarray:
        """A copy of the elements as a NumPy array."""
        return np.array(self.seen())

    def seen(self) -> Any:
        """The value, for a caller who lets it out of the graph.

        Errors
            GraphError while a function is traced: what is done would depend on the value, or freeze it.
        """
        if RECORDING.tracing and self.node is not None:
            raise GraphError(
                "jit: the function looks at a value while it is traced, so what it does would be frozen; "
                "choose with tl.where, and keep numbers out of it that depend on its arguments"
            )
        return self.value

    def item(self) -> Any:
        """The one element as a Python number."""
        if self.size != 1:
            raise ShapeError(f"item: a tensor of shape {show(self.shape)} has {self.size} elements, not one")
        return np.asarray(self.seen()).item()

    def detach(self) -> "Tensor":
        """The same elements, cut off from the graph."""
        return self.F.stop_gradient(self) if RECORDING.tracing else wrap(self.value)  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"a tensor of shape {show(self.shape)} has no single truth value")
        return bool(self.seen())

    def __len__(self) -> int:
        if not self.ndim:
            raise DTypeError("a tensor without axes has no length")
        return len(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.seen(), dtype=dtype)

    def __repr__(self) -> str:
        body = np.array2string(np.asarray(self.value), separator=", ", prefix="Tensor(")
        return f"Tensor({body}, dtype={self.dtype}{', requires_grad=True' if self.requires_grad else ''})"

    # Operators and methods.

    def __setitem__(self, key: Any, value: Any) -> None:
        raise DTypeError("the elements of a Tensor do not change: use where() or concat() to make another")

    def __matmul__(self, other: Any) -> Any:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        return matmul(other, self)

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        for part in parts:
            basic = part is None or part is ... or isinstance(part, slice | int | np.integer)
            if not basic or isinstance(part, bool):
                raise DTypeError(f"Slice: index {part!r} is no integer, slice, None or Ellipsis")
        return self.F.slice(self, freeze(key))

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __eq__(self, other: object) -> Any:
        return self.F.equal(self, other)

    def __ne__(self, other: object) -> Any:
        return self.F.not_equal(self, other)

    def __gt__(self, other: Any) -> Any:
        return self.F.greater(self, other)

    def __ge__(self, other: Any) -> Any:
        return self.F.greater_equal(self, other)

    def __lt__(self, other: Any) -> Any:
        return self.F.less(self, other)

    def __le__(self, other: Any) -> Any:
        return self.F.less_equal(self, other)

    __hash__ = object.__hash__

    def __abs__(self) -> Any:
        return self.F.abs(self)

    def reshape(self, *shape: Any) -> Any:
        """The same elements under another shape; one size may be -1."""
        return self.F.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def transpose(self, *axes: Any) -> Any:
        """Axes in another order, reversed by default."""
        listed = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return self.F.transpose(self, axes=listed)

    @property
    def T(self) -> Any:  # noqa: N802
        """Axes reversed."""
        return self.F.transpose(self)

    def backward(self, gradient: Any = None) -> None:
        """Add to every leaf's `grad` the gradient of this result; `gradient` is its own cotangent.

        Errors
            GraphError if nothing was recorded; ShapeError if `gradient` is missing or does not fit.
        """
        if self.node is None:
            raise GraphError(f"backward: {UNRECORDED}")
        for leaf, g in sweep([(self, seed_of(self, gradient))], None):
            tensor = leaf.values()
            if tensor is not None and g is not None:
                tensor.grad = wrap(np.array(g) if tensor.grad is None else tensor.grad.value + g)


class Elsewhere:
    """A name that other libraries have: whoever looks for it is told what there is here."""

    def __init__(self, name: str, instead: str) -> None:
        self.message = f"a Tensor has no {name!r}; try {instead}"

    def __get__(self, tensor: Any, owner: Any) -> Any:
        raise AttributeError(self.message)


for _name, _instead in ELSEWHERE.items():
    setattr(Tensor, _name, Elsewhere(_name, _instead))


def wrap(value: Any, node: Node | None = None, index: int = 0) -> Tensor:
    """A tensor around `value`, which is not copied; a number stays a number and adapts its type."""
    tensor = Tensor.__new__(Tensor)
    tensor.value, tensor.node, tensor.index, tensor.grad = value, node, index, None
    return tensor


def as_array(value: Any, tensors: Sequence[Tensor]) -> Any:
    """What an op made of `tensors`: NumPy's scalars as arrays; what came of numbers alone as a number."""
    if type(value) in NUMBERS:
        return value
    array = np.asarray(value)
    return array.item() if tensors and numbers_only([t.value for t in tensors]) and not array.ndim else array


def operand(x: Any) -> Tensor:
    """An input of an op as a tensor. Numbers, NumPy's too, adapt their type to the arrays that they meet.

    Errors
        DTypeError or ShapeError if it is nothing to compute with.
    """
    if isinstance(x, Tensor):
        return x
    if type(x) in NUMBERS:
        return wrap(x)
    return wrap(x.item() if isinstance(x, np.number | np.bool) else numbers_in(x, None, copy=None))


def numbers_in(data: Any, dtype: Any, copy: bool | None = True) -> np.ndarray:
    """`data` as an array.

    Errors
        DTypeError if it holds other things than numbers; ShapeError if its rows differ in length.
    """
    if isinstance(data, Tensor):
        data = data.value
    if isinstance(data, list | tuple) and any(isinstance(x, Tensor) and x.requires_grad for x in data):
        raise DTypeError("a list of recorded tensors is no array; stack(list) keeps their gradients")
    if data.__class__ is not np.ndarray:
        refuse_masked(data, "the data of a tensor")
    try:
        array = np.array(data, dtype=dtype, copy=copy)
    except ValueError as error:
        kind = ShapeError if "inhomogeneous" in str(error) else DTypeError
        raise kind(f"{data!r} is no array of numbers: {error}") from None
    if array.dtype.kind not in "biufc":
        raise DTypeError(f"{data!r} is neither a Tensor nor an array nor a number")
    return array


def apply(op: Op, inputs: Sequence[Any]) -> Any:
    """Compute `op`, and record it where a gradient may be asked for.

    Errors
        ShapeError or DTypeError naming the op, its inputs and their shapes.
    """
    tensors = tuple([operand(x) for x in inputs])
    extra = {"generator": random.default_generator()} if op.random else {}
    try:
        if op.learns:
            check_parameters(op, tensors)
        result = op.forward(np, *[t.value for t in tensors], **extra)
    except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise explained(op, tensors, error) from error
    if op.results == 1:
        if result.__class__ is not np.ndarray or not result.ndim:
            result = as_array(result, tensors)
        if not is_recorded(op, tensors):
            return wrap(result)
        return wrap(result, Node(op, tensors, values=result))
    result = tuple(as_array(y, tensors) for y in result)
    if op.states and RECORDING.tracing:
        raise GraphError(
            f"jit: {op.label()} changes its states, which a traced function cannot; bind a Symbol for that"
        )
    for state, new in zip(tensors[len(tensors) - len(op.states) :], result[len(op.outputs) :], strict=True):
        if new is not state.value:
            np.copyto(state.value, new)
    node = Node(op, tensors, values=result) if is_recorded(op, tensors) else None
    shown = tuple(wrap(result[i], node, i) for i in range(op.visible))
    return shown[0] if len(shown) == 1 else shown


def is_recorded(op: Op, tensors: Sequence[Tensor]) -> bool:
    """Whether a node is made of what was just computed."""
    if RECORDING.tracing:
        return True
    return RECORDING.on and op.differentiable and any([t.node is not None for t in tensors])  # noqa: C419


def check_parameters(op: Op, tensors: Sequence[Tensor]) -> None:
    """Refuse learnable inputs of other shapes, which might broadcast."""
    wanted = op.parameters(tensors[0].shape)
    for name, x in zip(op.input_names, tensors, strict=True):
        if name in wanted and x.shape != wanted[name]:
            raise ShapeError(f"{name} is {show(x.shape)}, expected {show(wanted[name])}")


def explained(op: Op, tensors: Sequence[Tensor], error: Exception) -> LessonError:
    """An error that names the op and its inputs, from one that NumPy or a rule raised."""
    problem = str(error)
    with contextlib.suppress(LessonError, NotImplementedError, IndexError):
        shapes = [np.shape(t.value) for t in tensors]
        try:
            op.complete(shapes, [None] * op.results)
        except ShapeError as better:
            problem = str(better)
    names = op.name_inputs(len(tensors))
    given = "".join(
        f"\n  {name}  {show(np.shape(t.value))} {np.asarray(t.value).dtype}"
        for name, t in zip(names, tensors, strict=False)
    )
    kind = DTypeError if isinstance(error, TypeError | OverflowError) else ShapeError
    return kind(f"{op.label()}: {problem}{given}")


TENSORS = Tensor.F = Namespace(apply)


def sum_like(x: Any, like: Any) -> Any:
    """`SumLike` of arrays, which as a rule have one shape already."""
    return x if x.shape == like.shape else SUM_LIKE.forward(np, x, like)


SUM_LIKE: Op = SumLike()
ARRAYS = array_namespace(np)
vars(ARRAYS).update(sum_like=sum_like)


def arithmetic(cls: type[Op]) -> Any:
    """An operator of two tensors of arrays, on the shortest way; whatever else goes through `apply`."""
    ufunc, op, alike = getattr(np, cls.function), cls(), cls(same_shape=True)  # type: ignore[call-arg]
    new, new_node, ndarray = Tensor.__new__, Node.__new__, np.ndarray

    def operator(self: Tensor, other: Any) -> Any:
        if other.__class__ is Tensor:
            a, b = self.value, other.value
            try:
                value = ufunc(a, b)
            except (ValueError, TypeError):
                return apply(op, (self, other))  # which says what is wrong
            if value.__class__ is ndarray and not UNUSUAL:
                tensor = new(Tensor)
                tensor.value = value
                tensor.index = 0
                tensor.grad = None
                left, right = self.node, other.node
                if left is None and right is None:
                    tensor.node = None
                    return tensor
                tensor.node = node = new_node(Node)
                both = left is not None and right is not None
                node.op = alike if both and a.shape == b.shape else op
                node.inputs = (self, other)
                node.label = UNNAMED
                node.values = value
                node.number = COUNT()
                return tensor
        return apply(op, (self, other))

    return operator


for _name, _cls in (("add", Add), ("sub", Subtract), ("mul", Multiply), ("truediv", Divide)):
    setattr(Tensor, f"__{_name}__", arithmetic(_cls))


def seed_of(tensor: Tensor, gradient: Any) -> np.ndarray:
    """The cotangent of a result: 1 for a single number, else what the caller gives.

    Errors
        ShapeError if it is missing or does not fit.
    """
    if gradient is None:
        if tensor.size != 1:
            raise ShapeError(
                f"backward: a result of shape {show(tensor.shape)} needs its own gradient: "
                f"give an array of that shape, or reduce it first, e.g. y.sum()"
            )
        return np.ones(tensor.shape, tensor.dtype)
    value = np.asarray(operand(gradient).value, dtype=tensor.dtype)
    if value.shape != tensor.shape:
        raise ShapeError(f"backward: the gradient is {show(value.shape)}, expected {show(tensor.shape)}")
    return value


def sweep(heads: Sequence[tuple[Any, np.ndarray]], wrt: Sequence[Any] | None) -> list[Any]:
    """Gradients as arrays: nothing is recorded."""
    return backprop(np.add, heads, wrt, pull_arrays)


def pull_arrays(node: Any, g: Any) -> Any:
    """The rule of a node's op on arrays."""
    inputs = node.inputs
    if len(inputs) == 2:  # most often, and faster than a list
        a, b = inputs
        return node.op.vjp(ARRAYS, g, node.values, a.value, b.value)
    return node.op.vjp(ARRAYS, g, node.values, *[t.value for t in inputs])


def recorded_sweep(heads: Sequence[tuple[Any, Any]], wrt: Sequence[Any]) -> list[Any]:
    """Gradients as tensors that can be differentiated again."""

    def pull(node: Any, g: Any) -> Any:
        values = node.values
        several = isinstance(values, tuple)
        y = tuple(wrap(v, node, i) for i, v in enumerate(values)) if several else wrap(values, node)
        return node.op.vjp(TENSORS, g, y, *node.inputs)

    return backprop(TENSORS.add, heads, wrt, pull)


# Functions of tensors that are no single op.


def matmul(a: Any, b: Any) -> Any:
    """Product of matrices as NumPy's `@`: vectors count as one row or one column."""
    a, b = operand(a), operand(b)
    row, column = np.ndim(a.value) == 1, np.ndim(b.value) == 1
    y = TENSORS.matmul(TENSORS.expand_dims(a, 0) if row else a, TENSORS.expand_dims(b, 1) if column else b)
    axes = tuple(axis for axis, drop in ((-2, row), (-1, column)) if drop)
    return TENSORS.squeeze(y, axes) if axes else y


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    Shapes
        x (..., features), weight (results, features), bias (results,) -> (..., results)
    """
    op = FullyConnected(num_hidden=np.shape(operand(weight).value)[0], no_bias=bias is None, flatten=False)
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
    """`BatchNorm` with a gamma that is learnt; training changes `moving_mean` and `moving_var` in place."""
    more.setdefault("fix_gamma", False)
    return TENSORS.batch_norm(x, gamma, beta, moving_mean, moving_var, is_train=is_train, **more)


def dropout(x: Any, p: float = 0.5, *, is_train: bool = True) -> Any:
    """`Dropout` in training: elements are dropped with probability `p`, the rest grow to make up for it."""
    return TENSORS.dropout(x, p, is_train=is_train)
