"""The eager face: arrays that remember how they were made."""

import contextlib
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.arrays import real, refuse_masked
from tinygrad_lesson.display import Displayed
from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, GraphError, LessonError, ShapeError
from tinygrad_lesson.engine.graph import COUNT, UNNAMED, Node
from tinygrad_lesson.engine.op import (
    FUNCTIONS,
    NUMBERS,
    Arithmetic,
    Methods,
    Op,
    numbers_only,
)
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.engine.world import Arrays, World
from tinygrad_lesson.ops.elementwise import Add, Divide, Multiply, Subtract
from tinygrad_lesson.ops.index import freeze
from tinygrad_lesson.ops.linear import FullyConnected


class Recording(threading.local):
    """Whether this thread records what it computes; with `tracing`, all of it, as `jit` needs.

    While a derivative is taken (`deriving`) a value is not let out of the graph, but to be looked at (`looking`).
    """

    on = True
    tracing = False
    deriving = False
    looking = False


RECORDING = Recording()
NEEDS_SLOW_PATH: list[str] = []  # an entry for every block, of any thread, in which something else holds
ndarray, FLOAT, KINDS = np.ndarray, np.dtype(float), "biufc"  # kinds of element types to compute with
FEW = 4096  # elements up to which a copy costs less than to look whether it is needed
UNRECORDED = (
    "this tensor was computed without recording: set requires_grad=True on an input, outside of no_grad, "
    "and use no op without a gradient on the way"
)
HERE = "functions and operators of tinygrad_lesson, tl.stack for a list of tensors"
CUT = (
    f"the gradient would end here; use {HERE}, or x.detach() for what is meant as a constant "
    f"(np.asarray(x.detach()) for NumPy)"
)
CONSTANT = {f"np.{name}_like" for name in ("zeros", "ones", "empty")} | {
    "np.save",
    "np.savez",
    "np.savetxt",
}
SHAPING = {f"np.{name}" for name in ("broadcast_arrays", "atleast_1d", "atleast_2d")}  # which plotting calls
INSTEAD = {  # functions of NumPy: what there is here
    "dot": "x @ y", "vdot": "tl.sum(x * y)", "inner": "x @ y", "outer": "x.reshape(-1, 1) * y", "std": "x.var().sqrt()",
    "concatenate": "tl.concat(list, axis=0)", "hstack": "tl.concat(list, axis=1)", "vstack": "tl.concat(list, axis=0)",
    "norm": "tl.sqrt(tl.sum(x * x))", "tensordot": "x @ y", "absolute": "tl.abs",
}  # fmt: skip
ELSEWHERE = {  # what other libraries have: what there is here
    "astype": "Tensor(x.numpy(), dtype=...)", "clamp": "clip", "clone": "identity", "copy": "identity",
    "dot": "@", "mm": "@", "permute": "transpose", "ravel": "reshape(-1)", "std": "var().sqrt()",
    "tolist": "numpy().tolist()", "unsqueeze": "expand_dims", "view": "reshape", "zero_grad": "x.grad = None",
}  # fmt: skip


@contextlib.contextmanager
def recording(on: bool, deriving: bool | None = None) -> Iterator[None]:
    """Record, or do not, what this thread computes inside; `deriving` if a derivative of it will be taken."""
    before = RECORDING.on, RECORDING.deriving
    NEEDS_SLOW_PATH.append("recording")
    try:  # Ctrl-C may come after any line: nothing else holds before this one, and first of all it ends
        RECORDING.on, RECORDING.deriving = on, before[1] if deriving is None else deriving
        yield
    finally:
        RECORDING.on, RECORDING.deriving = before
        NEEDS_SLOW_PATH.pop()


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """Record everything inside, whether or not a gradient may be asked for."""
    before = RECORDING.tracing
    NEEDS_SLOW_PATH.append("tracing")
    try:
        RECORDING.tracing = True
        yield
    finally:
        RECORDING.tracing = before
        NEEDS_SLOW_PATH.pop()


def unhidden(f: Any, inputs: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """The result of `f`. What a tensor refuses NumPy may hide behind an error of its own: `a[0] = x` does."""
    try:
        return f(*inputs, **named)
    except (ValueError, TypeError) as error:
        if isinstance(error, LessonError) or not isinstance(error.__cause__, LessonError):
            raise
        raise error.__cause__ from None


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

    What a graph has recorded does not change any more. While nobody else can write to `array`, it is in `kept` too,
    and a graph takes it as it is. `value` lets it out: from then on there is no `kept`, and graphs take copies.
    """

    __slots__ = ("__weakref__", "array", "copied", "grad", "held", "index", "kept", "lock", "node")
    array: Any  # the elements, to be read only; a number adapts its type
    kept: Any
    copied: Any  # the copy that a graph took last, if it was large
    held: bool  # set where a graph has `kept` as a constant
    lock: Any  # set for a caller's large array, which is locked when a graph takes it

    def __init__(self, data: Any, requires_grad: bool = False, *, dtype: Any = None) -> None:
        if isinstance(data, Tensor):
            data = data.seen("Tensor(x)")
        self.array = self.kept = numbers_in(data, dtype)
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

    def requires_grad_(self, wanted: bool = True) -> "Tensor":
        """This tensor, from now on a leaf that asks for a gradient, or that does not."""
        self.requires_grad = wanted
        return self

    def __reduce__(self) -> Any:  # for copy and pickle
        if self.node is not None and not self.node.is_variable:
            raise GraphError("only a leaf can be copied or pickled; use detach() on a result")
        return Tensor, (self.seen("a copy"), self.requires_grad)

    # What it holds.

    @property
    def value(self) -> Any:
        """The elements, which may be written to, but for those of a result that was recorded."""
        array, node = self.seen("x.value"), self.node
        if not hasattr(self, "kept") or type(array) in NUMBERS:
            return array
        if node is not None and node.op is not None:
            array.setflags(write=False)
            return array
        if node is not None or hasattr(self, "held") or not array.flags.writeable:
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
        if array.size <= FEW:
            return array.copy("K")
        if hasattr(self, "lock") and array.base is None:
            self.lock = self.lock or Lock(array)
            return array
        if not equal_bits(array, getattr(self, "copied", None)):
            self.copied = array.copy("K")
        return self.copied

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

    def numpy(self) -> np.ndarray:
        """A copy of the elements as a NumPy array."""
        return np.array(self.seen("x.numpy()"))

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

    def item(self) -> Any:
        """The one element as a Python number."""
        return self.one("x.item()")

    def one(self, what: str) -> Any:
        """The one element, for `what` lets it out of the graph."""
        if self.size != 1:
            raise ShapeError(f"item: a tensor of shape {show(self.shape)} has {self.size} elements, not one")
        return np.asarray(self.seen(what)).item()

    def detach(self) -> "Tensor":
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
        body = np.array2string(np.asarray(self.array), separator=", ", prefix="Tensor(")
        return f"Tensor({body}, dtype={self.dtype}{', requires_grad=True' if self.requires_grad else ''})"

    def __format__(self, form: str) -> str:
        return (
            format(np.asarray(self.array).item(), form)
            if form and self.size == 1
            else format(str(self), form)
        )

    # What NumPy's functions make of it.

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(
            self.seen("np.asarray(x), which np.array and other functions of NumPy call"), dtype=dtype
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:  # type: ignore[override]
        if method == "__call__" and not named:
            if ufunc in OPERATORS:  # of an array and a tensor
                return OPERATORS[ufunc](*inputs)
            if all(types.endswith("?") for types in ufunc.types):  # np.isfinite and the like: answers
                with looking():
                    return ufunc(*[np.asarray(x) for x in inputs])
        name = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
        raise DTypeError(f"np.{name}: a Tensor does not support ufuncs of NumPy; use {instead_of(name)}")

    @property
    def _data(self) -> Any:  # what `np.ma` looks for in an operand, before it takes the bare array
        refuse_masked(np.ma.masked_array(()), "what meets a tensor")

    def __array_function__(self, function: Any, types: Any, inputs: Any, named: Any) -> Any:
        name = f"{function.__module__}.{function.__name__}".replace("numpy", "np", 1)
        if name in ALIKE and holds_recorded((inputs, named)):
            return ALIKE[name](*inputs, **named)

        def call() -> Any:
            try:
                return function._implementation(*inputs, **named)
            except AttributeValueError:  # it calls a method that takes more in NumPy, such as x.max(out=None)
                return function._implementation(*bare(inputs), **bare(named))

        given = (inputs[1:], named.get("fill_value")) if name == "np.full_like" else (inputs, named)
        return looked_at(name, given, call)

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
                g = typed(g, tensor.dtype)
                tensor.grad = wrap(np.array(g) if tensor.grad is None else tensor.grad.array + g)


class Elsewhere:
    """A name that other libraries have: whoever looks for it is told what there is here."""

    def __init__(self, name: str, instead: str) -> None:
        self.name, self.instead = name, instead

    def __get__(self, tensor: Any, owner: Any) -> Any:
        if tensor is not None and self.name in FUNCTIONS:  # an op of the user's
            return getattr(super(Tensor, tensor), self.name)
        raise AttributeError(f"a Tensor has no {self.name!r}; try {self.instead}")


for _name, _instead in ELSEWHERE.items():
    setattr(Tensor, _name, Elsewhere(_name, _instead))


def wrap(value: Any, node: Node | None = None, index: int = 0) -> Tensor:
    """A tensor around `value`, which is not copied; a number stays a number and adapts its type."""
    tensor = Tensor.__new__(Tensor)
    tensor.array = tensor.kept = value
    tensor.node, tensor.index, tensor.grad = node, index, None
    return tensor


class Lock:
    """Nobody writes to an array while this lives: a copy of a large one would cost more than most operations."""

    counts: ClassVar[dict[int, int]] = {}  # of locks, by id of the array

    def __init__(self, array: np.ndarray) -> None:
        count = self.counts.get(id(array), 0)
        self.array = array if array.flags.writeable or count else None
        if self.array is not None:
            self.counts[id(array)] = count + 1
            array.setflags(write=False)

    def __del__(self) -> None:
        if self.array is not None:
            count = self.counts.pop(id(self.array)) - 1
            if count:
                self.counts[id(self.array)] = count
            else:
                self.array.setflags(write=True)


def lent(value: np.ndarray) -> Tensor:
    """A tensor around an array that somebody else may write to."""
    tensor = wrap(value)
    del tensor.kept
    return tensor


def as_array(value: Any, tensors: Sequence[Tensor]) -> Any:
    """What an op made of `tensors`: NumPy's scalars as arrays; what came of numbers alone as a number."""
    if type(value) in NUMBERS:
        return value
    array = np.asarray(value)
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


def numbers_in(data: Any, dtype: Any, copy: bool | None = True) -> np.ndarray:
    """`data` as an array.

    Errors
        DTypeError if it holds other things than numbers; ShapeError if its rows differ in length.
    """
    if isinstance(data, Tensor):
        data = data.array
    if isinstance(data, list | tuple) and any(map(holds_recorded, data)):
        raise DTypeError("a list of recorded tensors is no array; stack(list) keeps their gradients")
    if data.__class__ is not np.ndarray:
        refuse_masked(data, "the data of a tensor")
    try:
        array = np.array(data, dtype=dtype, copy=copy)
    except ValueError as error:
        kind = ShapeError if "inhomogeneous" in str(error) else DTypeError
        raise kind(f"{data!r:.200} is no array of numbers: {error}") from None
    if array.dtype.kind not in KINDS:
        raise DTypeError(f"{data!r:.200} is neither a Tensor nor an array nor a number")
    return array


def holds_recorded(x: Any) -> bool:
    """Whether there is a recorded tensor in a tensor, or in lists, tuples and dicts of them."""
    if isinstance(x, Tensor):
        return x.node is not None
    parts = x.values() if isinstance(x, dict) else x
    return isinstance(x, list | tuple | dict) and any(map(holds_recorded, parts))


def bare(x: Any) -> Any:
    """Copies of the arrays of tensors, in lists, tuples and dicts too."""
    if isinstance(x, dict):
        return {key: bare(value) for key, value in x.items()}
    return type(x)(map(bare, x)) if type(x) in (list, tuple) else x.numpy() if isinstance(x, Tensor) else x


@contextlib.contextmanager
def looking() -> Iterator[None]:
    """Let values out of the graph inside: what is done with them has no gradient, or is looked at by `looked_at`."""
    before, RECORDING.looking = RECORDING.looking, True
    try:
        yield
    finally:
        RECORDING.looking = before


def looked_at(name: str, inputs: Any, call: Any) -> Any:
    """What a function of NumPy gives for tensors, if it does not depend on them smoothly: answers, places, texts.

    Errors
        DTypeError for anything else that it makes of recorded tensors: the gradient would end there.
    """
    inside = RECORDING.looking
    with looking():
        result = call()
    harmless = CONSTANT if RECORDING.deriving else CONSTANT | SHAPING
    ends = RECORDING.on and not inside and name not in harmless
    if ends and holds_recorded(inputs) and holds_floats(result):
        raise DTypeError(f"{name}: {CUT.replace(HERE, instead_of(name))}")
    return result


def instead_of(name: str) -> str:
    """What to write here in the place of a function of NumPy."""
    name = name.rpartition(".")[2]
    return INSTEAD.get(name) or (f"tl.{name}" if name in FUNCTIONS else HERE)


def holds_floats(x: Any) -> bool:
    """Whether there are floats in what a function of NumPy gave, or it gave nothing and wrote somewhere."""
    if isinstance(x, list | tuple):
        return any(map(holds_floats, x))
    return x is None or (not isinstance(x, Tensor | str) and np.asarray(x).dtype.kind in "fcO")


def apply(op: Op, inputs: Sequence[Any]) -> Any:
    """Compute `op`, and record it where a gradient may be asked for.

    Errors
        ShapeError or DTypeError naming the op, its inputs and their shapes.
    """
    tensors = tuple([x if x.__class__ is Tensor else operand(x) for x in inputs])
    extra = {"generator": random.default_generator()} if op.random else {}
    recorded = is_recorded(op, tensors)
    arrays: Any = [t.capture() if recorded else t.array for t in tensors]
    try:
        if op.learns:
            check_parameters(op, tensors)
        result = op.forward(np, *arrays, **extra)
    except AttributeError:  # a number has no shape
        if not any(type(x) in NUMBERS for x in arrays):
            raise
        return apply(op, [np.asarray(t.array) if type(t.array) in NUMBERS else t for t in tensors])
    except (ValueError, IndexError, TypeError, OverflowError, MemoryError) as error:
        raise explained(op, tensors, error) from error
    if recorded and not op.analytic:
        refuse_complex(op, arrays)
    if op.results == 1:
        if result.__class__ is not np.ndarray or not result.ndim:
            result = as_array(result, tensors)
        if not recorded:
            return own(result, tensors)
        return wrap(result, Node(op, tensors, UNNAMED, result, arrays))
    result = tuple(as_array(y, tensors) for y in result)
    if op.states and RECORDING.tracing:
        raise GraphError(
            f"jit: {op.label()} changes its states, which a traced function cannot; bind a Symbol for that"
        )
    for state, new in zip(tensors[len(tensors) - len(op.states) :], result[len(op.outputs) :], strict=True):
        update(state, new)
    node = Node(op, tensors, UNNAMED, result, arrays) if recorded else None
    shown = tuple(wrap(result[i], node, i) for i in range(op.visible))
    return shown[0] if len(shown) == 1 else shown


def own(value: Any, tensors: Sequence[Tensor]) -> Tensor:
    """The result of an op that was not recorded, which may be a view of what somebody writes to."""
    if value.__class__ is ndarray and (value.base is not None or any([value is t.array for t in tensors])):  # noqa: C419
        return lent(value)
    return wrap(value)


def update(state: Tensor, new: Any) -> None:
    """Write the new values of a state: into the array that the caller has too, else in the place of that one."""
    if new is state.array:
        return
    if hasattr(state, "kept"):
        state.array = state.kept = np.array(new, state.dtype)
    else:
        np.copyto(state.array, new)


def refuse_complex(op: Op, arrays: Sequence[Any]) -> None:
    """Refuse to record complex numbers that a rule is not made for."""
    for x in arrays:
        if x.__class__ is complex or getattr(x, "dtype", FLOAT).kind == "c":
            raise DTypeError(
                f"{op.label()} has no gradient for complex numbers; arithmetic, exp, sums, products and abs have one; "
                f"take detach() of an input that is meant as a constant"
            )


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
    with contextlib.suppress(LessonError, IndexError):
        shapes = [t.shape for t in tensors]
        try:
            op.complete(shapes, [None] * op.results)
        except ShapeError as better:
            problem = str(better)
    names = op.name_inputs(len(tensors))
    given = "".join(f"\n  {name}  {show(t.shape)} {t.dtype}" for name, t in zip(names, tensors, strict=False))
    kind = DTypeError if isinstance(error, TypeError | OverflowError) else ShapeError
    return kind(f"{op.label()}: {problem}{given}")


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
        return [recorded_as(t, x) for t, x in zip(node.inputs, operands_of(node), strict=True)]

    def shape(self, x: Any) -> tuple[int, ...]:
        """The shape of a tensor, an array or a number."""
        return x.shape if isinstance(x, Tensor) else np.shape(x)

    def holds(self, x: Any) -> bool:
        """Tensors, and arrays as constants."""
        return isinstance(x, Tensor | np.ndarray | np.generic)


TENSORS = Tensor.F = Tensors()


def equal_bits(a: Any, b: Any) -> bool:
    """Whether two arrays lie alike and are the same to the last bit."""
    if b is None or (a.dtype, a.shape, a.strides) != (b.dtype, b.shape, b.strides):
        return False
    word = np.uint64 if a.nbytes % 8 == 0 else np.uint8
    return bool(np.array_equal(a.ravel("K").view(word), b.ravel("K").view(word)))


class Recorded(Arrays):
    """The bare arrays that tensors recorded."""

    def operands(self, node: Any, gs: Sequence[Any]) -> Sequence[Any]:
        """What was recorded; with one result on the shortest way."""
        y = node.values
        if y.__class__ is not ndarray:
            return super().operands(node, gs)
        g, inputs = gs[0], node.operands
        if g.dtype is not y.dtype:
            g = self.typed(g, y.dtype)
        return (g, y, node.a, node.b) if inputs is None else (g, y, *inputs)

    def results(self, node: Any) -> Sequence[Any]:
        """What was recorded."""
        return results_of(node)

    def inputs(self, node: Any) -> Sequence[Any]:
        """What was recorded."""
        return operands_of(node)

    def typed(self, g: Any, dtype: Any) -> Any:
        """A cotangent in the type of what it belongs to; of a real number, the real part."""
        return typed(g, dtype)


class AsTold(Recorded):
    """Gradients of whatever shape and type the rules give: for those who look for what is wrong with a rule."""

    compares = False

    def typed(self, g: Any, dtype: Any) -> Any:
        """The cotangent as it is."""
        return g


ARRAYS, AS_TOLD = Recorded(), AsTold()
for _world in (ARRAYS, AS_TOLD):
    vars(_world).update(add=np.add)  # called most, so without a way around


def arithmetic(cls: type[Op]) -> Any:
    """An operator of two tensors of arrays, on the shortest way; whatever else goes through `apply`."""
    ufunc, op, alike = getattr(np, cls.function), cls(), cls(same_shape=True)  # type: ignore[call-arg]
    new, new_node, ndarray = Tensor.__new__, Node.__new__, np.ndarray

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
                tensor.node = node = new_node(Node)
                if left is None:
                    self.held = True
                    node.op = op
                elif right is None:
                    other.held = True
                    node.op = op
                else:
                    node.op = alike if a.shape == b.shape else op
                node.inputs = (self, other)
                node.label = UNNAMED
                node.values = value
                node.operands = None
                node.a, node.b = a, b
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
    given = operand(gradient).array
    if tensor.dtype.kind != "c":
        given = real(given, "backward: the gradient")
    value = np.array(given, dtype=tensor.dtype)  # a graph may hold it
    if value.shape != tensor.shape:
        raise ShapeError(f"backward: the gradient is {show(value.shape)}, expected {show(tensor.shape)}")
    return value


# One convention for complex numbers, that of JAX: the cotangent of z is dL/dRe(z) - i dL/dIm(z), so the rule of an
# analytic function is what it is for real numbers, and that of a real number is the real part of what arrives. A
# complex head with the cotangent 1 stands for its real part.


def sweep(heads: Sequence[tuple[Any, np.ndarray]], wrt: Sequence[Any] | None) -> list[Any]:
    """Gradients as arrays: nothing is recorded."""
    return backprop(ARRAYS, heads, wrt)


def sweep_as_told(heads: Sequence[tuple[Any, np.ndarray]], wrt: Sequence[Any]) -> list[Any]:
    """Gradients of whatever shape and type the rules give."""
    return backprop(AS_TOLD, heads, wrt)


def typed(g: Any, dtype: Any) -> Any:
    """A cotangent in the type of what it belongs to; of a real number, the real part."""
    if dtype is None or g.dtype == dtype or dtype.kind not in "fc":
        return g
    return (g.real if dtype.kind == "f" else g).astype(dtype)


def recorded_sweep(heads: Sequence[tuple[Any, Any]], wrt: Sequence[Any]) -> list[Any]:
    """Gradients as tensors that can be differentiated again."""
    return backprop(TENSORS, heads, wrt)


def operands_of(node: Any) -> Sequence[Any]:
    """The arrays that a recorded node was computed from."""
    return (node.a, node.b) if node.operands is None else node.operands


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


# Functions of tensors that are no single op.


def matmul(a: Any, b: Any) -> Any:
    """Product of matrices as NumPy's `@`: vectors count as one row or one column."""
    a, b = operand(a), operand(b)
    row, column = a.ndim == 1, b.ndim == 1
    y = TENSORS.matmul(TENSORS.expand_dims(a, 0) if row else a, TENSORS.expand_dims(b, 1) if column else b)
    axes = tuple(axis for axis, drop in ((-2, row), (-1, column)) if drop)
    return TENSORS.squeeze(y, axes) if axes else y


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Affine map of the last axis: ``y = x @ weight.T + bias``.

    Shapes
        x (..., features), weight (results, features), bias (results,) -> (..., results)
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
    """`BatchNorm` with a gamma that is learnt; training changes `moving_mean` and `moving_var` in place."""
    more.setdefault("fix_gamma", False)
    return TENSORS.batch_norm(x, gamma, beta, moving_mean, moving_var, is_train=is_train, **more)


def dropout(x: Any, p: float = 0.5, *, is_train: bool = True) -> Any:
    """`Dropout` in training: elements are dropped with probability `p`, the rest grow to make up for it."""
    return TENSORS.dropout(x, p, is_train=is_train)


OPERATORS: dict[Any, Any] = {np.matmul: matmul} | {  # ufuncs that stand for Python's operators
    getattr(np, name): getattr(TENSORS, name)
    for name in (
        "add", "subtract", "multiply", "divide", "power", "equal", "not_equal", "less", "less_equal", "greater",
        "greater_equal",
    )
}  # fmt: skip
ALIKE = {  # functions of NumPy that take what ours take
    f"np.{name}": getattr(TENSORS, name)
    for name in (
        "sum",
        "mean",
        "prod",
        "max",
        "min",
        "where",
        "stack",
        "squeeze",
        "expand_dims",
        "reshape",
        "clip",
    )
}
