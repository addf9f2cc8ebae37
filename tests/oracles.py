"""What each op must compute, said once more with Python's math, NumPy and SciPy."""

import itertools
import math
import operator

import numpy as np
from densities import ORACLES_OF_DENSITIES
from detection import ORACLES_OF_DETECTION
from mpmath import mp
from one_op import SEED
from quantized import ORACLES_OF_QUANTIZED
from scipy import signal, special
from updates import ORACLES_OF_UPDATES

from tinygrad_lesson.random import MXNetGenerator


def each(function, kind=float):
    """`function` of numbers, applied to every element."""
    return lambda op, *arrays: np.vectorize(function, otypes=[kind])(*arrays)


def exactly(function):
    """A function of mpmath's of numbers, applied to every element."""
    return each(lambda *x: float(function(*map(mp.mpf, map(float, x)))))


def reduction_axes(op, x):
    """The axes that a reduction runs over, counted from the front."""
    listed = range(x.ndim) if op.axis is None else np.atleast_1d(np.array(op.axis, int))
    axes = {int(a) % x.ndim for a in listed}
    return tuple(sorted(set(range(x.ndim)) - axes if op.exclude else axes))


def reduction(function):
    """A reduction by one of NumPy's or SciPy's functions."""

    def oracle(op, x):
        axes = reduction_axes(op, x)
        y = function(x, axis=axes, keepdims=op.keepdims) if axes else function(x[None], axis=0)
        return np.reshape(y, 1) if op.vector and np.ndim(y) == 0 else y

    return oracle


def with_scalar(op, x):
    operands = (op.scalar, x) if op.reverse else (x, op.scalar)
    return ORACLES[op.binary.name](op.binary, *operands)


def product_of_others(op, x, *along):
    y, axes = np.zeros_like(x), reduction_axes(op, x)
    for i in np.ndindex(x.shape):
        group = [
            j for j in np.ndindex(x.shape) if all(a in axes or j[a] == i[a] for a in range(x.ndim)) and j != i
        ]
        for places in itertools.permutations(group, len(along)):
            rest = [x[j] for j in group if j not in places]
            y[i] += math.prod(u[j] for u, j in zip(along, places, strict=True)) * math.prod(rest)
    return y


def sum_like(op, x, like):
    y, extra = np.zeros(like.shape), x.ndim - like.ndim
    for i in np.ndindex(x.shape):
        y[tuple(0 if n == 1 else a for a, n in zip(i[extra:], like.shape, strict=True))] += x[i]
    return y


def index_of(op):
    return tuple(slice(*k[1:]) if isinstance(k, tuple) else k for k in op.key)


def where(op, condition, a, b):
    if op.rows and condition.ndim == 1:
        return np.array([x if chosen else y for chosen, x, y in zip(condition, a, b, strict=True)])
    return each(lambda condition, a, b: a if condition else b)(op, condition, a, b)


def put(op, x):
    y = np.zeros(op.to)
    y[index_of(op)] = x
    return y


def split(op, x):
    parts = np.split(x, op.num_outputs, axis=op.axis)
    return tuple(p.squeeze(op.axis) for p in parts) if op.squeeze_axis else tuple(parts)


def flatten(op, x):
    axis = op.axis if op.axis >= 0 else op.axis + x.ndim
    return x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))


def fully_connected(op, data, weight, bias=None):
    rows = data.reshape(len(data), -1) if op.flatten else data
    return np.einsum("...f,hf->...h", rows, weight) + (0 if bias is None else bias)


def batch_norm(op, data, gamma, beta, moving_mean, moving_var):
    x = np.moveaxis(data, op.axis, -1)
    rows = x.reshape(-1, x.shape[-1])
    mean, var, new_mean, new_var = moving_mean, moving_var, moving_mean, moving_var
    if op.is_train and not op.use_global_stats:
        mean, var = np.mean(rows, axis=0), np.var(rows, axis=0)
        new_mean = op.momentum * moving_mean + (1 - op.momentum) * mean
        new_var = op.momentum * moving_var + (1 - op.momentum) * var
    y = (x - mean) / np.sqrt(var + op.eps) * (1 if op.fix_gamma else gamma) + beta
    return np.moveaxis(y, -1, op.axis), mean, (var + op.eps) ** -0.5, new_mean, new_var


def dropout(op, data):
    shape = [1 if a in {b % data.ndim for b in op.axes} else n for a, n in enumerate(data.shape)]
    if not op.is_train and op.mode == "training":
        return data, np.ones(shape)
    if op.p == 1:
        return 0 * data, np.zeros(shape)
    kept = MXNetGenerator(SEED).uniform(0, 1, tuple(shape)) < 1 - op.p
    return data * kept / (1 - op.p), kept / (1 - op.p)


def rrelu(op, x):
    mean = np.full(x.shape, (op.lower_bound + op.upper_bound) / 2)
    slopes = MXNetGenerator(SEED).uniform(op.lower_bound, op.upper_bound, x.shape) if op.is_train else mean
    return each(lambda x, slope: max(x, 0) + slope * min(x, 0))(op, x, slopes), slopes


def multinomial(op, data):
    """One draw after the other: the first class at which the sum of probabilities exceeds it."""
    each_row, rows = math.prod(op.to), data.reshape(-1, data.shape[-1])
    draws, found = iter(MXNetGenerator(SEED).uniform(0, 1, (len(rows) * each_row,))), []
    for row in np.repeat(rows, each_row, axis=0):
        drawn, left = next(draws), 0.0
        k = -1
        while left <= drawn and k + 1 < len(row):
            k += 1
            left += row[k]
        found.append((k, math.log(row[k])))
    shape = (*data.shape[:-1], *op.to) or (1,)
    classes, logs = np.array(found).reshape(-1, 2).T
    return (classes.reshape(shape), logs.reshape(shape)) if len(op.outputs) > 1 else classes.reshape(shape)


def drawn(op, *parameters):
    """The numbers that a distribution gives for the seed of the tests, scaled by hand."""
    generator = MXNetGenerator(SEED)
    if op.distribution == "uniform":
        shape = parameters[0].shape if parameters else op.to
        low, high = op.given
        return (low + (high - low) * generator.uniform(0, 1, shape)).astype(
            parameters[0].dtype if parameters else op.type
        )
    shape = (*parameters[0].shape, *op.to)
    mean, *spread = [np.reshape(x, (*x.shape, *[1] * len(op.to))) * np.ones(shape) for x in parameters]
    if op.distribution == "normal":
        return (mean + spread[0] * generator.normal(0, 1, shape)).astype(op.type)
    seed = generator.uniform(0, 2**24, (4,)).astype(int)
    return (np.random.default_rng(seed).exponential(1, shape) / mean).astype(op.type)


def shuffled(op, data):
    seed = MXNetGenerator(SEED).uniform(0, 2**24, (4,)).astype(int)
    places = np.random.default_rng(seed).permutation(len(data))
    return np.array([data[i] for i in places]), places


def indices(op, length, axis):
    """For each window along one axis of an image the elements that it covers, in the padding too."""
    if getattr(op, "global_pool", False):
        return [list(range(length))]
    size, stride = op.kernel[axis], (op.stride or (1, 1, 1))[axis]
    pad, dilate = (op.pad or (0, 0, 0))[axis], (getattr(op, "dilate", ()) or (1, 1, 1))[axis]
    room, convention = length + 2 * pad - dilate * (size - 1) - 1, getattr(op, "pooling_convention", "valid")
    counts = {"valid": room // stride + 1, "full": math.ceil(room / stride) + 1}
    counts["same"] = math.ceil((length + 2 * pad) / stride)
    starts = (stride * i - pad for i in range(counts[convention]))
    return [[start + dilate * k for k in range(size)] for start in starts]


def each_window(op, space):
    """Number of the window, place in the window, element: all that lie inside of an image of that size."""
    along = [list(enumerate(indices(op, n, axis))) for axis, n in enumerate(space)]
    for window in itertools.product(*along):
        number, covered = zip(*window, strict=True)
        for place in itertools.product(*[list(enumerate(c)) for c in covered]):
            k, i = zip(*place, strict=True)
            if all(0 <= a < n for a, n in zip(i, space, strict=True)):
                yield number, k, i


def im2col(op, x):
    channel, *space, batch = x.shape
    windows = [len(indices(op, n, axis)) for axis, n in enumerate(space)]
    y = np.zeros((channel, *op.kernel, *windows, batch))
    for number, k, i in each_window(op, space):
        y[(slice(None), *k, *number)] = x[(slice(None), *i)]
    return y.reshape(op.num_group, -1, math.prod(windows) * batch)


def col2im(op, x):
    """The transpose of the matrix of `im2col`, column by column."""
    size = math.prod(op.to)
    unit = np.eye(size).reshape(size, *op.to)
    return np.array([(im2col(op, u) * x).sum() for u in unit]).reshape(op.to)


def sliding_product(op, x, weight, bias=None):
    groups = op.num_group
    y = weight.reshape(groups, len(weight) // groups, -1) @ im2col(op, x)
    windows = [len(indices(op, n, axis)) for axis, n in enumerate(x.shape[1:-1])]
    y = y.reshape(len(weight), *windows, x.shape[-1])
    return y if bias is None else y + bias.reshape(-1, *[1] * (x.ndim - 1))


def sliding_product_data(op, x, weight):
    """The transpose of the matrix of `sliding_product`, column by column."""
    size = math.prod(op.to)
    unit = np.eye(size).reshape(size, *op.to)
    return np.array([(sliding_product(op, u, weight) * x).sum() for u in unit]).reshape(op.to)


def sliding_product_weight(op, x, g):
    """Likewise."""
    shape = (len(g), len(x) // op.num_group, *op.kernel)
    unit = np.eye(math.prod(shape)).reshape(-1, *shape)
    return np.array([(sliding_product(op, x, u) * g).sum() for u in unit]).reshape(shape)


def convolution(op, data, weight, bias=None):
    rank = len(op.kernel)
    stride, dilate, pad = (s or (d,) * rank for s, d in ((op.stride, 1), (op.dilate, 1), (op.pad, 0)))
    x = np.pad(data, [(0, 0), (0, 0), *[(p, p) for p in pad]])
    spread = np.zeros((*weight.shape[:2], *[d * (k - 1) + 1 for k, d in zip(op.kernel, dilate, strict=True)]))
    spread[(..., *[slice(None, None, d) for d in dilate])] = weight
    groups, steps = np.split(x, op.num_group, axis=1), tuple(slice(None, None, s) for s in stride)
    each = op.num_filter // op.num_group
    filtered = [
        [signal.correlate(groups[f // each][n], w, "valid", "direct")[0][steps] for f, w in enumerate(spread)]
        for n in range(len(x))
    ]
    return np.array(filtered) + (0 if bias is None else bias.reshape(-1, *[1] * rank))


def windows_of(op, shape):
    """By number of the window a list of the elements that it covers."""
    seen = {}
    for number, _, i in each_window(op, shape[2:]):
        seen.setdefault(number, []).append(i)
    return seen


def in_front(op, *arrays):
    """Arrays with the batch in front, wherever it was."""
    return [np.moveaxis(x, -1, 0) if op.batch_last else x for x in arrays]


def back(op, y):
    return np.moveaxis(y, 0, -1) if op.batch_last else y


def reach_of(op, length, axis, include_pad):
    """How many elements each window along an axis counts in a mean."""
    pad = 0 if op.global_pool or not include_pad else (op.pad or (0, 0, 0))[axis]
    return [sum(-pad <= i < length + pad for i in window) for window in indices(op, length, axis)]


def mean_weights(op, space):
    counts = [reach_of(op, n, axis, op.count_include_pad) for axis, n in enumerate(space)]
    products = [max(1, math.prod(c)) for c in itertools.product(*counts)]
    return 1 / np.array(products).reshape(*map(len, counts))


def pooling(op, data):
    (x,) = in_front(op, data)
    functions = {
        "max": np.max, "avg": np.sum, "sum": np.sum,
        "lp": lambda v, axis: (v**op.p_value).sum(axis) ** (1 / op.p_value),
    }  # fmt: skip
    seen = windows_of(op, x.shape)
    y = np.zeros((*x.shape[:2], *[len(indices(op, n, axis)) for axis, n in enumerate(x.shape[2:])]))
    for number, places in seen.items():
        y[(..., *number)] = functions[op.pool_type](np.stack([x[(..., *i)] for i in places]), axis=0)
    return back(op, y * mean_weights(op, x.shape[2:]) if op.pool_type == "avg" else y)


def spread_windows(op, x):
    x, like = in_front(op, x, np.zeros(op.to))
    y, x = np.zeros(like.shape), x * mean_weights(op, like.shape[2:]) if op.pool_type == "avg" else x
    for number, places in windows_of(op, like.shape).items():
        for i in places:
            y[(..., *i)] += x[(..., *number)]
    return back(op, y)


def place_max(op, x, data):
    x, data = in_front(op, x, data)
    y = np.zeros(data.shape)
    for number, places in windows_of(op, data.shape).items():
        for n, c in np.ndindex(data.shape[:2]):
            y[(n, c, *max(places, key=lambda i: data[(n, c, *i)]))] += x[(n, c, *number)]
    return back(op, y)


def pick_max(op, x, data):
    x, data = in_front(op, x, data)
    y = np.zeros((*x.shape[:2], *[len(indices(op, n, axis)) for axis, n in enumerate(x.shape[2:])]))
    for number, places in windows_of(op, data.shape).items():
        for n, c in np.ndindex(data.shape[:2]):
            y[(n, c, *number)] = x[(n, c, *max(places, key=lambda i: data[(n, c, *i)]))]
    return back(op, y)


def onehot(label, like, axis):
    """For each vector along `axis` the number that its label names, as a row of truth values."""
    rows = np.moveaxis(like, axis, -1)
    y = np.zeros(rows.shape, bool)
    for i, number in zip(np.ndindex(rows.shape[:-1]), label.ravel(), strict=True):
        if int(number) in range(rows.shape[-1]):
            y[(*i, int(number))] = True
    return np.moveaxis(y, -1, axis)


def targets(op, label, like):
    if label.shape == like.shape:
        return label
    others = op.smooth_alpha / max(1, like.shape[op.axis] - 1)
    return np.where(onehot(label, like, op.axis), 1 - op.smooth_alpha, others)


def label_weights(op, label, like):
    if label.shape == like.shape:
        return np.full([1] * like.ndim, op.scale)
    counted = np.array([int(number) != int(op.ignore_label) for number in label.ravel()])
    behind = math.prod(like.shape[op.axis % like.ndim + 1 :])
    share = op.scale / {"null": behind, "batch": label.size, "valid": max(1, counted.sum())}[op.normalization]
    if not op.use_ignore:
        return np.full([1] * like.ndim, share)
    shape = list(like.shape)
    shape[op.axis] = 1
    return (share * counted).reshape(shape)


def softmax_output(op, data, label):
    if op.multi_output or op.preserve_shape:
        return special.softmax(data, axis=1 if op.multi_output else -1)
    return np.array([special.softmax(row) for row in data])


ORACLES = {
    "Add": each(operator.add),
    "Subtract": each(operator.sub),
    "Multiply": each(operator.mul),
    "Divide": each(operator.truediv),
    "Power": each(math.pow),
    "Maximum": each(max),
    "Minimum": each(min),
    "WithScalar": with_scalar,
    "Equal": each(operator.eq, bool),
    "NotEqual": each(operator.ne, bool),
    "Greater": each(operator.gt, bool),
    "GreaterEqual": each(operator.ge, bool),
    "Less": each(operator.lt, bool),
    "LessEqual": each(operator.le, bool),
    "Where": where,
    "Negative": each(operator.neg),
    "Exp": each(math.exp),
    "Expm1": each(math.expm1),
    "Log": each(math.log),
    "Log1p": each(math.log1p),
    "Sqrt": each(math.sqrt),
    "Rsqrt": each(lambda x: 1 / math.sqrt(x)),
    "Square": each(lambda x: x * x),
    "Tanh": each(math.tanh),
    "Widen": lambda op, x: x,
    "Sigmoid": lambda op, x: special.expit(x),
    "Softplus": lambda op, x: np.logaddexp(x, 0),
    "Softsign": each(lambda x: x / (1 + abs(x))),
    "Abs": each(abs),
    "Sign": each(lambda x: (x > 0) - (x < 0)),
    "Relu": each(lambda x: max(x, 0)),
    "LeakyReLU": lambda op, x: np.where(x > 0, x, op.slope * x),
    "Clip": lambda op, x: np.clip(x, op.low, op.high),
    "Sum": reduction(np.sum),
    "Mean": reduction(np.mean),
    "Var": reduction(np.var),
    "Y0": exactly(lambda x: mp.bessely(0, x)),
    "Y1": exactly(lambda x: mp.bessely(1, x)),
    "Jv": exactly(mp.besselj),
    "Yv": exactly(mp.bessely),
    "Iv": exactly(mp.besseli),
    "Kv": exactly(mp.besselk),
    "Gammainc": exactly(lambda a, x: mp.gammainc(a, 0, x, regularized=True)),
    "Gammaincc": exactly(lambda a, x: mp.gammainc(a, x, regularized=True)),
    "Betainc": exactly(lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True)),
    "Max": reduction(np.max),
    "Min": reduction(np.min),
    "Prod": reduction(np.prod),
    "ExpShare": lambda op, x, total: np.exp(x - total),
    "LogSumExp": reduction(special.logsumexp),
    "ProductOfOthers": product_of_others,
    "SumLike": sum_like,
    "Constant": lambda op: np.array(op.value),
    "Full": lambda op: np.full(op.to, op.value),
    "FullLike": lambda op, x: np.full_like(x, op.value),
    "Identity": lambda op, x: x,
    "MakeLoss": lambda op, x: x,
    "StopGradient": lambda op, x: x,
    "SoftmaxOutput": softmax_output,
    "SoftmaxLoss": lambda op, p, data, label: p,
    "Targets": targets,
    "Arange": lambda op: np.array([*range(op.size)], op.type),
    "LabelWeights": label_weights,
    "Reshape": lambda op, x: x.reshape(
        [x.shape[a] if op.zero_keeps and n == 0 else n for a, n in enumerate(op.to)]
    ),
    "AmpMulticast": lambda op, *data: data if len(data) > 1 else data[0],
    "Cast": lambda op, x: np.asarray(x, op.type),
    "IdentityLike": lambda op, x, like: x,
    "ReshapeLike": lambda op, x, like: x.reshape(
        (*x.shape[: op.lhs_begin or 0], *like.shape[op.rhs_begin : op.rhs_end])
    ),
    "Flatten": flatten,
    "Transpose": lambda op, x: np.transpose(x, op.axes),
    "SwapAxes": lambda op, x: np.swapaxes(x, op.a, op.b),
    "ExpandDims": lambda op, x: np.expand_dims(x, op.axis),
    "Squeeze": lambda op, x: (np.atleast_1d if op.vector else np.asarray)(np.squeeze(x, op.axis)),
    "BroadcastTo": lambda op, x: x * np.ones(op.to),
    "BroadcastLike": lambda op, x, like: x * np.ones(like.shape),
    "Slice": lambda op, x: x[index_of(op)],
    "Put": put,
    "Concat": lambda op, *args: np.concatenate(args, axis=op.dim),
    "Split": split,
    "SplitAt": lambda op, x: tuple(np.split(x, op.places, axis=op.axis)),
    "Stack": lambda op, *args: np.stack(args, axis=op.axis),
    "MatMul": lambda op, a, b: np.einsum("...ij,...jk->...ik", a, b),
    "FullyConnected": fully_connected,
    "Im2Col": im2col,
    "Col2Im": col2im,
    "SlidingProduct": sliding_product,
    "SlidingProductData": sliding_product_data,
    "SlidingProductWeight": sliding_product_weight,
    "Convolution": convolution,
    "Pooling": pooling,
    "SpreadWindows": spread_windows,
    "PlaceMax": place_max,
    "PickMax": pick_max,
    "Softmax": lambda op, x: special.softmax(x / op.temperature, axis=op.axis),
    "LogSoftmax": lambda op, x: special.log_softmax(x / op.temperature, axis=op.axis),
    "BatchNorm": batch_norm,
    "SyncBatchNorm": batch_norm,
    "Dropout": dropout,
    "RandomNumbers": drawn,
    "RandomLike": drawn,
    "SampleOfOne": drawn,
    "SampleOfTwo": drawn,
    "Rrelu": rrelu,
    "SampleMultinomial": multinomial,
    "SampleMultinomialLog": multinomial,
    "Shuffle": shuffled,
}


def rnn_with_dropout(op, data, *others):
    """The masks are the next uniform numbers of the generator; what `RNN` does by hand does the rest."""
    shape = (op.num_layers - 1, *data.shape[:2], op.directions * op.state_size)
    drawn = MXNetGenerator(SEED).uniform(0, 1, shape) if op.is_train and 0 < op.p < 1 else np.zeros(shape)
    dropped = op.is_train * op.p
    masks = np.where(drawn < 1 - dropped, 1 / (1 - dropped) if dropped < 1 else 0, 0.0)
    made = op.by_layers(data, *others, *[None] * (3 - len(others)), masks)
    return (*(made if op.state_outputs else (made,)), masks)


ORACLES["DropoutRNN"] = rnn_with_dropout
ORACLES |= ORACLES_OF_UPDATES | ORACLES_OF_DETECTION | ORACLES_OF_DENSITIES | ORACLES_OF_QUANTIZED


def oracle_of(cls):
    """What `forward` of an op must give: as it declares itself, or as it stands here."""
    return cls.oracle or ORACLES.get(cls.name)


def make_loss(op, x):
    share = {"null": 1, "batch": math.prod(x.shape[:-1]), "valid": max((x > op.valid_thresh).sum(), 1)}
    return [np.full_like(x, op.grad_scale / share[op.normalization])]


def softmax_gradient(op, p, label):
    """MXNet 1.9.1's `softmax_output-inl.h`, `Backward`, row by row."""
    if p.shape == label.shape:
        return (p - label) * op.grad_scale
    axis = 1 if op.multi_output else -1
    rows = np.moveaxis(p, axis, -1)
    places, kinds = rows.shape[:-1], rows.shape[-1]
    alpha = 0 if op.multi_output else op.smooth_alpha
    gradient, valid = np.array(rows), 0
    for i, number in zip(np.ndindex(places), label.ravel(), strict=True):
        ignored = int(number) == int(op.ignore_label)
        valid += not ignored
        for k in range(kinds):
            gradient[(*i, k)] -= 1 - alpha if k == int(number) else alpha / (kinds - 1)
            gradient[(*i, k)] *= not (op.use_ignore and ignored)
    share = {"null": 1, "batch": len(p) if op.multi_output else label.size, "valid": max(1, valid)}
    inside = math.prod(p.shape[2:]) if op.multi_output and op.normalization != "valid" else 1
    return np.moveaxis(gradient, -1, axis) * op.grad_scale / inside / share[op.normalization]


def regression(slope):
    """The mean over the numbers of a row of a difference's slope."""

    def gradient(op, data, label):
        return [
            slope(data, label.reshape(data.shape)) * op.grad_scale / max(1, math.prod(data.shape[1:])),
            None,
        ]

    return gradient


def svm(op, data, label):
    """MXNet 1.9.1's `svm_output-inl.h`, number by number."""
    gradient = np.zeros(data.shape)
    for i, k in np.ndindex(data.shape):
        x, right = data[i, k], k == int(label[i])
        far = op.margin > (x if right else -x)
        if op.use_linear:
            gradient[i, k] = (-1 if right else 1) * far
        else:
            gradient[i, k] = -2 * (op.margin - x) * far if right else 2 * (op.margin + x) * far
    return [gradient * op.regularization_coefficient, None]


LOSS_GRADIENTS = {
    "SVMOutput": svm,
    "LinearRegressionOutput": regression(lambda data, label: data - label),
    "MAERegressionOutput": regression(lambda data, label: np.where(data > label, 1, -1)),
    "LogisticRegressionOutput": regression(lambda data, label: special.expit(data) - label),
    "MakeLoss": make_loss,
    "SoftmaxOutput": lambda op, data, label: [
        softmax_gradient(op, softmax_output(op, data, label), label),
        None,
    ],
    "SoftmaxLoss": lambda op, p, data, label: [None, softmax_gradient(op, p, label), None],
}
