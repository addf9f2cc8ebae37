"""Names and attributes that nodes get when the user gives none, and names of what is inside, as in MXNet 1.x."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar

from tinygrad_lesson.engine.errors import AttributeValueError, shown
from tinygrad_lesson.engine.graph import Edge, Node, between, outputs_of
from tinygrad_lesson.mxnet.register import find

NAMED = {  # operators of one input that MXNet gives a name; that of the others is `input0`
    "Dropout", "GridGenerator", "IdentityAttachKLSparseReg", "L2Normalization", "LRN", "LeakyReLU", "MakeLoss",
    "Pad", "Pooling", "SliceChannel", "SwapAxis", "_contrib_MultiBoxPrior", "_contrib_index_array",
    "_contrib_quadratic", "_linalg_det", "_linalg_extractdiag", "_linalg_extracttrian", "_linalg_gelqf",
    "_linalg_inverse", "_linalg_makediag", "_linalg_maketrian", "_linalg_potrf", "_linalg_potri", "_linalg_slogdet",
    "_linalg_sumlogdiag", "_linalg_syevd", "_linalg_syrk", "_np_cumsum", "_ravel_multi_index",
    "_sample_exponential", "_sample_poisson", "_split_v2", "_unravel_index", "all_finite", "col2im",
    "depth_to_space", "diag", "im2col", "log_softmax", "moments", "one_hot", "repeat", "reverse", "softmax",
    "space_to_depth", "squeeze", "tile",
}  # fmt: skip
HIDDEN = ("lr_mult", "wd_mult", "ctx_group", "force_mirroring", "mirror_stage", "profiler_scope")


class Scope:
    """Something that holds while its `with` block runs, one stack per thread."""

    stacks: ClassVar[threading.local] = threading.local()

    @classmethod
    def stack(cls) -> list[Any]:
        """The scopes of this kind that this thread has entered, the outermost first."""
        kind = next(c.__name__ for c in cls.__mro__ if Scope in c.__bases__)
        stacks = cls.stacks.__dict__
        return stacks.setdefault(kind, [])  # type: ignore[no-any-return]

    @classmethod
    def current(cls) -> Any:
        """The innermost scope."""
        stack = cls.stack()
        if not stack:
            stack.append(next(c for c in cls.__mro__ if Scope in c.__bases__)())
        return stack[-1]

    def __enter__(self) -> Any:
        self.current()
        self.stack().append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.stack().pop()


class NameManager(Scope):
    """Counts the unnamed nodes of each kind: `fullyconnected0`, `fullyconnected1`."""

    def __init__(self) -> None:
        self.counters: dict[str, Iterator[int]] = {}

    def get(self, name: str | None, hint: str) -> str:
        """`name` if there is one, else the next of its kind."""
        if name:
            return name
        return f"{hint}{next(self.counters.setdefault(hint, itertools.count()))}"


class Prefix(NameManager):
    """Puts a prefix before every name, given or counted."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        """The name with the prefix."""
        return self.prefix + super().get(name, hint)


class AttrScope(Scope):
    """Attributes that all nodes made inside get, such as ``lr_mult="0"`` or ``__mood__="happy"``.

    An operator takes those that are attributes of its own, unless its call says otherwise.
    """

    def __init__(self, /, **attributes: str) -> None:
        for key, value in attributes.items():
            if not isinstance(value, str):
                raise AttributeValueError(f"AttrScope: {key} is {value!r}, expected a string")
        self.attributes = {stored(key): value for key, value in attributes.items()}

    def __enter__(self) -> Any:
        self.stack().append(AttrScope(**{**self.current().attributes, **self.attributes}))
        return self


def scoped(attr: Any, more: Mapping[str, Any], where: str) -> dict[str, str]:
    """The attributes of the present scope and those of a caller, which win, as texts.

    Errors
        AttributeValueError for one that is neither text nor number, that speaks of an input, or is nearly a hidden one.
    """
    if not isinstance(attr, Mapping | None):
        raise AttributeValueError(f"{where}: attr is {attr!r}, expected texts by name")
    attributes: dict[str, str] = dict(AttrScope.current().attributes)
    for key, value in {**(attr or {}), **more}.items():
        if not isinstance(key, str) or not isinstance(value, str | Real):
            raise AttributeValueError(f"{where}: attr holds {key!r}: {value!r}, expected texts by name")
        attributes[stored(key)] = str(value)
    for key, text in attributes.items():
        meant = key.strip("_")
        if meant in HIDDEN and key not in (meant, wrapped(meant)):
            raise AttributeValueError(f"{where}: {key!r} means nothing; write {meant}={text!r}")
    for key in filter(suffix, attributes):
        name, hidden = key[: -len(suffix(key)) - 1], suffix(key)
        raise AttributeValueError(
            f"{where}: {key!r} speaks of an input; make that one yourself: "
            f"{shown(name)}=Variable({name!r}, {hidden}={attributes[key]!r})"
        )
    return attributes


def stored(key: str) -> str:
    """The name under which a node keeps an attribute: those that MXNet hides are wrapped."""
    return wrapped(key) if key in HIDDEN else key


def wrapped(key: str) -> str:
    """The name under which a node has what is no attribute of its operator: `mood` is `__mood__`."""
    return key if is_wrapped(key) else f"__{key}__"


def is_wrapped(key: str) -> bool:
    """Whether a key can be no attribute of an operator: `__mood__`."""
    return key.startswith("__") and key.endswith("__")


def is_hidden(key: str) -> bool:
    """Whether a keyword of a call speaks of the node, or of an input, and not of the operator."""
    return key in HIDDEN or is_wrapped(key) or bool(suffix(key))


def suffix(key: str) -> str:
    """The hidden attribute that a key means for an input: `lr_mult` of `weight_lr_mult`; empty if none."""
    return next((h for h in HIDDEN if key.endswith(f"_{h}")), "")


def with_plain_names(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes as MXNet lists them: some hidden ones under their plain name too."""
    plain = {key[2:-2]: v for key, v in attributes.items() if key[2:-2] in HIDDEN}
    return {**attributes, **plain}


def watched(order: Sequence[Node], inputs_too: bool) -> Iterator[tuple[str, Edge]]:
    """Name and edge of each result in the order of computation; with `inputs_too` also of what goes into each node.

    Source
        MXNet 1.9, ``Executor.set_monitor_callback``: with outputs that are hidden else, such as the mean and `var` of
        batch normalization, as far as they are computed here (a mask is not).
    """
    for node in order:
        if node.op is None:
            continue
        if inputs_too:
            for name, edge in zip(input_names(node), node.inputs, strict=True):
                if edge.node.is_variable:
                    yield edge.node.name, edge
                yield f"{node.name}_{name}", edge
        yield from ((output_name(edge), edge) for edge in outputs_of(node)[: len(output_names(node))])


def flowing(order: Sequence[Node], learnt: Iterable[Edge]) -> Iterator[tuple[str, Edge]]:
    """Name and edge of each gradient that a backward run computes, node by node from the last: those of its inputs.

    Source
        MXNet 1.9, ``Executor.set_monitor_callback``, where a node named `fc` has ``fc_backward`` behind it.
    """
    reached = between(order, [edge.node for edge in learnt])
    for node in reversed(order):
        if node.op is not None and node in reached:
            for i, edge in enumerate(node.inputs):
                yield f"{node.name}_backward_output{i if len(node.inputs) > 1 else ''}", edge


def input_names(node: Node) -> Sequence[str]:
    """What MXNet calls the inputs of a node."""
    operator, count = find(node.label.mxnet_op), len(node.inputs)
    if node.op.variadic:  # type: ignore[union-attr]
        return [f"arg{i}" for i in range(count)]
    own: Sequence[str] = node.op.name_inputs(count)  # type: ignore[union-attr]
    given = operator.inputs if operator is not None else None
    if count == 1:
        named = operator is not None and operator.name in NAMED
        return [given[0] if named and given else "data" if named else "input0"]
    return given if given is not None and len(given) == count else own


def visible(node: Node) -> int:
    """How many outputs of a node the user sees."""
    return 1 if node.op is None else node.op.visible


def output_name(edge: Edge) -> str:
    """MXNet's name for an output: `fc1_output`, or the variable's own name."""
    node = edge.node
    if node.op is None:
        return node.name
    return f"{node.name}_{output_names(node)[edge.index]}"


def output_names(node: Node) -> Sequence[str]:
    """What MXNet calls the outputs of an operator, the hidden ones too."""
    known = find(node.label.mxnet_op)
    names: Sequence[str] = known.output_names(node.op) if known else node.op.outputs  # type: ignore[union-attr, arg-type]
    return names
