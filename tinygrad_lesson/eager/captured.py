"""What a function sees without being given it, and whether that is still what it was."""

from __future__ import annotations

import dis
import functools
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, own_copy
from tinygrad_lesson.eager.tensor import Tensor

Place = tuple[Callable[[Any], Any], Any]  # how to look something up, and under which key
PLAIN = (bool, int, float, complex, str, bytes, np.generic, frozenset, types.NoneType)
GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM")
REFLECTIVE = frozenset(("getattr", "vars", "__dict__"))  # who uses these may look at any attribute

HELD = ("array", "node", "__self__", "__func__", "func", "args", "keywords", "fget")
HOLDERS = (Tensor, types.MethodType, functools.partial, property, staticmethod, classmethod)


class Captured:
    """All that functions and objects can see besides their arguments, as it is now.

    That is what closures, globals, default arguments, attributes and elements hold, and what the functions that are
    reached so can see in turn. Modules, functions and classes of Python, of installed packages and of this one are
    taken to stay as they are. Of other objects those attributes count that the code reads by name.
    """

    def __init__(self, roots: Iterable[Any]) -> None:
        roots, self.names = list(roots), set[str]()
        count = -1
        while count < len(self.names):  # a function that is found late may name attributes of an early object
            count = len(self.names)
            self.places: list[tuple[Callable[[Any], Any], Any, Any]] = []
            self.arrays: dict[int, tuple[np.ndarray, np.ndarray]] = {}
            self.walk(list(roots))

    def walk(self, waiting: list[Any]) -> None:
        """Note every place that is reached, and every array with a copy."""
        known: dict[int, Any] = {}
        while waiting:
            x = waiting.pop()
            if id(x) in known or isinstance(x, PLAIN) or x.__class__ in MODULES:
                continue  # of a GPU's array nobody reads the elements, since that would wait
            known[id(x)] = x
            if isinstance(x, np.ndarray):
                self.arrays[id(x)] = x, np.array(x)
                continue
            for look, key in places(x, self.names):
                found = look(key)
                self.places.append((look, key, found))
                waiting.append(found)

    def changed(self) -> bool:
        """Whether anything is different now."""
        for look, key, before in self.places:
            now = look(key)
            if now is not before and not is_same(now, before):
                return True
        return bool(self.arrays) and self.written()

    def written(self) -> bool:
        """Whether an array holds other elements now."""
        return any(not same_bits(x, copy) for x, copy in self.arrays.values())

    def forget_changes(self) -> None:
        """From now on disregard what has changed: the function did it itself, as one does that counts its calls."""
        self.places = [place for place in self.places if is_same(place[0](place[1]), place[2])]

    def forget(self, states: Sequence[Tensor]) -> None:
        """From now on disregard what states hold: it is an input."""
        held = {id(t) for t in states}
        self.places = [place for place in self.places if id(place[1]) not in held]
        for t in states:
            self.arrays.pop(id(t.array), None)

    def copy_of(self, array: Any) -> Any:
        """A copy of an array; the one there is, if the array was reached."""
        return self.arrays[id(array)][1] if id(array) in self.arrays else own_copy(array)


def places(x: Any, names: set[str]) -> Iterator[Place]:
    """Where more can be reached from `x`. The names that a function's code contains are added to `names`."""
    fields = getattr(x, "__dict__", None)
    if isinstance(x, types.FunctionType):
        yield from places_of_function(x, names)
    elif isinstance(x, Sequence) and not isinstance(x, range):
        yield len, x
        yield from ((functools.partial(element, x), i) for i in range(len(x)))
    elif isinstance(x, Mapping):
        yield len, x
        yield from ((x.get, key) for key in list(x))
    elif isinstance(x, Set):
        yield frozenset, x
    elif isinstance(x, type):
        if not is_library(x.__module__):
            inner = vars(x)
            special = {name for name in inner if name.startswith("__")}
            yield from (
                (inner.get, name)
                for name in sorted(special.union(name for name in names if hasattr(x, name)))
            )
            yield functools.partial(getattr, x), "__bases__"
    elif isinstance(fields, dict) and "__wrapped__" in fields:
        yield fields.get, "__wrapped__"
    elif not is_library(type(x).__module__) or is_open(x):
        yield type, x
        every = not names.isdisjoint(REFLECTIVE)
        known = {*(fields or ()), *(name for name in names if hasattr(type(x), name))}
        if isinstance(fields, dict):
            yield from ((fields.get, name) for name in sorted(known) if every or name in names)
        slots = [name for cls in type(x).__mro__ for name in listed(getattr(cls, "__slots__", ()))]
        yield from ((functools.partial(attribute, name), x) for name in slots)
    else:
        yield from ((functools.partial(attribute, name), x) for name in HELD if isinstance(x, HOLDERS))


def places_of_function(function: Any, names: set[str]) -> Iterator[Place]:
    """Its closure, its defaults and the globals that it names."""
    yield from ((content, cell) for cell in function.__closure__ or ())
    defaults = [name for name in ("__defaults__", "__kwdefaults__") if getattr(function, name)]
    yield from ((functools.partial(getattr, function), name) for name in defaults)
    if is_library(function.__module__):
        return
    of_globals, others = names_in(function.__code__)
    names |= others
    for name in of_globals:
        value = function.__globals__.get(name)
        if not isinstance(value, types.ModuleType):
            yield function.__globals__.get, name
        elif not is_library(value.__name__):
            inner = vars(value)
            yield from ((inner.get, other) for other in others if other in inner)


def is_open(x: Any) -> bool:
    """Whether `x` is of a class of Python's that holds what its user puts there."""
    argparse = sys.modules.get("argparse")  # where nobody has imported it, nobody has one of its objects
    return isinstance(x, types.SimpleNamespace) or (
        argparse is not None and isinstance(x, argparse.Namespace)
    )


@functools.cache
def names_in(code: types.CodeType) -> tuple[tuple[str, ...], frozenset[str]]:
    """The globals and the attributes that some code reads, and the functions inside of it."""
    instructions = list(dis.get_instructions(code))
    read = {i.argval for i in instructions if i.opname in GLOBALS}
    names = {i.argval for i in instructions if i.opname in ATTRIBUTES} | (read & REFLECTIVE)
    for inner in (c for c in code.co_consts if isinstance(c, types.CodeType)):
        more, others = names_in(inner)
        read.update(more)
        names |= others
    return tuple(sorted(read)), frozenset(names)


@functools.cache
def is_library(module: str | None) -> bool:
    """Whether a module belongs to Python, to an installed package or to this one."""
    top = (module or "builtins").partition(".")[0]
    if top in sys.stdlib_module_names or top == __name__.partition(".")[0]:
        return True
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    paths = sysconfig.get_paths()
    return file.startswith((paths["purelib"], paths["platlib"]))


def content(cell: types.CellType) -> Any:
    """What a closure's cell holds, None if nothing yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def attribute(name: str, x: Any) -> Any:
    """An attribute, None if there is none."""
    return getattr(x, name, None)


def element(x: Any, i: int) -> Any:
    """An element, None if there are not so many."""
    return x[i] if i < len(x) else None


def listed(names: Any) -> tuple[str, ...]:
    """`__slots__`, which may be one name."""
    return (names,) if isinstance(names, str) else tuple(names)


def exact(x: Any) -> Any:
    """What equals that of another value only if both are the same in every respect: -0. is not 0., nor True 1."""
    if isinstance(x, float | complex):  # NumPy's among them
        return type(x), repr(x)
    if isinstance(x, np.generic):
        return type(x), x.dtype, x.tobytes()
    if isinstance(x, tuple | frozenset):
        return type(x), type(x)(map(exact, x)) if type(x) in (tuple, frozenset) else tuple(map(exact, x))
    if isinstance(x, slice):
        return slice, exact((x.start, x.stop, x.step))
    return type(x), x


def is_same(a: Any, b: Any) -> bool:
    """Whether two values are one, or plain and the same in every respect."""
    return a is b or (isinstance(a, PLAIN) and exact(a) == exact(b))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays hold the same, bit for bit."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not (a.flags.c_contiguous and b.flags.c_contiguous) or a.nbytes % 8:
        return a.tobytes() == b.tobytes()
    words = (x.reshape(-1).view(np.uint8).view(np.uint64) for x in (a, b))
    return bool(np.equal(*words).all())
