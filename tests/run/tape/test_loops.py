"""Kernels that treat each element alike, over rows and columns that lie anywhere, in every element type."""

import numpy as np
import pytest
from scipy import special

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

from tinygrad_lesson.run.elements import elementwise
from tinygrad_lesson.run.lower import beside
from tinygrad_lesson.run.operands import Memory
from tinygrad_lesson.run.segment import Segment, as_tape, told
from tinygrad_lesson.run.tape.expressions import ANSWERS, EXPRESSIONS, FLOATS_ONLY, SINGLE


def carry_out(name, target, *sources, inside=None):
    """``target[...] = name(*sources)`` by a kernel."""
    memory = Memory()
    operands = [memory.operand(x) for x in sources]
    rows = elementwise(name, inside)(memory, None, operands, memory.operand(target))
    Segment(as_tape(rows), memory)()
    return told(as_tape(rows))


def exactly(name, x):
    """The function in higher precision, which is exact enough to be the judge."""
    with np.errstate(all="ignore"):
        if name == "sigmoid":
            return np.where(x >= 0, 1, np.exp(np.minimum(x, 0))) / (1 + np.exp(-np.abs(x)))
        return getattr(np, name)(x)


def everywhere(kind):
    """Numbers over the whole range of a type, and special ones."""
    if kind == "float32":
        bits = np.arange(0, 1 << 32, 4093, dtype=np.uint64).astype(np.uint32)
    else:
        bits = np.random.default_rng(0).integers(0, 1 << 64, 300_000, dtype=np.uint64)
    special = [
        0,
        -0.0,
        np.inf,
        -np.inf,
        np.nan,
        1e-45,
        -1e-45,
        3.4e38,
        88.7,
        -87.4,
        -103.9,
        709.7,
        -745.1,
        5e-324,
    ]
    usual = np.random.default_rng(1).normal(size=100_000, scale=3)
    turns = np.arange(1, 20_001) * np.pi / 2  # near which sines and cosines are small
    with np.errstate(over="ignore"):
        parts = [
            np.array(special, kind),
            *[x.astype(kind) for x in (usual, usual / 1e3, turns, turns * 123456789)],
        ]
    return np.concatenate([bits.view(kind), *parts])


@pytest.mark.parametrize("name", [
    "exp", "log", "tanh", "sigmoid", "log1p", "expm1", "sin", "cos", "tan", "arcsin", "arccos", "arctan", "sinh", "cosh",
    "arcsinh", "arccosh", "arctanh", "cbrt", "exp2", "log2", "log10",
])  # fmt: skip
@pytest.mark.parametrize(("kind", "ulps"), [("float32", 2), ("float64", 4)])
def test_transcendentals_err_by_few_ulp_over_the_whole_range(name, kind, ulps):
    x = everywhere(kind)
    found = np.empty_like(x)
    with np.errstate(all="ignore"):
        carry_out(name, found, x)
        exact = exactly(name, x.astype(np.longdouble))
        rounded = exact.astype(kind)
    finite = np.isfinite(rounded)
    errors = np.abs(found[finite] - exact[finite]) / np.spacing(np.abs(rounded[finite]))
    assert errors.max() <= ulps
    np.testing.assert_array_equal(found[~finite], rounded[~finite])
    zeros = (x == 0) & (rounded == 0)
    np.testing.assert_array_equal(np.signbit(found[zeros]), np.signbit(rounded[zeros]))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "minimum"])
@pytest.mark.parametrize("shape", [(1, 10), (3, 10), (4, 10), (7, 1), (9, 15), (20, 16), (6, 17)])
def test_rows_and_columns_are_repeated_in_place_too(name, shape):
    generator = np.random.default_rng(np.prod(shape))
    a = generator.normal(size=shape).astype(np.float32)
    m, n = shape
    for other in ((n,), (m, 1), shape, (1,)):
        b = generator.uniform(0.5, 2, size=other).astype(np.float32)
        expected = getattr(np, name)(a, b)
        apart, inside = np.full((m + 2, n), 7, np.float32), a.copy()
        carry_out(name, apart[1:-1], a, b)
        carry_out(name, inside, inside, b)
        for found in (apart[1:-1], inside):
            np.testing.assert_allclose(found, expected, rtol=3e-7)
        assert (apart[[0, -1]] == 7).all()


@pytest.mark.parametrize(("kind", "ulps"), [("float32", 2), ("float64", 4)])
def test_powers_err_by_few_ulp_however_large_they_are(kind, ulps):
    generator = np.random.default_rng(0)
    x = np.exp(generator.uniform(-30, 30, 200_000)).astype(kind)
    y = (
        generator.uniform(-1, 1, 200_000) * np.log(np.finfo(kind).max) / np.abs(np.log(x.astype(float)))
    ).astype(kind)
    found = np.empty_like(x)
    carry_out("power", found, x, y)
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.longdouble), y.astype(np.longdouble))
        fine = np.isfinite(exact.astype(kind)) & (exact > 2 * np.finfo(kind).tiny)
        errors = np.abs(found - exact)[fine] / np.spacing(exact[fine].astype(kind))
    assert errors.max() <= ulps


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_powers_that_are_whole_numbers_are_exact(kind):
    x, y = (v.ravel() for v in np.meshgrid(np.arange(-60.0, 61), np.arange(0.0, 30)))
    exact = np.array([int(a) ** int(b) for a, b in zip(x, y, strict=True)], float)
    fits = np.abs(exact) <= 2.0 ** (np.finfo(kind).nmant + 1)
    x, y, exact = (v[fits].astype(kind) for v in (x, y, exact))
    found = np.empty_like(x)
    carry_out("power", found, x, y)
    np.testing.assert_array_equal(found, exact)


def test_roots_and_logarithms_that_are_whole_numbers_are_exact():
    whole = np.arange(-300.0, 301)
    known = {"cbrt": (whole**3, whole), "log10": (10.0 ** np.arange(23), np.arange(23.0)),
             "log2": (2.0**whole, whole), "exp2": (whole, 2.0**whole)}  # fmt: skip
    for name, (x, exact) in known.items():
        found = np.empty_like(exact)
        carry_out(name, found, x)
        np.testing.assert_array_equal(found, exact, err_msg=name)


LAYOUTS = {
    "row-major": lambda x: x,
    "columns first": lambda x: np.asfortranarray(x),
    "every other": lambda x: np.repeat(x, 2, -1)[..., ::2],
    "backwards": lambda x: np.flip(np.flip(x).copy()),
    "unaligned": lambda x: np.frombuffer(b"0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape),
}


@pytest.mark.parametrize("shape", [(5,), (3, 40), (2, 3, 18), (2, 3, 4, 5), (2, 2, 3, 2, 2)])
@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("target", [name for name in LAYOUTS if name != "unaligned"])
@pytest.mark.parametrize("kind", ["float32", "float64", "int64"])
def test_arrays_of_any_rank_lie_anywhere(shape, source, target, kind):
    x = np.arange(np.prod(shape), dtype=kind).reshape(shape)
    one, y = LAYOUTS[source](x), LAYOUTS[target](np.zeros(shape, kind))
    first = x[(slice(1),) * x.ndim]
    carry_out("subtract", y, one, first)
    np.testing.assert_array_equal(y, x - first)


KINDS = ("float32", "float64", "int32", "int64", "bool")
VALUES = {
    "float32": [0, -0.0, 1.5, -2.25, np.nan, np.inf, -np.inf, 1e-45, 3, 7.5],
    "float64": [0, -0.0, 1.5, -2.25, np.nan, np.inf, -np.inf, 5e-324, 3, 7.5],
    "int32": [0, 1, -1, 2**31 - 1, -(2**31), 5, 6, -7, 8, 9],
    "int64": [0, 1, -1, 2**63 - 1, -(2**63), 5, 6, -7, 8, 9],
    "bool": [True, False] * 5,
}
OURS = {
    "pass_sign": lambda g, y: g * np.sign(y),
}
OURS["sigmoid"] = lambda x: 1 / (1 + np.exp(-x))


def in_double(function):
    """A function of SciPy in double precision, rounded to single."""
    return lambda *given: function(*[x.astype(float) for x in given]).astype(np.float32)


def hazard(x):
    """The density of a standard normal number, by the probability that it is larger."""
    return np.sqrt(2 / np.pi) / special.erfcx(x / np.sqrt(2))


def slope_of_gelu(g, y, x):
    """With its limits."""
    inside = special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    return g * np.where(np.isinf(x), np.where(x > 0, 1, -0.0), inside)


OURS |= {
    "ndtr": in_double(special.ndtr),
    "normal_hazard": in_double(hazard),
    "gelu": in_double(lambda x: np.where(x == -np.inf, -0.0, x * special.ndtr(x))),
    "gelu_slope": in_double(slope_of_gelu),
    "log_ndtr_slope": in_double(lambda g, y, x: g * hazard(-x)),
}


@pytest.mark.parametrize("name", ["ndtr", "normal_hazard", "gelu"])
def test_functions_of_the_normal_distribution_err_by_4_ulp(name):
    x = np.concatenate([everywhere("float32"), np.linspace(-15, 40, 300_000, dtype=np.float32)])
    x = x[np.isfinite(x)]
    wide, found = x.astype(float), np.empty_like(x)
    with np.errstate(all="ignore"):
        carry_out(name, found, x)
        exact = {"ndtr": special.ndtr, "normal_hazard": hazard, "gelu": lambda x: x * special.ndtr(x)}[name](
            wide
        )
        step = np.spacing(np.abs(exact).astype(np.float32))
    assert (np.abs(found - exact) <= 4 * step).all()


def is_known(name, kind):
    """Whether NumPy computes this function in this type, and in no wider one."""
    if name in SINGLE:
        return kind == "float32"
    if kind == "bool":
        return name in ANSWERS - FLOATS_ONLY or name in ("where", "positive")
    return kind in ("float32", "float64") or name not in FLOATS_ONLY


@pytest.mark.parametrize(("name", "kind"), [(n, k) for n in EXPRESSIONS for k in KINDS if is_known(n, k)])
def test_an_expression_does_what_numpy_does_in_every_type(name, kind):
    values = np.array(VALUES[kind], kind)
    function = OURS.get(name) or getattr(np, name)
    expression = EXPRESSIONS[name]
    arity = getattr(expression, "arity", None) or expression.__code__.co_argcount
    sources = [np.repeat(values, 10), np.tile(values, 10), np.tile(values[::-1], 10)][:arity]
    if name == "where":
        sources[0] = sources[0] > 0
    with np.errstate(all="ignore"):
        expected = function(*sources) if (kind, name) != ("bool", "positive") else sources[0]
        found = np.empty_like(expected)
        carry_out(name, found, *sources, inside=kind)
    tolerance = 0 if kind not in ("float32", "float64") else 4 * np.finfo(kind).eps
    least = np.finfo(kind).smallest_subnormal if name in SINGLE else 0
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=least)
    if (expected.dtype.kind == "f" and name not in SINGLE) or name == "gelu":
        np.testing.assert_array_equal(np.signbit(found[found == 0]), np.signbit(expected[found == 0]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", KINDS)
def test_types_are_converted_as_numpy_does(kind, to):
    values = np.array([0, 1, 2.75, -3, 100], kind)
    found = np.empty(5, to)
    carry_out("positive", found, values, inside=kind)
    np.testing.assert_array_equal(found, values.astype(to))


def test_what_chooses_is_not_rounded_to_the_type_of_what_is_chosen():
    y, ones = np.zeros(20, np.float32), np.ones(20, np.float32)
    carry_out("where", y, np.full(20, 1e-300), ones, ones - 1, inside="float32")
    np.testing.assert_array_equal(y, ones)


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "bool"])
def test_rows_stand_side_by_side(kind, threads, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_THREADS", threads)
    x = np.random.default_rng(0).integers(-9, 9, (300, 4, 90)).astype(kind)
    for parts, axis in (
        ((x, x[::-1, 1:3], x[:, :1]), 1),
        ((x[:, :, 7:], x, np.broadcast_to(x[5, 1], x.shape)), 2),
    ):
        target, memory = np.concatenate(parts, axis), Memory()
        want = target.copy()
        target[...] = 0
        rows = beside(memory, [memory.operand(part) for part in parts], memory.operand(target))
        Segment(as_tape(rows), memory)()
        np.testing.assert_array_equal(target, want)
        assert set(told(as_tape(rows))) <= {"shared", f"beside {kind}"}


def test_rows_that_are_short_or_have_gaps_are_copied_part_by_part():
    x, memory = np.zeros((300, 2, 90), np.float32), Memory()
    short, gaps = [x[:, 0, :3]] * 8, [x[:, :, ::2]] * 2
    for parts in (short, gaps):
        target = memory.operand(np.concatenate(parts, 1))
        assert beside(memory, [memory.operand(part) for part in parts], target) is None
