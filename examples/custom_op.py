"""An op of one's own, declared once: eager, symbolic, differentiated twice, checked against differences.

python examples/custom_op.py

    slope, eager            -0.0123  -0.0881   0.5000   1.0881   1.0123
    slope, symbolic         -0.0123  -0.0881   0.5000   1.0881   1.0123
    slope, by differences   -0.0123  -0.0881   0.5000   1.0881   1.0123
    bend, eager             -0.0196  -0.0646   1.0000  -0.0646  -0.0196
    bend, by differences    -0.0196  -0.0646   1.0000  -0.0646  -0.0196
"""

from functools import partial

import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson import check
from tinygrad_lesson.op import Elementwise


@tl.op
class Swish(Elementwise):
    """A number times its sigmoid: ``y = x * sigmoid(beta * x)``."""

    beta: float = tl.attr(1.0, doc="how steep the sigmoid is")

    def forward(self, xp, x, out=None):
        share = 0.5 + 0.5 * xp.tanh(0.5 * self.beta * x)  # the sigmoid, without overflow
        return xp.multiply(x, share, out=out)

    def vjp(self, F, g, y, x):
        share = F.sigmoid(self.beta * x)
        return (g * (share + self.beta * y * (1 - share)),)


def differences(f, x, step=1e-5):
    return (f(x + step).numpy() - f(x - step).numpy()) / (2 * step)


value = partial(tl.swish, beta=2.0)
slope = tl.grad(lambda x: tl.sum(value(x)))
bend = tl.grad(lambda x: tl.sum(slope(x)))

x = np.linspace(-3, 3, 5)  # float64: differences of float32 numbers are worth little
symbol = tl.sym.Swish(tl.sym.Variable("x"), beta=2.0)
executor = symbol.simple_bind(type_dict={"x": "float64"}, x=x.shape)
executor.forward(is_train=True, x=x)
executor.backward(np.ones_like(x))
rows = {
    "slope, eager": slope(x),
    "slope, symbolic": executor.grad_dict["x"],
    "slope, by differences": differences(value, x),
    "bend, eager": bend(x),
    "bend, by differences": differences(slope, x),
}
for name, numbers in rows.items():
    print(f"{name:22}", *(f"{float(number):8.4f}" for number in numbers))
check.assert_gradients(Swish(beta=2.0), x, order=2)  # the same with error bars, and a report where it fails
