"""MXNet's operators as spellings of our ops."""

from __future__ import annotations

from tinygrad_lesson.engine.op import RESERVED, Op
from tinygrad_lesson.mxnet import built, creating
from tinygrad_lesson.mxnet.register import COUNTED, OPERATORS, operator
from tinygrad_lesson.ops import (
    activations,
    adaptive,
    aligned,
    columns,
    creation,
    decompositions,
    deconv,
    detection,
    draws,
    factors,
    gamma,
    gather,
    image,
    index,
    lapack,
    layers,
    legacy,
    linalg,
    linear,
    loss,
    masked,
    movement,
    multi,
    nn,
    norms,
    order,
    products,
    recurrent,
    reduce,
    regions,
    regression,
    repeated,
    rounding,
    scans,
    sequence,
    spatial,
    special,
    updates,
)
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import functions as f

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
    "erf": special.Erf, "erfinv": special.Erfinv, "gamma": gamma.Gamma, "gammaln": gamma.Gammaln,
    "digamma": gamma.Digamma, "log_sigmoid": special.LogExpit, "mish": legacy.Mish,
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
LAYER = ("data", "weight", "bias")
SCALED = ("gamma", "beta")
WINDOW = "kernel stride dilate pad {}num_filter num_group workspace no_bias cudnn_tune cudnn_off layout"
PREPARED = "wd rescale_grad clip_gradient"
LAMB = f"beta1 beta2 epsilon t bias_correction {PREPARED}"
UPDATES: dict[str, tuple[type[Op], str]] = {  # with the order of their attributes
    "sgd_update": (updates.SgdUpdate, f"lr {PREPARED} lazy_update"),
    "sgd_mom_update": (updates.SgdMomUpdate, f"lr momentum {PREPARED} lazy_update"),
    "mp_sgd_update": (updates.MpSgdUpdate, f"lr {PREPARED} lazy_update"),
    "mp_sgd_mom_update": (updates.MpSgdMomUpdate, f"lr momentum {PREPARED} lazy_update"),
    "nag_mom_update": (updates.NagMomUpdate, f"lr momentum {PREPARED}"),
    "mp_nag_mom_update": (updates.MpNagMomUpdate, f"lr momentum {PREPARED}"),
    "signsgd_update": (updates.SignsgdUpdate, f"lr {PREPARED}"),
    "signum_update": (updates.SignumUpdate, f"lr momentum {PREPARED} wd_lh"),
    "adam_update": (adaptive.AdamUpdate, f"lr beta1 beta2 epsilon {PREPARED} lazy_update"),
    "rmsprop_update": (adaptive.RmspropUpdate, f"lr gamma1 epsilon {PREPARED} clip_weights"),
    "rmspropalex_update": (adaptive.RmspropalexUpdate, f"lr gamma1 gamma2 epsilon {PREPARED} clip_weights"),
    "ftrl_update": (adaptive.FtrlUpdate, f"lr lamda1 beta {PREPARED}"),
    "_sparse_adagrad_update": (adaptive.SparseAdagradUpdate, f"lr epsilon {PREPARED}"),
    "lamb_update_phase1": (adaptive.LambUpdatePhase1, LAMB),
    "mp_lamb_update_phase1": (adaptive.MpLambUpdatePhase1, LAMB),
    "mp_lamb_update_phase2": (adaptive.MpLambUpdatePhase2, "lr lower_bound upper_bound"),
    "lamb_update_phase2": (adaptive.LambUpdatePhase2, "lr lower_bound upper_bound"),
}

MULTI = (
    multi.MultiSgdUpdate, multi.MultiSgdMomUpdate, multi.MultiMpSgdUpdate, multi.MultiMpSgdMomUpdate,
    multi.PreloadedMultiSgdUpdate, multi.PreloadedMultiSgdMomUpdate, multi.PreloadedMultiMpSgdUpdate,
    multi.PreloadedMultiMpSgdMomUpdate,
)  # fmt: skip


def declare_updates() -> None:
    """Enter the update operators."""
    zero = dict.fromkeys(("mean", "var"), '["zero", {}]')
    for name, (cls, order_) in UPDATES.items():
        operator(name, cls, ignored=frozenset({"lazy_update"}), order=order_, initial=zero)
    operator(
        "ftml_update",
        built.ftml_update,
        inputs=("weight", "grad", "d", "v", "z"),
        order="lr beta1 beta2 epsilon t wd rescale_grad clip_grad",
    )
    for cls in MULTI:
        operator(cls.function, cls)


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
    operator("_shuffle", draws.Shuffle, "shuffle")


def declare() -> None:
    """Fill the catalog."""
    operator("FullyConnected", linear.FullyConnected)
    operator("Activation", built.activation, inputs=("data",))
    operator(
        "LeakyReLU",
        built.leaky_relu,
        inputs=("data", "gamma"),
        initial={"gamma": '["Constant", {"value": 0.25}]'},
    )
    operator(
        "BatchNorm",
        built.batch_norm,
        "BatchNorm_v1",
        inputs=("data", *SCALED, "moving_mean", "moving_var"),
        ignored=frozenset({"cudnn_off"}),
    )
    tuning = frozenset({"workspace", "cudnn_tune", "cudnn_off"})
    operator("Convolution", built.convolution, inputs=LAYER, ignored=tuning, order=WINDOW.format(""))
    operator(
        "Pooling", built.pooling, inputs=("data",), ignored=tuning, hidden=1,
        order="kernel pool_type global_pool cudnn_off pooling_convention stride pad p_value count_include_pad layout",
    )  # fmt: skip
    operator("Dropout", built.dropout, inputs=("data",), ignored=frozenset({"cudnn_off"}))
    operator("softmax", built.along(nn.Softmax), inputs=("data", "length"))
    operator("SoftmaxActivation", built.softmax_activation, inputs=("data",))
    operator("log_softmax", built.along(nn.LogSoftmax, log=True), inputs=("data",))
    operator("SoftmaxOutput", loss.SoftmaxOutput, "Softmax")
    operator("MakeLoss", loss.MakeLoss, inputs=("data",))
    operator("make_loss", loss.MakeLoss, inputs=("data",), outputs=("loss",))
    operator("BlockGrad", loss.StopGradient, "stop_gradient", inputs=("data",))
    operator("identity", movement.Identity, "_copy", inputs=("data",))
    operator("Concat", index.Concat, "concat", ignored=COUNTED)
    operator("stack", index.Stack, ignored=COUNTED)
    operator("SliceChannel", built.split, "split", inputs=("data",))
    operator("Reshape", built.reshape, "reshape", inputs=("data",))
    operator("Flatten", lambda: movement.Flatten(axis=1), "flatten", inputs=("data",))
    operator("transpose", built.transpose, inputs=("data",))
    operator("SwapAxis", built.swap_axes, "swapaxes", inputs=("data",))
    operator("expand_dims", movement.ExpandDims, inputs=("data",))
    operator("squeeze", movement.Squeeze, inputs=("data",))
    operator("broadcast_to", built.broadcast_to, inputs=("data",))
    operator("where", lambda: e.Where(rows=True), inputs=("condition", "x", "y"))
    operator("clip", built.clip, inputs=("data",))
    operator("Custom", built.custom, ignored=COUNTED)
    operator("_zeros", creating.filled(0.0), ignored=frozenset({"ctx"}))
    operator("_ones", creating.filled(1.0), ignored=frozenset({"ctx"}))
    operator("rint", lambda: rounding.Rint(ties="down"), inputs=("data",))
    operator("round", lambda: rounding.Rint(ties="away"), inputs=("data",))
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
        operator(f"_logical_{name}", logical, inputs=SIDES)
        operator(f"broadcast_logical_{name}", logical, inputs=SIDES)
        operator(f"_logical_{name}_scalar", built.with_scalar(logical()), inputs=("data",))
    for name, both, more in (("hypot", f.Hypot, {}), ("mod", rounding.Remainder, {"zero": True})):
        operator(f"_{name}", built.same_shape(both, **more), inputs=SIDES)
        operator(f"broadcast_{name}", built.broadcasting(both, **more), inputs=SIDES)
        old = name.title()
        operator(f"_{name}_scalar", built.with_scalar(both(**more)), f"_{old}Scalar", inputs=("data",))
    zero = rounding.Remainder(zero=True)
    operator("_rmod_scalar", built.with_scalar(zero, True), "_RModScalar", inputs=("data",))
    operator("Cast", built.cast, "cast", inputs=("data",))
    operator("Pad", built.pad, "pad", inputs=("data",), order="mode pad_width constant_value")
    operator("topk", built.top_k, inputs=("data",))
    operator("_full", creating.full, ignored=frozenset({"ctx"}))
    operator("broadcast_like", products.BroadcastAxesLike, inputs=SIDES)
    operator("linalg_gemm", products.Gemm, "_linalg_gemm", inputs=("A", "B", "C"))
    operator("linalg_syrk", products.Syrk, "_linalg_syrk", inputs=("A",))
    operator(
        "linalg_det", lambda: linalg.Det(vector=True), "_linalg_det", inputs=("A",), outputs=("output0",)
    )
    operator("linalg_inverse", linalg.Inverse, "_linalg_inverse", inputs=("A",))
    operator("linalg_extractdiag", built.extract_diagonal, "_linalg_extractdiag", inputs=("A",))
    for name, of_matrix, letters in (
        ("trmm", lapack.Trmm, "AB"), ("trsm", lapack.Trsm, "AB"), ("potri", lapack.Potri, "A"),
        ("sumlogdiag", lapack.Sumlogdiag, "A"), ("makediag", lapack.Makediag, "A"),
        ("extracttrian", lapack.Extracttrian, "A"), ("maketrian", lapack.Maketrian, "A"),
        ("potrf", decompositions.Cholesky, "A"), ("slogdet", factors.SignAndLog, "A"),
        ("syevd", factors.Syevd, "A"), ("gelqf", factors.Gelqf, "A"),
    ):  # fmt: skip
        operator(f"linalg_{name}", of_matrix, f"_linalg_{name}", inputs=tuple(letters))
    operator("broadcast_axis", legacy.BroadcastAxes, "broadcast_axes", inputs=("data",))
    operator("reshape_like", movement.ReshapeLike, inputs=SIDES)
    operator("depth_to_space", legacy.DepthToSpace, inputs=("data",))
    operator("moments", legacy.Moments, inputs=("data",))
    operator("_contrib_div_sqrt_dim", legacy.DivSqrtDim, inputs=("data",))
    operator("fill_element_0index", legacy.FillElement0Index, inputs=("lhs", "mhs", "rhs"))
    operator("IdentityAttachKLSparseReg", legacy.IdentityAttachKLSparseReg)
    operator("khatri_rao", products.KhatriRao, ignored=COUNTED)
    operator("SVMOutput", regression.SVMOutput)
    operator("_contrib_gradientmultiplier", regression.GradientMultiplier, inputs=("data",))
    operator(
        "Deconvolution",
        deconv.Deconvolution,
        ignored=tuning | {"layout"},
        order=WINDOW.format("adj target_shape "),
    )
    operator("softmin", built.softmin, inputs=("data",))
    operator("dot", products.Contract, inputs=SIDES)
    operator("batch_dot", built.batch_dot, inputs=SIDES)
    operator("linalg_gemm2", products.BatchDot, "_linalg_gemm2", inputs=("A", "B"))
    operator("add_n", products.AddN, "ElementWiseSum", ignored=COUNTED)
    operator("_contrib_quadratic", layers.Quadratic, inputs=("data",))
    operator("LRN", layers.LRN, inputs=("data",), order="alpha beta knorm nsize")
    operator("GroupNorm", layers.GroupNorm)
    operator("softmax_cross_entropy", layers.SoftmaxCrossEntropy)
    operator("SequenceMask", sequence.SequenceMask)
    operator("SequenceLast", sequence.SequenceLast)
    operator("SequenceReverse", sequence.SequenceReverse)
    operator("space_to_depth", image.SpaceToDepth, inputs=("data",))
    operator("norm", built.norm, inputs=("data",), order="ord axis out_dtype keepdims")
    operator("cumsum", scans.Cumsum, "_np_cumsum", inputs=("a",))
    operator("LayerNorm", built.layer_norm, inputs=("data", *SCALED))
    operator("InstanceNorm", norms.InstanceNorm, inputs=("data", *SCALED))
    operator("L2Normalization", norms.L2Normalization, inputs=("data",))
    operator("smooth_l1", activations.SmoothL1, inputs=("data",))
    operator("hard_sigmoid", activations.HardSigmoid, inputs=("data",))
    operator("LinearRegressionOutput", regression.LinearRegressionOutput)
    operator("MAERegressionOutput", regression.MAERegressionOutput)
    operator("LogisticRegressionOutput", regression.LogisticRegressionOutput)
    operator("_grad_add", built.same_shape(e.Add), inputs=SIDES)
    operator("slice", built.sliced, "crop", inputs=("data",))
    operator("slice_axis", built.slice_axis, inputs=("data",))
    operator("slice_like", repeated.SliceLike, inputs=("data", "shape_like"))
    operator("reverse", built.flip, "flip", inputs=("data",))
    operator("tile", repeated.Tile, inputs=("data",))
    operator("repeat", repeated.Repeat, inputs=("data",))
    operator("diag", repeated.Diag, inputs=("data",))
    operator("take", built.take, inputs=("a", "indices"))
    operator("pick", gather.Pick, inputs=("data", "index"))
    operator("choose_element_0index", lambda: gather.Pick(axis=1), inputs=("lhs", "rhs"))
    operator("batch_take", lambda: gather.Pick(axis=1), inputs=("a", "indices"))
    operator("one_hot", built.one_hot, inputs=("indices",))
    operator("Embedding", gather.Embedding, ignored=frozenset({"dtype", "sparse_grad"}))
    operator("gather_nd", gather.GatherNd, inputs=("data", "indices"))
    operator("scatter_nd", built.of_shape(gather.ScatterNd, "to"), inputs=("data", "indices"))
    operator(
        "ravel_multi_index",
        built.of_shape(creation.RavelMultiIndex, "of"),
        "_ravel_multi_index",
        inputs=("data",),
    )
    operator("unravel_index", built.of_shape(creation.UnravelIndex, "of"), "_unravel_index", inputs=("data",))
    operator("shape_array", creation.ShapeArray, inputs=("data",))
    operator("size_array", creation.SizeArray, inputs=("data",))
    operator("_arange", creating.arange, ignored=frozenset({"ctx"}))
    operator("_linspace", creating.linspace, ignored=frozenset({"ctx"}))
    operator("_eye", creating.eye, ignored=frozenset({"ctx"}))
    operator("_contrib_arange_like", creation.ArangeLike, inputs=("data",), ignored=frozenset({"ctx"}))
    operator("UpSampling", built.upsampling, ignored=COUNTED | {"workspace"})
    operator("Crop", spatial.Crop, ignored=COUNTED)
    operator("BilinearSampler", spatial.BilinearSampler, ignored=frozenset({"cudnn_off"}))
    operator("GridGenerator", spatial.GridGenerator)
    operator("SpatialTransformer", spatial.SpatialTransformer, ignored=frozenset({"cudnn_off"}))
    operator("RNN", recurrent.RNN)
    operator("ROIPooling", regions.ROIPooling)
    operator(
        "_contrib_ROIAlign", aligned.ROIAlign,
        order="pooled_size spatial_scale sample_ratio position_sensitive aligned",
    )  # fmt: skip
    operator("Correlation", aligned.Correlation, hidden=2)
    operator("_contrib_MultiBoxPrior", detection.MultiBoxPrior)
    operator("_contrib_MultiBoxTarget", detection.MultiBoxTarget)
    operator("_contrib_MultiBoxDetection", detection.MultiBoxDetection)
    operator("im2col", columns.Columns, inputs=("data",))
    operator("col2im", columns.FromColumns, inputs=("data",))
    operator(
        "CTCLoss", masked.CTCLoss, "ctc_loss", "_contrib_CTCLoss", "_contrib_ctc_loss", outputs=("output0",)
    )
    operator("argmax", built.place_of(order.Argmax), inputs=("data",))
    operator("argmin", built.place_of(order.Argmin), inputs=("data",))
    operator("argmax_channel", lambda: order.Argmax(axis=1, vector=True), inputs=("data",))
    operator("sort", built.sort, inputs=("data",), outputs=("output0",))
    operator("argsort", built.argsort, inputs=("data",))
    operator("zeros_like", lambda: reduce.FullLike(value=0.0), inputs=("data",))
    operator("ones_like", lambda: reduce.FullLike(value=1.0), inputs=("data",))
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
        operator(f"_{name}", comparison, inputs=SIDES)
        operator(f"broadcast_{name}", comparison, inputs=SIDES)
        operator(f"_{name}_scalar", built.with_scalar(comparison()), inputs=("data",))
    declare_updates()
    declare_draws()


declare()
RESERVED.update(dict.fromkeys(OPERATORS, "an operator of MXNet"))
