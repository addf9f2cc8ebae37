"""What an elementwise kernel computes, said once in vector code: arithmetic on sixteen float32 numbers at a time."""

from collections.abc import Callable

from tinygrad_lesson.run.simd import Vector, where
from tinygrad_lesson.run.transcendental import exp32, log1p32, log32, sigmoid32, tanh32


def signs(x: Vector) -> Vector:
    """1, -1, 0, or the NaN that is there."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, where(x == 0.0, 0.0, x)))


def relu(x: Vector) -> Vector:
    """The positive part, or the NaN that is there; of -0 it is 0."""
    return where(x <= 0.0, 0.0, x)


# Of 0 and -0 the second is taken, as NumPy does.
EXPRESSIONS: dict[str, Callable[..., Vector]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": lambda a, b: where((a > b) | (a != a), a, b),
    "minimum": lambda a, b: where((a < b) | (a != a), a, b),
    "negative": lambda x: -x,
    "square": lambda x: x * x,
    "sqrt": lambda x: x.called("sqrt"),
    "rsqrt": lambda x: 1.0 / x.called("sqrt"),
    "abs": lambda x: x.called("fabs"),
    "sign": signs,
    "relu": relu,
    "exp": exp32,
    "log": log32,
    "log1p": log1p32,
    "tanh": tanh32,
    "sigmoid": sigmoid32,
    "copy": lambda x: x,
}
