"""Property tests: what they catch, how small they make it, and what hypothesis is given to draw from."""

import re
import sys
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from scipy.special import expit

import tinygrad_lesson as tl
from tinygrad_lesson import check, operator
from tinygrad_lesson.check.property import UndecidedError
from tinygrad_lesson.errors import DTypeError, LessonError
from tinygrad_lesson.op import FUNCTIONS, OPS, Elementwise, Op, attr, op
from tinygrad_lesson.ops.choices import Clip
from tinygrad_lesson.ops.linear import FullyConnected
from tinygrad_lesson.ops.ramps import LeakyReLU
from tinygrad_lesson.ops.reduce import Sum


@pytest.fixture(autouse=True)
def tables():
    """Ops declared in a test are forgotten after it."""
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS), mock.patch.dict(operator.REGISTERED):
        yield


def swish(slope="g * (share + self.beta * y * (1 - share))", forward=None, **more):
    """An op whose rule is this expression."""

    class Swish(Elementwise):
        """A number times its sigmoid."""

        beta: float = attr(1.0, minimum=0.5, maximum=3, doc="how steep")

        def forward(self, xp, x, out=None):
            return (
                forward(xp, x)
                if forward
                else xp.multiply(x, 0.5 + 0.5 * xp.tanh(0.5 * self.beta * x), out=out)
            )

        def vjp(self, F, g, y, x):
            share = F.sigmoid(self.beta * x)
            return (eval(slope, {"F": F, "g": g, "y": y, "x": x, "share": share, "self": self}),)

    for name, rule in more.items():
        setattr(Swish, name, rule)
    return op(Swish)


def failing(test):
    """The error of a test that must fail."""
    with pytest.raises((check.GradientError, check.OpError)) as caught:
        test()
    return caught.value


def test_a_right_op_passes_on_one_line_with_its_oracle():
    check.property_test(swish(), oracle=lambda op, x: x * expit(op.beta * x))()


@pytest.mark.parametrize(
    ("slope", "cause"),
    [
        ("g * (share + y * (1 - share))", "missing term"),
        ("-g * (share + self.beta * y * (1 - share))", "sign"),
        ("None", "missing term"),
    ],
)
def test_a_wrong_rule_is_caught(slope, cause):
    report = failing(check.property_test(swish(slope))).report
    assert report.verdict == "wrong"
    assert report.cause  # which cause is the business of tests/test_check_broken.py
    assert report.input == "x"


def test_a_failure_is_as_small_as_it_can_be_and_its_last_line_repeats_it():
    class Bent(Elementwise):
        """The square; the rule is wrong where a number is above 1."""

        def forward(self, xp, x, out=None):
            return xp.multiply(x, x, out=out)

        def vjp(self, F, g, y, x):
            return (2 * g * F.where(F.greater(x, 1), x + 1, x),)

    error = failing(check.property_test(op(Bent), order=1, max_examples=300))
    line = str(error).splitlines()[-1].removeprefix("  again: ")
    assert re.fullmatch(r"check.assert_op\(Bent\(\), np.array\([12]\.\d{1,3}\), order=1\)", line)
    with pytest.raises(check.GradientError):
        eval(line, {"check": check, "np": np, "Bent": OPS["Bent"]})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"forward": lambda xp, x: xp.sum(x), "slope": "g"}, r"forward returns the shape .* its shape rule says"),
        ({"forward": lambda xp, x: xp.square(x).astype(np.float32)}, "forward returns float32, its type rule says float64"),
        ({"forward": lambda xp, x: xp.multiply(x, 2, out=x), "slope": "2 * g"}, r"forward writes into its inputs"),
        ({"rewrite": lambda self, F, shapes, x: F.multiply(x, x)}, r"by runner 'numpy' is .* the eager face gives"),
        ({"dtype": lambda self, x: np.dtype(int)}, "forward returns float64, its type rule says int64"),
    ],
)  # fmt: skip
def test_other_promises_are_checked_too(more, message):
    with pytest.raises(check.OpError, match=message):
        check.property_test(swish(**more), order=1)()


def test_an_oracle_that_differs_is_told_with_numbers_and_inputs():
    error = failing(check.property_test(swish(), oracle=lambda op, x: x * expit(op.beta * x) + (x > 1)))
    assert "forward is" in str(error)
    assert "the oracle gives" in str(error)
    assert re.search(r"again: check.assert_op\(Swish\(\), np.array\([12]\.\d{1,3}\)\)", str(error))


def test_second_order_is_checked_too():
    once = "g * (share + self.beta * x * share * (1 - F.stop_gradient(share)))"
    check.property_test(swish(once), order=1)()
    assert failing(check.property_test(swish(once))).report.order == 2


def test_points_on_a_kink_are_passed_over_and_mistakes_beside_them_are_not():
    right = swish("F.where(F.greater(x, 0), g, 0)", forward=lambda xp, x: xp.maximum(x, 0))
    with pytest.raises(UndecidedError):
        check.assert_op(right(), np.array([0.0]))
    check.property_test(right)()
    wrong = swish("F.where(F.greater(x, 0), g, -g)", forward=lambda xp, x: xp.maximum(x, 0))
    assert failing(check.property_test(wrong)).report.verdict == "wrong"


def test_as_a_decorator_it_hands_every_example_on():
    seen = []

    @check.property_test(swish(), max_examples=60)
    def test_swish(op, x):
        seen.append((op.beta, x.dtype, x.ndim))
        with np.errstate(all="ignore"):
            y = tl.swish(x, beta=op.beta).numpy()
        assert np.all(~np.isfinite(x) | (np.abs(y) <= np.abs(x)))

    test_swish()
    assert len(seen) >= 10
    assert len({beta for beta, _, _ in seen}) > 1
    assert {dtype.name for _, dtype, _ in seen} == {"float32", "float64"}

    @check.property_test(swish(), max_examples=20)
    def test_wrong(op, x):
        assert not np.any(x > 1)

    with pytest.raises(AssertionError) as caught:
        test_wrong()
    assert re.search(
        r"check.assert_op\(Swish\(\), np.array\([12]\.\d{1,3}\)\)", "".join(caught.value.__notes__)
    )


def test_special_values_shapes_and_attributes_are_drawn():
    seen = []
    check.property_test(swish(), order=0, max_examples=600)(lambda op, x: seen.append(x))()
    everything = np.concatenate([x.ravel() for x in seen])
    assert np.isnan(everything).any()
    assert np.isinf(everything).any()
    assert (np.abs(everything[np.isfinite(everything)]) > 1e300).any()
    assert {x.ndim for x in seen} >= {0, 1, 2, 3}


def test_strategies_for_inputs_take_the_place_of_the_samples():
    pairs = check.property_test(
        lambda a, b: tl.sum(a * b), check.arrays((2, 3)), check.arrays((3,)), max_examples=5
    )
    pairs()
    dense = check.property_test(
        FullyConnected(num_hidden=2),
        check.arrays((3, 4)),
        check.arrays((2, 4)),
        check.arrays((2,)),
        max_examples=5,
    )
    dense()
    with pytest.raises(DTypeError, match="give a strategy for each input too"):
        check.property_test(lambda a: a)
    check.property_test(tl.tanh, max_examples=3)()


def test_an_op_without_sample_gets_inputs_from_its_rules():
    class Affine(Op):
        """``y = data @ weight``, one number per row and unit."""

        units: int = attr(minimum=1, doc="how many")

        def parameters(self, data):
            return {"weight": (data[-1], self.units)}

        def shape(self, data, weight):
            if len(data) != 2:
                raise tl.LessonError("data needs two axes")
            return data[0], weight[1]

        def forward(self, xp, data, weight):
            return data @ weight

        def vjp(self, F, g, y, data, weight):
            return F.matmul(g, F.transpose(weight)), F.matmul(F.transpose(data), g)

    shapes = []
    check.property_test(op(Affine))(lambda op, data, weight: shapes.append((data.shape, weight.shape)))()
    assert len(set(shapes)) > 3


@pytest.mark.parametrize("cls", [Sum, LeakyReLU, Clip, FullyConnected])
def test_attributes_make_ops(cls):
    found = []

    @settings_of(max_examples=30)
    @given(check.attributes(cls))
    def each(attributes):
        found.append(cls(**attributes))

    each()
    assert len(set(found)) > 1


def test_attributes_follow_ranges_choices_and_types_of_the_declaration():
    @op
    class Many(Elementwise):
        """Has many attributes."""

        b: float = attr(minimum=0.5, doc="b")
        a: int = attr(2, minimum=1, maximum=4, doc="a")
        c: str = attr("x", choices=("x", "y"), doc="c")
        d: bool = attr(False, doc="d")
        e: tuple[int, ...] = attr((1,), doc="e")

        def forward(self, xp, x):
            return x

        def vjp(self, F, g, y, x):
            return (g,)

    seen = {name: set() for name in "abcde"}

    @settings_of(max_examples=100)
    @given(check.attributes(Many))
    def each(attributes):
        for name, value in attributes.items():
            seen[name].add(value)
        Many(**attributes)

    each()
    assert seen["a"] == {1, 2, 3, 4}
    assert (seen["c"], seen["d"], seen["e"]) == ({"x", "y"}, {True, False}, {(1,)})
    assert min(seen["b"]) >= 0.5


def test_an_attribute_about_which_nothing_is_known_asks_for_a_sample():
    @op
    class Unknown(Elementwise):
        """Has an attribute."""

        table: tuple[int, ...] = attr(doc="anything")

        def forward(self, xp, x):
            return x

        def vjp(self, F, g, y, x):
            return (g,)

    with pytest.raises(
        LessonError,
        match="Unknown: attribute 'table' has neither choices, range nor default; declare `sample`",
    ):
        check.property_test(Unknown)()


@given(check.away_from([0, 1.5], low=-1, high=2))
def test_numbers_keep_away_from_kinks(x):
    assert -1 <= x <= 2
    assert abs(x) >= 0.1
    assert abs(x - 1.5) >= 0.1


def test_no_number_far_from_every_kink_is_an_error():
    with pytest.raises(LessonError, match="no number from 0 to 1 is 0.6 away from \\[0.5\\]"):
        check.away_from(0.5, 0, 1, margin=0.6)


@given(check.broadcastable_shapes(3))
def test_shapes_broadcast(shapes):
    assert len(shapes) == 3
    np.broadcast_shapes(*shapes)


@given(
    check.arrays((2, 3), dtype="float32", low=1, high=2),
    check.arrays(dtype=int, low=0, high=2),
    check.arrays(away_from=0),
)
def test_arrays_are_as_asked_for(a, b, c):
    assert (a.shape, a.dtype) == ((2, 3), np.float32)
    assert np.all((a >= 1) & (a <= 2))
    assert b.dtype.kind == "i"
    assert set(b.ravel()) <= {0, 1, 2}
    assert np.all(np.abs(c) >= 0.1)


def test_custom_operators_are_drawn_by_what_their_properties_infer():
    class Rows(operator.CustomOp):
        def __init__(self, factor):
            self.factor = factor

        def forward(self, is_train, req, in_data, out_data, aux):
            self.assign(out_data[0], req[0], in_data[0] * in_data[1][:, None])

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            self.assign(in_grad[0], req[0], self.factor * out_grad[0] * in_data[1][:, None])
            self.assign(in_grad[1], req[1], (out_grad[0] * in_data[0]).sum(axis=1))

    class RowsProp(operator.CustomOpProp):
        def __init__(self, factor="1"):
            super().__init__(need_top_grad=True)
            self.factor = float(factor)

        def list_arguments(self):
            return ["data", "scale"]

        def infer_shape(self, in_shape):
            return [in_shape[0], [in_shape[0][0]]], [in_shape[0]], []

        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Rows(self.factor)

    with pytest.raises(LessonError, match="RowsProp is not registered"):
        check.property_test(RowsProp)()
    operator.register("rows")(RowsProp)
    check.property_test(RowsProp)()
    error = failing(
        check.property_test(
            operator.register("rows")(
                type("Bad", (RowsProp,), {"__init__": lambda self: RowsProp.__init__(self, "2")})
            )
        )
    )
    assert error.report.factor == pytest.approx(2)
    assert "check.assert_op(Custom(op_type='rows')" in str(error)


def test_without_hypothesis_the_error_says_what_to_install():
    with (
        mock.patch.dict(sys.modules, {"hypothesis": None}),
        pytest.raises(LessonError, match="pip install hypothesis"),
    ):
        check.property_test(LeakyReLU)()


def test_an_op_that_stumbles_over_guessed_inputs_is_asked_for_a_sample():
    class RowsCentred(Op):
        """Rows less their mean."""

        def shape(self, x):
            return x

        def forward(self, xp, x):
            return x - x.mean(axis=-1, keepdims=True)

        def vjp(self, F, g, y, x):
            return (g - F.mean(g, axis=-1, keepdims=True),)

    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):
        test = check.property_test(op(RowsCentred), seed=0)
    expected = r"(?s)RowsCentred\(\): with inputs of shapes \(\): AxisError.*no `sample` is declared.*again: "
    with pytest.raises(check.OpError, match=expected):
        test()


def test_arrays_in_pieces_and_equal_numbers_are_drawn_too():
    class Pieces(Elementwise):
        """The square; the rule reads memory as if it were in one piece."""

        def forward(self, xp, x, out=None):
            return xp.multiply(x, x, out=out)

        def vjp(self, F, g, y, x):
            return (2 * g * (x if x.flags.c_contiguous else 0 * x),)

    class Twins(Elementwise):
        """The square; the rule is wrong where two numbers of an array are equal."""

        def forward(self, xp, x, out=None):
            return xp.multiply(x, x, out=out)

        def vjp(self, F, g, y, x):
            return (g * (2 * x if len(np.unique(x)) == x.size else 3 * x),)

    for cls in (Pieces, Twins):
        failing(check.property_test(op(cls), order=1, max_examples=300, seed=1))


def test_bounds_of_numbers_count_without_shapes():
    from tinygrad_lesson.subjects import check_at

    assert check_at(OPS["Log"], [], low=0.5, high=3.0).compared == 36
    assert "3.5" not in str(check_at(OPS["Exp"], [], low=3.0, high=3.4))
    seen = []

    def watching(x):
        seen.append(x.numpy())
        return x * x

    check_at(watching, [], low=5.0, high=6.0)
    assert 5 < np.min(seen[0]) < np.max(seen[0]) < 6


def test_ops_that_say_where_they_are_smooth_are_not_given_equal_numbers():
    for name in ("Eigh", "Syevd"):
        check.property_test(OPS[name], order=1, max_examples=60, seed=3)()


def test_a_mistake_that_only_long_axes_show_is_found():
    rule = "g * (share + self.beta * y * (1 - share)) * (1 if max((0, *F.shape(y))) < 9 else 1.01)"
    report = failing(check.property_test(swish(rule), order=1, max_examples=200)).report
    assert report.verdict == "wrong"
    assert "9" in report.reproduce


def test_a_mistake_that_only_large_numbers_show_is_found():
    def forward(xp, x):
        return xp.sqrt(1 + x * x)

    check.property_test(swish("g * x / y", forward=forward), max_examples=200)()
    report = failing(
        check.property_test(swish("g * x / F.minimum(y, 12)", forward=forward), order=1, max_examples=200)
    ).report
    assert report.verdict == "wrong"


def test_lengths_and_sizes_that_are_drawn():
    seen = []
    check.property_test(swish(), max_examples=300)(lambda op, x: seen.append(x))()
    lengths = {n for x in seen for n in x.shape}
    assert max(lengths) > 30
    largest = [np.max(np.abs(x)) for x in seen if x.size and np.isfinite(x).all()]
    assert sum(2 < n <= 1e15 for n in largest) > 5


@pytest.mark.parametrize("at", [-37.9, -36.15, -28.68, -25.3, -23.9, -20.75])
def test_where_a_function_is_stairs_of_its_rounding_a_rule_is_not_called_wrong(at):
    """Of ``0.5 + 0.5 * tanh(x / 2)`` a few digits are left there."""
    assert check.gradients(swish()(), np.array(at)).verdict in ("float noise", "cannot tell")


@pytest.mark.parametrize("at", [-10.0, -8.0, -5.0, 3.0])
def test_before_it_is_stairs_a_wrong_rule_is_wrong(at):
    assert check.gradients(swish("g * (share + y)")(), np.array(at)).verdict == "wrong"


def test_an_axis_that_is_too_long_for_a_custom_operator_is_drawn_anew(monkeypatch):
    class Halve(operator.CustomOp):
        def forward(self, is_train, req, in_data, out_data, aux):
            self.assign(out_data[0], req[0], 0.5 * in_data[0])

        def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
            self.assign(in_grad[0], req[0], 0.5 * out_grad[0])

    class HalveProp(operator.CustomOpProp):
        def create_operator(self, ctx, in_shapes, in_dtypes):
            return Halve()

    operator.register("halve")(HalveProp)
    monkeypatch.setattr("tinygrad_lesson.check.property.KINDS", ("long",))
    check.property_test(HalveProp, max_examples=30, seed=0)()
