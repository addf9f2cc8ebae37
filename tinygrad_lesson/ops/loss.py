"""Where gradients begin, and where they end."""

from tinygrad_lesson.op import Op, attr, op
from tinygrad_lesson.shapes import merge


@op
class MakeLoss(Op):
    """`x` itself, as a loss: the gradient begins here with `grad_scale`, whatever comes from above.

    Source
        MXNet 1.9, `MakeLoss`.
    """

    replayable = True
    view = True
    is_loss = True
    grad_scale: float = attr(1.0, doc="the gradient of every element")
    normalization: str = attr(
        "null",
        choices=("null", "batch", "valid"),
        doc="divide it by nothing, the rows, or the valid elements",
    )
    valid_thresh: float = attr(0.0, doc="elements above this are valid")

    def shape(self, x):
        return x

    def forward(self, xp, x):
        return x

    def vjp(self, F, g, y, x):
        gradient = F.full_like(x, value=self.grad_scale)
        if self.normalization == "batch":
            gradient = gradient / F.count(x, axis=0)
        if self.normalization == "valid":
            valid = F.sum(F.where(F.greater(x, self.valid_thresh), F.full_like(x, value=1.0), 0))
            gradient = gradient / F.maximum(valid, 1)
        return (gradient,)

    def complete(self, shapes, results):
        """Input and result have one shape."""
        shape = merge(shapes[0], results[0])
        return [shape], [shape]

    @classmethod
    def sample(cls, draw):
        normalization = draw.choice(("null", "batch", "valid"))
        x = draw.array(draw.shape(min_rank=1), away_from=0)
        return cls(grad_scale=draw.choice((1.0, 2.5)), normalization=normalization), {"x": x}


@op
class StopGradient(Op):
    """`x` itself; no gradient passes."""

    replayable = True
    view = True
    differentiable = False

    def shape(self, x):
        return x

    def forward(self, xp, x):
        return x

    def vjp(self, F, g, y, x):
        return (None,)

    @classmethod
    def sample(cls, draw):
        return cls(), {"x": draw.array(draw.shape())}
