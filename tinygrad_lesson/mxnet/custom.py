"""`Custom`: operators of a user's own, registered with `tinygrad_lesson.mxnet.operator`, as ops like any other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tinygrad_lesson.arrays import cpu
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.engine.dtypes import DType
from tinygrad_lesson.engine.errors import (
    AttributeValueError,
    DTypeError,
    GraphError,
    LessonError,
    ShapeError,
    kind_for,
    shown,
)
from tinygrad_lesson.engine.op import Op, attr, declares
from tinygrad_lesson.engine.shapes import Shape, is_complete, merge, show
from tinygrad_lesson.mxnet.bound import as_ndarray
from tinygrad_lesson.mxnet.operator import CustomOp, CustomOpProp, make_prop
from tinygrad_lesson.ops.fills import filled


@contextlib.contextmanager
def of_user(where: str) -> Iterator[None]:
    """An error in a user's method becomes one of ours, as it is an MXNetError in MXNet, that says `where` it was."""
    try:
        yield
    except LessonError:
        raise
    except Exception as error:
        raise kind_for(error)(f"{where}: {type(error).__name__}: {error}") from error


@declares
class Custom(Op):
    """An operator that was registered as `op_type`; other attributes go to its `CustomOpProp`, as texts.

    Nodes of it are never taken for equal: its `CustomOp` may keep something between forward and backward.

    Errors
        AttributeValueError if nothing is registered under that name.
    """

    traceable: ClassVar[bool] = False
    op_type: str = attr(doc="the name that it was registered under")
    arguments: tuple[tuple[str, str], ...] = attr((), doc="what its properties are made with")
    is_train: bool = attr(True, shown=False, doc="what `forward` is told; set when bound")

    name: ClassVar[str] = "Custom"
    function: ClassVar[str] = "custom"
    family: ClassVar[str] = "custom"
    mixes_dtypes: ClassVar[bool] = True

    def __init__(self, op_type: str, *, is_train: bool = True, **arguments: Any) -> None:
        texts = {key: str(value) for key, value in arguments.items()}
        vars(self).update(op_type=op_type, arguments=tuple(texts.items()), is_train=is_train)
        vars(self).update(prop=make_prop(op_type, texts), operators={})

    prop: ClassVar[CustomOpProp]
    operators: ClassVar[dict[Any, CustomOp]]  # by shapes and types of the inputs

    def label(self) -> str:
        """As it is called."""
        more = "".join(f", {shown(key)}={text!r}" for key, text in self.arguments)
        return f"Custom(op_type={self.op_type!r}{more})"

    __repr__ = label

    def at_mode(self, is_train: bool) -> Custom:
        """A copy that tells `forward` so, with operators of its own."""
        return Custom(self.op_type, is_train=is_train, **dict(self.arguments))

    @cached_property
    def argument_names(self) -> tuple[str, ...]:
        """Names of the inputs, without states."""
        return tuple(self.prop.list_arguments())

    @cached_property
    def states(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the states."""
        return tuple(self.prop.list_auxiliary_states())

    @cached_property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the outputs."""
        return tuple(self.prop.list_outputs())

    @property
    def input_names(self) -> tuple[str, ...]:
        """Arguments, then states."""
        return self.argument_names + self.states

    @cached_property
    def is_loss(self) -> bool:  # type: ignore[override]
        """Whether `backward` does without the gradient from above."""
        heads = list(range(len(self.outputs)))
        data = [len(heads) + i for i in range(len(self.argument_names))]
        outputs = [len(heads) + len(data) + i for i in heads]
        return not set(heads) & set(self.prop.declare_backward_dependency(heads, data, outputs))

    # Shapes and types.

    def told(self, what: str, given: list[Any]) -> list[list[Any]]:
        """What `infer_shape` or `infer_type` says of inputs, outputs and states.

        Errors
            ShapeError if it does not say it of all.
        """
        with of_user(f"{what} of {self.op_type!r}"):
            found = getattr(self.prop, what)(given)
        parts = [list(part) for part in found] if isinstance(found, tuple | list) else []
        parts += [[]] * (len(parts) == 2)
        expected = [len(self.argument_names), len(self.outputs), len(self.states)]
        if list(map(len, parts)) != expected:
            raise ShapeError(
                f"{what} of {self.op_type!r} gave {found!r}, expected (inputs, outputs, states) with "
                f"{expected[0]}, {expected[1]} and {expected[2]} entries"
            )
        return parts

    def shapes(self, given: Sequence[Shape | None]) -> list[list[Shape]]:
        """Of inputs, outputs and states, as `infer_shape` says."""
        known = [list(s) if is_complete(s) else [] for s in given[: len(self.argument_names)]]  # type: ignore[arg-type]
        return [[tuple(s) for s in part] for part in self.told("infer_shape", known)]

    def shape(self, *shapes: Shape) -> Any:
        """As `infer_shape` says; new values of states are like the old ones."""
        _, outputs, states = self.shapes(shapes)
        results = (*outputs, *states)
        return results if len(results) > 1 else results[0]

    def complete(self, shapes: Any, results: Any) -> Any:
        """As `infer_shape` says, once the shape of the first input, if any, is known.

        Errors
            ShapeError where an input is not as it says.
        """
        shapes = list(shapes)
        if shapes and not is_complete(shapes[0]):
            return shapes, list(results)
        known = all(map(is_complete, shapes[: len(self.argument_names)]))
        try:
            inputs, outputs, states = self.shapes(shapes)
        except IndexError:
            if known:
                raise
            return shapes, list(results)  # it looks at an input that is not known yet
        told = [*inputs, *states]
        for i, (name, wanted) in enumerate(zip(self.input_names, told, strict=True)):
            if not wanted and i < len(inputs) and not is_complete(shapes[i]):
                continue  # it gives back what it does not know either
            try:
                shapes[i] = merge(shapes[i], wanted)
            except ShapeError:
                message = f"{name} is {show(shapes[i])}, expected {show(wanted)}"
                raise ShapeError(f"{message} by infer_shape of {self.op_type!r}") from None
        if not all(map(is_complete, shapes)):
            return shapes, list(results)
        return shapes, [merge(old, new) for old, new in zip(results, (*outputs, *states), strict=True)]

    def types(self, first: Sequence[DType]) -> list[list[np.dtype[Any]]]:
        """Of inputs, outputs and states, as `infer_type` says."""
        given = [np.dtype(d).type for d in first]
        return [[np.dtype(d) for d in part] for part in self.told("infer_type", given)]

    def dtype(self, *dtypes: DType) -> Any:
        """As `infer_type` says."""
        common = next((d for d in dtypes if d is not None), None)
        if common is None and dtypes:
            return (None,) * self.results if self.results > 1 else None
        _, outputs, states = self.types([d or common for d in dtypes[: len(self.argument_names)]])
        results = (*outputs, *states)
        return results if len(results) > 1 else results[0]

    def input_dtype(self, i: int, first: np.dtype[Any]) -> np.dtype[Any]:
        """As `infer_type` says."""
        inputs, _, states = self.types([first] * len(self.argument_names))
        return (*inputs, *states)[i]

    # Numbers.

    def operator(self, arrays: Sequence[np.ndarray]) -> CustomOp:
        """The operator for inputs like these, made when first needed."""
        shapes, types = [x.shape for x in arrays], [x.dtype.type for x in arrays]
        key = (*shapes, *types)
        if key not in self.operators:
            with of_user(f"create_operator of {self.op_type!r}"):
                made = self.prop.create_operator(cpu(), shapes, types)
            if not isinstance(made, CustomOp):
                raise DTypeError(f"create_operator of {self.op_type!r} gave {made!r}, expected a CustomOp")
            self.operators[key] = made
        return self.operators[key]

    def split(self, inputs: Sequence[Any]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Arguments, and copies of the states, as arrays; numbers take the type of what they meet."""
        count, common = len(self.argument_names), np.result_type(*inputs) if inputs else None
        arrays = [x if isinstance(x, np.ndarray | np.generic) else np.asarray(x, common) for x in inputs]
        return [np.asarray(x) for x in arrays[:count]], [np.array(x) for x in arrays[count:]]

    def forward(self, xp: Any, *inputs: Any) -> Any:
        """Outputs and new states."""
        arrays, states = self.split(inputs)
        given = [x.shape for x in (*arrays, *states)]
        shapes = self.shapes(given)[1]
        self.complete(given, [None] * self.results)  # which refuses what does not fit
        types = self.types([x.dtype for x in arrays])[1]
        outputs = [np.zeros(shape, dtype) for shape, dtype in zip(shapes, types, strict=True)]
        out_data = list(map(as_ndarray, outputs))
        handed = list(out_data)
        requests = ["write"] * len(outputs)
        in_data, aux = (list(map(as_ndarray, part)) for part in (arrays, states))
        operator = self.operator(arrays)
        with of_user(f"forward of {self.op_type!r}"):
            operator.forward(self.is_train, requests, in_data, handed, aux)
        self.written("forward", "out_data", handed, out_data)
        results = (*outputs, *states)
        return results if len(results) > 1 else results[0]

    def written(self, where: str, what: str, given: Sequence[Any], kept: Sequence[Any]) -> None:
        """Refuse a list in which arrays were replaced where they should have been written to."""
        for i, (x, y) in enumerate(zip(given, kept, strict=True)):
            if x is not y:
                raise LessonError(
                    f"{where} of {self.op_type!r} replaces {what}[{i}], which nobody sees; write into it: "
                    f"self.assign({what}[{i}], req[{i}], ...)"
                )

    def vjp(self, F: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """Gradients of all arguments at once, by an op of their own; states have none."""
        outputs = len(self.outputs)
        y, g = (y, g) if self.results > 1 else ((y,), (g,))
        heads = [
            filled(F, yi) if gi is None else gi
            for yi, gi in zip(y, () if self.is_loss else g[:outputs], strict=False)
        ]
        back = CustomBackward(self)
        found = F.apply(back, (*heads, *y[:outputs], *inputs[: len(self.argument_names)], *y[outputs:]))
        gradients = found if back.results > 1 else (found,)
        return (*gradients, *[None] * len(self.states))


class Unread(list[Any]):
    """Stands for `out_grad` where an operator says that it does not read it."""

    def __init__(self, op_type: str) -> None:
        super().__init__()
        self.op_type = op_type

    def __getitem__(self, i: Any) -> Any:
        raise GraphError(
            f"backward of {self.op_type!r} reads out_grad, but its CustomOpProp says that it does not; "
            f"call super().__init__(need_top_grad=True) there"
        )


@declares
class CustomBackward(Op):
    """The backward of a custom operator: gradients from above, outputs, arguments and states to gradients."""

    traceable: ClassVar[bool] = False
    custom: Custom = attr(doc="the operator")

    name: ClassVar[str] = "CustomBackward"
    function: ClassVar[str] = "custom_backward"
    family: ClassVar[str] = "custom"

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the gradients from above."""
        return () if self.custom.is_loss else tuple(f"{name}_grad" for name in self.custom.outputs)

    @property
    def input_names(self) -> tuple[str, ...]:
        """In the order of `forward`."""
        custom = self.custom
        return (*self.heads, *custom.outputs, *custom.argument_names, *custom.states)

    @property
    def outputs(self) -> tuple[str, ...]:  # type: ignore[override]
        """A gradient for each argument."""
        return tuple(f"{name}_grad" for name in self.custom.argument_names)

    def label(self) -> str:
        """The operator's own with another name."""
        return self.custom.label().replace("Custom(", "CustomBackward(", 1)

    __repr__ = label

    def own(self, values: Sequence[Any]) -> Sequence[Any]:
        """The part of the inputs that are arguments of the operator."""
        start = len(self.heads) + len(self.custom.outputs)
        return values[start : start + len(self.custom.argument_names)]

    def shape(self, *shapes: Shape) -> Any:
        """As the arguments."""
        found = tuple(self.own(shapes))
        return found if len(found) > 1 else found[0]

    def dtype(self, *dtypes: DType) -> Any:
        """As the arguments."""
        found = tuple(self.own(dtypes))
        return found if len(found) > 1 else found[0]

    def forward(self, xp: Any, *inputs: Any) -> Any:
        """Call `backward`."""
        custom, heads = self.custom, len(self.heads)
        count = heads + len(custom.outputs)
        above = [np.asarray(x) for x in inputs[:heads]]
        outputs = [np.asarray(x) for x in inputs[heads:count]]
        arguments, states = custom.split(inputs[count:])
        gradients = [np.zeros(x.shape, x.dtype) for x in arguments]
        in_grad = list(map(as_ndarray, gradients))
        given = list(in_grad)
        requests = ["write" if x.dtype.kind in "fc" else "null" for x in arguments]
        out_grad = Unread(custom.op_type) if custom.is_loss else list(map(as_ndarray, above))
        in_data, out_data, aux = (list(map(as_ndarray, part)) for part in (arguments, outputs, states))
        operator = custom.operator(arguments)
        with of_user(f"backward of {custom.op_type!r}"):
            operator.backward(requests, out_grad, in_data, out_data, given, aux)
        custom.written("backward", "in_grad", given, in_grad)
        return tuple(gradients) if len(gradients) > 1 else gradients[0]

    def vjp(self, F: Any, g: Any, y: Any, *inputs: Any) -> Any:
        """There is none.

        Errors
            GraphError saying what to do.
        """
        raise GraphError(
            f"{self.custom.label()}: its gradient is computed by a CustomOp, which cannot be differentiated "
            f"again; declare it with @op, whose vjp is written in ops, for derivatives of second order"
        )


def custom(*inputs: Any, op_type: str, is_train: bool = True, **named: Any) -> Any:
    """A registered operator applied to tensors: arguments first or by name, then states; the rest are texts.

    Errors
        AttributeValueError for an unknown operator or a missing input.
    """
    names = set(named)
    texts = {key: value for key, value in named.items() if isinstance(value, str | bool | int | float)}
    made = Custom(op_type, is_train=is_train, **texts)
    given = dict(zip(made.input_names, inputs, strict=False))
    given.update({name: named[name] for name in made.input_names if name in names - set(texts)})
    missing = [name for name in made.input_names if name not in given]
    unknown = names - set(texts) - set(made.input_names)
    if missing or unknown or len(inputs) > len(made.input_names):
        what = (
            f"{missing[0]!r} is missing" if missing else f"{len(inputs)} inputs and {sorted(unknown)} given"
        )
        raise AttributeValueError(f"{made.label()}: {what}; it takes {', '.join(made.input_names)}")
    return apply(made, [given[name] for name in made.input_names])
