"""Element types along a graph: what MXNet keeps, what it widens, and what is refused."""

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import AttributeValueError, DTypeError
from tinygrad_lesson.mxnet.register import OPERATORS
from tinygrad_lesson.run import RUNNERS

X = [1, -5, 3]
# What MXNet 1.9.1 gives for int32 numbers 1, -5, 3 and a number: operator, number, result.
WITH_NUMBERS = [
    ("_plus_scalar", 1.5, [2, -4, 4]), ("_plus_scalar", -1.5, [0, -6, 2]), ("_minus_scalar", 1.5, [0, -6, 2]),
    ("_rminus_scalar", 1.5, [0, 6, -2]), ("_rminus_scalar", -1.5, [-2, 4, -4]), ("_mul_scalar", 0.5, [0, 0, 0]),
    ("_mul_scalar", -1.5, [-1, 5, -3]), ("_div_scalar", 2.5, [0, -2, 1]), ("_div_scalar", -2.0, [0, 2, -1]),
    ("_rdiv_scalar", 2.5, [2, 0, 0]), ("_power_scalar", 2.5, [1, 25, 9]), ("_power_scalar", 0.5, [1, 1, 1]),
    ("_power_scalar", -1.0, [1, 0, 0]), ("_rpower_scalar", 2.5, [2, 0, 8]), ("_rpower_scalar", -2.0, [-2, 0, -8]),
    ("_maximum_scalar", 0.5, [1, 0, 3]), ("_maximum_scalar", -1.5, [1, -1, 3]), ("_minimum_scalar", 0.5, [0, -5, 0]),
    ("_equal_scalar", 1.5, [1, 0, 0]), ("_not_equal_scalar", 1.5, [0, 1, 1]), ("_greater_scalar", 1.5, [0, 0, 1]),
    ("_greater_equal_scalar", 1.5, [1, 0, 1]), ("_lesser_scalar", -1.5, [0, 1, 0]),
    ("_lesser_equal_scalar", -1.5, [0, 1, 0]),
    # By `mshadow_op.h`, where `mod` has the sign of the divisor and `hypot` is cut off.
    ("_mod_scalar", 2.5, [1, 1, 1]), ("_mod_scalar", -2.5, [-1, -1, -1]), ("_rmod_scalar", 2.5, [0, -3, 2]),
    ("_hypot_scalar", 2.5, [2, 5, 3]), ("_logical_and_scalar", 2.5, [1, 1, 1]), ("_logical_and_scalar", 0.5, [0, 0, 0]),
    ("_logical_or_scalar", 0.5, [1, 1, 1]), ("_logical_xor_scalar", 2.5, [0, 0, 0]),
]  # fmt: skip
SHORT = [  # the same for other types: type, numbers, operator, number, result and its type
    ("uint8", [1, 0, 1], "_plus_scalar", 300.0, [45, 44, 45], "uint8"),
    ("uint8", [1, 0, 1], "_plus_scalar", -1.0, [0, 255, 0], "uint8"),
    ("uint8", [1, 0, 1], "_plus_scalar", 1.5, [2, 1, 2], "uint8"),
    ("int8", [1, 0, 1], "_plus_scalar", 300.0, [45, 44, 45], "int8"),
    ("bool", [1, 0, 1], "_plus_scalar", 300.0, [301, 300, 301], "int64"),
    ("bool", [1, 0, 1], "_plus_scalar", 1.5, [2, 1, 2], "int64"),
    ("bool", [1, 0, 1], "_mul_scalar", 0.5, [0, 0, 0], "int64"),
]


def run(symbol, x, runner=None):
    """The result for one array."""
    with np.errstate(all="ignore"):
        return symbol.bind(tl.cpu(), {"x": x}, runner=runner).forward()[0]


def named(name, **attributes):
    """An operator of the catalog, applied to a variable."""
    return getattr(sym, name)(sym.Variable("x"), **attributes)


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize(("name", "scalar", "expected"), WITH_NUMBERS, ids=str)
def test_integers_keep_their_type_beside_a_number_which_is_cut_off_as_in_mxnet(
    name, scalar, expected, runner
):
    y = run(named(name, scalar=scalar), np.array(X, np.int32), runner)
    assert y.dtype == np.int32
    assert y.tolist() == expected


@pytest.mark.parametrize(("kind", "x", "name", "scalar", "expected", "result"), SHORT, ids=str)
def test_short_integers_beside_a_number_are_those_of_mxnet(kind, x, name, scalar, expected, result):
    y = run(named(name, scalar=scalar), np.array(x, kind))
    assert (y.tolist(), y.dtype) == (expected, result)


def test_every_operator_with_a_number_is_in_the_table():
    assert {name for name in OPERATORS if name.startswith("_") and name.endswith("_scalar")} == {
        name for name, *_ in WITH_NUMBERS
    }


def test_operators_of_python_are_the_same():
    x = sym.Variable("x")
    for y, expected in (
        (x + 1.5, [2, -4, 4]),
        (x * 0.5, [0, 0, 0]),
        (2.5 - x, [1, 7, -1]),
        (x > 1.5, [0, 0, 1]),
    ):
        assert run(y, np.array(X, np.int32)).tolist() == expected


@pytest.mark.parametrize(
    ("name", "scalar"), [("_div_scalar", 0.5), ("_plus_scalar", np.inf), ("_mul_scalar", np.nan)]
)
def test_a_number_that_has_no_meaning_among_integers_is_refused(name, scalar):
    with pytest.raises(DTypeError, match=r"the number .* int32"):
        run(named(name, scalar=scalar), np.array(X, np.int32))


def test_bounds_of_clip_are_cut_off_as_in_mxnet():
    assert run(named("clip", a_min=0.5, a_max=2.5), np.int32([1, 2, 3, 4])).tolist() == [1, 2, 2, 2]
    assert run(named("clip", a_min=-3.0, a_max=1e9), np.uint8([1, 200])).tolist() == [1, 200]


FRACTIONS = [
    "tanh",
    "sigmoid",
    "softmax",
    "log_softmax",
    "log",
    "log1p",
    "expm1",
    "sqrt",
    "rsqrt",
    "softsign",
]


@pytest.mark.parametrize("kind", ["int32", "int64", "uint8", "bool"])
@pytest.mark.parametrize("name", FRACTIONS)
def test_integers_whose_results_are_fractions_are_refused_with_the_type_that_is_wanted(name, kind):
    net = named(name)
    for attempt in (
        lambda: net.bind(tl.cpu(), {"x": np.ones((2, 3), kind)}),
        lambda: net.simple_bind(tl.cpu(), type_dict={"x": kind}, x=(2, 3)),
        lambda: net.infer_type(x=kind),
    ):
        with pytest.raises(
            DTypeError, match=rf"{name}\d+ .* is {kind}, which cannot hold fractions; expected float32"
        ):
            attempt()


@pytest.mark.parametrize("attributes", [{"act_type": "tanh"}, {"act_type": "softrelu"}], ids=str)
def test_an_activation_of_integers_is_refused_too(attributes):
    with pytest.raises(DTypeError, match="expected float32"):
        named("Activation", **attributes).infer_type(x="int32")


@pytest.mark.parametrize("kind", ["int8", "uint8", "bool"])
@pytest.mark.parametrize("name", ["sum", "prod"])
@pytest.mark.parametrize("runner", RUNNERS)
def test_sums_of_short_integers_are_as_wide_as_numpys(name, kind, runner):
    x = np.array([3, 100, 200, 1]).astype(kind)
    y = run(named(name), x, runner)
    assert y.tolist() == [getattr(np, name)(x)]
    assert y.dtype == getattr(np, name)(x).dtype


def test_what_mxnet_keeps_in_int32_stays():
    x = np.int32([[1, 2], [3, 5]])
    for name, expected in (("exp", [[2, 7], [20, 148]]), ("mean", [2]), ("sum", [11]), ("relu", x.tolist())):
        y = run(named(name), x)
        assert (y.tolist(), y.dtype) == (expected, np.int32)


@pytest.mark.parametrize("shape", [(10**6, 10**7), (10**10, 10**10), (2**62, 4), (10**40,)], ids=str)
def test_arrays_beyond_memory_are_refused_in_one_line(shape):
    x = sym.Variable("x")
    for attempt in (
        lambda: sym.ones(shape=shape).bind(tl.cpu(), {}).forward(),
        lambda: (sym.zeros(shape=shape) + x).simple_bind(tl.cpu(), x=shape),
        lambda: sym.broadcast_to(x, shape=shape).bind(tl.cpu(), {"x": np.ones(1)}).forward(),
        lambda: tl.full(shape=shape),
    ):
        with pytest.raises(tl.LessonError) as error:
            attempt()
        assert "\n" not in str(error.value)
        assert "room" in str(error.value) or "bits" in str(error.value) or "Full" in str(error.value)


@pytest.mark.parametrize(
    "number", [10**400, -(10**400), "1" + 400 * "0", 10**5000], ids=["large", "small", "text", "endless"]
)
def test_a_number_beyond_all_bounds_is_refused_in_one_line(number):
    for make in (lambda: named("softmax", temperature=number), lambda: named("_plus_scalar", scalar=number)):
        with pytest.raises(AttributeValueError, match="bits, expected at most 1023|too many digits") as error:
            make()
        assert "\n" not in str(error.value)
