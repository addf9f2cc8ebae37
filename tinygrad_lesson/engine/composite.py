"""Ops that are written in the words of others: shapes, types, gradients and plans follow from that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.engine.backprop import backprop
from tinygrad_lesson.engine.constant import Constant
from tinygrad_lesson.engine.dtypes import NUMBERS, DType
from tinygrad_lesson.engine.graph import Edge, Node, edges_of
from tinygrad_lesson.engine.kinds import result_dtypes
from tinygrad_lesson.engine.namespace import Arithmetic, ArrayNamespace, array_namespace
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.engine.shapes import Shape
from tinygrad_lesson.engine.world import World

FLOAT = np.dtype(float)


class Told(Arithmetic):
    """What is known of a value before it is there."""

    def __init__(self, shape: Shape, dtype: DType) -> None:
        self.shape, self.dtype = shape, dtype


class Abstract(ArrayNamespace):
    """A world of shapes and element types, in which nothing is computed; a size may be unknown (None)."""

    def __init__(self) -> None:
        super().__init__(self.told)

    def told(self, op: Op, inputs: Sequence[Any]) -> Any:
        """What the rules of an op say of its results."""
        shapes = op.shape(*[self.shape(x) for x in inputs])
        numbers = [x for x in inputs if type(x) in NUMBERS]
        dtypes = result_dtypes(op, [self.dtype(x) for x in inputs], numbers)
        if op.results == 1:
            return Told(shapes, dtypes[0])
        return tuple([Told(*known) for known in zip(shapes, dtypes, strict=True)])

    def shape(self, x: Any) -> Shape:
        """The shape of a value; a number has no axes."""
        return x.shape if isinstance(x, Told) else ()

    def holds(self, x: Any) -> bool:
        """Whether `x` is a value here."""
        return isinstance(x, Told)


ABSTRACT = Told.F = Abstract()


class Taped(World):
    """A world on top of another: what is done there is noted, so that it can be differentiated there."""

    def __init__(self, under: Any) -> None:
        super().__init__(self.note)
        self.under = under

        class NotedEdge(Edge):
            """A value that was noted here."""

            __slots__ = ()
            F = self

        self.edge = NotedEdge

    def leaf(self, x: Any) -> Any:
        """A value from outside."""
        node = Node(Constant(value=x) if type(x) in NUMBERS else None)
        self.values[node] = (x,)
        return edges_of(self.edge, node)[0]

    def note(self, op: Op, inputs: Sequence[Any]) -> Any:
        """What an op gives in the world below."""
        edges = tuple([x if isinstance(x, self.edge) else self.leaf(x) for x in inputs])
        y = self.under.apply(op, [self.read(edge) for edge in edges])
        node = Node(op, edges)
        self.values[node] = y if isinstance(y, tuple) and op.results > 1 else (y,)
        found = edges_of(self.edge, node)
        return found if op.results > 1 else found[0]

    def shape(self, x: Any) -> Any:
        """The shape of what was noted."""
        return self.under.shape(self.read(x) if isinstance(x, self.edge) else x)

    def holds(self, x: Any) -> bool:
        """Whether `x` was noted here."""
        return isinstance(x, self.edge)

    def dtype(self, x: Any) -> Any:
        """Its element type."""
        return self.under.dtype(self.read(x) if isinstance(x, self.edge) else x)


class Beneath(World):
    """The world below, for the rules of what was noted above it."""

    compares: ClassVar[bool] = False

    def __init__(self, above: Taped) -> None:
        super().__init__(above.under.apply)
        self.above, self.values = above, above.values

    def shape(self, x: Any) -> Any:
        """As above, of an edge too, or as below."""
        return self.above.shape(x)

    def dtype(self, x: Any) -> Any:
        """As above."""
        return self.above.dtype(x)

    def holds(self, x: Any) -> bool:
        """As below."""
        return self.above.under.holds(x)  # type: ignore[no-any-return]


class Composite(Op):
    """An op that is written in other ops: ``compose(self, F, x, ...)`` says how; several results as a tuple."""

    compose: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls) -> None:
        """`forward` is `compose` on bare arrays, with the same inputs."""
        super().__init_subclass__()
        if "compose" in cls.__dict__:

            def forward(self: Any, xp: Any, *inputs: Any) -> Any:
                return self.compose(array_namespace(xp), *inputs)

            forward.__wrapped__ = cls.compose  # type: ignore[attr-defined]
            cls.forward = forward

    def shape(self, *shapes: Shape) -> Any:
        """As `compose` makes it."""
        made = self.compose(ABSTRACT, *[Told(shape, FLOAT) for shape in shapes])
        return made.shape if self.results == 1 else tuple([part.shape for part in made])

    def rewrite(self, F: Any, shapes: Sequence[Shape], *inputs: Any) -> Any:
        """The ops themselves."""
        return self.compose(F, *inputs)

    def vjp(self, F: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """By one sweep through the ops, when the first gradient is wanted."""
        return swept(F, self.compose, (g,) if self.results == 1 else g, inputs)


def swept(F: Any, composed: Callable[..., Any], g: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
    """The gradients of what is composed of `inputs` in a world, for a cotangent `g` of each result, by one sweep."""

    @functools.cache
    def gradients() -> list[Any]:
        above = Taped(F)
        leaves = [above.leaf(x) for x in inputs]
        made = composed(above, *leaves)
        heads = zip((made,) if len(g) == 1 else made, g, strict=True)  # an edge is a tuple too
        return backprop(Beneath(above), [pair for pair in heads if pair[1] is not None], leaves)

    return [lambda i=i: gradients()[i] for i in range(len(inputs))]
