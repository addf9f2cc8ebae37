"""Products of matrices."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import in_type, roomy
from tinygrad_lesson.engine.errors import ShapeError
from tinygrad_lesson.engine.op import Op, attr
from tinygrad_lesson.engine.shapes import broadcast, merge, show


@op
class MatMul(Op):
    """Product of matrices, batch by batch; leading axes broadcast: ``y = a @ b``.

    Shapes
        a (..., m, k), b (..., k, n) -> (..., m, n)
    """

    analytic = True
    multilinear = 2
    function = "matmul"
    broadcasts = 2

    def shape(self, a, b):
        if len(a) < 2 or len(b) < 2:
            raise ShapeError(f"a is {show(a)} and b is {show(b)}, expected at least two dimensions each")
        try:
            merge(a[-1:], b[-2:-1])
        except ShapeError:
            raise ShapeError(
                f"b is {show(b)}, expected {show((*b[:-2], a[-1], b[-1]))} to follow a {show(a)}"
            ) from None
        return (*broadcast(a[:-2], b[:-2]), a[-2], b[-1]) if len(a) > 2 or len(b) > 2 else (a[0], b[1])

    def forward(self, xp, a, b, out=None):
        return xp.matmul(a, b, out=out)

    def vjp(self, F, g, y, a, b):
        return lambda: F.matmul(g, F.swapaxes(b, -1, -2)), lambda: F.matmul(F.swapaxes(a, -1, -2), g)

    @classmethod
    def sample(cls, draw):
        batch_a, batch_b = draw.broadcasting(2, max_rank=2)
        m, k, n = draw.size(), draw.size(), draw.size()
        return cls(), {"a": draw.array((*batch_a, m, k)), "b": draw.array((*batch_b, k, n))}


@op
class FullyConnected(Op):
    """Affine map of each row: ``output = data @ weight.T + bias``.

    Shapes
        data (batch, ...), weight (num_hidden, features), bias (num_hidden,) -> (batch, num_hidden);
        features is the product of all axes of data but the first.
        With flatten=False: data (..., features) -> (..., num_hidden).

    Source
        MXNet 1.9, `FullyConnected`.
    """

    analytic = True
    num_hidden: int = attr(minimum=1, doc="number of results per row")
    no_bias: bool = attr(False, doc="leave out the bias")
    flatten: bool = attr(True, doc="take all axes but the first as features; else only the last")

    @property
    def input_names(self):
        """The bias may be left out."""
        return self.inputs[:2] if self.no_bias else self.inputs

    def parameters(self, data):
        sizes = data[1:] if self.flatten else data[-1:]
        features = None if None in sizes else math.prod(sizes)
        bias = {} if self.no_bias else {"bias": (self.num_hidden,)}
        return {"weight": (self.num_hidden, features), **bias}

    def complete(self, shapes, results):
        """The batch size may also come from the result."""
        if results[0] and shapes[0] and len(results[0]) == len(shapes[0]):
            shapes = [merge(shapes[0], (results[0][0],) + (None,) * (len(shapes[0]) - 1)), *shapes[1:]]
        return super().complete(shapes, results)

    def shape(self, data, weight, bias=None):
        return (data[0], self.num_hidden) if self.flatten else (*data[:-1], self.num_hidden)

    def forward(self, xp, data, weight, bias=None, out=None):
        rows = xp.reshape(data, (len(data), weight.shape[1])) if self.flatten and data.ndim != 2 else data
        y = xp.matmul(rows, weight.T, out=out)
        return y if bias is None else xp.add(y, bias, out=out)

    def vjp(self, F, g, y, data, weight, bias=None):
        g = g if self.flatten else F.flatten(g, axis=-1)  # one row for each row of the result
        rules = (
            lambda: F.reshape(F.matmul(g, weight), shape=F.shape(data)),
            lambda: F.matmul(F.swapaxes(g, 0, 1), F.flatten(data, axis=1 if self.flatten else -1)),
            lambda: F.sum(g, axis=0),
        )
        return rules[: len(self.input_names)]

    @classmethod
    def sample(cls, draw):
        op = cls(num_hidden=draw.size(), no_bias=draw.boolean(), flatten=draw.boolean())
        return op, {"data": draw.array(draw.shape(min_rank=2))}


@op
class Einsum(Op):
    """Sums of products over axes named by letters, each once in an operand and elsewhere too: "ij,jk->ik".

    Source
        NumPy, `einsum`; `tl.einsum` takes every form of it and brings it into this one.
    """

    analytic = True
    multilinear = sys.maxsize
    traceable = False
    subscripts: str = attr(doc="letters for the axes of each operand, and after `->` of the result")

    @property
    def terms(self):
        """The letters of each operand, and those of the result."""
        before, _, result = self.subscripts.partition("->")
        return before.split(","), result

    def shape(self, *operands):
        terms, result = self.terms
        sizes: dict[str, Any] = {}
        for term, shape in zip(terms, operands, strict=True):
            if len(term) != len(shape):
                raise ShapeError(f"{term!r} names {len(term)} axes of {show(shape)}")
            for letter, n in zip(term, shape, strict=True):
                sizes[letter] = merge((sizes.get(letter),), (n,))[0]  # type: ignore[index]
        return tuple(sizes[letter] for letter in result)

    def forward(self, xp, *operands):
        self.shape(*[x.shape for x in operands])
        kind = np.result_type(*operands)
        y = xp.einsum(self.subscripts, *[in_type(xp, x, roomy(kind)) for x in operands], optimize=True)
        return in_type(xp, y, kind)

    def vjp(self, F, g, y, *operands):
        terms, result = self.terms

        def gradient(i):
            others = [j for j in range(len(terms)) if j != i]
            form = f"{','.join([result, *[terms[j] for j in others]])}->{terms[i]}"
            return F.einsum(g, *[operands[j] for j in others], subscripts=form)

        return tuple(lambda i=i: gradient(i) for i in range(len(terms)))

    def oracle(self, *operands):
        terms, result = self.terms
        sizes = {
            t: n for term, x in zip(terms, operands, strict=True) for t, n in zip(term, x.shape, strict=True)
        }
        letters, y = list(sizes), np.zeros([sizes[t] for t in result])
        for places in np.ndindex(*sizes.values()):
            at = dict(zip(letters, places, strict=True))
            y[tuple(at[t] for t in result)] += math.prod(
                x[tuple(at[t] for t in term)] for term, x in zip(terms, operands, strict=True)
            )
        return y

    @classmethod
    def sample(cls, draw):
        form = draw.choice(("ij,jk->ik", "bij,bjk->kbi", "i,j->ij", "ij,ij->ij", "i,ij,jk->k", "ij,ij->"))
        sizes = {letter: draw.size() for letter in "bijk"}
        terms = form.partition("->")[0].split(",")
        arrays = [draw.array([sizes[t] for t in term]) for term in terms]
        return cls(subscripts=form), {f"operands{i}": x for i, x in enumerate(arrays)}


@op
class Convolve(Op):
    """Sums of products of two vectors, the second backwards along the first, wherever they meet, or meet in full.

    Shapes
        a (n,), v (m,) -> (n + m - 1,); with mode "valid" (n - m + 1,), n at least m

    Source
        NumPy, `convolve`.
    """

    analytic = True
    multilinear = 2
    traceable = False
    mode: str = attr(
        "full", choices=("full", "valid"), doc="all places where they meet, or those where all of `v` does"
    )

    def shape(self, a, v):
        valid = self.mode == "valid"
        if len(a) != 1 or len(v) != 1 or 0 in (a[0], v[0]):
            raise ShapeError(f"a is {show(a)} and v is {show(v)}, expected two vectors that are not empty")
        if None in (a[0], v[0]):
            return (None,)
        if valid and a[0] < v[0]:
            raise ShapeError(f"a is {show(a)} and v is {show(v)}, expected a to be as long")
        return (a[0] - v[0] + 1 if valid else a[0] + v[0] - 1,)

    def forward(self, xp, a, v):
        self.shape(a.shape, v.shape)
        return in_type(xp, xp.convolve(a, v, self.mode), np.result_type(a, v))

    def vjp(self, F, g, y, a, v):
        if self.mode == "full":
            return lambda: F.convolve(g, F.flip(v), mode="valid"), lambda: F.convolve(
                g, F.flip(a), mode="valid"
            )
        return lambda: F.convolve(g, F.flip(v)), lambda: F.flip(F.convolve(a, F.flip(g), mode="valid"))

    def oracle(self, a, v):
        y = np.zeros(len(a) + len(v) - 1)
        for i, j in np.ndindex(len(a), len(v)):
            y[i + j] += a[i] * v[j]
        return y if self.mode == "full" else y[len(v) - 1 : len(a)]

    @classmethod
    def sample(cls, draw):
        made, m = cls(mode=draw.choice(("full", "valid"))), draw.size(1, 4)
        n = draw.size(m if made.mode == "valid" else 1, 5)
        return made, {"a": draw.array((n,)), "v": draw.array((m,))}
