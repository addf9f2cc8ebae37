"""What can be asked of a graph that has no values yet: its names, its shapes, its element types."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import BindError, DTypeError, ShapeError, listed, near
from tinygrad_lesson.engine.graph import Edge, Node, check_names, toposort
from tinygrad_lesson.engine.infer import infer_dtypes, infer_shapes
from tinygrad_lesson.engine.shapes import Shape
from tinygrad_lesson.mxnet import serial
from tinygrad_lesson.mxnet.leaves import variables
from tinygrad_lesson.mxnet.naming import output_name
from tinygrad_lesson.mxnet.serial import SIZES


class NotImplementedForSymbol(DTypeError):  # noqa: N818  MXNet's name
    """What an array can do, asked of a symbol, which has no numbers."""


def of_arrays(name: str) -> Callable[..., Any]:
    """A method that only arrays have."""

    def method(self: Any, *_: Any, **__: Any) -> Any:
        raise NotImplementedForSymbol(
            f"{name} of {self!r}: a Symbol is an expression without numbers; bind it, and ask its outputs"
        )

    method.__name__, method.__doc__ = name, "An array has this; a symbol refuses it."
    return method


class Asked:
    """Some edges of a graph, and what can be asked about them."""

    __slots__ = ("heads", "order")

    def __init__(self, heads: Sequence[Edge]) -> None:
        self.heads = tuple(heads)
        self.order: list[Node] = []  # of its nodes, once somebody has asked for it

    __bool__ = of_arrays("the truth value")
    asnumpy, asscalar, backward, detach = map(of_arrays, ("asnumpy", "asscalar", "backward", "detach"))
    as_in_context, copy, wait_to_read = map(of_arrays, ("as_in_context", "copy", "wait_to_read"))

    # Names.

    @property
    def nodes(self) -> list[Node]:
        """All nodes, inputs before users: a depth-first post-order."""
        self.order = self.order or toposort(edge.node for edge in self.heads)
        return self.order

    @property
    def name(self) -> str | None:
        """The name of the node, None for a group of several."""
        names = {edge.node.name for edge in self.heads}
        return names.pop() if len(names) == 1 else None

    def list_arguments(self) -> list[str]:
        """Names of the variables that a caller must give."""
        return [node.name for node in variables(self.nodes)[0]]

    def list_auxiliary_states(self) -> list[str]:
        """Names of the states, such as moving means."""
        return [node.name for node in variables(self.nodes)[1]]

    def list_inputs(self) -> list[str]:
        """Names of all variables."""
        return [node.name for node in self.nodes if node.is_variable]

    def list_outputs(self) -> list[str]:
        """Names of the outputs."""
        return [output_name(edge) for edge in self.heads]

    # Shapes and types.

    def infer_shape(self, /, *positional: Any, **shapes: Any) -> Any:
        """Shapes of arguments, outputs and states, or three None where they are not all known.

        Errors
            ShapeError naming the node at which the shapes do not fit; BindError for an unknown name.
        """
        found = self.infer_shape_partial(*positional, **shapes)
        unknown = SIZES.unknown
        complete = all(
            (shape or (unknown and shape is not None)) and unknown not in shape
            for part in found
            for shape in part
        )
        return found if complete else (None, None, None)

    def infer_shape_partial(self, /, *positional: Any, **shapes: Any) -> Any:
        """As `infer_shape`, with () for a shape and 0 for a size that is not known; under `mx.np_shape` None and -1."""
        found, unknown = infer_shapes(self.nodes, self.given_shapes(positional, shapes)), SIZES.unknown

        def fact(edge: Edge) -> Any:
            shape = found[edge]
            if shape is None:
                return None if unknown else ()
            return tuple([unknown if n is None else n for n in shape])

        return self.told(fact)

    def infer_type(self, /, *positional: Any, **dtypes: Any) -> Any:
        """Element types of arguments, outputs and states.

        Errors
            DTypeError naming the node whose inputs differ; BindError for an unknown name.
        """
        found = infer_dtypes(self.nodes, self.given_dtypes(positional, dtypes), np.dtype("float32"))
        return self.told(lambda edge: np.dtype(found[edge] or "float32").type)

    def infer_type_partial(self, /, *positional: Any, **dtypes: Any) -> Any:
        """As `infer_type`, with None for a type that is not known."""
        found = infer_dtypes(self.nodes, self.given_dtypes(positional, dtypes))
        return self.told(lambda edge: None if found[edge] is None else np.dtype(found[edge]).type)

    def told(self, fact: Callable[[Edge], Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """A fact about every argument, output and state."""
        arguments, states = variables(self.nodes)
        return (
            [fact(Edge(n)) for n in arguments],
            [fact(edge) for edge in self.heads],
            [fact(Edge(n)) for n in states],
        )

    def given_shapes(
        self, positional: Sequence[Any], shapes: Mapping[str, Any], caller: str = "infer_shape"
    ) -> dict[Edge, Shape]:
        """Shapes by edge: those of a caller, and those that variables were made with."""
        leaves, given = self.by_leaf(positional, shapes, caller)
        for name, node in leaves.items():
            if given.get(name) is None and "__shape__" in node.label.attributes:
                given[name] = serial.read_shape(node.label.attributes["__shape__"], name)
        known = {
            name: as_sizes(shape, f"{caller}: {name}") for name, shape in given.items() if shape is not None
        }
        unknown = SIZES.unknown
        return {
            Edge(leaves[name]): tuple([None if n == unknown else n for n in shape])
            for name, shape in known.items()
            if shape or unknown
        }

    def given_dtypes(
        self, positional: Sequence[Any], dtypes: Mapping[str, Any], caller: str = "infer_type"
    ) -> dict[Edge, Any]:
        """Element types by edge: those of a caller, and those that variables were made with."""
        leaves, given = self.by_leaf(positional, dtypes, caller)
        for name, node in leaves.items():
            if given.get(name) is None and "__dtype__" in node.label.attributes:
                given[name] = serial.read_dtype(node.label.attributes["__dtype__"], name)
        known = {name: dtype for name, dtype in given.items() if dtype is not None}
        return {Edge(leaves[name]): as_dtype(dtype, f"{caller}: {name}") for name, dtype in known.items()}

    def by_leaf(
        self, positional: Sequence[Any], named: Mapping[str, Any], caller: str
    ) -> tuple[dict[str, Node], dict[str, Any]]:
        """The variables by name, and what a caller says about them.

        Errors
            GraphError if two variables share a name; BindError for a name that none has.
        """
        order = self.nodes
        check_names((node for node in order if node.is_variable), "arguments")
        arguments = [node.name for node in variables(order)[0]]
        leaves = {node.name: node for node in order if node.is_variable}
        if len(positional) > len(arguments):
            raise BindError(
                f"{caller}: {len(positional)} given, expected at most {len(arguments)}: {listed(arguments)}"
            )
        for name in named:
            if name not in leaves:
                raise BindError(f"{caller}: {name!r} is no argument; {near(name, arguments)}")
        return leaves, {**dict(zip(arguments, positional, strict=False)), **named}


def as_sizes(shape: Any, what: str) -> tuple[int, ...]:
    """A shape from whatever counts as one.

    Errors
        ShapeError for anything but a sequence of sizes, or what stands for an unknown one.
    """
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError:
        sizes = (-2,)
    if min(sizes, default=0) < SIZES.unknown:
        raise ShapeError(
            f"{what} is {shape!r}, expected a tuple of sizes, {SIZES.unknown} for an unknown one"
        )
    return sizes


def as_dtype(dtype: Any, what: str) -> np.dtype[Any]:
    """An element type from whatever NumPy takes for one.

    Errors
        DTypeError for anything else.
    """
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError):
        raise DTypeError(f"{what} is {dtype!r}, expected an element type such as 'float32'") from None
    return found
