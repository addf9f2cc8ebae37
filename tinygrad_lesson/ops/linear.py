"""Products of matrices."""

import math

from tinygrad_lesson.engine.declare import op
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
