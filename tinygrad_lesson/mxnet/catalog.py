"""MXNet's operators as spellings of our ops."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.kinds import Reduction
from tinygrad_lesson.engine.op import RESERVED, Op
from tinygrad_lesson.mxnet.custom import Custom
from tinygrad_lesson.mxnet.register import COUNTED, DTYPE_CODES, OPERATORS, operator
from tinygrad_lesson.ops import (
    activations,
    composed,
    conv,
    deconv,
    gather,
    index,
    linalg,
    linear,
    loss,
    movement,
    nn,
    norms,
    order,
    pool,
    random,
    reduce,
    regression,
    repeated,
    rounding,
)  # fmt: skip
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import functions as f

ACTIVATIONS = {
    "relu": e.Relu(), "sigmoid": e.Sigmoid(), "tanh": e.Tanh(), "softrelu": e.Softplus(), "softsign": e.Softsign(),
}  # fmt: skip
BINARY = {
    "add": ("plus", e.Add), "sub": ("minus", e.Subtract), "mul": ("mul", e.Multiply), "div": ("div", e.Divide),
    "power": ("power", e.Power), "maximum": ("maximum", e.Maximum), "minimum": ("minimum", e.Minimum),
}  # fmt: skip
COMPARISONS = {
    "equal": e.Equal, "not_equal": e.NotEqual, "greater": e.Greater,
    "greater_equal": e.GreaterEqual, "lesser": e.Less, "lesser_equal": e.LessEqual,
}  # fmt: skip
UNARY = {
    "exp": e.Exp, "log": e.Log, "log1p": e.Log1p, "expm1": e.Expm1, "sqrt": e.Sqrt, "rsqrt": e.Rsqrt,
    "square": e.Square, "abs": e.Abs, "sign": e.Sign, "negative": e.Negative, "tanh": e.Tanh,
    "sigmoid": e.Sigmoid, "relu": e.Relu, "softsign": e.Softsign, "sin": f.Sin, "cos": f.Cos, "tan": f.Tan,
    "arcsin": f.Arcsin, "arccos": f.Arccos, "arctan": f.Arctan, "sinh": f.Sinh, "cosh": f.Cosh, "arcsinh": f.Arcsinh,
    "arccosh": f.Arccosh, "arctanh": f.Arctanh, "degrees": f.Degrees, "radians": f.Radians, "log2": f.Log2,
    "log10": f.Log10, "cbrt": f.Cbrt, "rcbrt": f.Rcbrt, "reciprocal": f.Reciprocal, "floor": rounding.Floor,
    "ceil": rounding.Ceil, "trunc": rounding.Trunc, "fix": rounding.Trunc, "logical_not": rounding.LogicalNot,
}  # fmt: skip
LOGIC = {"and": rounding.LogicalAnd, "or": rounding.LogicalOr, "xor": rounding.LogicalXor}
REDUCTIONS = {
    "sum": reduce.Sum,
    "mean": reduce.Mean,
    "max": reduce.Max,
    "min": reduce.Min,
    "prod": reduce.Prod,
    "nansum": reduce.Nansum,
    "nanprod": reduce.Nanprod,
}
SIDES = ("lhs", "rhs")


def activation(act_type: str) -> Op:
    """The op behind `Activation`."""
    return choose("act_type", act_type, ACTIVATIONS)


def leaky_relu(
    act_type: str = "leaky", slope: float = 0.25, lower_bound: float = 0.125, upper_bound: float = 0.334
) -> Op:
    """The op behind `LeakyReLU`; the bounds matter to act_type rrelu only, which is not there, nor is prelu."""
    return choose("act_type", act_type, {
        "leaky": e.LeakyReLU(slope=slope), "elu": composed.Elu(slope=slope),
    })  # fmt: skip


def choose(key: str, value: str, table: Mapping[str, Op]) -> Op:
    """A row of a table.

    Errors
        AttributeValueError naming the rows there are.
    """
    if value not in table:
        raise AttributeValueError(f"{key} is {value!r}, expected one of {', '.join(table)}")
    return table[value]


def batch_norm(
    eps: float = 1e-3,
    momentum: float = 0.9,
    fix_gamma: bool = True,
    use_global_stats: bool = False,
    output_mean_var: bool = False,
    axis: int = 1,
) -> Op:
    """The op behind `BatchNorm`."""
    return nn.BatchNorm(
        eps=eps,
        momentum=momentum,
        fix_gamma=fix_gamma,
        use_global_stats=use_global_stats,
        output_mean_var=output_mean_var,
        axis=axis,
    )


def convolution(
    kernel: tuple[int, ...],
    num_filter: int,
    stride: tuple[int, ...] = (),
    dilate: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    num_group: int = 1,
    no_bias: bool = False,
    layout: str | None = None,
) -> Op:
    """The op behind `Convolution`."""
    check_layout(layout)
    return conv.Convolution(
        kernel=kernel, stride=stride, dilate=dilate, pad=pad,
        num_group=num_group, num_filter=num_filter, no_bias=no_bias,
    )  # fmt: skip


def pooling(
    kernel: tuple[int, ...] = (),
    pool_type: str = "max",
    global_pool: bool = False,
    pooling_convention: str = "valid",
    stride: tuple[int, ...] = (),
    pad: tuple[int, ...] = (),
    p_value: int | None = None,
    count_include_pad: bool | None = None,
    layout: str | None = None,
) -> Op:
    """The op behind `Pooling`; a window over the whole image has neither stride nor padding."""
    check_layout(layout)
    if pool_type == "lp" and p_value is None:
        raise AttributeValueError("p_value is missing, expected an integer for pool_type 'lp'")
    if global_pool:
        stride = pad = ()
    return pool.Pooling(
        kernel=kernel, stride=stride, pad=pad, pooling_convention=pooling_convention, global_pool=global_pool,
        pool_type=pool_type, p_value=p_value or 2, count_include_pad=count_include_pad is not False,
    )  # fmt: skip


def check_layout(layout: str | None) -> None:
    """Refuse images whose channels do not follow the batch."""
    if layout not in (None, "None", "NCW", "NCHW", "NCDHW"):
        raise AttributeValueError(f"layout is {layout!r}, expected one of NCW, NCHW, NCDHW")


def dropout(p: float = 0.5, mode: str = "training", axes: tuple[int, ...] = ()) -> Op:
    """The op behind `Dropout`."""
    return random.Dropout(p=p, mode=mode, axes=axes)


def along(cls: Callable[..., Op]) -> Callable[..., Op]:
    """An op along one axis, with MXNet's optional temperature."""

    def build(axis: int = -1, temperature: float | None = None) -> Op:
        return cls(axis=axis, temperature=1.0 if temperature is None else temperature)

    return build


def reduction(cls: type[Reduction]) -> Callable[..., Op]:
    """A reduction as MXNet counts its axes: none given, or an empty tuple, means all."""

    def build(axis: int | tuple[int, ...] | None = None, keepdims: bool = False, exclude: bool = False) -> Op:
        axis = None if axis == () else axis
        return cls(axis=axis, keepdims=keepdims, exclude=exclude and axis is not None, vector=True)

    return build


def with_scalar(binary: Op, reverse: bool = False) -> Callable[..., Op]:
    """A binary op with a number on one side."""

    def build(scalar: float) -> Op:
        return e.WithScalar(binary=binary, scalar=scalar, reverse=reverse)

    return build


def clip(a_min: float, a_max: float) -> Op:
    """The op behind `clip`."""
    return e.Clip(low=a_min, high=a_max)


def reshape(shape: tuple[int, ...], reverse: bool = False) -> Op:
    """The op behind `Reshape`."""
    if min(shape, default=0) < -4:
        raise AttributeValueError(f"shape is {shape}, expected sizes, 0 to keep one, or a code from -1 to -4")
    return movement.Reshape(to=shape, zero_keeps=True, reverse=reverse)


def transpose(axes: tuple[int, ...] | None = None) -> Op:
    """The op behind `transpose`."""
    return movement.Transpose(axes=axes or None)


def swap_axes(dim1: int = 0, dim2: int = 0) -> Op:
    """The op behind `SwapAxis`."""
    return movement.SwapAxes(a=dim1, b=dim2)


def broadcast_to(shape: tuple[int, ...]) -> Op:
    """The op behind `broadcast_to`."""
    return movement.BroadcastTo(to=shape)


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


def take(axis: int = 0, mode: str = "clip") -> Op:
    """The op behind `take`."""
    return gather.Take(axis=axis, mode=mode)


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


def norm(ord: int = 2, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Op:
    """The op behind `norm`."""
    axis = None if axis == () else axis
    return norms.Norm(ord=ord, axis=axis, keepdims=keepdims, vector=True, steep=True)


def layer_norm(axis: int = -1, eps: float = 1e-5, output_mean_var: bool = False) -> Op:
    """The op behind `LayerNorm`."""
    if output_mean_var:
        raise AttributeValueError(
            "output_mean_var is True, expected False; take mean and var of data instead"
        )
    return norms.LayerNorm(axis=axis, eps=eps)


def instance_norm(eps: float = 1e-3) -> Op:
    """The op behind `InstanceNorm`."""
    return norms.InstanceNorm(eps=eps)


def l2_normalization(eps: float = 1e-10, mode: str = "instance") -> Op:
    """The op behind `L2Normalization`."""
    return norms.L2Normalization(eps=eps, mode=mode)


def softmin(axis: int = -1, temperature: float | None = None) -> Op:
    """The op behind `softmin`."""
    return composed.Softmin(axis=axis, temperature=1.0 if temperature is None else temperature)


def batch_dot(transpose_a: bool = False, transpose_b: bool = False) -> Op:
    """The op behind `batch_dot`."""
    return composed.BatchDot(transpose_a=transpose_a, transpose_b=transpose_b)


def gemm2(transpose_a: bool = False, transpose_b: bool = False, alpha: float = 1.0) -> Op:
    """The op behind `linalg_gemm2`."""
    return composed.BatchDot(transpose_a=transpose_a, transpose_b=transpose_b, alpha=alpha)


def top_k(
    axis: int | None = -1,
    k: int = 1,
    ret_typ: str = "indices",
    is_ascend: bool = False,
    dtype: str = "float32",
) -> Op:
    """The op behind `topk`."""
    values = composed.TopValues(k=k, axis=axis, ascending=is_ascend)
    places = composed.TopPlaces(k=k, axis=axis, ascending=is_ascend, type=dtype)
    return choose("ret_typ", ret_typ, {"value": values, "indices": places})


def full(shape: tuple[int, ...], value: float, dtype: str = "float32") -> Op:
    """The op behind `_full`."""
    return filled(value)(shape, dtype)


def extract_diagonal(offset: int = 0) -> Op:
    """The op behind `linalg_extractdiag`."""
    return repeated.Diagonal(k=offset, a=-2, b=-1)


def cast(dtype: str) -> Op:
    """The op behind `Cast`."""
    if dtype not in DTYPE_CODES:
        raise AttributeValueError(f"dtype is {dtype[:80]!r}, expected one of {', '.join(DTYPE_CODES)}")
    return movement.Cast(type=dtype)


def split(num_outputs: int, axis: int = 1, squeeze_axis: bool = False) -> Op:
    """The op behind `SliceChannel`."""
    return index.Split(num_outputs=num_outputs, axis=axis, squeeze_axis=squeeze_axis)


def filled(value: float) -> Callable[..., Op]:
    """An array of one number."""

    def build(shape: tuple[int, ...], dtype: str = "float32") -> Op:
        if min(shape, default=0) < 0:
            raise AttributeValueError(f"shape is {shape}, expected sizes of 0 or more")
        if dtype not in DTYPE_CODES:
            raise AttributeValueError(f"dtype is {dtype[:80]!r}, expected one of {', '.join(DTYPE_CODES)}")
        return reduce.Full(to=shape, value=value, type=dtype)

    return build


def concat(dim: int = 1) -> Op:
    """The op behind `Concat`."""
    return index.Concat(dim=dim)


def custom(op_type: str, **arguments: Any) -> Op:
    """An operator that the user registered as `op_type`; other attributes are its own, as texts."""
    return Custom(op_type, **arguments)


def declare() -> None:
    """Fill the catalog."""
    operator("FullyConnected", linear.FullyConnected)
    operator("Activation", activation, inputs=("data",))
    operator("LeakyReLU", leaky_relu, inputs=("data",))
    operator("BatchNorm", batch_norm, "BatchNorm_v1", ignored=frozenset({"cudnn_off"}))
    tuning = frozenset({"workspace", "cudnn_tune", "cudnn_off"})
    operator("Convolution", convolution, ignored=tuning)
    operator("Pooling", pooling, inputs=("data",), ignored=tuning, hidden=1)
    operator("Dropout", dropout, inputs=("data",), ignored=frozenset({"cudnn_off"}))
    operator("softmax", along(nn.Softmax), inputs=("data",))
    operator("log_softmax", along(nn.LogSoftmax), inputs=("data",))
    operator("SoftmaxOutput", loss.SoftmaxOutput, "Softmax")
    operator("MakeLoss", loss.MakeLoss, inputs=("data",))
    operator("make_loss", loss.MakeLoss, inputs=("data",), outputs=("loss",))
    operator("BlockGrad", loss.StopGradient, "stop_gradient", inputs=("data",))
    operator("identity", movement.Identity, "_copy", inputs=("data",))
    operator("Concat", concat, "concat", ignored=COUNTED)
    operator("stack", index.Stack, ignored=COUNTED)
    operator("SliceChannel", split, "split", inputs=("data",))
    operator("Reshape", reshape, "reshape", inputs=("data",))
    operator("Flatten", lambda: movement.Flatten(axis=1), "flatten", inputs=("data",))
    operator("transpose", transpose, inputs=("data",))
    operator("SwapAxis", swap_axes, "swapaxes", inputs=("data",))
    operator("expand_dims", movement.ExpandDims, inputs=("data",))
    operator("squeeze", movement.Squeeze, inputs=("data",))
    operator("broadcast_to", broadcast_to, inputs=("data",))
    operator("where", lambda: e.Where(rows=True), inputs=("condition", "x", "y"))
    operator("clip", clip, inputs=("data",))
    operator("Custom", custom, ignored=COUNTED)
    operator("_zeros", filled(0.0), ignored=frozenset({"ctx"}))
    operator("_ones", filled(1.0), ignored=frozenset({"ctx"}))
    operator("rint", lambda: rounding.Rint(ties="down"), inputs=("data",))
    operator("round", lambda: rounding.Rint(ties="away"), inputs=("data",))
    for name, unary in UNARY.items():
        operator(name, unary, inputs=("data",))
    for name, cls in REDUCTIONS.items():
        operator(
            name,
            reduction(cls),
            *{"max": ("max_axis",), "min": ("min_axis",)}.get(name, ()),
            inputs=("data",),
        )
    for name, logical in LOGIC.items():
        operator(f"_logical_{name}", logical, inputs=SIDES)
        operator(f"broadcast_logical_{name}", logical, inputs=SIDES)
        operator(f"_logical_{name}_scalar", with_scalar(logical()), inputs=("data",))
    for name, function in (("hypot", f.Hypot), ("mod", partial(rounding.Remainder, zero=True))):
        operator(f"_{name}", partial(function, same_shape=True), inputs=SIDES)
        operator(f"broadcast_{name}", partial(function), inputs=SIDES)
        old = name.title()
        operator(f"_{name}_scalar", with_scalar(function()), f"_{old}Scalar", inputs=("data",))
    zero = rounding.Remainder(zero=True)
    operator("_rmod_scalar", with_scalar(zero, True), "_RModScalar", inputs=("data",))
    operator("Cast", cast, "cast", inputs=("data",))
    operator("Pad", pad, "pad", inputs=("data",))
    operator("topk", top_k, inputs=("data",))
    operator("_full", full, ignored=frozenset({"ctx"}))
    operator("broadcast_like", composed.BroadcastAxesLike, inputs=SIDES)
    operator("linalg_gemm", composed.Gemm, "_linalg_gemm", inputs=("A", "B", "C"))
    operator("linalg_syrk", composed.Syrk, "_linalg_syrk", inputs=("A",))
    operator(
        "linalg_det", lambda: linalg.Det(vector=True), "_linalg_det", inputs=("A",), outputs=("output0",)
    )
    operator("linalg_inverse", linalg.Inverse, "_linalg_inverse", inputs=("A",))
    operator("linalg_extractdiag", extract_diagonal, "_linalg_extractdiag", inputs=("A",))
    operator("khatri_rao", composed.KhatriRao, ignored=COUNTED)
    operator("SVMOutput", regression.SVMOutput)
    operator("_contrib_gradientmultiplier", regression.GradientMultiplier, inputs=("data",))
    operator(
        "Deconvolution",
        deconv.Deconvolution,
        ignored=frozenset({"workspace", "cudnn_tune", "cudnn_off", "layout"}),
    )
    operator("softmin", softmin, inputs=("data",))
    operator("dot", composed.Contract, inputs=SIDES)
    operator("batch_dot", batch_dot, inputs=SIDES)
    operator("linalg_gemm2", gemm2, "_linalg_gemm2", inputs=("A", "B"))
    operator("add_n", composed.AddN, "ElementWiseSum", ignored=COUNTED)
    operator("_contrib_quadratic", composed.Quadratic, inputs=("data",))
    operator("LRN", composed.LRN, inputs=("data",))
    operator("GroupNorm", composed.GroupNorm)
    operator("softmax_cross_entropy", composed.SoftmaxCrossEntropy)
    operator("SequenceMask", composed.SequenceMask)
    operator("SequenceLast", composed.SequenceLast)
    operator("SequenceReverse", composed.SequenceReverse)
    operator("space_to_depth", composed.SpaceToDepth, inputs=("data",))
    operator("norm", norm, inputs=("data",))
    operator("cumsum", reduce.Cumsum, "_np_cumsum", inputs=("a",))
    operator("LayerNorm", layer_norm)
    operator("InstanceNorm", instance_norm)
    operator("L2Normalization", l2_normalization, inputs=("data",))
    operator("smooth_l1", activations.SmoothL1, inputs=("data",))
    operator("hard_sigmoid", activations.HardSigmoid, inputs=("data",))
    operator("LinearRegressionOutput", regression.LinearRegressionOutput)
    operator("MAERegressionOutput", regression.MAERegressionOutput)
    operator("LogisticRegressionOutput", regression.LogisticRegressionOutput)
    operator("_grad_add", same_shape(e.Add), inputs=SIDES)
    operator("slice", sliced, "crop", inputs=("data",))
    operator("slice_axis", slice_axis, inputs=("data",))
    operator("slice_like", repeated.SliceLike, inputs=("data", "shape_like"))
    operator("reverse", flip, "flip", inputs=("data",))
    operator("tile", repeated.Tile, inputs=("data",))
    operator("repeat", repeated.Repeat, inputs=("data",))
    operator("diag", repeated.Diag, inputs=("data",))
    operator("take", take, inputs=("a", "indices"))
    operator("pick", gather.Pick, inputs=("data", "index"))
    operator("choose_element_0index", lambda: gather.Pick(axis=1), inputs=("lhs", "rhs"))
    operator("batch_take", lambda: gather.Pick(axis=1), inputs=("a", "indices"))
    operator("one_hot", gather.OneHot, inputs=("indices",))
    operator("Embedding", gather.Embedding, ignored=frozenset({"dtype", "sparse_grad"}))
    operator("gather_nd", gather.GatherNd, inputs=("data", "indices"))
    operator("scatter_nd", gather.ScatterNd, inputs=("data", "indices"))
    operator("argmax", place_of(order.Argmax), inputs=("data",))
    operator("argmin", place_of(order.Argmin), inputs=("data",))
    operator("argmax_channel", lambda: order.Argmax(axis=1, vector=True), inputs=("data",))
    operator("sort", sort, inputs=("data",), outputs=("output0",))
    operator("argsort", argsort, inputs=("data",))
    operator("zeros_like", lambda: reduce.FullLike(value=0.0), inputs=("data",))
    operator("ones_like", lambda: reduce.FullLike(value=1.0), inputs=("data",))
    for name, (old, binary) in BINARY.items():
        strict = f"elemwise_{name}" if name in ("add", "sub", "mul", "div") else f"_{name}"
        operator(strict, same_shape(binary), f"_{old}", f"_{old.title()}", inputs=SIDES)
        operator(f"broadcast_{name}", broadcasting(binary), f"broadcast_{old}", inputs=SIDES)
        operator(f"_{old}_scalar", with_scalar(binary()), f"_{old.title()}Scalar", inputs=("data",))
    for name, reverse in (("minus", e.Subtract), ("div", e.Divide), ("power", e.Power)):
        operator(
            f"_r{name}_scalar", with_scalar(reverse(), True), f"_R{name.title()}Scalar", inputs=("data",)
        )
    for name, comparison in COMPARISONS.items():
        operator(f"_{name}", comparison, inputs=SIDES)
        operator(f"broadcast_{name}", comparison, inputs=SIDES)
        operator(f"_{name}_scalar", with_scalar(comparison()), inputs=("data",))


def same_shape(cls: type[e.Binary]) -> Callable[[], Op]:
    """A binary op that does not broadcast."""
    return lambda: cls(same_shape=True)


def broadcasting(cls: type[e.Binary]) -> Callable[[], Op]:
    """A binary op that broadcasts."""
    return lambda: cls()


declare()
RESERVED.update(dict.fromkeys(OPERATORS, "an operator of MXNet"))
