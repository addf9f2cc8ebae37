"""What an elementwise op computes, said once in vector code: arithmetic on sixteen float32 numbers at a time."""

from collections.abc import Callable

from tinygrad_lesson.engine.op import Op
from tinygrad_lesson.ops import elementwise as e
from tinygrad_lesson.ops import movement
from tinygrad_lesson.run.simd import Vector, where
from tinygrad_lesson.run.transcendental import exp32, log32, sigmoid32, tanh32


def signs(x: Vector) -> Vector:
    """1, -1, 0, or the NaN that is there."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, where(x == 0.0, 0.0, x)))


def relu(x: Vector) -> Vector:
    """The positive part, or the NaN that is there; of -0 it is 0."""
    return where(x <= 0.0, 0.0, x)


# Of 0 and -0 the second is taken, as NumPy does.
EXPRESSIONS: dict[type[Op], Callable[..., Vector]] = {
    e.Add: lambda a, b: a + b,
    e.Subtract: lambda a, b: a - b,
    e.Multiply: lambda a, b: a * b,
    e.Divide: lambda a, b: a / b,
    e.Maximum: lambda a, b: where((a > b) | (a != a), a, b),
    e.Minimum: lambda a, b: where((a < b) | (a != a), a, b),
    e.Negative: lambda x: -x,
    e.Square: lambda x: x * x,
    e.Sqrt: lambda x: x.called("sqrt"),
    e.Rsqrt: lambda x: 1.0 / x.called("sqrt"),
    e.Abs: lambda x: x.called("fabs"),
    e.Sign: signs,
    e.Relu: relu,
    e.Exp: exp32,
    e.Log: log32,
    e.Tanh: tanh32,
    e.Sigmoid: sigmoid32,
    movement.Identity: lambda x: x,
}
