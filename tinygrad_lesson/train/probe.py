"""A look into a network: what its layers let through, forward and back, at given parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.engine.errors import FormatError
from tinygrad_lesson.engine.graph import Edge, Label, Node
from tinygrad_lesson.engine.infer import infer_shapes
from tinygrad_lesson.engine.interpret import substitute
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.fields import COUNT, FLAG, NUMBER, PARTS, TEXT, Kind, field, is_number, list_of
from tinygrad_lesson.files import plain
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.leaves import variables
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.ops.nn import AlongAxis, BatchNorm
from tinygrad_lesson.random import MXNetGenerator

Array = npt.NDArray[Any]
BINS = 32
KEEPING = (Elementwise, AlongAxis, BatchNorm)  # ops that keep the units of their input apart
ADDED = "what is added to "  # a variable, always 0, whose gradient is the one by a layer's result


class Distribution(NamedTuple):
    """How numbers are spread: `counts` of equal bins between `low` and `high`."""

    counts: list[int]
    low: float
    high: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, values: Array) -> Distribution:
        """That of the finite ones among `values`."""
        values = values[np.isfinite(values)].astype(float)
        if not values.size:
            return cls([], 0.0, 0.0, 0.0, 0.0)
        low, high = float(values.min()), float(values.max())
        if np.isfinite(high - low) and high - low > 1e-9 * max(abs(low), abs(high)):
            counts = np.histogram(values, BINS, (low, high))[0].tolist()
        else:
            counts = [values.size]  # all the same, as far as bins can tell
        return cls(counts, low, high, float(values.mean()), float(values.std()))


class Layer(NamedTuple):
    """What was found in one layer.

    `arrives` is the length of the loss's gradient by this layer's result, as a share of that by the last
    layer's result: what the Jacobians of the layers between them multiply it with. `dead` lists the units
    whose activation is 0 for every row; it is empty where no activation follows.
    """

    name: str
    weight: str
    units: int
    arrives: float
    dead: list[int]
    activations: Distribution
    weights: Distribution
    ops: list[str]  # that work on its result until it is mixed with another
    joined: bool  # its activation is added to, or put beside, what came around the layer

    def as_json(self) -> dict[str, Any]:
        """The fields by name; None for what is no number."""
        told = self._asdict()
        told["arrives"] = self.arrives if np.isfinite(self.arrives) else None
        told.update(activations=self.activations._asdict(), weights=self.weights._asdict())
        return told

    @classmethod
    def read(cls, told: Any, where: str) -> Layer:
        """The layer that `as_json` has told.

        Errors
            FormatError, with `where` and the key, for anything else.
        """
        if not isinstance(told, Mapping):
            raise FormatError(f"{where} is {plain(repr(told), 80)}, expected what a layer says of itself")
        found = {key: field(told, key, kind, where) for key, kind in LAYER.items()}
        for key in ("activations", "weights"):
            spread = field(told, key, PARTS, where)
            place = f"{where}: {key!r}"
            found[key] = Distribution(**{part: field(spread, part, SPREAD[part], place) for part in SPREAD})
        if len(found["dead"]) > found["units"] or max(found["dead"], default=0) >= max(1, found["units"]):
            raise FormatError(
                f"{where}: 'dead' names units that the {found['units']} of 'units' do not include"
            )
        found["arrives"] = math.nan if found["arrives"] is None else float(found["arrives"])
        return cls(**found)


LAYER = {
    "name": TEXT, "weight": TEXT, "units": COUNT, "dead": list_of(COUNT), "ops": list_of(TEXT), "joined": FLAG,
    "arrives": Kind("a number from 0 on, or null", lambda v: v is None or (is_number(v) and v >= 0)),
}  # fmt: skip
SPREAD = {"counts": list_of(COUNT), "low": NUMBER, "high": NUMBER, "mean": NUMBER, "deviation": NUMBER}


class Place(NamedTuple):
    """Where a layer is in the graph: its weight, its node, that of its activation, the ops between."""

    weight: str
    node: Node
    end: Node
    ops: list[str]
    joined: bool


def places(symbol: Symbol) -> list[Place]:
    """The layers of a graph: nodes that take a variable called a weight, in the order of the weights."""
    order = symbol.nodes
    users: dict[Node, list[Node]] = {node: [] for node in order}
    owners: dict[Node, Node] = {}
    for node in order:
        for edge in node.inputs:
            users[edge.node].append(node)
            is_weight = edge.node.is_variable and "weight" in edge.node.name
            if is_weight and node.op is not None and node.op.results == 1:
                owners.setdefault(edge.node, node)
    layers = set(owners.values())
    leads: set[Node] = set()  # nodes from which a layer is reached
    for node in reversed(order):
        if any(user in leads or user in layers for user in users[node]):
            leads.add(node)
    found = []
    for weight, node in owners.items():
        end, ops = node, []
        following = only_user(end, users)
        while following is not None and following in leads and following not in layers:
            end = following
            ops.append(end.op.name if end.op else "")
            following = only_user(end, users)
        joined = any(user in leads and user not in layers and not alone(end, user) for user in users[end])
        found.append(Place(weight.name, node, end, ops, joined))
    return found


def only_user(node: Node, users: Mapping[Node, list[Node]]) -> Node | None:
    """The one node that takes this one's result and no other but variables', if there is such a node."""
    following = set(users[node])
    if len(following) > 1:  # a skip connection begins here: the activation is what is skipped with
        return None
    return next((user for user in following if alone(node, user) and is_activation(user)), None)


def is_activation(node: Node) -> bool:
    """Whether a node is an activation or a normalization."""
    return isinstance(node.op, KEEPING) and not node.op.random


def alone(node: Node, user: Node) -> bool:
    """Whether `user` takes nothing but the result of `node` and variables."""
    return all(edge.node is node or edge.node.is_variable for edge in user.inputs)


def probe(
    symbol: Symbol, settings: Sequence[Mapping[str, Array]], batches: Sequence[Mapping[str, Array]]
) -> list[list[Layer]]:
    """For each of several `settings` of the parameters what is found in the layers, in training.

    Activations are those on all `batches`, gradients those on the first. `symbol` is a loss, a setting holds
    its arguments and states by name. What is random is drawn from a generator of its own, so that a look
    changes nothing.
    """
    layers = places(symbol)
    if not layers or not batches:
        return [[] for _ in settings]
    executor = bound(symbol, layers, settings[0], batches[0])
    return [look(executor, layers, len(symbol.heads), parameters, batches) for parameters in settings]


def look(
    executor: Executor,
    layers: Sequence[Place],
    losses: int,
    parameters: Mapping[str, Array],
    batches: Sequence[Mapping[str, Array]],
) -> list[Layer]:
    """What is found in the layers with one setting of the parameters."""
    outputs = []
    for batch in batches:
        assign(executor, {**parameters, **batch})
        executor.forward(is_train=True)
        outputs.append([np.array(array) for array in executor.outputs_now[losses:]])
    assign(executor, {**parameters, **batches[0]})
    lengths = gradient_lengths(executor, layers, losses)
    found = []
    for i, place in enumerate(layers):
        values = np.concatenate([rows[i] for rows in outputs])
        found.append(
            Layer(
                name=place.node.name,
                weight=place.weight,
                units=values.shape[1] if values.ndim > 1 else 1,
                arrives=lengths[i] / lengths[-1] if lengths[-1] else float("nan"),
                dead=dead_units(values) if place.end is not place.node else [],
                activations=Distribution.of(values),
                weights=Distribution.of(np.asarray(parameters[place.weight])),
                ops=place.ops,
                joined=place.joined,
            )
        )
    return found


def gradient_lengths(executor: Executor, layers: Sequence[Place], losses: int) -> list[float]:
    """The length of the gradient by each layer's result, on the batch that is bound.

    Where the loss sends none to the last layer, a row of signs at its result stands in.
    """
    executor.forward(is_train=True)
    cotangents = [np.zeros_like(array) for array in executor.outputs_now[losses:]]
    for _ in range(2):
        executor.backward([*[None] * losses, *cotangents])
        gradients = [executor.gradients[ADDED + place.node.name].astype(float) for place in layers]
        lengths = [float(np.linalg.norm(gradient)) for gradient in gradients]
        if lengths[-1] != 0:
            break
        cotangents[-1][...] = np.sign(np.random.default_rng(0).normal(size=cotangents[-1].shape))
    return lengths


def bound(
    symbol: Symbol, layers: Sequence[Place], parameters: Mapping[str, Array], batch: Mapping[str, Array]
) -> Executor:
    """The loss with each layer's activation as a further result, and a zero added to each layer's result."""
    given = {**parameters, **batch}
    known = {Edge(node): np.shape(given[node.name]) for node in symbol.nodes if node.is_variable}
    shapes: Any = infer_shapes(symbol.nodes, known)
    added = {place.node: Edge(Node(None, label=Label(ADDED + place.node.name))) for place in layers}

    def with_addition(node: Node, inputs: Any) -> list[Edge] | None:
        if node not in added:
            return None
        result = Edge(Node(node.op, inputs, node.label))
        return [result + added[node]]

    heads = substitute([*symbol.heads, *(Edge(place.end) for place in layers)], with_addition)
    arrays = {name: np.array(array, np.float32) for name, array in given.items()}
    arrays.update({edge.node.name: np.zeros(shapes[Edge(node)], np.float32) for node, edge in added.items()})
    arguments, states = ([node.name for node in part] for part in variables(symbol.nodes))
    arguments += [edge.node.name for edge in added.values()]
    gradients = {edge.node.name: np.zeros_like(arrays[edge.node.name]) for edge in added.values()}
    return Executor(
        heads,
        [f"output{i}" for i in range(len(heads))],
        {name: arrays[name] for name in arguments},
        gradients,
        {name: arrays[name] for name in states},
        {name: "write" if name in gradients else "null" for name in arguments},
        generator=MXNetGenerator(0),
        caller="probe",
    )


def assign(executor: Executor, values: Mapping[str, Array]) -> None:
    """Copy values into the bound arrays of their names."""
    for arrays in (executor.arguments, executor.states):
        for name in arrays.keys() & values.keys():
            arrays[name][...] = values[name]


def dead_units(values: Array) -> list[int]:
    """Units that are 0 for every row, and everywhere in it.

    Shapes
        values (rows, units, ...)
    """
    if values.ndim < 2:
        return []
    others = tuple(axis for axis in range(values.ndim) if axis != 1)
    units: list[int] = np.flatnonzero(~values.any(axis=others)).tolist()
    return units
