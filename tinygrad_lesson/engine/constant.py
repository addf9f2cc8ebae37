"""A number in a graph."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import Shape


@op
class Constant(Op):
    """A number; it takes the element type of whatever it meets."""

    differentiable = False
    value: float = attr(doc="the number")

    def shape(self) -> Shape:  # type: ignore[override]
        """No axes."""
        return ()

    def dtype(self) -> None:  # type: ignore[override]
        """It adapts."""
        return

    def forward(self, xp: Any) -> Any:
        """The number."""
        return self.value

    def vjp(self, F: Any, g: Any, y: Any) -> tuple[()]:
        """It has no inputs."""
        return ()

    @classmethod
    def sample(cls, draw: Any) -> Any:
        """Any number."""
        return cls(value=1.5), {}
