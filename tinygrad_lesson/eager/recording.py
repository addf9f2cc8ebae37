"""What is recorded, and when a value may leave the graph."""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tinygrad_lesson.arrays import NEEDS_SLOW_PATH  # an entry for every block, of any thread, too
from tinygrad_lesson.engine.errors import GraphError, LessonError


class Recording(threading.local):
    """Whether this thread records what it computes; with `tracing`, all of it, as `jit` needs.

    While a derivative is taken (`deriving`) a value is not let out of the graph, but to be looked at (`looking`).
    """

    on = True
    off = False  # chosen by `set_grad_enabled`, which has put an entry into `NEEDS_SLOW_PATH`
    tracing = False
    deriving = False
    looking = False
    levels: tuple[Any, ...] = ()  # of transformations whose function runs: see `eager/tracer.py`
    replaying = False  # a function is run again (`checkpoint`), whose states have moved already
    states: Any = None  # of the function that is traced: see `eager/states.py`


RECORDING = Recording()
UNRECORDED = (
    "this tensor was computed without recording: set requires_grad=True on an input, outside of no_grad, "
    "and use no op without a gradient on the way"
)
HERE = "functions and operators of tinygrad_lesson, tl.stack for a list of tensors"
CUT = (
    f"the gradient would end here; use {HERE}, or x.detach() for what is meant as a constant "
    f"(np.asarray(x.detach()) for NumPy)"
)


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
def tracing(on: bool = True) -> Iterator[None]:
    """Record everything inside, whether or not a gradient may be asked for; or do not, inside of such a block."""
    before = RECORDING.tracing
    NEEDS_SLOW_PATH.append("tracing")
    try:
        RECORDING.tracing = on
        yield
    finally:
        RECORDING.tracing = before
        NEEDS_SLOW_PATH.pop()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Let Python's collector wait: it would go again and again through a graph that grows, and find nothing."""
    waits = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if waits:
            gc.enable()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Be outside of all transformations inside."""
    levels, RECORDING.levels = RECORDING.levels, ()
    try:
        yield
    finally:
        RECORDING.levels = levels


@contextlib.contextmanager
def looking() -> Iterator[None]:
    """Let values out of the graph inside: what is done with them has no gradient, or is looked at by `looked_at`."""
    before, RECORDING.looking = RECORDING.looking, True
    try:
        yield
    finally:
        RECORDING.looking = before


@contextlib.contextmanager
def replaying() -> Iterator[None]:
    """Run a function again, whose states have moved already."""
    before, RECORDING.replaying = RECORDING.replaying, True
    try:
        yield
    finally:
        RECORDING.replaying = before


def no_grad() -> contextlib.AbstractContextManager[None]:
    """Compute inside without recording: no gradient will reach back through it.

    Example
        >>> import tinygrad_lesson as tl
        >>> x = tl.Tensor([3.0], requires_grad=True)
        >>> with tl.no_grad():
        ...     y = x * x
        >>> y.requires_grad
        False
    """
    if RECORDING.tracing:
        raise GraphError(
            "jit: no_grad has no meaning while a function is traced; use stop_gradient on a value"
        )
    return recording(False)


def enable_grad() -> contextlib.AbstractContextManager[None]:
    """Record what is computed inside, also inside of `no_grad`.

    Example
        >>> import tinygrad_lesson as tl
        >>> x = tl.Tensor([3.0], requires_grad=True)
        >>> with tl.no_grad(), tl.enable_grad():
        ...     y = x * x
        >>> y.requires_grad
        True
    """
    return recording(True)


def is_grad_enabled() -> bool:
    """Whether this thread records what it computes.

    Example
        >>> import tinygrad_lesson as tl
        >>> with tl.no_grad():
        ...     tl.is_grad_enabled()
        False
    """
    return RECORDING.on


class Chosen(contextlib.AbstractContextManager[None]):
    """What `set_grad_enabled` has chosen, until a `with` block of it ends."""

    def __init__(self, before: bool) -> None:
        self.before = before

    def __exit__(self, *error: Any) -> None:
        set_grad_enabled(self.before)


def set_grad_enabled(mode: bool) -> Chosen:
    """Record from now on, or do not, what this thread computes; as ``with set_grad_enabled(mode):`` inside of it alone.

    Errors
        GraphError while a function is traced.

    Example
        >>> import tinygrad_lesson as tl
        >>> with tl.set_grad_enabled(False):
        ...     tl.is_grad_enabled()
        False
    """
    if not mode and RECORDING.tracing:
        no_grad()  # which says what to write
    chosen = Chosen(RECORDING.on)
    RECORDING.on = bool(mode)
    if RECORDING.on and RECORDING.off:
        NEEDS_SLOW_PATH.pop()
    elif not RECORDING.on and not RECORDING.off:
        NEEDS_SLOW_PATH.append("recording")
    RECORDING.off = not RECORDING.on
    return chosen


def unhidden(f: Any, inputs: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """The result of `f`. What a tensor refuses NumPy may hide behind an error of its own: `a[0] = x` does."""
    try:
        return f(*inputs, **named)
    except (ValueError, TypeError) as error:
        if isinstance(error, LessonError) or not isinstance(error.__cause__, LessonError):
            raise
        raise error.__cause__ from None
