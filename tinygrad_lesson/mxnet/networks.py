"""The layers of networks among MXNet's operators: our ops from their attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.mxnet.built import choose
from tinygrad_lesson.ops import (
    activations,
    conv,
    deconv,
    layers,
    nn,
    norms,
    pool,
    ramps,
    random,
    recurrent,
    spatial,
)
from tinygrad_lesson.ops import elementwise as e

ACTIVATIONS = {
    "relu": ramps.Relu(), "sigmoid": ramps.Sigmoid(), "tanh": e.Tanh(), "softrelu": ramps.Softplus(),
    "softsign": ramps.Softsign(),
}  # fmt: skip
SELU = (1.6732632423543772, 1.0507009873554805)  # Klambauer et al. 2017


def activation(act_type: Literal["relu", "sigmoid", "softrelu", "softsign", "tanh"]) -> Op:
    """The op behind `Activation`."""
    return choose("act_type", act_type, ACTIVATIONS)


def leaky_relu(
    act_type: str = "leaky", slope: float = 0.25, lower_bound: float = 0.125, upper_bound: float = 0.334
) -> Op:
    """The op behind `LeakyReLU`; the bounds matter to act_type rrelu only."""
    return choose("act_type", act_type, {
        "leaky": ramps.LeakyReLU(slope=slope), "elu": activations.Elu(slope=slope), "prelu": layers.Prelu(),
        "selu": activations.Elu(slope=SELU[0], scale=SELU[1]), "gelu": activations.Gelu(),
        "rrelu": random.Rrelu(lower_bound=lower_bound, upper_bound=upper_bound),
    })  # fmt: skip


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


def counted_of_pooling(attributes: Mapping[str, str]) -> int:
    """The outputs of `Pooling` as MXNet counts them: of a maximum there is where it was found, too."""
    return 2 if "kernel" in attributes and attributes.get("pool_type", "max") == "max" else 1


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
    """The op behind `Pooling`; a window over the whole image has no size, stride or padding of its own."""
    check_layout(layout)
    if pool_type == "lp" and p_value is None:
        raise AttributeValueError("p_value is missing, expected an integer for pool_type 'lp'")
    if pooling_convention == "same" and any(pad):
        raise AttributeValueError(
            f"pad is {pad}, expected none: pooling_convention 'same' says how much there is"
        )
    if global_pool:
        kernel = stride = pad = ()
    return pool.Pooling(
        kernel=kernel, stride=stride, pad=pad, pooling_convention=pooling_convention, global_pool=global_pool,
        pool_type=pool_type, p_value=p_value or 2, count_include_pad=count_include_pad is not False,
    )  # fmt: skip


def check_layout(layout: str | None) -> None:
    """Refuse images whose channels do not follow the batch."""
    if layout not in (None, "None", "NCW", "NCHW", "NCDHW"):
        raise AttributeValueError(f"layout is {layout!r:.80}, expected one of NCW, NCHW, NCDHW")


def dropout(p: float = 0.5, mode: str = "training", axes: tuple[int, ...] = ()) -> Op:
    """The op behind `Dropout`."""
    return random.Dropout(p=p, mode=mode, axes=axes)


def softmax_activation(mode: str = "instance") -> Op:
    """The op behind `SoftmaxActivation`: along the last axis, or along that of the channels."""
    return choose("mode", mode, {"instance": nn.Softmax(axis=-1), "channel": nn.Softmax(axis=1)})


def group_norm(num_groups: int = 1, eps: float = 1e-5, output_mean_var: bool = False) -> Op:
    """The op behind `GroupNorm`."""
    return (layers.GroupNormMoments if output_mean_var else layers.GroupNorm)(num_groups=num_groups, eps=eps)


def layer_norm(axis: int = -1, eps: float = 1e-5, output_mean_var: bool = False) -> Op:
    """The op behind `LayerNorm`."""
    return (norms.LayerNormMoments if output_mean_var else norms.LayerNorm)(axis=axis, eps=eps)


def rnn(
    state_size: int,
    num_layers: int,
    mode: str,
    bidirectional: bool = False,
    p: float = 0.0,
    state_outputs: bool = False,
) -> Op:
    """The op behind `RNN`, with dropout if there is any."""
    settings = (state_size, num_layers, mode, bidirectional, p, state_outputs)
    return (recurrent.DropoutRNN if p else recurrent.RNN)(*settings)


def upsampling(
    scale: int,
    num_filter: int = 0,
    sample_type: str = "nearest",
    multi_input_mode: str = "concat",
) -> Op:
    """The op behind `UpSampling`: bilinear is a deconvolution, whose weight is an input."""
    kernel, pad = 2 * scale - scale % 2, scale // 2
    if sample_type == "bilinear":
        return deconv.Deconvolution(
            kernel=(kernel,) * 2, stride=(scale,) * 2, pad=(pad,) * 2, num_filter=num_filter, num_group=num_filter,
        )  # fmt: skip
    nearest = spatial.Enlarge(scale=scale, multi_input_mode=multi_input_mode)
    return choose("sample_type", sample_type, {"nearest": nearest})
