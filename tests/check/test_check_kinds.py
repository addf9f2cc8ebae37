"""Ways in which a check can be fooled: each has right functions that must pass and wrong rules that must not."""

import functools
import re

import numpy as np
import pytest
from broken_strange import made
from right_functions import CHAOS, POINTS, TIES

import tinygrad_lesson as tl
from tinygrad_lesson import check

# What oscillates with a power of two, or with the steps of whatever ladder.


def wave(frequency, height=1.0):
    """A parabola under a fast wave; the rule forgets the wave."""
    return made(
        "Waved",
        lambda xp, x: x * x + height * xp.sin(frequency * np.pi * x),
        lambda F, g, y, x: (2 * g * x,),
    )


@pytest.mark.parametrize(
    "frequency", [64, 128, 512, 1024, 4096, 2.0**14, 2.0**18, 3 * 2.0**9, 0.854 * 2**9, 1000]
)
@pytest.mark.parametrize("height", [1.0, 0.01])
def test_a_wave_that_the_rule_forgets_is_seen(frequency, height):
    report = check.gradients(wave(frequency, height), POINTS, culprit=False)
    assert report.verdict == "wrong", str(report)


@pytest.mark.parametrize("frequency", [256, 512, 1024])
def test_no_point_hides_a_wave_from_the_steps(frequency):
    points = np.random.default_rng(0).uniform(-2, 2, 20)
    verdicts = [check.gradients(wave(frequency), [x], seed=seed).verdict for seed, x in enumerate(points)]
    assert "ok" not in verdicts
    assert verdicts.count("wrong") >= 18


# What a rule owes to the cotangent.


@pytest.mark.parametrize(
    ("forward", "vjp", "shape"),
    [
        (lambda xp, x: xp.sum(x * x), lambda F, g, y, x: 2 * x, lambda *s: ()),
        (lambda xp, x: x * x, lambda F, g, y, x: 2 * x * g * F.cast(F.greater(g, 0), dtype="float64"), None),
        (lambda xp, x: xp.maximum(x, 0), lambda F, g, y, x: F.where(F.greater(x, 0), F.maximum(g, 0.0), 0.0), None),
        (lambda xp, x: xp.sin(x), lambda F, g, y, x: F.cos(x) * F.abs(g), None),
        (lambda xp, x: xp.sin(x), lambda F, g, y, x: F.cos(x) * g * g, None),
        (lambda xp, x: xp.exp(x), lambda F, g, y, x: y * F.sign(g), None),
        (lambda xp, x: xp.tanh(x), lambda F, g, y, x: (1 - y * y) * F.clip(g, low=-1.0, high=1.0), None),
        (lambda xp, x: xp.sin(x), lambda F, g, y, x: F.cos(x) * g + 0.1 * x * (g - g * g), None),
        (lambda xp, x: xp.sin(x), lambda F, g, y, x: F.cos(x) * (g + 1e-3), None),
        (lambda xp, x: xp.sin(x), lambda F, g, y, x: F.where(F.greater(F.abs(g), 2e-3), F.cos(x) * g, 0.0), None),
        (lambda xp, x: xp.exp(x), lambda F, g, y, x: y * F.sign(g) * F.maximum(F.abs(g), 2e-3), None),
    ],
)  # fmt: skip
def test_a_rule_that_is_not_linear_in_the_cotangent_is_wrong(forward, vjp, shape):
    op = made("Careless", forward, vjp, shape)
    report = check.gradients(op, np.array([0.7, -0.4, 1.3]))
    assert report.verdict == "wrong", str(report)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: tl.cast(tl.sin(x), dtype="float32"),
        made(
            "Rounded",
            lambda xp, x: xp.sin(x),
            lambda F, g, y, x: (F.cast(F.cast(g, dtype="float32"), dtype="float64") * F.cos(x),),
        ),
    ],
)
def test_a_cotangent_that_is_rounded_to_single_precision_is_float_noise_and_not_wrong(f):
    report = check.gradients(f, np.array([0.7, -0.4, 1.3]))
    assert (report.verdict, report.cause) == ("float noise", "float noise"), str(report)


def test_a_number_beside_single_precision_is_no_array_that_someone_writes_to():
    report = check.gradients(
        lambda x: x * x + tl.cast(tl.cast(x * 1.0, dtype="float32") * 0.3, dtype="float64"),
        np.array([0.7, -0.4, 1.3]),
    )
    assert report.verdict in ("ok", "float noise"), str(report)


def strided(g):
    """The cotangent's memory read as if it were in one piece."""
    return np.lib.stride_tricks.as_strided(g, g.shape, np.empty(g.shape).strides)


@pytest.mark.parametrize("how", ["transposed", "raveled", "base"])
def test_a_rule_that_relies_on_how_the_cotangent_lies_is_wrong(how):
    def rule(F, g, y, x):
        g = np.asarray(g)
        found = {
            "transposed": lambda: g if g.flags.c_contiguous else g.T.reshape(g.shape),
            "raveled": lambda: g.ravel(order="K").reshape(g.shape),
            "base": lambda: g if g.base is None or g.base.size == g.size else np.zeros(g.shape),
        }[how]()
        return found * np.cos(x)

    op = made("Careless", lambda xp, x: xp.sin(x), rule)
    report = check.gradients(op, np.random.default_rng(11).normal(size=(3, 3)))
    assert report.verdict == "wrong", str(report)


@pytest.mark.parametrize("kept", ["input", "result", "mask", "sum", "count"])
def test_a_rule_that_reads_what_another_forward_left_behind_is_wrong(kept):
    state = {}

    def forward(xp, x):
        y = xp.tanh(x) * x
        state.update(input=x, result=y, mask=x > 0, sum=xp.sum(x), count=state.get("count", 0) + 1)
        return y if kept != "mask" else xp.abs(x) * x

    def rule(F, g, y, x):
        t = np.tanh(x)
        right = g * (t + x * (1 - t * t))
        if kept == "input":
            t = np.tanh(state["input"])
            return g * (t + state["input"] * (1 - t * t))
        if kept == "result":
            return g * (state["result"] / x + x * (1 - (state["result"] / x) ** 2))
        if kept == "mask":
            return g * 2 * x * np.where(state["mask"], 1.0, -1.0)
        if kept == "sum":
            return right * state["sum"] / np.sum(x)
        return right * (1 + 0.1 * (state["count"] % 2))

    op = made("Stale", forward, rule)
    report = check.gradients(op, np.array([0.7, -0.4, 1.3]), culprit=False)
    assert not report.ok, str(report)


# What differences cannot tell.


@pytest.mark.parametrize("name", CHAOS)
def test_where_the_bar_is_as_long_as_the_derivative_nothing_is_told(name):
    report = check.gradients(*CHAOS[name])
    assert report.verdict in ("cannot tell", "float noise"), str(report)


# Kinks.


def kinked(vjp, forward=lambda xp, x: xp.maximum(x, 0)):
    return made("Kinked", forward, vjp)


def positive(F, x):
    return F.cast(F.greater(x, 0), dtype="float64")


@pytest.mark.parametrize(
    ("op", "x"),
    [
        (kinked(lambda F, g, y, x: g * 5), [0.0]),
        (kinked(lambda F, g, y, x: g * (-0.5)), [0.0, 0.0]),
        (kinked(lambda F, g, y, x: g * (positive(F, x) + 3 * F.cast(F.equal(x, 0), dtype="float64"))), [0.0, 1.0]),
        (kinked(lambda F, g, y, x: g * 1.5 * F.sign(x) + 1.2 * g, lambda xp, x: xp.abs(x)), [0.0, 2.0]),
        (kinked(lambda F, g, y, x: g * 7, lambda xp, x: xp.clip(x, -1, 1)), [1.0]),
        (kinked(lambda F, g, y, x: g * positive(F, x) * 2), [0.0, 1.0]),
    ],
)  # fmt: skip
def test_a_slope_that_neither_side_has_is_wrong(op, x):
    report = check.gradients(op, np.array(x))
    assert report.verdict == "wrong", str(report)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_any_slope_between_the_sides_is_a_kink(slope):
    op = kinked(lambda F, g, y, x: g * (positive(F, x) + slope * F.cast(F.equal(x, 0), dtype="float64")))
    assert check.gradients(op, np.array([0.0, 1.0, -1.0])).verdict == "kink"


@pytest.mark.parametrize(
    ("share", "verdict"), [((1.0, 0.0), "kink"), ((0.5, 0.5), "kink"), ((1.0, 1.0), "wrong"), ((0.0, 0.0), "wrong"), ((0.7, 0.6), "wrong")]
)  # fmt: skip
@pytest.mark.parametrize("tie", [1.0, -2.5])
def test_a_tie_is_held_to_the_directions_in_which_it_is_none(share, verdict, tie):
    op = made(
        "Larger",
        lambda xp, a, b: xp.maximum(a, b),
        lambda F, g, y, a, b: (
            g
            * (F.cast(F.greater(a, b), dtype="float64") + share[0] * F.cast(F.equal(a, b), dtype="float64")),
            g * (F.cast(F.less(a, b), dtype="float64") + share[1] * F.cast(F.equal(a, b), dtype="float64")),
        ),
    )
    report = check.gradients(op, np.array([tie, 0.3]), np.array([tie, 0.9]))
    assert report.verdict == verdict, str(report)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: tl.relu(x) - tl.relu(-x),
        lambda x: 0.5 * tl.abs(x) + 0.5 * x - tl.relu(-x),
        lambda x: tl.leaky_relu(x) * 2.0 + tl.abs(x) * 0.2 - x * 1.2,
        lambda x: tl.abs(x) - 2 * tl.relu(x) + 3 * x,
        lambda x: tl.relu(2 * x) - 2 * tl.relu(-x) + tl.sin(x),
    ],
)
def test_rules_that_are_right_each_but_do_not_add_up_at_their_kinks_are_not_called_wrong(f):
    report = check.gradients(f, np.array([0.0, 0.5]))
    assert report.verdict in ("kink", "ok"), str(report)
    assert check.gradients(f, np.array([0.3, -0.5])).ok


# Rules that raise.


@pytest.mark.parametrize(
    "error",
    [KeyError, TypeError, AssertionError, RuntimeError, ZeroDivisionError, NotImplementedError, MemoryError],
)
@pytest.mark.parametrize("when", ["always", "other operands"])
def test_a_wrong_rule_that_raises_is_wrong(error, when):
    x = np.array([[0.3, 1.2], [0.8, 0.5]])
    known = {float(v): 2 * float(v) for v in x.ravel()}

    def rule(F, g, y, x):
        if when == "always" or any(float(v) not in known for v in np.ravel(x)):
            raise error("not made for this")
        return g * x  # not twice

    report = check.gradients(made("Picky", lambda xp, x: x * x, rule), x)
    assert report.verdict == "wrong", str(report)
    assert (error.__name__ in str(report)) == (when == "always"), str(report)


# Titles and where runners part.


def test_titles_are_names_that_one_can_read():
    assert check.gradients(lambda x: tl.tanh(x), [0.1]).title == "<lambda>"

    def loss(x):
        return tl.sum(x * x)

    assert check.gradients(loss, [0.1]).title == "loss"
    assert check.gradients(tl.tanh, [0.1]).title == "tanh"

    class Layer:
        def __call__(self, x, scale=1.0):
            return tl.tanh(scale * x)

        def method(self, x):
            return self(x)

    assert check.gradients(Layer(), [0.1]).title == "Layer"
    assert check.gradients(Layer().method, [0.1]).title == "method"
    assert check.gradients(functools.partial(loss), [0.1]).title == "loss"
    assert check.gradients(functools.partial(Layer(), scale=2.0), [0.1]).title == "Layer"
    assert (
        check.pair(functools.partial(np.power, 2.0), lambda g, x: g * 2**x * np.log(2), [0.1]).title
        == "power"
    )


# Equal numbers.


@pytest.mark.parametrize("name", TIES)
def test_equal_numbers_are_a_kink_and_no_mistake(name):
    report = check.gradients(*TIES[name])
    assert report.verdict in ("kink", "ok", "cannot tell"), str(report)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_kink_elsewhere_is_no_excuse(at):
    x = np.array([0.0, 1.0, -1.0])
    wrong = np.zeros(3)
    wrong[at] = 3.0
    op = made(
        "Summed",
        lambda xp, x: xp.sum(xp.maximum(x, 0)),
        lambda F, g, y, x: g * (np.where(x > 0, 1.0, 0.0) + wrong),
        lambda *s: (),
    )
    assert check.gradients(op, x).verdict == "wrong"


# Many elements at once: along random directions, unless something is seen there.

GRID = np.random.default_rng(3).normal(size=(6, 8))


def sine(place, part):
    """A sine whose rule is wrong by a part of its derivative, in one of many places."""
    off = 1 + part * (np.arange(GRID.size) == place).reshape(GRID.shape)
    return made("Sine", lambda xp, x: xp.sin(x), lambda F, g, y, x: (g * np.cos(x) * off,))


@pytest.mark.parametrize("place", [0, 17, GRID.size - 1])
@pytest.mark.parametrize("part", [1e-6, 0.5, -2.0])
def test_one_wrong_element_of_many_is_named(place, part):
    report = check.gradients(sine(place, part), GRID)
    assert report.verdict == "wrong"
    assert report.element == np.unravel_index(place, GRID.shape)


def test_right_rules_are_compared_along_few_directions_unless_each_element_is_asked_for():
    few, each = (check.gradients(tl.sin, GRID, full=full) for full in (None, True))
    assert few.ok
    assert each.ok
    assert (few.directions, each.directions) == (2, 0)
    assert few.compared == each.compared == GRID.size**2
    assert "along 2 random directions" in str(few)
    assert "directions" not in str(each)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0])
def test_one_kink_among_many_elements_is_still_a_kink(slope):
    x = np.abs(GRID) + 0.1
    x[3, 4] = 0.0
    relu = made(
        "Ramp",
        lambda xp, x: xp.maximum(x, 0),
        lambda F, g, y, x: (g * np.where(x == 0, slope, x > 0),),
    )
    for seed in range(5):
        report = check.gradients(relu, x, seed=seed)
        assert (report.verdict, report.element) == ("kink", (3, 4)), str(report)


@pytest.mark.parametrize("small", [1e-4, 1e-7])
def test_a_mistake_is_seen_beside_much_larger_derivatives(small):
    scale = np.ones(GRID.shape)
    scale[2] = small
    wrong = np.where(scale == small, 1.5, 1.0)
    f = made("Scaled", lambda xp, x: scale * xp.sin(x), lambda F, g, y, x: (g * scale * np.cos(x) * wrong,))
    assert check.gradients(f, GRID).verdict == "wrong"


def test_a_slope_that_rounding_swallows_is_not_called_wrong_at_any_seed():
    for seed in range(20):
        report = check.gradients(
            lambda x: tl.log(tl.exp(x[0]) + tl.exp(x[1])) - x[0], [102.0, 62.0, 3.5], seed=seed
        )
        assert report.verdict != "wrong", str(report)


# What has no second witness, for it knows doubles alone.


def hilbert(n):
    return 1 / (np.arange(n)[:, None] + np.arange(n) + 1.0)


@pytest.mark.parametrize("n", [6, 7])
def test_a_pole_too_near_for_the_steps_is_no_kink(n):
    report = check.pair(np.linalg.inv, lambda g, a: -np.linalg.inv(a).T @ g @ np.linalg.inv(a).T, hilbert(n))
    assert report.verdict in ("ok", "cannot tell", "float noise"), str(report)


def share(x):
    return np.exp(x) / (1 + np.exp(x))


@pytest.mark.parametrize(
    ("f", "slope", "x"),
    [
        (lambda x: x * (0.5 + 0.5 * np.tanh(x / 2)), lambda x: share(x) * (1 + x * share(-x)), -37.48602666),
        (lambda x: x * (0.5 + 0.5 * np.tanh(x / 2)), lambda x: share(x) * (1 + x * share(-x)), -42.07159826),
        (lambda x: (x + 1e6) ** 2 - 1e12, lambda x: 2 * (x + 1e6), -1.07375763),
        (lambda x: np.log(np.exp(x) + np.exp(-30.3)) - x, lambda x: share(x + 30.3) - 1, 7.63469329),
    ],
)
def test_a_pair_that_is_stairs_of_its_own_rounding_is_not_called_wrong(f, slope, x):
    for seed in range(4):
        points = np.array([x, *np.random.default_rng(seed).uniform(0.9, 1.1, 3) * x])
        report = check.pair(f, lambda g, x: g * slope(x), points, seed=seed)
        assert report.verdict in ("ok", "cannot tell", "float noise"), str(report)


# What one mistake is called, and in which words.


@pytest.mark.parametrize(
    ("f", "rule", "inputs", "word", "said"),
    [
        (
            np.power,
            lambda g, a, b: (g * b * a ** (b - 1), g * a**b),
            ([0.6, 1.7, 2.5], [1.2, -0.4, 0.9]),
            "factor",
            r"of x2 lacks the factor log\(x1\)$",
        ),
        (
            lambda c, x: 10.0 ** (c * x),
            lambda g, c, x: (g * x * 10 ** (c * x), g * c * 10 ** (c * x) * np.log(10)),
            ([0.3, -0.2], [0.5, 1.1]),
            "factor",
            r"of c is 0.4342944819 times",
        ),
        (
            lambda x: np.where(x > 0, x, 0.3 * x),
            lambda g, x: g * np.where(x > 0, 1, 0.03),
            ([1.0, -2.0, 0.5, -0.7],),
            "factor",
            r"is 1 / 10 times what it should be, where x is negative",
        ),
        (
            lambda x: np.mean(x * x, axis=1),
            lambda g, x: 2 * g[:, None] * x,
            ([[0.3, 1.1, -0.7], [2.0, 0.4, 0.9]],),
            "factor",
            r"is 3 \(perhaps the size 3 of axis 1 of x\) times",
        ),
        (
            lambda x: np.sum(np.cov(x)),
            lambda g, x: 2 * g * (np.sum(x, axis=0) - np.sum(x) / x.shape[1])[None, :] + 0 * x,
            ([[0.3, 1.1, -0.7, 0.2, 0.6, 0.1], [2.0, 0.4, 0.9, 1.3, 0.8, -0.5]],),
            "factor",
            r"is 5 times",
        ),
        (np.exp, lambda g, x: g * np.exp(x) * (1 - 3e-7), ([0.3, -1.2, 0.8],), "factor", r"is 0.9999997 times"),
        (
            lambda x: np.log(1 + x * x),
            lambda g, x: g * np.where(np.abs(x) > 1e3, 0, 2 * x / (1 + x * x)),
            ([0.7, 2e3, -1.1],),
            "missing term",
            r"at x\[1\] alone$",
        ),
        (np.tanh, lambda g, x: g * (1 - np.abs(np.tanh(x))), ([0.7, 0.2, -1.1],), "missing term", r"should be$"),
        (lambda x: x**3, lambda g, x: g * x**2 / np.sqrt(2), ([1e4, -1.0, 0.1],), "factor", r"0.2357022604 times"),
    ],
)  # fmt: skip
def test_a_mistake_is_called_what_it_is(f, rule, inputs, word, said):
    report = check.pair(f, rule, *inputs)
    assert (report.verdict, report.cause) == ("wrong", word), str(report)
    assert re.search(said, report.sentence), report.sentence


def test_a_rule_that_raises_is_shown_where_it_does():
    table = {1.0: 1.0}

    def rule(g, x):
        return table[float(g)] * x

    report = check.pair(lambda x: 0.5 * np.sum(x * x), rule, [0.5, 1.5])
    line = rule.__code__.co_firstlineno + 1
    assert report.sentence.endswith(f", at {__file__}:{line}"), report.sentence
    assert "KeyError" in report.sentence


@pytest.mark.parametrize("key", [np.shape, np.size, lambda x: str(x.dtype), lambda x: None])
def test_a_rule_that_keeps_what_it_computed_first_is_wrong(key):
    kept = {}

    def rule(g, x):
        return g * kept.setdefault(key(x), np.cos(x))

    assert check.pair(np.sin, rule, [0.5, -1.5, 0.2]).verdict == "wrong"
