"""Operations that are a few others one after the other: products, normalizations, sequences, activations."""

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from tinygrad_lesson.engine.composite import Composite
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating, summed
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import attr
from tinygrad_lesson.engine.shapes import merge, normalize_axis, show, size_of


class FloatComposite(Composite):
    """A composite whose results are no integers, even for integers."""

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))


def with_number(dtype, number):
    """The type of an array beside a number."""
    return dtype if dtype is None else np.result_type(dtype, type(number)())


# Products.


@op
class Contract(Composite):
    """Products of `a` and `b` summed over the last axis of `a` and the first of `b`.

    Shapes
        a (..., k), b (k, ...) -> (..., ...); of two vectors (1,)

    Source
        MXNet 1.9, `dot`.
    """

    transpose_a: bool = attr(False, doc="sum over the first axis of `a` instead")
    transpose_b: bool = attr(False, doc="sum over the last axis of `b` instead")

    def compose(self, F, a, b):
        if self.transpose_a and len(F.shape(a)) > 1:
            a = F.transpose(a, axes=(*range(1, len(F.shape(a))), 0))
        if self.transpose_b and len(F.shape(b)) > 1:
            rank = len(F.shape(b))
            b = F.transpose(b, axes=(rank - 1, *range(rank - 1)))
        rows, columns = F.shape(a), F.shape(b)
        if not rows or not columns:
            raise ShapeError(f"a is {show(rows)} and b is {show(columns)}, expected at least one axis each")
        merge(rows[-1:], columns[:1])
        left = F.reshape(a, shape=(-1, rows[-1])) if len(rows) != 2 else a
        right = F.reshape(b, shape=(columns[0], -1)) if len(columns) != 2 else b
        shape = (*rows[:-1], *columns[1:]) or (1,)
        y = F.matmul(left, right)
        return y if len(shape) == 2 == len(rows) else F.reshape(y, shape=shape)

    def oracle(self, a, b):
        a = np.moveaxis(a, 0, -1) if self.transpose_a else a
        b = np.moveaxis(b, -1, 0) if self.transpose_b else b
        return np.atleast_1d(np.tensordot(a, b, 1))

    @classmethod
    def sample(cls, draw):
        made, k = cls(transpose_a=draw.boolean(), transpose_b=draw.boolean()), draw.size()
        a, b = draw.shape(max_rank=2), draw.shape(max_rank=2)
        a = (k, *a) if made.transpose_a else (*a, k)
        b = (*b, k) if made.transpose_b else (k, *b)
        return made, {"a": draw.array(a), "b": draw.array(b)}


@op
class BatchDot(Composite):
    """Product of matrices, batch by batch, each transposed if wanted.

    Shapes
        a (batch, m, k), b (batch, k, n) -> (batch, m, n)
    """

    transpose_a: bool = attr(False, doc="take `a` as (batch, k, m)")
    transpose_b: bool = attr(False, doc="take `b` as (batch, n, k)")
    alpha: float = attr(1.0, doc="multiplies the product")

    def compose(self, F, a, b):
        if min(len(F.shape(a)), len(F.shape(b))) < 2:
            raise ShapeError(
                f"a is {show(F.shape(a))}, b {show(F.shape(b))}, expected (..., m, k) and (..., k, n)"
            )
        a = F.swapaxes(a, -1, -2) if self.transpose_a else a
        b = F.swapaxes(b, -1, -2) if self.transpose_b else b
        y = F.matmul(a, b)
        return y if self.alpha == 1 else y * self.alpha

    def dtype(self, a, b):
        return with_number(super().dtype(a, b), self.alpha if self.alpha != 1 else 0)

    def oracle(self, a, b):
        form = f"b{'km' if self.transpose_a else 'mk'},b{'nk' if self.transpose_b else 'kn'}->bmn"
        return np.einsum(form, a, b) * self.alpha

    @classmethod
    def sample(cls, draw):
        batch, m, k, n = (draw.size() for _ in range(4))
        made = cls(transpose_a=draw.boolean(), transpose_b=draw.boolean(), alpha=draw.choice((1.0, 2.5)))
        a = (batch, k, m) if made.transpose_a else (batch, m, k)
        b = (batch, n, k) if made.transpose_b else (batch, k, n)
        return made, {"a": draw.array(a), "b": draw.array(b)}


@op
class AddN(Composite):
    """The sum of any number of arrays of one shape."""

    def compose(self, F, *args):
        total = args[0]
        for i, x in enumerate(args[1:], 1):
            if None not in (*F.shape(x), *F.shape(total)) and F.shape(x) != F.shape(total):
                raise ShapeError(
                    f"input {i} is {show(F.shape(x))}, expected {show(F.shape(total))} as input 0"
                )
            total = F.add(total, x)
        return total if len(args) > 1 else F.identity(total)

    def oracle(self, *args):
        return np.sum(args, axis=0)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape()
        return cls(), {f"args{i}": draw.array(shape) for i in range(draw.integer(1, 3))}


@op
class Gemm(Composite):
    """``alpha * a @ b + beta * c``, batch by batch, `a` and `b` transposed if wanted.

    Source
        BLAS, `gemm`; MXNet 1.9, `linalg_gemm`.
    """

    transpose_a: bool = attr(False, doc="take `a` with its last two axes exchanged")
    transpose_b: bool = attr(False, doc="take `b` with its last two axes exchanged")
    alpha: float = attr(1.0, doc="multiplies the product")
    beta: float = attr(1.0, doc="multiplies `c`")

    def compose(self, F, a, b, c):
        a = F.swapaxes(a, -1, -2) if self.transpose_a else a
        b = F.swapaxes(b, -1, -2) if self.transpose_b else b
        return self.alpha * F.matmul(a, b) + self.beta * c

    def dtype(self, *dtypes):
        return floating(super().dtype(*dtypes))

    def oracle(self, a, b, c):
        a = a.swapaxes(-1, -2) if self.transpose_a else a
        b = b.swapaxes(-1, -2) if self.transpose_b else b
        return self.alpha * np.einsum("...mk,...kn->...mn", a, b) + self.beta * c

    @classmethod
    def sample(cls, draw):
        batch, m, k, n = draw.shape(max_rank=1), *(draw.size() for _ in range(3))
        made = cls(transpose_a=draw.boolean(), transpose_b=draw.boolean(), alpha=0.5, beta=2.0)
        a = (*batch, k, m) if made.transpose_a else (*batch, m, k)
        b = (*batch, n, k) if made.transpose_b else (*batch, k, n)
        return made, {"a": draw.array(a), "b": draw.array(b), "c": draw.array((*batch, m, n))}


@op
class Syrk(Composite):
    """``alpha * a @ a.T``, batch by batch; ``alpha * a.T @ a`` with `transpose`.

    Source
        BLAS, `syrk`; MXNet 1.9, `linalg_syrk`.
    """

    transpose: bool = attr(False, doc="the transposed matrix comes first")
    alpha: float = attr(1.0, doc="multiplies the product")

    def compose(self, F, a):
        back = F.swapaxes(a, -1, -2)
        return self.alpha * (F.matmul(back, a) if self.transpose else F.matmul(a, back))

    def dtype(self, a):
        return floating(a)

    def oracle(self, a):
        return self.alpha * np.einsum("...ki,...kj->...ij" if self.transpose else "...ik,...jk->...ij", a, a)

    @classmethod
    def sample(cls, draw):
        shape = (*draw.shape(max_rank=1), draw.size(), draw.size())
        return cls(transpose=draw.boolean(), alpha=draw.choice((1.0, 2.5))), {"a": draw.array(shape)}


@op
class BroadcastAxesLike(Composite):
    """`x` repeated along some axes of size 1, as often as `like` is long along others; without axes, to its shape.

    Source
        MXNet 1.9, `broadcast_like`.
    """

    mixes_dtypes = True
    lhs_axes: tuple[int, ...] = attr((), doc="axes of `x`")
    rhs_axes: tuple[int, ...] = attr((), doc="axes of `like`, one for each")

    def target(self, x, like):
        """The shape of the result."""
        shape, sizes = list(x), like
        if len(self.lhs_axes) != len(self.rhs_axes):
            raise ShapeError(
                f"lhs_axes are {self.lhs_axes}, rhs_axes {self.rhs_axes}; expected as many of each"
            )
        for a, b in zip(self.lhs_axes, self.rhs_axes, strict=True):
            shape[normalize_axis(a, len(shape))] = sizes[normalize_axis(b, len(sizes))]
        return tuple(shape) if self.lhs_axes else sizes

    def compose(self, F, x, like):
        return F.broadcast_to(x, shape=self.target(F.shape(x), F.shape(like)))

    def shape(self, x, like):
        return self.target(x, like) if None in (*x, *like) else super().shape(x, like)

    def dtype(self, x, like):
        return x

    def oracle(self, x, like):
        shape = list(x.shape) if self.lhs_axes else list(like.shape)
        for a, b in zip(self.lhs_axes, self.rhs_axes, strict=True):
            shape[a] = like.shape[b]
        return x * np.ones(shape)

    @classmethod
    def sample(cls, draw):
        like = draw.shape(min_rank=1)
        if draw.boolean():
            x = tuple(1 if draw.boolean() else n for n in like)
            return cls(), {"x": draw.array(x), "like": draw.array(like)}
        axis = draw.axis(len(like))
        x = (draw.size(), 1, draw.size())
        return cls(lhs_axes=(1,), rhs_axes=(axis,)), {"x": draw.array(x), "like": draw.array(like)}


@op
class KhatriRao(Composite):
    """The columns of matrices times each other, each with each of its own: ``y[:, j] = kron(a[:, j], b[:, j])``."""

    def compose(self, F, *args):
        y = args[0]
        for b in args[1:]:
            (m, k), (n, _) = F.shape(y), F.shape(b)
            merge((k,), F.shape(b)[1:])
            y = F.reshape(F.reshape(y, shape=(m, 1, k)) * F.reshape(b, shape=(1, n, k)), shape=(m * n, k))
        return F.identity(y) if len(args) == 1 else y

    def shape(self, *args):
        rows = size_of(tuple([a[0] for a in args]))
        return (rows, args[0][1])

    def oracle(self, *args):
        return np.stack(
            [functools.reduce(np.kron, [a[:, j] for a in args]) for j in range(args[0].shape[1])], axis=1
        )

    @classmethod
    def sample(cls, draw):
        k = draw.size()
        return cls(), {f"args{i}": draw.array((draw.size(), k)) for i in range(draw.integer(1, 3))}


# The largest of a vector.


@dataclasses.dataclass(frozen=True)
class Top(Composite):
    """An op about the `k` largest elements of each vector along `axis`."""

    k: int = attr(1, minimum=0, doc="how many; 0 means all")
    axis: int | None = attr(-1, doc="the axis of the vectors; None takes all elements as one")
    ascending: bool = attr(False, doc="the smallest instead")

    def first(self, F, y):
        """The first `k` along the axis."""
        axis = 0 if self.axis is None else normalize_axis(self.axis, len(F.shape(y)))
        size = F.shape(y)[axis]
        if size is not None and self.k > size:
            raise ShapeError(f"k is {self.k}, expected at most {size}, the size of axis {axis}")
        return slices(F, y, axis, 0, self.k or size) if size is not None else y

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        axis = draw.axis(len(shape)) if draw.boolean() else None
        size = math.prod(shape) if axis is None else shape[axis]
        made = cls(k=draw.integer(0, size), axis=axis, ascending=draw.boolean())
        return made, {"x": draw.distinct(shape)}


@op
class TopValues(Top):
    """The `k` largest elements of each vector along `axis`, the largest first."""

    outputs = ("output0",)
    k: int = attr(1, minimum=0, doc="how many; 0 means all")
    axis: int | None = attr(-1, doc="the axis of the vectors; None takes all elements as one")
    ascending: bool = attr(False, doc="the smallest instead")

    def compose(self, F, x):
        return self.first(F, F.sort(x, axis=self.axis, descending=not self.ascending))

    def oracle(self, x):
        y = np.sort(x, axis=self.axis)
        axis = 0 if self.axis is None else self.axis
        y = y if self.ascending else np.flip(y, axis)
        return np.take(y, range(self.k or y.shape[axis]), axis=axis)


@op
class TopPlaces(Top):
    """Where the `k` largest elements of each vector along `axis` are, the largest first; without gradient."""

    differentiable = False
    k: int = attr(1, minimum=0, doc="how many; 0 means all")
    axis: int | None = attr(-1, doc="the axis of the vectors; None takes all elements as one")
    ascending: bool = attr(False, doc="the smallest instead")
    type: str = attr("int64", alias="dtype", doc="element type of the result")

    mixes_dtypes = True

    def compose(self, F, x):
        places = F.argsort(x, axis=self.axis, descending=not self.ascending, dtype=self.type)
        return self.first(F, places)

    def dtype(self, x):
        return np.dtype(self.type)

    def vjp(self, F, g, y, x):
        return (None,)

    def oracle(self, x):
        y = np.argsort(x if self.ascending else -x, axis=self.axis, kind="stable")
        axis = 0 if self.axis is None else self.axis
        return np.take(y, range(self.k or y.shape[axis]), axis=axis)


# Between layers.


@op
class Softmin(FloatComposite):
    """Probabilities, the smaller a number the larger: the softmax of ``-x`` along `axis`."""

    axis: int = attr(-1, doc="the axis along which the numbers belong together")
    temperature: float = attr(1.0, doc="divides `x` first")

    def compose(self, F, x):
        return F.softmax(F.negative(x), axis=self.axis, temperature=self.temperature)

    def oracle(self, x):
        e = np.exp(-x / self.temperature)
        return e / e.sum(axis=self.axis, keepdims=True)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=1)
        return cls(axis=draw.axis(len(shape)), temperature=draw.choice((1.0, 2.5))), {"x": draw.array(shape)}


@op
class Elu(FloatComposite):
    """`x` where it is positive, else ``slope * (exp(x) - 1)``, all times `scale`.

    Source
        Clevert et al. 2016; with `scale` 1.0507 and `slope` 1.6733 it is SELU, Klambauer et al. 2017.
    """

    slope: float = attr(1.0, doc="what negative numbers approach, with the other sign")
    scale: float = attr(1.0, doc="multiplies the result")

    def compose(self, F, x):
        y = F.where(F.greater(x, 0), x, self.slope * F.expm1(F.minimum(x, 0)))
        return y if self.scale == 1 else y * self.scale

    def oracle(self, x):
        return self.scale * np.where(x > 0, x, self.slope * (np.exp(np.minimum(x, 0)) - 1))

    @classmethod
    def sample(cls, draw):
        return cls(slope=1.5, scale=draw.choice((1.0, 2.0))), {"x": draw.array(draw.shape(), away_from=0)}


@op
class Prelu(FloatComposite):
    """`x` where it is positive, else ``gamma * x``, where `gamma` is learnt: one number, or one for each channel.

    Shapes
        x (batch, channel, ...), gamma (1,) or (channel,) -> as x

    Source
        He et al. 2015; MXNet 1.9, `LeakyReLU` with act_type prelu.
    """

    def compose(self, F, x, gamma):
        shape, slopes = F.shape(x), F.shape(gamma)
        if len(shape) > 1 and slopes and slopes[0] != 1:
            gamma = F.reshape(gamma, shape=(slopes[0], *[1] * (len(shape) - 2)))
        return F.where(F.greater(x, 0), x, gamma * x)

    def parameters(self, x):
        return {}

    def complete(self, shapes, results):
        """The slopes from the channels."""
        x, gamma = shapes
        if gamma is None and x is not None:
            gamma = (x[1] if len(x) > 1 else x[0],) if x else (1,)
        return super().complete([merge(x, results[0]), gamma], results)

    def oracle(self, x, gamma):
        slope = gamma.reshape((-1, *[1] * (x.ndim - 2))) if x.ndim > 1 else gamma
        return np.where(x > 0, x, slope * x)

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=2)
        gamma = (1,) if draw.boolean() else shape[1:2]
        return cls(), {"x": draw.array(shape, away_from=0), "gamma": draw.array(gamma)}


@op
class Quadratic(Composite):
    """``y = a * x * x + b * x + c``."""

    a: float = attr(0.0, doc="of the square")
    b: float = attr(0.0, doc="of the number itself")
    c: float = attr(0.0, doc="the rest")

    def compose(self, F, x):
        return self.a * F.square(x) + self.b * x + self.c

    def dtype(self, x):
        return floating(x)

    def oracle(self, x):
        return self.a * x**2 + self.b * x + self.c

    @classmethod
    def sample(cls, draw):
        return cls(a=1.5, b=-2.0, c=0.5), {"x": draw.array(draw.shape())}


@op
class LRN(FloatComposite):
    """Each number divided by a power of what the `nsize` channels around it add up to.

    ``y = x / (knorm + alpha / nsize * sum(x**2)) ** beta``

    Shapes
        data (batch, channel, ...) -> as data

    Source
        Krizhevsky et al. 2012; MXNet 1.9, `LRN`.
    """

    function = "lrn"
    nsize: int = attr(minimum=1, doc="how many channels, an odd number")
    alpha: float = attr(1e-4, doc="multiplies the mean of squares")
    beta: float = attr(0.75, doc="the power")
    knorm: float = attr(2.0, doc="added to it")

    def compose(self, F, data):
        shape = F.shape(data)
        if len(shape) < 2:
            raise ShapeError(f"data is {show(shape)}, expected (batch, channel, ...)")
        half, every = self.nsize // 2, ((0, 0),) * (len(shape) - 2)
        squares = F.pad(F.square(data), ((0, 0), (half, half), *every))
        parts = [slices(F, squares, 1, i, shape[1]) for i in range(2 * half + 1)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return data / F.power(self.knorm + (self.alpha / self.nsize) * total, self.beta)

    def oracle(self, data):
        half, n = self.nsize // 2, data.shape[1]
        total = [np.square(data[:, max(0, i - half) : i + half + 1]).sum(axis=1) for i in range(n)]
        return data / (self.knorm + self.alpha / self.nsize * np.stack(total, axis=1)) ** self.beta

    @classmethod
    def sample(cls, draw):
        return cls(nsize=draw.choice((1, 3)), alpha=0.5), {"data": draw.array(draw.shape(min_rank=2))}


def slices(F, x, axis, start, size):
    """A part of `x` along an axis; all where the size is unknown."""
    if size is None:
        return x
    return F.slice(x, key=(*[("slice", None, None, None)] * axis, ("slice", start, start + size, None)))


@op
class GroupNorm(FloatComposite):
    """The channels of each row in groups, each brought to mean 0 and deviation 1, then to `gamma` and `beta`.

    Shapes
        data (batch, channel, ...), gamma, beta (num_groups,) -> as data

    Source
        Wu and He 2018; MXNet 1.9.1, `GroupNorm`, which has one gamma for each group.
    """

    num_groups: int = attr(1, minimum=1, doc="how many groups")
    eps: float = attr(1e-5, minimum=0, doc="added to the variance")

    def parameters(self, data):
        if len(data) < 2 or (data[1] is not None and data[1] % self.num_groups):
            raise ShapeError(
                f"data is {show(data)}, expected channels in {self.num_groups} groups along axis 1"
            )
        return dict.fromkeys(("gamma", "beta"), (self.num_groups,))

    def compose(self, F, data, gamma, beta):
        shape = F.shape(data)
        if None in shape:
            return data
        x = F.reshape(data, shape=(shape[0], self.num_groups, -1))
        centred = x - F.mean(x, axis=2, keepdims=True)
        y = centred * F.rsqrt(F.mean(F.square(centred), axis=2, keepdims=True) + self.eps)
        along = (self.num_groups, 1)
        y = y * F.reshape(gamma, shape=along) + F.reshape(beta, shape=along)
        return F.reshape(y, shape=shape)

    def oracle(self, data, gamma, beta):
        x = data.reshape((len(data), self.num_groups, -1))
        y = (x - x.mean(2, keepdims=True)) / np.sqrt(x.var(2, keepdims=True) + self.eps)
        return (y * gamma[:, None] + beta[:, None]).reshape(data.shape)

    @classmethod
    def sample(cls, draw):
        groups = draw.size(1, 2)
        shape = (draw.size(), groups * draw.size(1, 2), draw.size(2, 3))
        return cls(num_groups=groups, eps=0.1), {"data": draw.array(shape)}


@op
class SoftmaxCrossEntropy(FloatComposite):
    """The cross-entropy of the softmax of each row with a class number, summed over the rows.

    Shapes
        data (batch, classes), label (batch,) -> (1,)

    Source
        MXNet 1.9, `softmax_cross_entropy`.
    """

    mixes_dtypes = True

    def compose(self, F, data, label):
        if len(F.shape(data)) != 2:
            raise ShapeError(f"data is {show(F.shape(data))}, expected (batch, classes)")
        chosen = F.pick(F.log_softmax(data, axis=1), label, axis=1)
        return F.reshape(F.negative(F.sum(chosen)), shape=(1,))

    def dtype(self, data, label):
        return floating(data)

    def oracle(self, data, label):
        e = np.exp(data)
        chosen = [row[int(k)] / row.sum() for row, k in zip(e, label, strict=True)]
        return np.array([-sum(map(math.log, chosen))])

    @classmethod
    def sample(cls, draw):
        rows, kinds = draw.size(), draw.size()
        label = np.floor(draw.array((rows,), low=0, high=kinds - 0.01)).astype(np.int64)
        return cls(), {"data": draw.array((rows, kinds)), "label": label}


# Sequences, which lie along one axis, one for each place along the other of the first two.


@dataclasses.dataclass(frozen=True)
class Sequence(Composite):
    """An op on sequences of different lengths."""

    mixes_dtypes = True
    use_sequence_length: bool = attr(False, doc="whether lengths are given; else all are as long as the axis")
    axis: int = attr(0, choices=(0, 1), doc="the axis along which sequences lie")

    @property
    def input_names(self):
        """Lengths may be left out."""
        return self.inputs if self.use_sequence_length else self.inputs[:1]

    def dtype(self, data, *lengths):
        return data

    def steps(self, F, data, lengths):
        """The number of each step, and the lengths, in shapes that broadcast with the data."""
        shape = F.shape(data)
        if len(shape) < 2:
            raise ShapeError(f"data is {show(shape)}, expected at least (steps, batch)")
        merge(F.shape(lengths), (shape[1 - self.axis],))
        rest = [1] * (len(shape) - 1)
        kind = str(F.dtype(lengths))
        numbers = F.reshape(F.arange(shape[self.axis] or 1, dtype=kind), shape=(-1, *rest[self.axis :]))
        along = (*[1] * (1 - self.axis), -1, *rest[1 - self.axis :])
        return numbers, F.reshape(lengths, shape=along)

    @classmethod
    def drawn(cls, draw, **more):
        """Data, and lengths if they are used."""
        shape = draw.shape(min_rank=2)
        made = cls(use_sequence_length=draw.boolean(), axis=draw.choice((0, 1)), **more)
        inputs = {"data": draw.array(shape)}
        if made.use_sequence_length:
            size = shape[made.axis]
            lengths = np.floor(draw.array((shape[1 - made.axis],), low=1, high=size + 0.99)).astype(np.int64)
            inputs["sequence_length"] = lengths
        return made, inputs


@op
class SequenceMask(Sequence):
    """`value` in the place of everything behind the end of its sequence.

    Source
        MXNet 1.9, `SequenceMask`.
    """

    use_sequence_length: bool = attr(False, doc="whether lengths are given; else nothing is masked")
    value: float = attr(0.0, doc="what stands behind the ends")
    axis: int = attr(0, choices=(0, 1), doc="the axis along which sequences lie")

    def compose(self, F, data, sequence_length=None):
        if sequence_length is None:
            return F.identity(data)
        numbers, lengths = self.steps(F, data, sequence_length)
        return F.where(F.less(numbers, lengths), data, self.value)

    def dtype(self, data, *lengths):
        return with_number(data, self.value) if lengths else data

    def oracle(self, data, sequence_length=None):
        y = np.moveaxis(np.array(data), self.axis, 0)
        for b in range(y.shape[1] if sequence_length is not None else 0):
            y[int(sequence_length[b]) :, b] = self.value
        return np.moveaxis(y, 0, self.axis)

    @classmethod
    def sample(cls, draw):
        return cls.drawn(draw, value=1.5)


@op
class SequenceLast(Sequence):
    """The last step of each sequence.

    Source
        MXNet 1.9, `SequenceLast`.
    """

    use_sequence_length: bool = attr(False, doc="whether lengths are given; else all are as long as the axis")
    axis: int = attr(0, choices=(0, 1), doc="the axis along which sequences lie")

    def compose(self, F, data, sequence_length=None):
        size: Any = F.shape(data)[self.axis]
        if sequence_length is None:
            last = slices(F, data, self.axis, (size or 1) - 1, None if size is None else 1)
            return (
                F.reshape(last, shape=without(F.shape(data), self.axis))
                if size is not None
                else F.sum(data, axis=self.axis)
            )
        numbers, lengths = self.steps(F, data, sequence_length)
        return F.sum(F.where(F.equal(numbers + 1, lengths), data, 0), axis=self.axis)

    def dtype(self, data, *lengths):
        return summed(with_number(data, 0)) if lengths else data

    def oracle(self, data, sequence_length=None):
        y = np.moveaxis(data, self.axis, 0)
        lengths = [len(y)] * y.shape[1] if sequence_length is None else sequence_length
        return np.stack([y[int(n) - 1, b] for b, n in enumerate(lengths)])

    @classmethod
    def sample(cls, draw):
        return cls.drawn(draw)


def without(shape, axis):
    """A shape without one axis."""
    axis = normalize_axis(axis, len(shape))
    return (*shape[:axis], *shape[axis + 1 :])


@op
class SequenceReverse(Sequence):
    """Each sequence the other way round; what lies behind its end stays.

    Source
        MXNet 1.9, `SequenceReverse`.
    """

    use_sequence_length: bool = attr(False, doc="whether lengths are given; else all are as long as the axis")
    axis: int = attr(0, choices=(0,), doc="the axis along which sequences lie")

    def compose(self, F, data, sequence_length=None):
        if sequence_length is None:
            return F.flip(data, axis=0)
        numbers, lengths = self.steps(F, data, sequence_length)
        at = F.where(F.less(numbers, lengths), lengths - 1 - numbers, numbers)
        shape = F.shape(data)
        return F.take_along_axis(data, F.broadcast_to(at, shape=shape) if None not in shape else data, axis=0)

    def oracle(self, data, sequence_length=None):
        y = np.array(data)
        lengths = [len(y)] * y.shape[1] if sequence_length is None else sequence_length
        for b, n in enumerate(lengths):
            y[: int(n), b] = y[: int(n), b][::-1]
        return y

    @classmethod
    def sample(cls, draw):
        shape = draw.shape(min_rank=2)
        made = cls(use_sequence_length=draw.boolean())
        lengths = np.floor(draw.array(shape[1:2], low=1, high=shape[0] + 0.99)).astype(np.int64)
        more = {"sequence_length": lengths} if made.use_sequence_length else {}
        return made, {"data": draw.array(shape), **more}


# Images.


@op
class UpSampling(Composite):
    """Each place of an image as a square of `scale` by `scale` places.

    Shapes
        data (batch, channel, height, width) -> (batch, channel, height * scale, width * scale)
    """

    function = "upsampling"
    scale: int = attr(minimum=1, doc="how many places one becomes, along each axis")

    def compose(self, F, data):
        if len(F.shape(data)) != 4:
            raise ShapeError(f"data is {show(F.shape(data))}, expected (batch, channel, height, width)")
        return F.repeat(F.repeat(data, repeats=self.scale, axis=2), repeats=self.scale, axis=3)

    def oracle(self, data):
        return np.kron(data, np.ones((1, 1, self.scale, self.scale)))

    @classmethod
    def sample(cls, draw):
        return cls(scale=draw.integer(1, 2)), {"data": draw.array(tuple(draw.size() for _ in range(4)))}


@op
class SpaceToDepth(Composite):
    """Squares of `block_size` by `block_size` places of an image as channels of one place.

    Shapes
        data (batch, channel, height, width) -> (batch, channel * k * k, height / k, width / k), where k is `block_size`
    """

    block_size: int = attr(minimum=1, doc="how many places, along each axis, become one")

    def compose(self, F, data):
        shape, k = F.shape(data), self.block_size
        if len(shape) != 4 or any(n is not None and n % k for n in shape[2:]):
            raise ShapeError(
                f"data is {show(shape)}, expected (batch, channel, height, width), the last two multiples of {k}"
            )
        n, c, h, w = shape
        if None in shape:
            return F.slice(data, key=())
        x = F.transpose(F.reshape(data, shape=(n, c, h // k, k, w // k, k)), axes=(0, 3, 5, 1, 2, 4))
        return F.reshape(x, shape=(n, k * k * c, h // k, w // k))

    def shape(self, data):
        if None not in data:
            return super().shape(data)
        k = self.block_size
        return (
            data[0],
            *[
                None if m is None else m * f // d
                for m, f, d in zip(data[1:], (k * k, 1, 1), (1, k, k), strict=True)
            ],
        )

    def oracle(self, data):
        k = self.block_size
        return np.concatenate([data[:, :, i::k, j::k] for i in range(k) for j in range(k)], axis=1)

    @classmethod
    def sample(cls, draw):
        k = draw.integer(1, 2)
        shape = (draw.size(), draw.size(), k * draw.size(1, 2), k * draw.size(1, 2))
        return cls(block_size=k), {"data": draw.array(shape)}
