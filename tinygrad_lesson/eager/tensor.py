"""The eager face: arrays that remember how they were made."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import (
    FEW,
    MODULES,
    NEEDS_SLOW_PATH,
    Context,
    held,
    host_copy,
    on_host,
    own_copy,
)
from tinygrad_lesson.display import Displayed
from tinygrad_lesson.eager.given import KINDS, Lock, equal_bits, numbers_in, placed
from tinygrad_lesson.eager.indexed import Indexed
from tinygrad_lesson.eager.protocol import NumpyProtocol
from tinygrad_lesson.eager.recording import CUT, RECORDING, looking
from tinygrad_lesson.engine.dtypes import NUMBERS
from tinygrad_lesson.engine.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.engine.graph import UNNAMED, Node
from tinygrad_lesson.engine.namespace import Arithmetic, Methods, numbers_only
from tinygrad_lesson.engine.shapes import show

ndarray = np.ndarray


class Spellings:
    """What other libraries call their methods: `eager/methods.py`. An op of the user's goes before them."""

    __slots__ = ()


class Tensor(Indexed, NumpyProtocol, Arithmetic, Methods, Spellings, Displayed):  # type: ignore[misc]
    """An array, and if a gradient may be asked for, the node of the graph that made it.

    `Tensor(data, requires_grad=True)` is a leaf; `backward` on a result adds to its `grad`. It lies on `device`,
    else where `data` does, or on the device of a block such as ``with tl.gpu(0):``.

    What a graph has recorded does not change any more. While nobody else can write to `array`, it is in `kept` too,
    and a graph takes it as it is. `value` lets it out: from then on there is no `kept`, and graphs take copies.

    Example
        >>> import tinygrad_lesson as tl
        >>> x = tl.Tensor([1.0, 3.0], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad.tolist()
        [2.0, 6.0]
    """

    __slots__ = ("__weakref__", "array", "copied", "grad", "held", "index", "kept", "lock", "node")
    array: Any  # the elements, to be read only; a number adapts its type
    level: ClassVar[Any] = None  # a tracer has one: see `eager/tracer.py`
    kept: Any
    copied: Any  # the copy that a graph took last, if it was large
    held: bool  # set where a graph has `kept` as a constant
    lock: Any  # set for a caller's large array, which is locked when a graph takes it

    def __init__(
        self, data: Any, requires_grad: bool = False, *, dtype: Any = None, device: Context | None = None
    ) -> None:
        if isinstance(data, Tensor):
            data = data.seen("Tensor(x)")
        self.array = self.kept = numbers_in(data, dtype)
        if device is not None or NEEDS_SLOW_PATH:
            self.array = self.kept = placed(self.array, device)
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
        if wanted and self.dtype.kind == "c":
            raise DTypeError(
                f"a tensor of {self.dtype} cannot require a gradient: only real tensors do; make two of them, "
                f"the real and the imaginary part, and compute with real + 1j * imaginary"
            )
        if wanted and self.dtype.kind != "f":
            raise DTypeError(
                f"a tensor of {self.dtype} has no gradient; make it a float: Tensor(data, dtype=float)"
            )
        if not wanted and self.node is not None:
            if not self.node.is_variable:
                raise GraphError("only a leaf can stop requiring a gradient; use detach() on a result")
            self.held = True
        self.node = (self.node or Node(None, values=weakref.ref(self))) if wanted else None

    def requires_grad_(self, wanted: bool = True) -> Tensor:
        """This tensor, from now on a leaf that asks for a gradient, or that does not."""
        self.requires_grad = wanted
        return self

    def __reduce__(self) -> Any:  # for copy and pickle: a result is copied without its graph
        is_leaf = self.node is not None and self.node.is_variable
        return Tensor, (self.seen("a copy; x.detach() is meant, or tl.identity(x)"), is_leaf)

    # What it holds.

    @property
    def value(self) -> Any:
        """The elements, which may be written to, but for those of a result that was recorded."""
        array, node = self.seen("x.value"), self.node
        if not hasattr(self, "kept") or type(array) in NUMBERS:
            return array
        if node is not None and node.op is not None:
            if array.__class__ in MODULES:
                return own_copy(array)  # which cannot be locked
            array.setflags(write=False)
            return array
        fixed = array.__class__ not in MODULES and not array.flags.writeable
        if node is not None or hasattr(self, "held") or fixed:
            self.copied, self.array = array, array.copy("K")
        del self.kept
        return self.array

    @value.setter
    def value(self, value: Any) -> None:
        if self.node is not None and self.node.op is not None:
            raise GraphError(
                "the value of a result does not change; use detach() to make a tensor of its own"
            )
        if hasattr(self, "kept"):
            del self.kept
        if value is not self.array:  # it is where elements were changed in place: x.value -= 1
            self.array = numbers_in(value, None, copy=None)

    def capture(self) -> Any:
        """The elements as a graph may hold them: nobody will write to them."""
        array = self.array
        if hasattr(self, "kept"):
            if self.node is None:
                self.held = True
            return array
        if array.size <= FEW or array.__class__ in MODULES:
            return array.copy("K")
        if hasattr(self, "lock") and array.base is None:
            self.lock = self.lock or Lock(array)
            return array
        if not equal_bits(array, getattr(self, "copied", None)):
            self.copied = array.copy("K")
        return self.copied

    def again(self) -> tuple[Tensor, Any]:
        """Another tensor for the same result of a graph, and what the graph has of it."""
        return wrap(self.array, self.node, self.index), self.array

    def example(self) -> Any:
        """Elements such as this holds, for who looks at shape and type and carries out an op on them."""
        return self.array

    # What it looks like.

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes."""
        array = self.array
        return array.shape if array.__class__ is ndarray else np.shape(array)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type."""
        array = self.array
        return array.dtype if array.__class__ is ndarray else np.result_type(array)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return np.ndim(self.array)

    @property
    def size(self) -> int:
        """Number of elements."""
        return np.size(self.array)

    def numpy(self, force: bool = False) -> np.ndarray:
        """A copy of the elements as a NumPy array; with `force` also while a derivative is taken, as of `detach()`."""
        return host_copy((self.detach() if force else self).seen("x.numpy()"))

    def seen(self, what: str) -> Any:
        """The value, for `what` lets it out of the graph.

        Errors
            GraphError while a function is traced: what is done would depend on the value, or freeze it; and while
            a derivative is taken, which would miss what depends on the value.
        """
        if RECORDING.tracing and self.node is not None:
            raise GraphError(
                "jit: the function looks at a value while it is traced, so what it does would be frozen; "
                "choose with tl.where, and keep numbers out of it that depend on its arguments"
            )
        if self.node is not None and RECORDING.deriving and RECORDING.on and not RECORDING.looking:
            raise GraphError(f"{what}: {CUT}")
        return self.array

    def item(self, *place: int) -> Any:
        """The one element, or that at a place, as a Python number."""
        if place:
            return np.asarray(self.seen("x.item()")).item(*place)
        return self.one("x.item()")

    def one(self, what: str) -> Any:
        """The one element, for `what` lets it out of the graph."""
        if self.size != 1:
            raise ShapeError(f"item: a tensor of shape {show(self.shape)} has {self.size} elements, not one")
        return on_host(self.seen(what)).item()

    def detach(self) -> Tensor:
        """The same elements, cut off from the graph."""
        if RECORDING.tracing:
            return self.F.stop_gradient(self)  # type: ignore[no-any-return]
        if not hasattr(self, "kept"):
            return lent(self.array)
        tensor = wrap(self.array)
        tensor.held = self.held = True  # each copies it before it lets it out
        return tensor

    def __float__(self) -> float:
        return float(self.one("float(x), which math.sin(x) and the like call"))

    def __int__(self) -> int:
        return int(self.one("int(x)"))

    def __index__(self) -> int:
        if self.dtype.kind not in "iu" or self.ndim:
            raise DTypeError(
                f"a tensor of {self.dtype} with shape {show(self.shape)} is no integer to index with"
            )
        return int(self.one("x as an index"))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ShapeError(f"a tensor of shape {show(self.shape)} has no single truth value")
        with looking():
            return bool(self.seen("bool(x)"))

    def __len__(self) -> int:
        if not self.ndim:
            raise DTypeError("a tensor without axes has no length")
        return len(self.array)

    def __repr__(self) -> str:
        body = np.array2string(on_host(self.array), separator=", ", prefix="Tensor(")
        more = f", device={self.device}" if self.array.__class__ in MODULES else ""
        return (
            f"Tensor({body}, dtype={self.dtype}{more}{', requires_grad=True' if self.requires_grad else ''})"
        )

    def __format__(self, form: str) -> str:
        return (
            format(on_host(self.array).item(), form) if form and self.size == 1 else format(str(self), form)
        )

    # Operators and methods.

    def __eq__(self, other: object) -> Any:
        return NotImplemented if other is None or isinstance(other, str) else self.F.equal(self, other)

    def __ne__(self, other: object) -> Any:
        return NotImplemented if other is None or isinstance(other, str) else self.F.not_equal(self, other)

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

    def reshape(self, *shape: Any, order: str = "C") -> Any:
        """The same elements under another shape; one size may be -1."""
        if order != "C":
            return np.reshape(self, shape[0] if len(shape) == 1 else shape, order=order)  # type: ignore[call-overload]
        return self.F.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def transpose(self, *axes: Any) -> Any:
        """Axes in another order, reversed by default."""
        listed = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        return self.F.transpose(self, axes=listed)

    @property
    def T(self) -> Any:  # noqa: N802
        """Axes reversed."""
        return self.F.transpose(self)


def wrap(value: Any, node: Node | None = None, index: int = 0) -> Tensor:
    """A tensor around `value`, which is not copied; a number stays a number and adapts its type."""
    tensor = Tensor.__new__(Tensor)
    tensor.array = tensor.kept = value
    tensor.node, tensor.index, tensor.grad = node, index, None
    return tensor


def lent(value: np.ndarray) -> Tensor:
    """A tensor around an array that somebody else may write to."""
    tensor = wrap(value)
    del tensor.kept
    return tensor


def as_array(value: Any, tensors: Sequence[Tensor]) -> Any:
    """What an op made of `tensors`: NumPy's scalars as arrays; what came of numbers alone as a number."""
    if value.__class__ is np.ndarray and value.ndim:
        return value
    if type(value) in NUMBERS:
        return value
    array = held(value)
    return array.item() if tensors and numbers_only([t.array for t in tensors]) and not array.ndim else array


def operand(x: Any) -> Tensor:
    """An input of an op as a tensor. Numbers, NumPy's too, adapt their type to the arrays that they meet.

    Errors
        DTypeError or ShapeError if it is nothing to compute with.
    """
    if isinstance(x, Tensor):
        return x
    if type(x) in NUMBERS:
        return wrap(x)
    if x.__class__ is ndarray and x.dtype.kind in KINDS:
        tensor = lent(x)
        if x.size > FEW:
            tensor.lock = None
        return tensor
    if isinstance(x, np.number | np.bool):
        return wrap(x.item())
    array = numbers_in(x, None, copy=None)
    return wrap(array) if isinstance(x, list | tuple) else lent(array)


class Pair(Node):
    """What Python's operators record, most of all nodes: what is the same for all of them costs nothing here."""

    __slots__ = ("a", "b")
    a: Any  # the arrays that it was computed from
    b: Any
    label = UNNAMED  # type: ignore[misc]
    __init__ = object.__init__  # type: ignore[assignment]  # so that `Pair()` calls no Python

    @property
    def operands(self) -> Sequence[Any]:  # type: ignore[override]
        """The arrays that it was computed from."""
        return self.a, self.b


def results_of(node: Any) -> Sequence[Any]:
    """The arrays that a recorded node gave."""
    values = node.values
    return values if values.__class__ is tuple else (values,)


def recorded_as(tensor: Tensor, array: Any) -> Tensor:
    """An input of a node with what it held when it was recorded."""
    return tensor if getattr(tensor, "kept", None) is array else same(tensor, array)


def same(tensor: Tensor, array: Any) -> Tensor:
    """A tensor around what a graph has taken of another, locked for as long."""
    again = wrap(array, tensor.node, tensor.index)
    if hasattr(tensor, "lock"):
        again.lock = tensor.lock
    return again


def of_array(x: Tensor) -> Tensor:
    """A tensor of an array, where it was one of a number."""
    return (
        same(x, np.asarray(x.array))
        if x.__class__ is Tensor and not (isinstance(x.array, np.ndarray) or x.array.__class__ in MODULES)
        else x
    )
