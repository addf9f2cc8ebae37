"""Turns an op's `forward` into a list of NumPy calls that write into fixed arrays.

`forward` is run once on arrays that note every NumPy function called on them. The notes, each with
a fixed array to write into, can be carried out again and again: nothing is allocated, no Python of
the op is run. Only ops that are declared `replayable` are treated so; the meaning stays in the op.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_lesson.errors import LessonError

Call = Callable[[], Any]
REDUCTIONS = {
    np.sum: np.add, np.max: np.maximum, np.min: np.minimum, np.prod: np.multiply,
    np.all: np.logical_and, np.any: np.logical_or,
}  # fmt: skip
LONGEST = 4096  # rows
WITH_OUT = {np.concatenate, np.stack, np.dot, np.clip, np.take, np.cumsum, np.var}
METHODS = """
    astype all any argmax argmin clip copy cumprod cumsum dot fill flatten item max mean min nonzero prod ptp
    put repeat round sort std sum take tobytes tolist trace var
""".split()  # noqa: SIM905  (a list of words reads better as words)


class NotReplayableError(LessonError):
    """An op did something that cannot be noted down."""


class Recorder:
    """Notes the NumPy calls of one `forward` after another; temporaries of different ops share places."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []
        self.scratch: dict[Any, list[np.ndarray]] = {}
        self.used: dict[Any, int] = {}
        self.ones: dict[Any, np.ndarray] = {}

    def begin(self) -> None:
        """Forget the notes; temporaries may be used anew."""
        self.calls, self.used = [], {}

    def temporary(self, like: np.ndarray) -> np.ndarray:
        """A fixed array with the shape, type and present elements of `like`."""
        key = (like.shape, like.dtype)
        taken = self.used.get(key, 0)
        arrays = self.scratch.setdefault(key, [])
        if taken == len(arrays):
            arrays.append(np.empty(like.shape, like.dtype))
        self.used[key] = taken + 1
        np.copyto(arrays[taken], like)
        return arrays[taken]

    def watch(self, array: np.ndarray) -> "Watched":
        """`array` as a view that notes what is done to it."""
        watched = array.view(Watched)
        watched.recorder = self
        return watched

    def call(self, function: Any, arguments: Sequence[Any], named: dict[str, Any], result: Any) -> Any:
        """Note one call and give its result, in a fixed array."""
        out = named.pop("out", None)
        out = self.temporary(np.asarray(result)) if out is None else out
        arguments = tuple(in_type_of(out, a) for a in arguments)
        self.calls.append((function, arguments, {**named, "out": out}))
        return self.watch(out)

    def owns(self, array: np.ndarray) -> bool:
        """Whether an array lies in a temporary."""
        return any(np.may_share_memory(array, a) for arrays in self.scratch.values() for a in arrays)

    def retarget(self, old: np.ndarray, new: np.ndarray) -> bool:
        """Let the calls write and read `new` wherever they did `old`; False where views forbid it."""

        def swap(a: Any) -> Any:
            if isinstance(a, list | tuple):
                return type(a)(swap(x) for x in a)
            return new if isinstance(a, np.ndarray) and same_memory(a, old) else a

        used = [a for _, arguments, named in self.calls for a in arrays_in((*arguments, *named.values()))]
        if any(np.may_share_memory(a, old) and not same_memory(a, old) for a in used):
            return False
        self.calls = [(f, swap(a), {k: swap(v) for k, v in n.items()}) for f, a, n in self.calls]
        np.copyto(new, old)
        return True


def same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same elements in the same order."""
    same = a.__array_interface__["data"] == b.__array_interface__["data"]
    return same and a.shape == b.shape and a.strides == b.strides and a.dtype == b.dtype


class Watched(np.ndarray):
    """A NumPy array that notes every NumPy function applied to it."""

    recorder: Recorder

    def __array_finalize__(self, parent: Any) -> None:
        if isinstance(parent, Watched):
            self.recorder = parent.recorder

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **named: Any) -> Any:
        if method not in ("__call__", "reduce"):
            raise NotReplayableError(f"{ufunc.__name__}.{method}")
        bare = [plain(x) for x in inputs]
        if named.get("out") is not None:
            named["out"] = plain(named["out"][0])
        else:
            named.pop("out", None)
        function = ufunc if method == "__call__" else ufunc.reduce
        return self.recorder.call(function, bare, named, function(*bare, **named))

    def __array_function__(self, function: Any, types: Any, arguments: Any, named: Any) -> Any:
        bare, named = plain(arguments), {k: plain(v) for k, v in named.items()}
        if function in REDUCTIONS:
            named.setdefault("axis", None)
            return self.__array_ufunc__(REDUCTIONS[function], "reduce", *arguments, **as_tuple(named))
        if function is np.mean and bare[0].dtype.kind in "fc":
            total = np.sum(*arguments, **named)
            count = bare[0].size // total.size
            return np.divide(total, in_type_of(plain(total), float(count)), out=total)
        if named.get("out", ...) is None:
            del named["out"]
        result = function(*bare, **named)
        if isinstance(result, list | tuple):
            return type(result)(self.noted(function, bare, named, r) for r in result)
        return self.noted(function, bare, named, result)

    def noted(self, function: Any, bare: Any, named: Any, result: Any) -> Any:
        """Note a call unless it made but a view."""
        if any(np.may_share_memory(result, a) for a in arrays_in(bare)) and "out" not in named:
            return self.recorder.watch(result)
        if function is np.empty_like:
            return self.recorder.watch(self.recorder.temporary(result))
        if function is np.where:
            return self.chosen(bare, result)
        if function is np.reshape:
            out = self.recorder.temporary(result)
            self.recorder.calls.append((np.copyto, (out.reshape(bare[0].shape), bare[0]), {}))
            return self.recorder.watch(out)
        if function not in WITH_OUT:
            raise NotReplayableError(function.__name__)
        return self.recorder.call(function, bare, named, result)

    def chosen(self, bare: Any, result: np.ndarray) -> Any:
        """`where` as two copies into a fixed array."""
        condition, a, b = bare
        out, condition = self.recorder.temporary(result), np.asarray(condition)
        if condition.dtype != bool:
            mask = self.recorder.temporary(condition != 0)
            self.recorder.calls.append((np.not_equal, (condition, 0), {"out": mask}))
            condition = mask
        self.recorder.calls.append((np.copyto, (out, in_type_of(out, b)), {}))
        self.recorder.calls.append((np.copyto, (out, in_type_of(out, a)), {"where": condition}))
        return self.recorder.watch(out)

    def __setitem__(self, key: Any, value: Any) -> None:
        part = plain(self)[key]
        if not np.may_share_memory(part, plain(self)):
            raise NotReplayableError("assignment to an index that is no slice")
        np.copyto(part, plain(value))
        self.recorder.calls.append((np.copyto, (part, in_type_of(part, plain(value))), {}))

    def __getitem__(self, key: Any) -> Any:
        part = plain(self)[key]
        if not isinstance(part, np.ndarray) or (part.size and not np.may_share_memory(part, plain(self))):
            raise NotReplayableError("an index that is no slice")
        return self.recorder.watch(part)

    def reshape(self, *shape: Any, **named: Any) -> Any:  # type: ignore[override]
        """As a function, so that a copy is noted."""
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **named)


def refuse(name: str) -> Callable[..., Any]:
    """A method that cannot be noted."""

    def method(*arguments: Any, **named: Any) -> Any:
        raise NotReplayableError(f"array.{name}(); call it as a function of xp")

    return method


for _name in METHODS:
    setattr(Watched, _name, refuse(_name))


def plain(value: Any) -> Any:
    """Without the watching; lists and tuples through and through."""
    if isinstance(value, list | tuple):
        return type(value)(plain(v) for v in value)
    return value.view(np.ndarray) if isinstance(value, Watched) else value


def as_tuple(named: dict[str, Any]) -> dict[str, Any]:
    """Keywords as `__array_ufunc__` gets them."""
    out = named.pop("out", None)
    return named if out is None else {**named, "out": (out,)}


def arrays_in(values: Any) -> list[np.ndarray]:
    """All arrays among nested arguments."""
    if isinstance(values, list | tuple):
        return [a for v in values for a in arrays_in(v)]
    return [values] if isinstance(values, np.ndarray) else []


def in_type_of(out: Any, value: Any) -> Any:
    """A Python number as an array of the type it would take, which NumPy handles faster."""
    if type(value) not in (int, float) or out.dtype.kind != "f":
        return value
    return np.asarray(value, dtype=out.dtype)


def as_call(recorder: Recorder, function: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Call:
    """One note as a function without arguments, in the form that NumPy carries out fastest."""
    out = named.get("out")
    if function is np.matmul and is_small_product(arguments, out):
        return partial(np.dot, *arguments, out)
    if out is not None and function == np.add.reduce and is_column_sum(arguments[0], named, out):
        x = arguments[0]
        key = (len(x), x.dtype)
        ones = recorder.ones.setdefault(key, np.ones(*key))
        return partial(np.dot, ones, x, out.reshape(x.shape[1]))
    if isinstance(function, np.ufunc) and function.nin == len(arguments) and set(named) == {"out"}:
        if function in (np.maximum, np.minimum):
            return partial(function, *arguments, out=out)
        return partial(function, *arguments, out)
    return partial(function, *arguments, **named)


def is_small_product(factors: Any, out: Any) -> bool:
    """Whether `dot` computes the same as `matmul`, with less ado."""
    a, b = factors
    matrices = a.ndim == b.ndim == 2 and 1 not in (
        a.size,
        b.size,
    )  # of a number `dot` takes 0 times infinity for 0
    return dot_takes(out) and matrices and a.dtype == b.dtype == out.dtype and a.dtype.kind == "f"


def is_column_sum(x: Any, named: dict[str, Any], out: Any) -> bool:
    """Whether a sum runs down the columns of a matrix, no long ones: a product with ones is faster, but less exact."""
    down = (
        named.get("axis") in (0, (0,))
        and x.ndim == 2
        and x.dtype.kind == "f"
        and x.size < 1 << 16
        and len(x) <= LONGEST
    )
    return down and out.dtype == x.dtype and dot_takes(out) and "where" not in named


def dot_takes(out: Any) -> bool:
    """Whether `dot` can write into an array."""
    return out is not None and out.flags.carray and out.dtype.isnative  # type: ignore[no-any-return]
