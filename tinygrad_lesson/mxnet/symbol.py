"""`Symbol`: one or more edges of a graph, named and asked about as in MXNet 1.x."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, cpu
from tinygrad_lesson.display import Displayed
from tinygrad_lesson.engine.errors import (
    AttributeValueError,
    DTypeError,
    GraphError,
    ShapeError,
    listed,
    near,
    shown,
)
from tinygrad_lesson.engine.graph import (
    Edge,
    Label,
    Node,
    outputs_of,
    packed,
    unpacked,
)
from tinygrad_lesson.engine.interpret import substitute
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.mxnet import binding, serial
from tinygrad_lesson.mxnet.asked import Asked
from tinygrad_lesson.mxnet.bound import as_ndarray, collector_paused
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.naming import (
    NameManager,
    is_hidden,
    is_wrapped,
    output_name,
    scoped,
    visible,
    with_plain_names,
    wrapped,
)
from tinygrad_lesson.mxnet.register import Operator, as_text, find, offered
from tinygrad_lesson.mxnet.spelled import Spelled, is_number, told_apart, with_number
from tinygrad_lesson.plan import Passes


class Symbol(Asked, Spelled, Displayed):
    """A symbolic expression: edges of a graph whose variables have no values yet."""

    __slots__ = ()
    __array_ufunc__ = None

    # Parts.

    def get_internals(self) -> Symbol:
        """A group of every variable and every output inside."""
        return Symbol([edge for node in self.nodes for edge in outputs_of(node)[: visible(node)]])

    def get_children(self) -> Symbol | None:
        """A group of the inputs of the head nodes."""
        inputs = [x for node in dict.fromkeys(edge.node for edge in self.heads) for x in node.inputs]
        return Symbol(inputs) if inputs else None

    def __getitem__(self, index: int | str | slice) -> Symbol:
        if isinstance(index, str):
            found = [edge for edge in self.heads if index in (output_name(edge), edge.node.name)]
            if len(found) != 1:
                count = "no output is" if not found else f"{len(found)} outputs are"
                raise GraphError(f"{self!r}: {count} called {index!r}; {near(index, self.list_outputs())}")
            return Symbol(found)
        if isinstance(index, slice):
            if not self.heads[index]:
                raise GraphError(f"{self!r}: no output is in {index!r}")
            return Symbol(self.heads[index])
        if not isinstance(index, int | np.integer):
            raise DTypeError(f"{self!r}: an output is chosen by its number or its name, not by {index!r}")
        return Symbol([self.heads[index]])

    def __iter__(self) -> Iterator[Symbol]:
        return (Symbol([edge]) for edge in self.heads)

    def __len__(self) -> int:
        return len(self.heads)

    def __repr__(self) -> str:
        if self.name is not None:
            return f"<Symbol {shown(self.name)}>"
        return f"<Symbol group [{listed(edge.node.name for edge in self.heads)}]>"

    # Attributes.

    def attr(self, key: str) -> str | None:
        """One attribute of the head node."""
        attributes = self.heads[0].node.label.attributes
        return attributes.get(key, attributes.get(f"__{key}__"))

    def list_attr(self) -> dict[str, str]:
        """The attributes of the head node."""
        return with_plain_names(self.heads[0].node.label.attributes)

    def attr_dict(self) -> dict[str, dict[str, str]]:
        """The attributes of every node that has some."""
        found = {node.name: with_plain_names(node.label.attributes) for node in self.nodes}
        return {name: attributes for name, attributes in found.items() if attributes}

    def _set_attr(self, **attributes: str) -> None:
        """Write attributes that are no operator's at the head node, for all symbols that have it."""
        node = self.heads[0].node
        node.label.attributes.update({wrapped(key): as_text(value) for key, value in attributes.items()})

    def _gen_atomic_symbol(self) -> Symbol:
        """The operator of the head node alone, with variables for its inputs."""
        label = self.heads[0].node.label
        own = {key: text for key, text in label.attributes.items() if not is_wrapped(key)}
        return apply(label.mxnet_op, name=label.name, **own)

    # Binding.

    def simple_bind(
        self,
        ctx: Context = cpu(),
        grad_req: Any = "write",
        type_dict: Mapping[str, Any] | None = None,
        *,
        group2ctx: Any = None,
        shared_exec: Any = None,
        passes: Passes = Passes(),
        runner: str | None = None,
        **shapes: Any,
    ) -> Executor:
        """An executor with arrays of its own, zero to begin with; parameters lie side by side in one buffer.

        `passes` says how the graph is simplified, and with `Passes(mirror=True)` that memory is saved for time;
        `runner` is `vm` or `numpy`, by default the fastest that is installed. `group2ctx` and `shared_exec` are MXNet's
        and change nothing here.

        Errors
            BindError where a shape is missing, a name is no argument, or a request is none of write, add, null;
            LessonError for a runner that does not exist.
        """
        binding.check_groups(self, group2ctx)
        with collector_paused():
            return binding.simple_bind(
                self, ctx, grad_req, type_dict or {}, shapes, passes=passes, runner=runner
            )

    def bind(
        self, ctx: Context, args: Any, args_grad: Any = None, grad_req: Any = "write", aux_states: Any = None,
        group2ctx: Any = None, shared_exec: Any = None, *, passes: Passes = Passes(), runner: str | None = None,
    ) -> Executor:  # fmt: skip
        """An executor over the given arrays (lists in order, or dicts by name).

        NDArrays and NumPy arrays are used where they lie, so that a caller sees them change; anything
        else is copied to float32. `group2ctx` and `shared_exec` are MXNet's and change nothing here; `passes` and
        `runner` are as for `simple_bind`.

        Errors
            BindError for a missing array, a list of another length, or an unknown gradient.
        """
        binding.check_groups(self, group2ctx)
        return binding.bind(self, ctx, args, args_grad, grad_req, aux_states, passes=passes, runner=runner)

    def eval(self, ctx: Context = cpu(), **arguments: Any) -> list[Any]:
        """Outputs for the given arguments, as arrays of the caller's own.

        Errors
            BindError for a missing array, or a name that is no argument.
        """
        self.by_leaf((), arguments, "eval")
        states = {name: arguments[name] for name in self.list_auxiliary_states() if name in arguments}
        outputs = self.bind(ctx, arguments, grad_req="null", aux_states=states).forward()
        return [as_ndarray(y.asnumpy()) for y in outputs]

    # Saving.

    def debug_str(self) -> str:
        """The graph as MXNet's text for reading."""
        return serial.to_text(self.heads)

    def tojson(self, remove_amp_cast: bool = True) -> str:
        """The graph in MXNet's JSON; casts stay, whatever `remove_amp_cast` is."""
        return serial.to_json(self.heads)

    def save(self, fname: str, remove_amp_cast: bool = True) -> None:
        """Write the graph in MXNet's JSON, whole or not at all; casts stay, whatever `remove_amp_cast` is."""
        write_whole(fname, self.tojson())

    # Composition.

    def __call__(self, *positional: Symbol, name: str | None = None, **named: Symbol) -> Symbol:
        """This expression with variables replaced by other expressions.

        Errors
            GraphError for a name that is no variable, or that is given twice.
        """
        leaves = [node for node in self.nodes if node.is_variable]
        names = list(dict.fromkeys(node.name for node in leaves))
        if len(positional) > len(names):
            raise GraphError(f"{self!r}: {len(positional)} symbols for {len(names)} variables")
        replaced = dict(zip(names, positional, strict=False))
        for key in named:
            if key not in names or key in replaced:
                wrong = "two symbols for" if key in replaced else "no variable"
                raise GraphError(f"{self!r} has {wrong} {key!r}; {near(key, names)}")
        replaced |= named
        edges = {key: single(value, key) for key, value in replaced.items()}
        new = {node: edges[node.name] for node in leaves if node.name in edges}
        heads = substitute(self.heads, lambda node, inputs: (new[node],) if node in new else None)
        if name and len(heads) == 1:
            node = heads[0].node
            heads = [Edge(Node(node.op, node.inputs, node.label._replace(name=name)), heads[0].index)]
        return Symbol(heads)

    def __copy__(self) -> Symbol:
        return Symbol(self.heads)

    def __deepcopy__(self, memo: Any) -> Symbol:
        return Symbol(self.heads)

    def __reduce__(self) -> Any:  # for pickle, which would recurse over the graph
        return restored, packed(self.heads)

    def __getattr__(self, name: str) -> Any:
        """An operator as a method: `x.sum(axis=1)`."""
        if name.startswith("_") or not name.islower() or offered(name) is None:
            raise AttributeError(f"a Symbol has no {name!r}")
        return partial(apply, name, self)

    # Arithmetic.

    def operate(self, mxnet_op: str, a: Any, b: Any) -> Symbol:
        """A node of an operator between symbols, or between a symbol and a number."""
        return binary(mxnet_op, a, b)

    def astype(self, dtype: Any) -> Symbol:
        """The same numbers in another element type."""
        return apply("Cast", self, dtype=np.dtype(dtype).name)

    def __abs__(self) -> Symbol:
        return apply("abs", self)


def restored(nodes: Any, heads: Any) -> Symbol:
    """A symbol that was pickled."""
    return Symbol(unpacked(nodes, heads))


def single(value: Any, what: str) -> Edge:
    """The one edge of an input.

    Errors
        DTypeError if it is no symbol; GraphError if it has several outputs.
    """
    if not isinstance(value, Symbol):
        raise DTypeError(f"{what} must be a Symbol, not {value!r}")
    if len(value.heads) != 1:
        raise GraphError(
            f"{what} has {len(value.heads)} outputs; choose one, such as {value.list_outputs()[0]!r}"
        )
    return value.heads[0]


def apply(mxnet_op: str, *positional: Any, name: str | None = None, attr: Any = None, **named: Any) -> Symbol:
    """A node of the operator called `mxnet_op`; inputs that are not given become variables.

    Errors
        AttributeValueError for an unknown or missing attribute; DTypeError for an input that is no symbol.
    """
    known = find(mxnet_op)
    if known is None:
        raise AttributeValueError(f"there is no operator {mxnet_op!r}")
    if not isinstance(name, str | None):
        raise DTypeError(f"{mxnet_op}: the name must be a string, not {name!r}")
    positional, inputs, given = told_apart(known, positional, named, Symbol)
    told = {k: as_text(given.pop(k)) for k in list(given) if is_hidden(k)}
    told = scoped(attr, told, f"{shown(name)} ({mxnet_op})" if name else mxnet_op)
    own = {**{k: text for k, text in told.items() if k in known.parameters}, **given}
    op = known.make(own, name or "", len(positional) + len(inputs))
    texts = {k: as_text(v) for k, v in sorted(own.items())}
    if "num_args" in known.ignored and not known.takes_any:
        texts["num_args"] = str(len(positional) + len(inputs))
    label = NameManager.current().get(name, mxnet_op.lower().replace("scalar_", "scalar"))
    attributes = texts | {wrapped(k): text for k, text in told.items() if k not in known.parameters}
    edges = gather(known, op, label, positional, inputs, attributes)
    node = Node(op, edges, Label(label, known.name, attributes))
    return Symbol(outputs_of(node)[: op.visible])


def gather(
    known: Operator,
    op: Any,
    label: str,
    positional: Sequence[Any],
    inputs: dict[str, Symbol],
    attributes: dict[str, str],
) -> tuple[Edge, ...]:
    """The input edges of a new node; those that are missing become variables named after it."""
    names = known.input_names(op, len(positional) + len(inputs))
    while len(positional) > len(names) and positional[-1] is None:
        positional = positional[:-1]
    where = f"{shown(label)} ({known.name})"
    if len(positional) > len(names):
        raise AttributeValueError(f"{where}: {len(positional)} inputs given, it takes {listed(names)}")
    if op.variadic:
        positional, inputs = [*positional, *inputs.values()], {}
    if op.variadic and not positional:
        raise AttributeValueError(f"{where}: no input is given, it takes one or more")
    unknown = set(inputs) - set(names[len(positional) :])
    if unknown:
        raise AttributeValueError(
            f"{where}: {sorted(unknown)[0]!r} is no input or given twice; it takes {listed(names)}"
        )
    edges = []
    for i, input_name in enumerate(names):
        value = positional[i] if i < len(positional) else inputs.get(input_name)
        if value is None:
            edge = Edge(Node(None, label=Label(f"{label}_{input_name}", attributes=dict(attributes))))
        else:
            edge = single(value, f"{where}: input {input_name}")
        first = known.initial.get(input_name)
        if first is None and input_name in op.states:
            first = '["one", {}]' if input_name.endswith("var") else '["zero", {}]'
        if (
            first is not None and edge.node.is_variable
        ):  # one that the caller made, too, if it says nothing itself
            edge.node.label.attributes.setdefault("__init__", first)
        edges.append(edge)
    try:
        return known.arranged(op, edges)
    except ShapeError as error:
        raise AttributeValueError(f"{where}: {error}") from None


def binary(mxnet_op: str, a: Any, b: Any) -> Symbol:
    """An operator between symbols, or between a symbol and a number.

    Errors
        DTypeError for anything else.
    """
    if isinstance(a, Symbol) and isinstance(b, Symbol):
        return apply(mxnet_op.lower(), a, b)
    symbol, number, reverse = (a, b, False) if isinstance(a, Symbol) else (b, a, True)
    if not is_number(number):
        raise DTypeError(
            f"{mxnet_op.strip('_').lower()} of a Symbol and {number!r}: expected a Symbol or a number"
        )
    operator_name, scalar = with_number(mxnet_op, number, reverse)
    return apply(operator_name, symbol, scalar=scalar)
