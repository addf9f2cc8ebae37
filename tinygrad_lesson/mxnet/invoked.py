"""MXNet's operators on arrays: computed at once, and recorded where `mx.autograd` wants it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, at, held, require_device
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.eager.recording import replaying
from tinygrad_lesson.eager.tensor import Tensor, lent, wrap
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError
from tinygrad_lesson.engine.graph import Label, Node
from tinygrad_lesson.engine.infer import kept
from tinygrad_lesson.engine.op import Op, declares
from tinygrad_lesson.mxnet.functions import cuts
from tinygrad_lesson.mxnet.held import MODE
from tinygrad_lesson.mxnet.ndarray import NDArray, as_ndarray, put
from tinygrad_lesson.mxnet.register import Operator, as_text, find
from tinygrad_lesson.mxnet.spelled import told_apart
from tinygrad_lesson.ops.copies import Cast
from tinygrad_lesson.ops.scalars import WithScalar


@declares
class Ended(Op):
    """A result that has no gradient: its inputs are part of the graph, and get zeros."""

    name = "Ended"
    inputs = ("x",)
    variadic = True
    fits = True

    def vjp(self, F: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """No gradient."""
        return (None,) * len(inputs)


ENDED = Ended()


def invoke(
    mxnet_op: str, *positional: Any, out: Any = None, name: Any = None, attr: Any = None, **named: Any
) -> Any:
    """What the operator called `mxnet_op` makes of arrays: an array, or a list of them; in `out` if that is given.

    Errors
        AttributeValueError for an unknown or missing attribute or input; DTypeError for an input that is no array.
    """
    known = find(mxnet_op)
    if known is None:
        raise AttributeValueError(f"there is no operator {mxnet_op!r}")
    place = named.get("ctx")
    if place is not None:
        place = Context.parse(place.replace("(", ":").rstrip(")")) if isinstance(place, str) else place
        require_device(place)
    given, inputs, attributes = told_apart(known, positional, named, NDArray)
    op = known.make(attributes, "", len(given) + len(inputs))
    arrays = known.arranged(op, gathered(known, op, given, inputs))
    with at(place):
        results = computed(known, op, arrays, attributes)
    place = place or (arrays[0].context if arrays else Context())
    if out is not None:
        for y, x in zip(results, out if isinstance(out, list | tuple) else [out], strict=False):
            put(NDArray(y), x if isinstance(x, NDArray) else as_ndarray(x))
        return out
    made = [NDArray(y, place) for y in results]
    return made if len(made) > 1 else made[0]


def gathered(known: Operator, op: Any, given: Sequence[Any], inputs: dict[str, Any]) -> list[NDArray]:
    """The inputs of a call in their order."""
    names = known.input_names(op, len(given) + len(inputs))
    given = [x for i, x in enumerate(given) if x is not None or i < len(names)]
    if op.variadic:
        arrays = [*given, *inputs.values()]
    else:
        told = dict(zip(names, given, strict=False))
        if len(given) > len(names) or inputs.keys() - set(names[len(told) :]):
            raise AttributeValueError(
                f"{known.name}: {[*inputs] or len(given)} given, it takes {', '.join(names)}"
            )
        found = told | inputs
        missing = [n for n in names if found.get(n) is None]
        if missing:
            raise AttributeValueError(f"{known.name}: input {missing[0]!r} is missing")
        arrays = [found[n] for n in names]
    for x in arrays:
        if not isinstance(x, NDArray):
            raise DTypeError(f"{known.name}: an input is {x!r:.80}, expected an NDArray")
    return arrays


def computed(known: Operator, op: Op, arrays: Sequence[NDArray], attributes: dict[str, Any]) -> list[Tensor]:
    """The results of an operator, in the element types that MXNet gives them, and recorded if it is wanted."""
    tensors = [x.taken() for x in arrays]
    op = op.at_mode(MODE.training)
    types: list[Any] = [None] * op.results
    if tensors and not op.mixes_dtypes:
        common, names = tensors[0].dtype, op.name_inputs(len(tensors))
        for n, t in zip(names, tensors, strict=True):
            if t.dtype != common:
                raise DTypeError(f"{known.name}: {n} is {t.dtype}, expected {common} as its other inputs")
        types = kept(op, common, [common] * len(tensors), op.results)
        op = op.keeping(common) if common.kind in "iub" else op
    later = (
        replaying() if op.states and not op.immediate else contextlib.nullcontext()
    )  # `backward` moves them
    with later, np.errstate(all="ignore"):
        y = apply(op.binary, op.sides(*tensors)) if isinstance(op, WithScalar) else apply(op, tensors)  # type: ignore[no-untyped-call]
    results = list(y) if isinstance(y, tuple) else [y]
    recorded = MODE.recording and any(t.node is not None for t in tensors)
    made = [finished(t, dtype, tensors) for t, dtype in zip(results, types, strict=False)]
    if recorded and made[0].node is None:
        node = Node(ENDED, tensors, values=tuple(t.array for t in made), operands=[t.array for t in tensors])
        made = [wrap(t.array, node, i) for i, t in enumerate(made)]
    elif recorded and not isinstance(op, WithScalar):
        texts = {key: as_text(value) for key, value in attributes.items()}
        made[0].node.label = Label("", known.name, texts)  # type: ignore[union-attr]
    return made


def finished(t: Tensor, dtype: Any, tensors: Sequence[Tensor]) -> Tensor:
    """A result in its element type, with axes, and in memory of its own."""
    if t.node is not None:
        return t if dtype in (None, t.dtype) else apply(Cast(type=str(dtype), through=True), [t])
    array = held(t.array)
    array = array if dtype is None else array.astype(dtype, copy=False)
    if array.base is not None or any(array is x.array for x in tensors):
        array = array.copy()
    return lent(array if array.ndim else array.reshape(1))


def split_v2(ary: NDArray, indices_or_sections: Any, axis: int = 0, squeeze_axis: bool = False) -> Any:
    """Parts along an axis: so many equal ones, or those between the given places."""
    whole = isinstance(indices_or_sections, int)
    parts = invoke(
        "_split_v2", ary, axis=axis, squeeze_axis=whole and squeeze_axis, **cuts(indices_or_sections)
    )
    return [invoke("squeeze", part, axis=axis) for part in parts] if squeeze_axis and not whole else parts


NDArray.invoke, NDArray.split_v2 = staticmethod(invoke), split_v2  # type: ignore[attr-defined]
__all__ = ["NDArray", "as_ndarray", "invoke", "split_v2"]
