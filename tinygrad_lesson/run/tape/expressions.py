"""What a call computes of each element, said once in vector code: one row per NumPy function."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.run.tape import angles, functions, normal, powers
from tinygrad_lesson.run.tape.powers import in_double
from tinygrad_lesson.run.tape.vector import FLOATS, I1, I64, IN_MEMORY, Vector, where


def sign(x: Vector) -> Any:
    """1, -1, 0, or the NaN that is there."""
    return where(
        x > 0, 1, where(x < 0, -1, where(x == 0, 0, x)) if x.is_float else where(x < 0, x.like(x.lift(-1)), 0)
    )


def larger(a: Vector, b: Vector) -> Any:
    """The larger of two; of 0 and -0 the second, as in NumPy, and of a number and NaN the NaN."""
    return where(a != a, a, where(a > b, a, b))  # the inner choice is one instruction


def lesser(a: Vector, b: Vector) -> Any:
    """The smaller of two, likewise."""
    return where(a != a, a, where(a < b, a, b))


def absolute(x: Vector) -> Any:
    """Without the sign."""
    return x.called("fabs") if x.is_float else where(x < 0, -x, x)


def truth(x: Vector) -> Vector:
    """Whether it is not zero."""
    return x if x.kind == I1 else x != 0


def clip(x: Vector, low: Vector, high: Vector) -> Any:
    """Between two numbers, as NumPy does it: the smaller of `high` and what is larger."""
    return lesser(larger(x, low), high)


EXPRESSIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": larger,
    "minimum": lesser,
    "negative": lambda x: -x,
    "square": lambda x: x * x,
    "sqrt": lambda x: x.called("sqrt"),
    "reciprocal": lambda x: 1.0 / x,
    "absolute": absolute,
    "fabs": absolute,
    "sign": sign,
    "pass_sign": lambda g, y: g * sign(y),
    "exp": functions.exp,
    "expm1": functions.expm1,
    "log": functions.log,
    "log1p": functions.log1p,
    "tanh": functions.tanh,
    "sigmoid": functions.sigmoid,
    "ndtr": normal.ndtr,
    "normal_hazard": normal.normal_hazard,
    "gelu": normal.gelu,
    "gelu_slope": normal.gelu_slope,
    "log_ndtr_slope": normal.log_ndtr_slope,
    "sin": in_double(angles.sin),
    "cos": in_double(angles.cos),
    "tan": in_double(angles.tan),
    "arcsin": in_double(angles.arcsin),
    "arccos": in_double(angles.arccos),
    "arctan": in_double(angles.arctan),
    "arctan2": in_double(angles.arctan2),
    "degrees": lambda x: x * (180 / math.pi),
    "radians": lambda x: x * (math.pi / 180),
    "power": in_double(powers.power),
    "cbrt": in_double(powers.cbrt),
    "exp2": in_double(powers.exp2),
    "log2": in_double(powers.log2),
    "log10": in_double(powers.log10),
    "sinh": in_double(powers.sinh),
    "cosh": in_double(powers.cosh),
    "arcsinh": in_double(powers.arcsinh),
    "arccosh": in_double(powers.arccosh),
    "arctanh": in_double(powers.arctanh),
    "logaddexp": powers.logaddexp,
    "logaddexp2": in_double(powers.logaddexp2),
    "hypot": in_double(powers.hypot),
    "fmod": powers.fmod,
    "remainder": powers.remainder,
    "floor_divide": powers.floor_divide,
    "fmax": powers.larger_number,
    "fmin": powers.smaller_number,
    "copysign": lambda a, b: a.called("copysign", b),
    "heaviside": powers.heaviside,
    "floor": lambda x: x.called("floor"),
    "ceil": lambda x: x.called("ceil"),
    "trunc": lambda x: x.called("trunc"),
    "rint": lambda x: x.called("rint"),
    "positive": lambda x: x,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "logical_and": lambda a, b: truth(a) & truth(b),
    "logical_or": lambda a, b: truth(a) | truth(b),
    "logical_xor": lambda a, b: truth(a) ^ truth(b),
    "logical_not": lambda x: ~truth(x),
    "isnan": lambda x: x != x,
    "isfinite": lambda x: absolute(x) < float("inf"),
    "isinf": lambda x: absolute(x) == float("inf"),
    "where": lambda answers, a, b: where(truth(answers), a, b),
    "clip": clip,
}  # fmt: skip
SINGLE = {"ndtr", "normal_hazard", "gelu", "gelu_slope", "log_ndtr_slope"}  # in single precision alone
OF_OPS = {"sigmoid", "pass_sign", *SINGLE}  # which are no functions of NumPy
ANSWERS = {  # functions whose results are truth values, whatever their operands are
    "greater", "greater_equal", "less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor",
    "logical_not", "isnan", "isfinite", "isinf",
}  # fmt: skip
# Of integers NumPy makes fractions, or refuses to divide them by zero as the processor does.
FLOATS_ONLY = {
    "divide", "sqrt", "reciprocal", "fabs", "exp", "expm1", "log", "log1p", "tanh", "sigmoid", "floor", "ceil",
    "trunc", "rint", "isnan", "isfinite", "isinf", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2",
    "degrees", "radians", "power", "cbrt", "exp2", "log2", "log10", "sinh", "cosh", "arcsinh", "arccosh", "arctanh",
    "logaddexp", "logaddexp2", "hypot", "fmod", "remainder", "floor_divide", "fmax", "fmin", "copysign", "heaviside",
}  # fmt: skip


def is_choice(name: str, i: int) -> bool:
    """Whether operand `i` is the answers that choose, which keep their type."""
    return name == "where" and i == 0


def applied(name: str, operands: Sequence[Vector], inside: str, kind: str) -> Vector:
    """What a function gives of operands that become `inside` first; the result becomes `kind`."""
    known = [x if is_choice(name, i) else converted(x, inside) for i, x in enumerate(operands)]
    return converted(EXPRESSIONS[name](*known), kind)


def converted(x: Vector, kind: str) -> Vector:
    """The same numbers in another type, as NumPy's casts; what is too large for an integer is undefined there too."""
    to = I1 if kind == "bool" else IN_MEMORY[kind]
    if x.kind == to:
        return x
    if to == I1:
        return x != 0
    if x.kind == I1:
        return x.cast("uitofp" if to in FLOATS else "zext", to)
    if x.is_float and to in FLOATS:
        return x.cast("fpext" if to == FLOATS[1] else "fptrunc", to)
    if x.is_float:
        return x.cast("fptosi", to)
    return x.cast("sitofp" if to in FLOATS else "sext" if to == I64 else "trunc", to)
