"""What MXNet's attributes mean: each function makes our op from the attributes of one of its operators."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.kinds import Reduction
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.mxnet.custom import Custom
from tinygrad_lesson.mxnet.register import DTYPE_CODES
from tinygrad_lesson.ops import (
    adaptive,
    choices,
    copies,
    diagonals,
    gather,
    index,
    layers,
    legacy,
    masked,
    movement,
    norms,
    order,
    products,
    repeated,
    scalars,
    scans,
    top,
)

Numbers = tuple[int, ...]


def choose(key: str, value: str, table: Mapping[str, Op]) -> Op:
    """A row of a table.

    Errors
        AttributeValueError naming the rows there are.
    """
    if value not in table:
        raise AttributeValueError(f"{key} is {value!r:.80}, expected one of {', '.join(table)}")
    return table[value]


def along(cls: Callable[..., Op], log: bool = False) -> Callable[..., Op]:
    """An op along one axis, with MXNet's optional temperature, and the element type of its result."""

    def build(
        axis: int = -1, temperature: float | None = None, dtype: str | None = None, use_length: bool = False
    ) -> Op:
        divisor = 1.0 if temperature is None else temperature
        if use_length and log:
            raise AttributeValueError("use_length is True, expected False")
        if use_length or dtype is not None:
            return masked.MaskedSoftmax(
                axis=axis, temperature=divisor, log=log, use_length=use_length, type=dtype
            )
        return cls(axis=axis, temperature=divisor)

    return build


def reduction(cls: type[Reduction]) -> Callable[..., Op]:
    """A reduction as MXNet counts its axes: none given, or an empty tuple, means all."""

    def build(axis: int | tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False) -> Op:
        axis = None if axis == () else axis
        return cls(axis=axis, keepdims=keepdims, exclude=exclude and axis is not None, vector=True)

    return build


def with_scalar(binary: Op, reverse: bool = False) -> Callable[..., Op]:
    """A binary op with a number on one side."""

    def build(scalar: float = 1.0, is_int: bool = True) -> Op:
        if not is_int:
            raise AttributeValueError(
                "is_int is False, expected True: integers stay integers here; cast first"
            )
        return scalars.WithScalar(binary=binary, scalar=scalar, reverse=reverse)

    a, b = ("scalar", "data") if reverse else ("data", "scalar")
    told = (type(binary).__doc__ or "").strip().partition("\n\n")[0]
    build.__doc__ = f"With a = `{a}` and b = `{b}`: {told}\n\nShapes\n    data (...) -> (...)"
    return build


def clip(a_min: float, a_max: float) -> Op:
    """The op behind `clip`."""
    return choices.Clip(low=a_min, high=a_max)


def reshape(
    shape: tuple[int, ...] | None = None,
    reverse: bool = False,
    target_shape: tuple[int, ...] = (),
    keep_highest: bool = False,
) -> Op:
    """The op behind `Reshape`; `target_shape` is from before `shape`, its 0 is what is left over."""
    if shape is None:
        if not target_shape:
            raise AttributeValueError("attribute 'shape' is missing; expected sizes")
        shape = tuple(n or -1 for n in target_shape)
        shape = (0, *shape[1:]) if keep_highest else shape
    if min(shape, default=0) < -4:
        raise AttributeValueError(f"shape is {shape}, expected sizes, 0 to keep one, or a code from -1 to -4")
    return movement.Reshape(to=shape, zero_keeps=True, reverse=reverse)


def transpose(axes: tuple[int, ...] | None = None) -> Op:
    """The op behind `transpose`."""
    return movement.Transpose(axes=axes or None)


def swap_axes(dim1: int = 0, dim2: int = 0) -> Op:
    """The op behind `SwapAxis`."""
    return movement.SwapAxes(a=dim1, b=dim2)


def squeeze(axis: int | tuple[int, ...] | None = None) -> Op:
    """The op behind `squeeze`, which leaves at least one axis."""
    return movement.Squeeze(axis=axis, vector=True)


def broadcast_to(shape: tuple[int, ...]) -> Op:
    """The op behind `broadcast_to`; 0 keeps a size."""
    return legacy.BroadcastKeeping(to=shape) if 0 in shape else movement.BroadcastTo(to=shape)


def pad(pad_width: tuple[int, ...], mode: str = "constant", constant_value: float = 0.0) -> Op:
    """The op behind `Pad`: widths in pairs, one after the other."""
    if len(pad_width) % 2:
        raise AttributeValueError(f"pad_width has {len(pad_width)} numbers, expected two for each axis")
    pairs = tuple(zip(pad_width[::2], pad_width[1::2], strict=True))
    return repeated.Pad(pad_width=pairs, mode=mode, constant_values=constant_value)


def sliced(begin: tuple[Any, ...], end: tuple[Any, ...], step: tuple[Any, ...] = ()) -> Op:
    """The op behind `slice`."""
    if len(begin) != len(end) or (step and len(step) != len(begin)):
        raise AttributeValueError(
            f"begin is {begin}, end {end}, step {step}; expected as many numbers in each"
        )
    if 0 in step:
        raise AttributeValueError(f"step is {step}, expected numbers other than 0")
    step = step or (None,) * len(begin)
    return index.Slice(key=index.freeze(tuple(map(slice, begin, end, step))))


def slice_axis(axis: int, begin: int, end: int | None) -> Op:
    """The op behind `slice_axis`."""
    part, every = slice(begin, end), slice(None)
    key = (*[every] * axis, part) if axis >= 0 else (..., part, *[every] * (-axis - 1))
    return index.Slice(key=index.freeze(key))


def flip(axis: int | tuple[int, ...]) -> Op:
    """The op behind `reverse`."""
    return repeated.Flip(axis=axis)


def tile(reps: tuple[int, ...]) -> Op:
    """The op behind `tile`."""
    if min(reps, default=1) < 1:
        raise AttributeValueError(f"reps is {reps}, expected numbers of 1 or more")
    return repeated.Tile(reps=reps)


def take(axis: int = 0, mode: str = "clip") -> Op:
    """The op behind `take`."""
    return gather.Take(axis=axis, mode=mode)


def pick(axis: int = -1, keepdims: bool = False, mode: str = "clip") -> Op:
    """The op behind `pick`, whose result has at least one axis."""
    return gather.Pick(axis=axis, keepdims=keepdims, mode=mode, vector=True)


def place_of(cls: Callable[..., Op]) -> Callable[..., Op]:
    """Where an extreme is, as MXNet gives it: in the element type of the data."""

    def build(axis: int | None = None, keepdims: bool = False) -> Op:
        return cls(axis=axis, keepdims=keepdims, vector=True)

    return build


def sort(axis: int | None = -1, is_ascend: bool = True) -> Op:
    """The op behind `sort`."""
    return order.Sort(axis=axis, descending=not is_ascend)


def argsort(axis: int | None = -1, is_ascend: bool = True, dtype: str = "float32") -> Op:
    """The op behind `argsort`."""
    return order.Argsort(axis=axis, descending=not is_ascend, type=dtype)


def norm(
    ord: int = 2,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    out_dtype: str | None = None,
) -> Op:
    """The op behind `norm`."""
    axis = None if axis == () else axis
    made = norms.Norm(ord=ord, axis=axis, keepdims=keepdims, vector=True, steep=True)
    return in_type(made, out_dtype)


def softmin(axis: int = -1, temperature: float | None = None, dtype: str | None = None) -> Op:
    """The op behind `softmin`."""
    return in_type(layers.Softmin(axis=axis, temperature=1.0 if temperature is None else temperature), dtype)


def cumsum(axis: int | None = None, dtype: str | None = None) -> Op:
    """The op behind `cumsum`."""
    return in_type(scans.Cumsum(axis=axis), dtype)


def in_type(op: Op, dtype: str | None) -> Op:
    """An op with its result in an element type, if one is stated."""
    if dtype is not None and dtype not in DTYPE_CODES:
        raise AttributeValueError(f"dtype is {dtype[:80]!r}, expected one of {', '.join(DTYPE_CODES)}")
    return op if dtype is None else legacy.TypedResult(of=op, type=dtype)


def batch_dot(transpose_a: bool = False, transpose_b: bool = False) -> Op:
    """The op behind `batch_dot`."""
    return products.BatchDot(transpose_a=transpose_a, transpose_b=transpose_b)


def counted_of_top_k(attributes: Mapping[str, str]) -> int:
    """The outputs of `topk` as MXNet counts them: beside values there is always where they were found."""
    return 2 if attributes.get("ret_typ") in ("value", "both") else 1


def top_k(
    axis: int | None = -1,
    k: int = 1,
    ret_typ: str = "indices",
    is_ascend: bool = False,
    dtype: str = "float32",
) -> Op:
    """The op behind `topk`."""
    values = top.TopValues(k=k, axis=axis, ascending=is_ascend)
    places = top.TopPlaces(k=k, axis=axis, ascending=is_ascend, type=dtype)
    mask = top.TopMask(k=k, axis=axis, ascending=is_ascend)
    both = top.TopK(k=k, axis=axis, ascending=is_ascend, type=dtype)
    return choose("ret_typ", ret_typ, {"value": values, "indices": places, "mask": mask, "both": both})


def one_hot(depth: int, on_value: float = 1.0, off_value: float = 0.0, dtype: str = "float32") -> Op:
    """The op behind `one_hot`."""
    return gather.OneHot(depth=depth, on_value=on_value, off_value=off_value, type=dtype)


def of_shape(cls: Callable[..., Op], field: str) -> Callable[..., Op]:
    """An op that calls MXNet's `shape` otherwise."""

    def build(shape: tuple[int, ...]) -> Op:
        return cls(**{field: shape})

    return build


def extract_diagonal(offset: int = 0) -> Op:
    """The op behind `linalg_extractdiag`."""
    return diagonals.Diagonal(k=offset, a=-2, b=-1)


def cast(dtype: str) -> Op:
    """The op behind `Cast`."""
    if dtype not in DTYPE_CODES:
        raise AttributeValueError(f"dtype is {dtype[:80]!r}, expected one of {', '.join(DTYPE_CODES)}")
    return copies.Cast(type=dtype, through=True)


def dense(stype: str) -> Op:
    """The op behind `cast_storage`."""
    if stype != "default":
        raise AttributeValueError(f"stype is {stype!r:.80}, expected 'default': sparse arrays are not here")
    return copies.Identity()


def split(num_outputs: int, axis: int = 1, squeeze_axis: bool = False) -> Op:
    """The op behind `SliceChannel`."""
    return index.Split(num_outputs=num_outputs, axis=axis, squeeze_axis=squeeze_axis)


def split_at(indices: tuple[int, ...], axis: int = 1, squeeze_axis: bool = False, sections: int = 0) -> Op:
    """The op behind `_split_v2`, whose first place is 0."""
    if sections:
        return index.Split(num_outputs=sections, axis=axis, squeeze_axis=squeeze_axis)
    if squeeze_axis:
        raise AttributeValueError(
            "squeeze_axis is True, expected False where places are given; or squeeze each part"
        )
    return index.SplitAt(places=indices[1:], axis=axis)


def custom(op_type: str, **arguments: Any) -> Op:
    """An operator that the user registered as `op_type`; other attributes are its own, as texts."""
    return Custom(op_type, **arguments)


def ftml_update(
    lr: float,
    t: int,
    beta1: float = 0.6,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    wd: float = 0.0,
    rescale_grad: float = 1.0,
    clip_grad: float = -1.0,
) -> Op:
    """The op behind `ftml_update`, which calls `clip_gradient` otherwise."""
    more = {"wd": wd, "rescale_grad": rescale_grad, "clip_gradient": clip_grad}
    return adaptive.FtmlUpdate(lr=lr, t=t, beta1=beta1, beta2=beta2, epsilon=epsilon, **more)


def same_shape(cls: Callable[..., Op], **more: bool) -> Callable[[], Op]:
    """A binary op that does not broadcast."""
    return lambda: cls(same_shape=True, **more)


def broadcasting(cls: Callable[..., Op], **more: bool) -> Callable[[], Op]:
    """A binary op that broadcasts."""
    return lambda: cls(**more)


def with_graphs(kind: str, attributes: dict[str, Any]) -> Op:
    """An op that holds graphs, which is imported when there is one."""
    return getattr(importlib.import_module("tinygrad_lesson.mxnet.subgraphs"), kind)(**attributes)  # type: ignore[no-any-return]


def foreach(
    num_outputs: int, num_out_data: int, in_data_locs: Numbers, in_state_locs: Numbers, remain_locs: Numbers,
    subgraphs: Any = (),
) -> Op:  # fmt: skip
    """The op behind `_foreach`."""
    return with_graphs("Foreach", locals())


def while_loop(
    num_outputs: int, num_out_data: int, max_iterations: int, cond_input_locs: Numbers, func_input_locs: Numbers,
    func_var_locs: Numbers, subgraphs: Any = (),
) -> Op:  # fmt: skip
    """The op behind `_while_loop`."""
    return with_graphs("WhileLoop", locals())


def choice(
    num_outputs: int, cond_input_locs: Numbers, then_input_locs: Numbers, else_input_locs: Numbers,
    subgraphs: Any = (),
) -> Op:  # fmt: skip
    """The op behind `_cond`."""
    return with_graphs("Choice", locals())
