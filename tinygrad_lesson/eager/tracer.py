"""Tensors of a transformation: what is done with them is done in its world, on top of those around it."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from tinygrad_lesson.arrays import NEEDS_SLOW_PATH
from tinygrad_lesson.eager.recording import CUT, RECORDING
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.errors import GraphError
from tinygrad_lesson.engine.op import Op


class Level:
    """One transformation while its function runs; those that began later are above it.

    `apply` gives the results of an op of which some inputs are tracers of this level, and none of one above it: those
    that the op shows, or `every` one, new values of states among them.
    """

    name: ClassVar[str] = ""
    tape: ClassVar[Any]  # the class of levels for gradients that are taken inside: `Reverse`
    number: int

    def apply(self, op: Op, tensors: Sequence[Tensor], every: bool) -> Any:
        """What an op gives here."""
        raise NotImplementedError

    def needs_no_rule(self, tensors: Sequence[Any]) -> bool:
        """Whether nobody takes a derivative by these, so that a function with a rule of its own is just called."""
        return False

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be the uppermost level of this thread inside."""
        levels, deriving = RECORDING.levels, RECORDING.deriving
        NEEDS_SLOW_PATH.append(self.name)
        try:
            self.number = len(levels)
            RECORDING.levels, RECORDING.deriving = (*levels, self), True
            yield
        finally:
            RECORDING.levels, RECORDING.deriving = levels, deriving
            NEEDS_SLOW_PATH.pop()


class Tracer(Tensor):
    """A tensor of one level; `below` is what it stands on: a plain tensor, or a tracer of a lower level."""

    __slots__ = ("below", "level")
    node, index, grad = None, 0, None  # type: ignore[assignment]
    below: Any
    level: Any  # type: ignore[misc]

    @property
    def array(self) -> Any:  # type: ignore[override]
        """The elements."""
        self.check()
        return self.below.array

    def check(self) -> None:
        """Refuse a tensor that has left its function.

        Errors
            GraphError that says so.
        """
        if self.level not in RECORDING.levels:
            raise GraphError(
                f"{self.level.name}: a tensor from inside of the function is used outside of it, after its end, in "
                f"another thread, or in a function of jit that sees it without being given it; pass it on as a result "
                f"or an argument"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along the axes."""
        return self.below.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> Any:
        """Element type."""
        return self.below.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    def seen(self, what: str) -> Any:
        """The value, if it may be looked at."""
        if not RECORDING.looking:
            raise GraphError(f"{what}: {CUT}")
        return self.array

    def capture(self) -> Any:
        """The elements: a tracer is not recorded."""
        return self.array

    def example(self) -> Any:
        """Elements such as this holds."""
        return self.below.example()

    def detach(self) -> Tensor:
        """The same elements, for which no derivative is taken."""
        return self.F.stop_gradient(self)  # type: ignore[no-any-return]


def results_shown(op: Op, results: Sequence[Any], every: bool) -> Any:
    """Those results that a caller is given: one alone, or a tuple."""
    shown = tuple(results if every else results[: op.visible])
    return shown[0] if len(shown) == 1 else shown
