"""MXNet's JSON for graphs."""

from __future__ import annotations

import ast
import contextlib
import importlib
import threading
from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.engine.errors import AttributeValueError, FormatError, ShapeError, shown
from tinygrad_lesson.engine.graph import Edge, Label, Node, toposort
from tinygrad_lesson.files import parsed, plain
from tinygrad_lesson.mxnet.naming import stored, suffix, wrapped
from tinygrad_lesson.mxnet.register import DTYPE_CODES, Operator, find

VERSION = 10901  # MXNet 1.9.1, whose format this is
DEEPEST = 16  # graphs within graphs that are read: more are no network, and Python's stack has an end


class Sizes(threading.local):
    """How this thread writes a size that is not known: 0, or -1 in MXNet's NumPy mode, where 0 is a size."""

    unknown = 0


SIZES = Sizes()


def to_json(heads: Sequence[Edge]) -> str:
    """The graph of `heads`."""
    import json

    more = {
        **({"is_np_shape": ["int", 1]} if SIZES.unknown else {}),
        "mxnet_version": ["int", VERSION],
    }
    return json.dumps({**graph_of(heads), "attrs": more}, indent=2)


def graph_of(heads: Sequence[Edge]) -> dict[str, Any]:
    """The graph of `heads` as MXNet's files have it."""
    order = toposort(edge.node for edge in heads)
    number = {node: i for i, node in enumerate(order)}
    nodes, pointers = [], [0]
    for node in order:
        if node.op is not None and not node.label.mxnet_op:
            raise FormatError(f"{node!r} has no operator name to be saved under")
        entry: dict[str, Any] = {"op": node.label.mxnet_op or "null", "name": node.name}
        known = find(node.label.mxnet_op)
        if node.label.attributes:
            entry["attrs"] = dict(
                sorted(
                    (key if known is None or known.takes(key) else wrapped(key), text)
                    for key, text in node.label.attributes.items()
                )
            )
        entry["inputs"] = [[number[e.node], e.index, version] for e, version in inputs_of(node, known)]
        if graphs := getattr(node.op, "subgraphs", ()):
            entry["subgraphs"] = [graph_of(graph.heads) for graph in graphs]
        nodes.append(entry)
        pointers.append(pointers[-1] + counted_outputs(node, known))
    return {
        "nodes": nodes,
        "arg_nodes": [i for i, node in enumerate(order) if node.is_variable],
        "node_row_ptr": pointers,
        "heads": [[number[edge.node], edge.index, 0] for edge in heads],
    }


def counted_outputs(node: Node, known: Operator | None) -> int:
    """How many outputs a node has for MXNet: some have more there, which nobody sees."""
    more = known.counted if known else 0
    return (more(node.label.attributes) if callable(more) else more) or (
        1 if node.op is None else len(node.op.outputs)
    )


def inputs_of(node: Node, known: Operator | None) -> Sequence[tuple[Edge, int]]:
    """The inputs of a node in MXNet's order, each with 1 behind it if it is a state, else with 0."""
    fixed = len(node.inputs) - (0 if node.op is None else len(node.op.states))
    pairs = [(edge, int(i >= fixed)) for i, edge in enumerate(node.inputs)]
    return pairs if known is None or node.op is None else known.arranged(node.op, pairs, back=True)


def to_text(heads: Sequence[Edge]) -> str:
    """The graph of `heads` in words, one paragraph for each operator."""
    lines = ["Symbol Outputs:"]
    lines += [f"\toutput[{i}]={shown(edge.node.name)}({edge.index})" for i, edge in enumerate(heads)]
    for node in toposort(edge.node for edge in heads):
        if node.is_variable:
            lines.append(f"Variable:{shown(node.name)}")
            continue
        lines += ["-" * 20, f"Op:{node.label.mxnet_op}, Name={shown(node.name)}", "Inputs:"]
        for i, (edge, _) in enumerate(inputs_of(node, find(node.label.mxnet_op))):
            version = " version=0" if edge.node.is_variable else ""
            lines.append(f"\targ[{i}]={shown(edge.node.name)}({edge.index}){version}")
        if node.label.attributes:
            lines += [
                "Attrs:",
                *("\t" + shown(f"{key}={text}") for key, text in sorted(node.label.attributes.items())),
            ]
    return "\n".join([*lines, ""])


def from_json(text: str, where: str = "the JSON text") -> list[Edge]:
    """The heads of a saved graph; files since MXNet 0.8 are read.

    Errors
        FormatError naming the node that is wrong; nothing in the text is run.
    """
    return heads_of(parsed(text, where), where)


def heads_of(graph: Any, where: str, depth: int = 0) -> list[Edge]:
    """The heads of a graph, which lies in so many others.

    Errors
        FormatError naming the node that is wrong.
    """
    entries = graph.get("nodes") if isinstance(graph, dict) else None
    if not isinstance(entries, list) or not isinstance(graph.get("heads"), list):
        raise FormatError(f"{where} is no saved symbol: it lacks the lists 'nodes' and 'heads'")
    if not graph["heads"]:
        raise FormatError(f"{where} has no heads")
    nodes: list[Node] = []
    for i, entry in enumerate(entries):
        place = f"{where}, node {i}"
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise FormatError(f"{place} has no name")
        nodes.append(read_node(entry, nodes, f"{place} ({shown(entry['name'][:80])})", depth))
    more = graph.get("attrs")
    if SIZES.unknown and not depth and not (isinstance(more, dict) and "is_np_shape" in more):
        for node in nodes:
            with_unknown_sizes(node)
    return [read_edge(pair, nodes, f"{where}, head {i}") for i, pair in enumerate(graph["heads"])]


def read_subgraphs(entry: dict[str, Any], place: str, depth: int) -> dict[str, Any]:
    """The graphs that a node holds, as an attribute; none for most nodes.

    Errors
        FormatError naming what is wrong in one of them.
    """
    given = entry.get("subgraphs")
    if given is None:
        return {}
    if not isinstance(given, list) or depth == DEEPEST:
        raise FormatError(f"{place}: subgraphs are no list, or lie in {DEEPEST} others")
    made = importlib.import_module("tinygrad_lesson.mxnet.subgraphs").Subgraph
    return {
        "subgraphs": tuple(
            [made(heads_of(graph, f"{place}, subgraph {k}", depth + 1)) for k, graph in enumerate(given)]
        )
    }


def with_unknown_sizes(node: Node) -> None:
    """The shape that a variable states, from a file in which 0 is an unknown size, as MXNet's NumPy mode has it."""
    attributes = node.label.attributes
    if node.is_variable and "__shape__" in attributes:
        with contextlib.suppress(FormatError):  # which is said when the shape is asked for
            shape = read_shape(attributes["__shape__"], node.name)
            attributes["__shape__"] = str(tuple([n or SIZES.unknown for n in shape]))


def read_node(entry: dict[str, Any], nodes: Sequence[Node], place: str, depth: int = 0) -> Node:
    """One node whose inputs were read before."""
    parts = [entry.get(key) or {} for key in ("param", "attr", "attrs")]  # the last since MXNet 1.0
    if not all(isinstance(part, dict) and all(isinstance(v, str) for v in part.values()) for part in parts):
        raise FormatError(f"{place}: its attributes are no texts by name")
    parts = [{stored(k): text for k, text in part.items()} for part in parts]
    attributes = {**parts[0], **parts[1], **parts[2]}
    mxnet_op = entry.get("op")
    if mxnet_op == "null":
        if not entry["name"]:
            raise FormatError(f"{place}: the name of a variable must not be empty")
        return Node(None, label=Label(entry["name"], attributes=attributes))
    known = find(mxnet_op) if isinstance(mxnet_op, str) else None
    if known is None:
        raise FormatError(
            f"{place}: operator {str(mxnet_op)[:80]!r} is not known; if it is your own, import the module "
            f"that declares it with @op first"
        )
    inputs = entry.get("inputs")
    if not isinstance(inputs, list):
        raise FormatError(f"{place}: it has no list of inputs")
    edges = tuple(read_edge(pair, nodes, f"{place}, input {i}") for i, pair in enumerate(inputs))
    graphs = read_subgraphs(entry, place, depth)
    try:
        taken = parts[0] if "param" in entry else attributes  # before 0.9 the user's lay apart, in "attr"
        own = {key: text for key, text in taken.items() if not key.startswith("__") and not suffix(key)}
        op = known.make({**own, **graphs}, count=len(edges) + sum(map(len, graphs.values())))
    except AttributeValueError as error:
        raise FormatError(f"{place}: {error}") from None
    names = known.input_names(op, len(edges))
    if len(edges) != len(names) and len(edges) == len(names) - len(
        op.states
    ):  # before 0.9 states were implicit
        states = [Node(None, label=Label(f"{entry['name']}_{state}", attributes={})) for state in op.states]
        edges = (*edges, *map(Edge, states))
    if len(edges) != len(names) or (op.variadic and not edges):
        raise FormatError(
            f"{place}: it has {len(edges)} inputs, {known.name} takes {', '.join(names) or 'one or more'}"
        )
    for key in filter(suffix, list(attributes)):
        if key[: -len(suffix(key)) - 1] in names:  # before 1.0 `weight_lr_mult` stood at the layer
            part = edges[names.index(key[: -len(suffix(key)) - 1])].node
            part.label.attributes[f"__{suffix(key)}__"] = attributes.pop(key)
    try:
        edges = known.arranged(op, edges)
    except ShapeError as error:
        raise FormatError(f"{place}: {error}") from None
    return Node(op, edges, Label(entry["name"], known.name, attributes))


def read_edge(pair: Any, nodes: Sequence[Node], place: str) -> Edge:
    """An edge [node, output] or [node, output, version] that points at an earlier node."""
    numbers = pair if isinstance(pair, list) and len(pair) in (2, 3) else []
    if len(numbers) < 2 or not all(type(n) is int for n in numbers):
        raise FormatError(f"{place} is {plain(repr(pair), 80)}, expected [node, output, version]")
    node, index = numbers[:2]
    if not 0 <= node < len(nodes):
        raise FormatError(
            f"{place} points at node {str(node)[:20]}, expected one of the {len(nodes)} before it"
        )
    op = nodes[node].op
    count = 1 if op is None else len(op.outputs)
    if not 0 <= index < count:
        raise FormatError(
            f"{place} wants output {str(index)[:20]} of {nodes[node].name[:80]!r}, which has {count}"
        )
    return Edge(nodes[node], index)


def read_shape(text: str, name: str) -> tuple[int, ...]:
    """A shape that a variable was saved with.

    Errors
        FormatError if the text is no tuple of sizes.
    """
    try:
        shape = ast.literal_eval(text[:1000])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        shape = None
    if not isinstance(shape, tuple | list) or not all(type(n) is int for n in shape):
        raise FormatError(f"variable {name!r} has the shape {text[:80]!r}, expected a tuple of sizes")
    return tuple(shape)


def read_dtype(text: str, name: str) -> str | None:
    """An element type that a variable was saved with, MXNet's number for it; None for -1, an unknown one.

    Errors
        FormatError if the text is no such number.
    """
    codes = {str(code): dtype for code, dtype in enumerate(DTYPE_CODES)}
    if text not in codes and text != "-1":
        known = ", ".join(f"{code} for {dtype}" for code, dtype in codes.items())
        raise FormatError(f"variable {name!r} has the dtype {text[:80]!r}, expected {known}")
    return codes.get(text)
