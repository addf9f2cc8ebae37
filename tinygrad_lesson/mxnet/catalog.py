"""MXNet's operators as spellings of our ops."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.engine.op import RESERVED
from tinygrad_lesson.mxnet import built, creating, networks, updating
from tinygrad_lesson.mxnet.register import OPERATORS, operator
from tinygrad_lesson.ops import (
    activations,
    aligned,
    anchored,
    angles,
    choices,
    columns,
    copies,
    creation,
    deconv,
    deformed,
    densities,
    detection,
    diagonals,
    draws,
    factors,
    fills,
    finite,
    gamma,
    gather,
    hawkes,
    image,
    index,
    interleaved,
    kept,
    lapack,
    layers,
    legacy,
    linalg,
    linear,
    loss,
    masked,
    movement,
    nn,
    norms,
    order,
    pictures,
    placed,
    probabilities,
    products,
    proposals,
    quantized,
    ramps,
    reduce,
    regions,
    regression,
    repeated,
    resampled,
    rotated,
    rounding,
    sequence,
    spatial,
    special,
)
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import functions as f

BINARY = {
    "add": ("plus", e.Add), "sub": ("minus", e.Subtract), "mul": ("mul", e.Multiply), "div": ("div", e.Divide),
    "power": ("power", e.Power), "maximum": ("maximum", choices.Maximum), "minimum": ("minimum", choices.Minimum),
}  # fmt: skip
COMPARISONS = {
    "equal": choices.Equal, "not_equal": choices.NotEqual, "greater": choices.Greater,
    "greater_equal": choices.GreaterEqual, "lesser": choices.Less, "lesser_equal": choices.LessEqual,
}  # fmt: skip
UNARY = {
    "exp": e.Exp, "log": e.Log, "log1p": e.Log1p, "expm1": e.Expm1, "sqrt": e.Sqrt, "rsqrt": f.Rsqrt,
    "square": e.Square, "abs": e.Abs, "sign": e.Sign, "negative": e.Negative, "tanh": e.Tanh,
    "sigmoid": ramps.Sigmoid, "relu": ramps.Relu, "softsign": ramps.Softsign, "sin": angles.Sin, "cos": angles.Cos,
    "tan": angles.Tan, "arcsin": angles.Arcsin, "arccos": angles.Arccos, "arctan": angles.Arctan, "sinh": angles.Sinh,
    "cosh": angles.Cosh, "arcsinh": angles.Arcsinh, "arccosh": angles.Arccosh, "arctanh": angles.Arctanh,
    "degrees": angles.Degrees, "radians": angles.Radians, "log2": f.Log2,
    "log10": f.Log10, "cbrt": f.Cbrt, "rcbrt": f.Rcbrt, "reciprocal": f.Reciprocal, "floor": rounding.Floor,
    "ceil": rounding.Ceil, "trunc": rounding.Trunc, "fix": rounding.Trunc, "logical_not": rounding.LogicalNot,
    "erf": special.Erf, "erfinv": special.Erfinv, "gamma": gamma.Gamma, "gammaln": gamma.Gammaln,
    "digamma": gamma.Digamma, "log_sigmoid": probabilities.LogExpit, "mish": legacy.Mish,
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
NORM = "eps momentum fix_gamma use_global_stats output_mean_var"
EMBEDDING = "input_dim output_dim dtype sparse_grad"
SPACED = "start stop step repeat infer_range"
TUNING = "workspace cudnn_tune cudnn_off"
WINDOW = "kernel stride dilate pad {}num_filter num_group workspace no_bias cudnn_tune cudnn_off layout"
TABLE: dict[str, tuple[Any, ...]] = {  # names: what builds it, its inputs, and more
    "FullyConnected": (linear.FullyConnected,),
    "Activation": (networks.activation, "data"),
    "LeakyReLU": (networks.leaky_relu, "data gamma", {"initial": {"gamma": '["Constant", {"value": 0.25}]'}}),
    "BatchNorm BatchNorm_v1": (networks.batch_norm, "data gamma beta moving_mean moving_var",
        {"ignored": "cudnn_off", "order": f"{NORM} axis cudnn_off min_calib_range max_calib_range"}),
    "Convolution": (networks.convolution, "data weight bias", {"ignored": TUNING, "order": WINDOW.format("")}),
    "Pooling": (networks.pooling, "data",
        {"ignored": TUNING, "counted": networks.counted_of_pooling, "order": "kernel pool_type global_pool cudnn_off "
         "pooling_convention stride pad p_value count_include_pad layout"}),
    "Dropout": (networks.dropout, "data", {"ignored": "cudnn_off", "order": "p mode axes cudnn_off"}),
    "softmax": (built.along(nn.Softmax), "data length"),
    "SoftmaxActivation": (networks.softmax_activation, "data"),
    "log_softmax": (built.along(nn.LogSoftmax, log=True), "data"),
    "SoftmaxOutput Softmax": (loss.SoftmaxOutput,),
    "MakeLoss": (loss.MakeLoss, "data", {"order": "grad_scale valid_thresh normalization"}),
    "make_loss": (loss.MakeLoss, "data", {"outputs": ("loss",)}),
    "BlockGrad stop_gradient": (loss.StopGradient, "data"),
    "_copy identity": (copies.Identity, "data"),
    "_identity_with_attr_like_rhs": (copies.IdentityLike, "lhs rhs"),
    "Concat concat": (index.Concat, "", {"ignored": "num_args"}),
    "stack": (index.Stack, "", {"ignored": "num_args"}),
    "SliceChannel split": (built.split, "data"),
    "Reshape reshape": (built.reshape, "data"),
    "Flatten flatten": (lambda: movement.Flatten(axis=1), "data"),
    "transpose": (built.transpose, "data"),
    "SwapAxis swapaxes": (built.swap_axes, "data"),
    "expand_dims": (movement.ExpandDims, "data"),
    "squeeze": (built.squeeze, "data"),
    "broadcast_to": (built.broadcast_to, "data"),
    "where": (lambda: choices.Where(rows=True), "condition x y"),
    "clip": (built.clip, "data"),
    "Custom": (built.custom, "", {"ignored": "num_args"}),
    "_zeros": (creating.filled(0.0), "", {"ignored": "ctx", "order": "shape ctx dtype"}),
    "_ones": (creating.filled(1.0), "", {"ignored": "ctx", "order": "shape ctx dtype"}),
    "rint": (lambda: rounding.Rint(ties="down"), "data"),
    "round": (lambda: rounding.Rint(ties="away"), "data"),
    "Cast cast": (built.cast, "data"),
    "Pad pad": (built.pad, "data", {"order": "mode pad_width constant_value"}),
    "topk": (built.top_k, "data", {"counted": built.counted_of_top_k}),
    "_full": (creating.full, "", {"ignored": "ctx", "order": "shape ctx dtype value"}),
    "broadcast_like": (products.BroadcastAxesLike, "lhs rhs"),
    "_linalg_gemm linalg_gemm": (products.Gemm, "A B C"),
    "_linalg_syrk linalg_syrk": (products.Syrk, "A"),
    "_linalg_det linalg_det": (lambda: linalg.Det(vector=True), "A", {"outputs": ("output0",), "counted": 3}),
    "_linalg_inverse linalg_inverse": (linalg.Inverse, "A"),
    "_linalg_extractdiag linalg_extractdiag": (built.extract_diagonal, "A"),
    "_linalg_trmm linalg_trmm": (lapack.Trmm, "A B"),
    "_linalg_trsm linalg_trsm": (lapack.Trsm, "A B"),
    "_linalg_potri linalg_potri": (lapack.Potri, "A"),
    "_linalg_sumlogdiag linalg_sumlogdiag": (lapack.Sumlogdiag, "A"),
    "_linalg_makediag linalg_makediag": (lapack.Makediag, "A"),
    "_linalg_extracttrian linalg_extracttrian": (lapack.Extracttrian, "A"),
    "_linalg_maketrian linalg_maketrian": (lapack.Maketrian, "A"),
    "_linalg_potrf linalg_potrf": (lapack.Potrf, "A"),
    "_linalg_slogdet linalg_slogdet": (factors.SignAndLog, "A", {"counted": 4}),
    "_linalg_syevd linalg_syevd": (factors.Syevd, "A"),
    "_linalg_gelqf linalg_gelqf": (factors.Gelqf, "A"),
    "broadcast_axis broadcast_axes": (legacy.BroadcastAxes, "data"),
    "reshape_like": (movement.ReshapeLike, "lhs rhs"),
    "depth_to_space": (legacy.DepthToSpace, "data"),
    "moments": (legacy.Moments, "data"),
    "_contrib_div_sqrt_dim": (legacy.DivSqrtDim, "data"),
    "fill_element_0index": (legacy.FillElement0Index, "lhs mhs rhs"),
    "IdentityAttachKLSparseReg": (legacy.IdentityAttachKLSparseReg,),
    "khatri_rao": (products.KhatriRao, "", {"ignored": "num_args"}),
    "SVMOutput": (regression.SVMOutput,),
    "_contrib_round_ste": (lambda: regression.Unstopped(of="round"), "data"),
    "_contrib_sign_ste": (lambda: regression.Unstopped(of="sign"), "data"),
    "_contrib_gradientmultiplier": (regression.GradientMultiplier, "data", {"order": "scalar is_int"}),
    "Deconvolution": (deconv.Deconvolution, "",
        {"ignored": f"{TUNING} layout", "order": WINDOW.format("adj target_shape "), "required": "num_filter"}),
    "softmin": (built.softmin, "data", {"order": "axis temperature dtype use_length"}),
    "dot": (products.Contract, "lhs rhs", {"order": "transpose_a transpose_b forward_stype"}),
    "batch_dot": (built.batch_dot, "lhs rhs", {"order": "transpose_a transpose_b forward_stype"}),
    "_linalg_gemm2 linalg_gemm2": (products.BatchDot, "A B"),
    "add_n ElementWiseSum": (products.AddN, "", {"ignored": "num_args"}),
    "_contrib_quadratic": (layers.Quadratic, "data"),
    "LRN": (layers.LRN, "data", {"counted": 2, "order": "alpha beta knorm nsize"}),
    "GroupNorm": (networks.group_norm, "data gamma beta", {"counted": 3}),
    "softmax_cross_entropy": (layers.SoftmaxCrossEntropy,),
    "SequenceMask": (sequence.SequenceMask, "", {"order": "use_sequence_length value axis"}),
    "SequenceLast": (sequence.SequenceLast,),
    "SequenceReverse": (sequence.SequenceReverse,),
    "space_to_depth": (image.SpaceToDepth, "data"),
    "norm": (built.norm, "data", {"order": "ord axis out_dtype keepdims"}),
    "_np_cumsum cumsum": (built.cumsum, "a"),
    "LayerNorm": (networks.layer_norm, "data gamma beta", {"counted": 3}),
    "InstanceNorm": (norms.InstanceNorm, "data gamma beta", {"counted": 3}),
    "L2Normalization": (norms.L2Normalization, "data", {"counted": 2}),
    "smooth_l1": (activations.SmoothL1, "data"),
    "hard_sigmoid": (activations.HardSigmoid, "data"),
    "LinearRegressionOutput": (regression.LinearRegressionOutput,),
    "MAERegressionOutput": (regression.MAERegressionOutput,),
    "LogisticRegressionOutput": (regression.LogisticRegressionOutput,),
    "_grad_add": (built.same_shape(e.Add), "lhs rhs"),
    "slice crop": (built.sliced, "data"),
    "slice_axis": (built.slice_axis, "data"),
    "slice_like": (repeated.SliceLike, "data shape_like"),
    "reverse flip": (built.flip, "data"),
    "tile": (built.tile, "data"),
    "repeat": (repeated.Repeat, "data"),
    "diag": (diagonals.Diag, "data"),
    "take": (built.take, "a indices"),
    "pick choose_element_0index": (built.pick, "data index"),
    "batch_take": (lambda: gather.Pick(axis=1), "a indices"),
    "one_hot": (built.one_hot, "indices"),
    "Embedding": (gather.Embedding, "", {"ignored": "dtype sparse_grad", "order": EMBEDDING}),
    "gather_nd": (gather.GatherNd, "data indices"),
    "scatter_nd _backward_gather_nd": (built.of_shape(gather.ScatterNd, "to"), "data indices"),
    "_ravel_multi_index ravel_multi_index": (built.of_shape(creation.RavelMultiIndex, "of"), "data"),
    "_unravel_index unravel_index": (built.of_shape(creation.UnravelIndex, "of"), "data"),
    "shape_array": (creation.ShapeArray, "data"),
    "size_array": (creation.SizeArray, "data"),
    "_arange": (creating.arange, "", {"ignored": "ctx", "order": f"{SPACED} ctx dtype"}),
    "_linspace": (creating.linspace, "", {"ignored": "ctx", "order": f"{SPACED} ctx dtype num endpoint"}),
    "_eye": (creating.eye, "", {"ignored": "ctx", "order": "N M k ctx dtype"}),
    "_contrib_arange_like": (creation.ArangeLike, "data", {"ignored": "ctx", "order": "start step repeat ctx axis"}),
    "UpSampling": (networks.upsampling, "",
        {"ignored": "num_args workspace", "initial": {"weight": '["bilinear", {}]'}}),
    "Crop": (spatial.Crop, "", {"ignored": "num_args"}),
    "BilinearSampler": (spatial.BilinearSampler, "", {"ignored": "cudnn_off", "counted": 2, "order": "cudnn_off"}),
    "GridGenerator": (spatial.GridGenerator,),
    "SpatialTransformer": (spatial.SpatialTransformer, "", {"ignored": "cudnn_off", "counted": 3,
        "order": "target_shape transform_type sampler_type cudnn_off"}),
    "RNN": (networks.rnn, "data parameters state state_cell",
        {"order": "sequence_length state_size num_layers bidirectional mode p state_outputs projection_size "
         "lstm_state_clip_min lstm_state_clip_max lstm_state_clip_nan use_sequence_length"}),
    "ROIPooling": (regions.ROIPooling,),
    "_contrib_ROIAlign": (aligned.ROIAlign, "",
        {"order": "pooled_size spatial_scale sample_ratio position_sensitive aligned"}),
    "_contrib_RROIAlign": (rotated.RROIAlign,),
    "_contrib_bipartite_matching": (anchored.BipartiteMatching, "data", {"order": "is_ascend threshold topk"}),
    "_contrib_box_encode": (anchored.BoxEncode,),
    "_contrib_box_decode": (anchored.BoxDecode,),
    "_contrib_Proposal _contrib_MultiProposal": (proposals.Proposal,),
    "_contrib_DeformableConvolution": (deformed.DeformableConvolution, "",
        {"ignored": "workspace layout", "required": "num_filter",
         "order": "kernel stride dilate pad num_filter num_group num_deformable_group workspace no_bias layout"}),
    "_contrib_ModulatedDeformableConvolution": (deformed.ModulatedDeformableConvolution, "",
        {"ignored": "workspace im2col_step layout", "required": "num_filter",
         "order": "kernel stride dilate pad num_filter num_group num_deformable_group workspace no_bias im2col_step "
         "layout"}),
    "_foreach": (built.foreach, "", {"ignored": "num_args", "within": True}),
    "_while_loop": (built.while_loop, "", {"ignored": "num_args", "within": True}),
    "_cond": (built.choice, "", {"ignored": "num_args", "within": True}),
    "_contrib_hawkesll": (hawkes.HawkesLogLikelihood,),
    "Correlation": (aligned.Correlation, "", {"counted": 3}),
    "_contrib_MultiBoxPrior": (detection.MultiBoxPrior,),
    "_contrib_MultiBoxTarget": (detection.MultiBoxTarget,),
    "_contrib_MultiBoxDetection": (detection.MultiBoxDetection,),
    "im2col": (columns.Columns, "data", {"order": "kernel stride dilate pad"}),
    "col2im": (columns.FromColumns, "data", {"order": "output_size kernel stride dilate pad"}),
    "CTCLoss ctc_loss _contrib_CTCLoss _contrib_ctc_loss": (
        masked.CTCLoss, "", {"outputs": ("output0",), "counted": 2}),
    "argmax": (built.place_of(order.Argmax), "data"),
    "argmin": (built.place_of(order.Argmin), "data"),
    "argmax_channel": (lambda: order.Argmax(axis=1, vector=True), "data"),
    "sort": (built.sort, "data", {"outputs": ("output0",)}),
    "argsort": (built.argsort, "data"),
    "_contrib_AdaptiveAvgPooling2D": (resampled.AdaptiveAvgPooling, "data"),
    "_contrib_BilinearResize2D": (resampled.BilinearResize, "data like"),
    "_contrib_box_iou": (kept.BoxIou, "lhs rhs"),
    "_contrib_box_nms _contrib_box_non_maximum_suppression": (
        kept.BoxNms, "data", {"outputs": ("output0",), "counted": 2}),
    "_contrib_interleaved_matmul_selfatt_qk": (interleaved.InterleavedMatmulSelfattQk,),
    "_contrib_interleaved_matmul_selfatt_valatt": (interleaved.InterleavedMatmulSelfattValatt,),
    "_contrib_interleaved_matmul_encdec_qk": (interleaved.InterleavedMatmulEncdecQk,),
    "_contrib_interleaved_matmul_encdec_valatt": (interleaved.InterleavedMatmulEncdecValatt,),
    "_contrib_index_array": (placed.IndexArray, "data"),
    "_contrib_index_copy": (placed.IndexCopy,),
    "_contrib_allclose": (finite.Allclose, "a b"),
    "_contrib_SyncBatchNorm": (networks.batch_norm, "data gamma beta moving_mean moving_var",
        {"ignored": "ndev key", "order": f"{NORM} ndev key"}),
    "_contrib_SparseEmbedding": (gather.Embedding, "",
        {"ignored": "dtype sparse_grad deterministic", "order": EMBEDDING}),
    "_contrib_quantize": (quantized.Quantize,),
    "_contrib_quantize_v2": (quantized.QuantizeV2, "data"),
    "_contrib_dequantize": (quantized.Dequantize,),
    "_contrib_requantize": (quantized.Requantize, "", {"order": "out_type min_calib_range max_calib_range"}),
    "_split_v2": (built.split_at, "data"),
    "_histogram": (placed.Histogram, "data bins"),
    "all_finite": (finite.AllFinite, "data"),
    "multi_all_finite": (finite.MultiAllFinite,),
    "multi_sum_sq": (finite.MultiSumSq,),
    "multi_lars": (finite.MultiLars,),
    "_image_normalize": (pictures.ImageNormalize,),
    "_image_to_tensor": (lambda: pictures.ImageToTensor(), "data"),
    "_image_flip_left_right": (lambda: repeated.Flip(axis=-2), "data"),
    "_image_flip_top_bottom": (lambda: repeated.Flip(axis=-3), "data"),
    "_image_crop": (creating.cropped, "data"),
    "amp_cast": (built.cast, "data"),
    "amp_multicast": (copies.AmpMulticast,),
    "cast_storage": (built.dense, "data"),
    "Convolution_v1": (networks.convolution, "data weight bias", {"ignored": TUNING, "order": WINDOW.format("")}),
    "Pooling_v1": (networks.pooling, "data",
        {"ignored": TUNING, "order": "kernel pool_type global_pool pooling_convention stride pad"}),
    "zeros_like": (lambda: fills.FullLike(value=0.0), "data"),
    "ones_like": (lambda: fills.FullLike(value=1.0), "data"),
}  # fmt: skip


DENSITIES = (
    densities.RandomPdfUniform, densities.RandomPdfNormal, densities.RandomPdfGamma, densities.RandomPdfExponential,
    densities.RandomPdfPoisson, densities.RandomPdfNegativeBinomial, densities.RandomPdfGeneralizedNegativeBinomial,
    densities.RandomPdfDirichlet,
)  # fmt: skip


def declare_draws() -> None:
    """Enter the operators that draw random numbers."""
    device = frozenset({"ctx"})
    for name, parameters in creating.DRAWN.items():
        aliases = {"uniform": ("uniform",), "normal": ("normal",)}.get(name, ())
        build = creating.random_numbers(name)
        order_ = f"{' '.join(parameters)} shape ctx dtype"
        operator(f"_random_{name}", build, f"random_{name}", *aliases, ignored=device, order=order_)
        operator(f"_random_{name}_like", creating.random_numbers(name, like=True), inputs=("data",))
        inputs = ("mu", "sigma") if name == "normal" else tuple(parameters)
        operator(f"_sample_{name}", creating.sample(name), f"sample_{name}", inputs=inputs)
    order_ = "low high shape ctx dtype"
    operator("_random_randint", creating.random_integers, "random_randint", ignored=device, order=order_)
    operator("_sample_multinomial", creating.multinomial, "sample_multinomial", inputs=("data",))
    operator("_shuffle", draws.Shuffle, "shuffle", counted=1)
    for cls in DENSITIES:
        operator(f"_{cls.function}", cls, cls.function)


def declare_families() -> None:
    """Enter what is alike but for a function: of one number, along axes, of truth values, of two arrays."""
    for name, unary in UNARY.items():
        operator(name, unary, inputs=("data",))
    for name, cls in REDUCTIONS.items():
        operator(
            name,
            built.reduction(cls),
            *{"max": ("max_axis",), "min": ("min_axis",), "sum": ("sum_axis",)}.get(name, ()),
            inputs=("data",),
        )
    for name, logical in LOGIC.items():
        operator(f"_logical_{name}", built.same_shape(logical), inputs=SIDES)
        operator(f"broadcast_logical_{name}", built.broadcasting(logical), inputs=SIDES)
        operator(f"_logical_{name}_scalar", built.with_scalar(logical()), inputs=("data",))
    for name, both, more in (("hypot", angles.Hypot, {}), ("mod", rounding.Remainder, {"zero": True})):
        operator(f"_{name}", built.same_shape(both, **more), inputs=SIDES)
        operator(f"broadcast_{name}", built.broadcasting(both, **more), inputs=SIDES)
        old = name.title()
        operator(f"_{name}_scalar", built.with_scalar(both(**more)), f"_{old}Scalar", inputs=("data",))
    zero = rounding.Remainder(zero=True)
    operator("_rmod_scalar", built.with_scalar(zero, True), "_RModScalar", inputs=("data",))


def declare_arithmetic() -> None:
    """Enter arithmetic and comparisons: of equal shapes, of shapes that broadcast, of an array and a number."""
    for name, (old, binary) in BINARY.items():
        strict = f"elemwise_{name}" if name in ("add", "sub", "mul", "div") else f"_{name}"
        operator(strict, built.same_shape(binary), f"_{old}", f"_{old.title()}", inputs=SIDES)
        operator(f"broadcast_{name}", built.broadcasting(binary), f"broadcast_{old}", inputs=SIDES)
        operator(f"_{old}_scalar", built.with_scalar(binary()), f"_{old.title()}Scalar", inputs=("data",))
    for name, reverse in (("minus", e.Subtract), ("div", e.Divide), ("power", e.Power)):
        operator(
            f"_r{name}_scalar",
            built.with_scalar(reverse(), True),
            f"_R{name.title()}Scalar",
            inputs=("data",),
        )
    for name, comparison in COMPARISONS.items():
        operator(f"_{name}", built.same_shape(comparison), inputs=SIDES)
        operator(f"broadcast_{name}", built.broadcasting(comparison), inputs=SIDES)
        operator(f"_{name}_scalar", built.with_scalar(comparison()), inputs=("data",))


def declare(table: dict[str, tuple[Any, ...]]) -> None:
    """Fill the catalog."""
    for names, (build, *more) in table.items():
        inputs: str = more[0] if more else ""
        options: dict[str, Any] = more[1] if len(more) > 1 else {}
        name, *aliases = names.split()
        if "ignored" in options:
            options["ignored"] = frozenset(options["ignored"].split())
        operator(name, build, *aliases, inputs=inputs.split(), **options)
    declare_families()
    declare_arithmetic()
    updating.declare()
    declare_draws()


declare(TABLE)
del TABLE  # `OPERATORS` has it all
RESERVED.update(dict.fromkeys(OPERATORS, "an operator of MXNet"))
