"""An op of a user's own as MXNet has it: a `CustomOp` in NumPy, and a `CustomOpProp` that tells its shapes.

`@op` says more in fewer lines, and can be differentiated again; this is for operators that exist already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tinygrad_lesson.arrays import Context
from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError
from tinygrad_lesson.engine.shapes import Shape

if TYPE_CHECKING:
    from tinygrad_lesson.mxnet.ndarray import NDArray

PropClass = TypeVar("PropClass", bound=type["CustomOpProp"])
REGISTERED: dict[str, type[CustomOpProp]] = {}


class CustomOp:
    """What an operator computes, forward and backward, on arrays that it is handed.

    Source
        MXNet 1.9, ``mx.operator.CustomOp``.
    """

    def forward(
        self, is_train: bool, req: Sequence[str], in_data: Sequence[NDArray], out_data: Sequence[NDArray],
        aux: Sequence[NDArray],
    ) -> None:  # fmt: skip
        """Compute `out_data` from `in_data`; `aux` holds the states, to be changed in place."""
        raise NotImplementedError(f"{type(self).__name__} declares no forward")

    def backward(
        self, req: Sequence[str], out_grad: Sequence[NDArray], in_data: Sequence[NDArray],
        out_data: Sequence[NDArray], in_grad: Sequence[NDArray], aux: Sequence[NDArray],
    ) -> None:  # fmt: skip
        """Compute `in_grad`, one array per argument; what is not assigned stays zero."""
        raise NotImplementedError(f"{type(self).__name__} declares no backward")

    def assign(self, dst: NDArray, req: str, src: Any) -> None:
        """Put `src` into `dst` as `req` says: write, inplace, add or null.

        Errors
            AttributeValueError for another request; ValueError where `src` does not fit.
        """
        if req in ("write", "inplace"):
            dst[...] = src
        elif req == "add":
            dst[...] += src
        elif req != "null":
            raise AttributeValueError(f"assign: req is {req!r}, expected write, inplace, add or null")


class CustomOpProp:
    """What is known about an operator before it runs: names, shapes, element types.

    The attributes of a node come to `__init__` as texts. With ``need_top_grad=False`` the gradient begins
    here, as in a loss: `backward` is not told what comes from above.

    Source
        MXNet 1.9, ``mx.operator.CustomOpProp``.
    """

    def __init__(self, need_top_grad: bool = True) -> None:
        self.need_top_grad_ = need_top_grad

    def list_arguments(self) -> list[str]:
        """Names of the inputs."""
        return ["data"]

    def list_outputs(self) -> list[str]:
        """Names of the outputs."""
        return ["output"]

    def list_auxiliary_states(self) -> list[str]:
        """Names of the states."""
        return []

    def infer_shape(self, in_shape: list[list[int]]) -> Any:
        """Shapes of inputs, outputs and states; `in_shape` holds [] for an input that is not known."""
        return in_shape, [in_shape[0]] * len(self.list_outputs()), []

    def infer_type(self, in_type: list[Any]) -> Any:
        """Element types of inputs, outputs and states."""
        first = in_type[0]
        outputs, states = len(self.list_outputs()), len(self.list_auxiliary_states())
        return in_type, [first] * outputs, [first] * states

    def declare_backward_dependency(
        self, out_grad: Sequence[int], in_data: Sequence[int], out_data: Sequence[int]
    ) -> list[int]:
        """Which of the numbered arrays `backward` reads; here it counts whether `out_grad` is among them."""
        return [*(out_grad if self.need_top_grad_ else ()), *in_data, *out_data]

    def create_operator(self, ctx: Context, in_shapes: Sequence[Shape], in_dtypes: Sequence[Any]) -> CustomOp:
        """The operator itself, made once for each node of a bound graph."""
        raise NotImplementedError(f"{type(self).__name__} declares no create_operator")


def register(reg_name: str) -> Callable[[PropClass], PropClass]:
    """A decorator that makes a `CustomOpProp` known as `op_type`; a later one takes the name over.

    Errors
        DTypeError for anything but a class of CustomOpProp.
    """

    def enter(prop: PropClass) -> PropClass:
        if not (isinstance(prop, type) and issubclass(prop, CustomOpProp)):
            raise DTypeError(f"register({reg_name!r}): expected a class of CustomOpProp, not {prop!r}")
        REGISTERED[reg_name] = prop
        return prop

    return enter


def registered_as(prop: type[CustomOpProp]) -> str:
    """The name under which properties are registered.

    Errors
        AttributeValueError where they are not.
    """
    for name, known in REGISTERED.items():
        if known is prop:
            return name
    raise AttributeValueError(
        f"{prop.__name__} is not registered; put @operator.register('its name') above it"
    )


def make_prop(op_type: str, arguments: dict[str, Any]) -> CustomOpProp:
    """What was registered as `op_type`, made with these texts.

    Errors
        AttributeValueError where nothing was, or where it takes other attributes.
    """
    cls = REGISTERED.get(op_type)
    if cls is None:
        known = ", ".join(sorted(REGISTERED)) or "none"
        raise AttributeValueError(
            f"op_type {op_type!r} is not registered (known: {known}); run or import the module that has "
            f"@operator.register({op_type!r}) above its CustomOpProp first"
        )
    try:
        return cls(**arguments)
    except TypeError as error:
        given = ", ".join(f"{key}={text!r}" for key, text in arguments.items())
        raise AttributeValueError(f"op_type {op_type!r} was given {given or 'nothing'}: {error}") from None
