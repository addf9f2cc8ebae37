"""Ops on large arrays in machine code: NumPy's numbers, NaN, infinities, signs of zero, warnings and errors."""

import inspect

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.engine.draw import Draw
from tinygrad_lesson.engine.kinds import Elementwise
from tinygrad_lesson.engine.namespace import array_namespace
from tinygrad_lesson.engine.op import OPS
from tinygrad_lesson.run import CHOICE, single
from tinygrad_lesson.run.segment import told

SHAPE = (257, 512)  # several parts of a sum
SHAPED = ("AddAlongAxis", "Pad")  # whose attributes tell shapes: they have tests of their own
COMPILED = [cls for cls in OPS.values() if cls.compiled and cls.ours and cls.name not in SHAPED]
RULES = [
    cls
    for cls in OPS.values()
    if cls.ours and inspect.unwrap(cls.vjp) is not cls.vjp and len(cls.inputs) == 1
]
ULPS = {"float32": 5e-7, "float64": 1e-15}


class Large(Draw):
    """Samples of large arrays of one shape."""

    def shape(self, *given, **named):
        return SHAPE

    def broadcasting(self, n, max_rank=3):
        return [SHAPE] * n


def sampled(cls, kind):
    """An op, and large arrays of what it takes."""
    op, inputs = Draw(3).sample(cls)
    return op, [np.resize(x, SHAPE).astype(kind) for x in inputs.values()]


def agree(found, expected, exact, kind, size):
    """Within the rounding of that type, or twice NumPy's own error."""
    allowed = np.maximum(4 * ULPS[kind] * np.abs(size), 2 * np.abs(expected - exact))
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert (np.abs(found - exact) <= allowed).all()


@pytest.mark.parametrize("kind", ULPS)
@pytest.mark.parametrize("cls", COMPILED, ids=lambda cls: cls.name)
def test_an_op_gives_what_forward_gives(cls, kind):
    op, arrays = sampled(cls, kind)
    found = single.carried_out(op, arrays)
    assert (found is not None) is op.traceable
    if found is None:  # SciPy's code
        return
    wide = [x.astype(np.longdouble) for x in arrays]
    exact = op.forward(np, *wide)
    agree(found, op.forward(np, *arrays), exact, kind, exact)


BACKWARDS = {"rows": np.s_[:, ::-1], "columns": np.s_[::-1], "both": np.s_[::-1, ::-1]}


@pytest.mark.parametrize("way", BACKWARDS)
@pytest.mark.parametrize(
    "cls", [cls for cls in COMPILED if not issubclass(cls, Elementwise)], ids=lambda cls: cls.name
)
def test_arrays_that_go_backwards_are_read_where_they_lie(cls, way):
    op, arrays = sampled(cls, "float64")
    arrays = [x[BACKWARDS[way]] for x in arrays]
    found, expected = single.carried_out(op, arrays), op.forward(np, *arrays)
    if found is not None:  # NumPy reads the others
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)
    assert found is not None or way != "columns" or cls.name not in ("Sum", "Max", "LogSumExp", "Softmax")


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("way", [np.s_[::-1], np.s_[:, ::-1], np.s_[..., ::-1], np.s_[::-1, :, ::-1]])
@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_running_sums_from_the_end_round_as_numpy_does(name, way, axis):
    x = np.random.default_rng(4).normal(size=(5, 7, 11))[way]
    found = single.carried_out(OPS[name.capitalize()](axis=axis), [x])
    others = [by for i, by in enumerate(x.strides) if i != axis]
    if min(others) > 0 or (axis == 1 and others[1] > 0):  # else those before, or after, are not one row
        assert found is not None
    if found is not None:
        np.testing.assert_array_equal(found, getattr(np, name)(x, axis=axis))


def test_a_gradient_of_running_sums_is_one_pass(monkeypatch):
    x = tl.Tensor(np.zeros(1 << 19, np.float32), requires_grad=True)
    g = np.random.default_rng(5).normal(size=x.shape).astype(np.float32)
    tl.cumsum(x).backward(g)
    y, x.grad = tl.cumsum(x), None
    monkeypatch.setattr(np, "cumsum", None)  # which nobody may ask for
    y.backward(g)
    monkeypatch.undo()
    np.testing.assert_array_equal(x.grad.numpy(), np.cumsum(g[::-1])[::-1])


@pytest.mark.parametrize("kind", ULPS)
@pytest.mark.parametrize("cls", RULES, ids=lambda cls: cls.name)
def test_a_rule_gives_what_vjp_gives(cls, kind):
    op, (x,) = sampled(cls, kind)
    y, F = op.forward(np, x), array_namespace(np)
    g = np.random.default_rng(0).normal(size=y.shape).astype(kind)
    found = single.slope(op, (g, y, x))
    assert found is not None
    rule = inspect.unwrap(cls.vjp)
    wide = rule(op, F, *[v.astype(np.longdouble) for v in (g, y, x)])[0]
    size = wide if issubclass(cls, Elementwise) else np.abs(wide).max()  # sums cancel
    agree(found, rule(op, F, g, y, x)[0], wide, kind, size)


OF_TWO = [
    cls
    for cls in OPS.values()
    if cls.ours and inspect.unwrap(cls.vjp) is not cls.vjp and len(cls.inputs) == 2
]


@pytest.mark.parametrize("kind", ULPS)
@pytest.mark.parametrize("cls", OF_TWO, ids=lambda cls: cls.name)
def test_a_rule_of_two_inputs_gives_what_vjp_gives_by_each(cls, kind, monkeypatch):
    monkeypatch.setattr("tinygrad_lesson.engine.blocks.LARGE", 1)
    op, inputs = Large(0, integer=lambda low, high: low).sample(cls)
    inputs = [x.astype(kind) for x in inputs.values()]
    inputs[0][:5, :5] = inputs[1][:5, :5]
    y, F = op.forward(np, *inputs), array_namespace(np)
    g = np.random.default_rng(0).normal(size=y.shape).astype(kind)
    rule = inspect.unwrap(cls.vjp)
    plain = rule(op, F, g, y, *inputs)
    wide = rule(op, F, *[v.astype(np.longdouble) for v in (g, y, *inputs)])
    for i, found in enumerate(cls.vjp(op, F, g, y, *inputs)):
        assert single.slope(op, (g, y, *inputs), i) is not None
        agree(found(), plain[i](), wide[i](), kind, wide[i]())
    row = inputs[1][0]
    assert single.slope(op, (g, y, inputs[0], row), 1) is None  # what was repeated is summed by others


ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 1e-45, 3e38, -0.5)
EACH = [cls for cls in COMPILED if issubclass(cls, Elementwise)]


@pytest.mark.parametrize("cls", EACH, ids=lambda cls: cls.name)
def test_what_is_no_number_and_the_sign_of_zero_are_those_of_small_arrays(cls, monkeypatch):
    op = Draw(3).sample(cls)[0]
    pairs = np.array(np.meshgrid(ODD, ODD)).reshape(2, -1).astype(np.float32)
    pairs = pairs[: len(cls.inputs)] if len(cls.inputs) > 1 else pairs[:1, : len(ODD)]
    with np.errstate(all="ignore"):
        some = op.forward(np, *pairs)
        monkeypatch.setattr("tinygrad_lesson.eager.apply.LARGE", 1)
        for row, want in zip(pairs.T, some, strict=True):
            y = apply(op, [np.full(33, v) for v in row]).numpy()
            assert y.dtype == want.dtype
            assert (y == y[0]).all() or np.isnan(y).all()
            np.testing.assert_allclose(y[0], want, rtol=1e-6, atol=1e-45, err_msg=str(row))
            assert np.isnan(want) or np.signbit(y[0]) == np.signbit(want), row


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_parts_are_put_together_bit_by_bit(kind, axis, monkeypatch):
    """NaN with its bits, signs of zero; parts that are short, or views of others, also backwards."""
    x = np.random.default_rng(0).integers(0, 1 << 62, (64, 40, 130)).view(np.float64).astype(kind)
    x[0, 0, :6] = np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-45
    some = (*[slice(None)] * axis, slice(-3, None))
    parts = [x[some], x, x[::-1], x[some]]
    asked = []
    carried_out = single.Form.__call__
    monkeypatch.setattr(
        single.Form, "__call__", lambda *given: asked.append(carried_out(*given)) or asked[-1]
    )
    found = tl.concatenate(parts, axis).numpy()
    assert found.tobytes() == np.concatenate(parts, axis).tobytes()
    rolled = tl.roll(x, 3, axis).numpy()
    assert rolled.tobytes() == np.roll(x, 3, axis).tobytes()
    assert [y is not None for y in asked] == [True, True]


@pytest.mark.parametrize("cls", EACH, ids=lambda cls: cls.name)
def test_rows_with_gaps_are_read_where_they_lie(cls):
    op, inputs = Large(0, integer=lambda low, high: low).sample(cls)
    arrays = [x.astype(np.float32) for x in inputs.values()]
    apart = [np.concatenate([x[:, :9], x, x], 1)[:, 9 : 9 + SHAPE[1]] for x in arrays]
    assert not any(x.flags.c_contiguous for x in apart)
    found, dense = single.carried_out(op, apart), single.carried_out(op, [x.copy() for x in apart])
    if dense is None:  # SciPy's code
        return
    assert found.tobytes() == dense.tobytes()


def test_gradients_of_parts_that_are_one_array_are_added_in_machine_code(monkeypatch):
    x, g = (
        np.ones((512, 600), np.float32),
        np.random.default_rng(0).normal(size=(512, 1200)).astype(np.float32),
    )
    leaf, names = tl.Tensor(x, requires_grad=True), []
    y = tl.concatenate([leaf, leaf], 1)
    carried_out = single.Form.__call__
    monkeypatch.setattr(single.Form, "__call__", lambda *given: names.append(1) or carried_out(*given))
    y.backward(g)
    assert names == [1]
    np.testing.assert_array_equal(leaf.grad.numpy(), g[:, :600] + g[:, 600:])
    leaf.grad = None
    y = tl.concatenate([leaf, leaf], 1)
    with pytest.warns(RuntimeWarning, match="overflow"):
        y.backward(np.full(g.shape, 3e38, np.float32))
    assert np.isinf(leaf.grad.numpy()).all()


def test_numpy_warns_and_refuses_as_ever():
    large_numbers = np.full(SHAPE, 3e38, np.float32)
    with pytest.warns(RuntimeWarning, match="overflow"):
        assert np.isinf(tl.hypot(tl.tile(large_numbers, (2, 1)), 3e38).numpy()).all()
    with pytest.raises(tl.errors.ShapeError, match=r"(?i)hypot"):
        tl.hypot(np.ones((600, 600)), np.ones((600, 601)))


def test_results_are_memory_of_their_own():
    x = np.linspace(-1, 1, 1 << 19, dtype=np.float32)
    first = tl.sigmoid(x).numpy()
    before = first.copy()
    tl.sigmoid(-x)
    np.testing.assert_array_equal(first, before)


def test_the_numpy_runner_computes_nothing_in_machine_code(monkeypatch):
    monkeypatch.setenv(CHOICE, "numpy")
    monkeypatch.setattr(single, "Form", None)  # which nobody may ask for
    single.FORMS.clear()
    x = tl.Tensor(np.linspace(-1, 1, 1 << 19, dtype=np.float32), requires_grad=True)
    tl.sigmoid(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 0.25 / np.cosh(x.numpy() / 2) ** 2, rtol=1e-5)


def test_what_others_wrote_between_is_seen():
    x = np.zeros((1024, 512), np.float32)
    assert tl.sum(x).item() == 0
    x[3, 5] = 2
    assert tl.sum(x).item() == 2
    assert tl.sum(np.arange(x.size, dtype=np.float32).reshape(x.shape)).item() == x.size * (x.size - 1) / 2


@pytest.mark.parametrize("shape", [(1001, 300), (7, 70000), (3, 5, 31000), (300001, 1)])
def test_rows_that_go_together_are_all_rows(shape):
    """Whatever their number: the last ones may overlap."""
    x = np.random.default_rng(1).normal(size=shape)
    g = np.random.default_rng(2).normal(size=shape)
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y = e / e.sum(axis=-1, keepdims=True)
    for op, exact, slope in (
        (OPS["Softmax"](), y, (g - (g * y).sum(axis=-1, keepdims=True)) * y),
        (OPS["LogSoftmax"](), np.log(y), g - y * g.sum(axis=-1, keepdims=True)),
    ):
        form = single.Form(op, [x])
        np.testing.assert_allclose(form([x]), exact, rtol=1e-11)
        assert (form.rounds is None) == (shape[-1] == 1 and shape[0] <= single.PART)
        made = single.Form(single.Slope(of=op), [g, exact, x])
        np.testing.assert_allclose(made([g, exact, x]), slope, rtol=1e-9, atol=1e-12)
    total = np.log(e.sum(axis=-1)) + x.max(axis=-1)
    np.testing.assert_allclose(single.Form(OPS["LogSumExp"](axis=-1), [x])([x]), total, rtol=1e-11)


@pytest.mark.parametrize("kind", ULPS)
@pytest.mark.parametrize("attributes", [{}, {"axis": 1}, {"axis": 0}, {"temperature": 2.5}], ids=str)
@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_the_slope_of_a_softmax_is_one_instruction_along_rows(name, attributes, kind):
    op, draw = OPS[name](**attributes), np.random.default_rng(4)
    for shape in ((300, 17), (9, 1030)):
        x, g = (draw.normal(size=shape).astype(kind) for _ in range(2))
        y = op.forward(np, x)
        wide, g_wide = (v.astype(np.longdouble) for v in (op.forward(np, x.astype(np.longdouble)), g))
        axis, by = attributes.get("axis", -1), attributes.get("temperature", 1)
        if name == "Softmax":
            exact = (g_wide - (g_wide * wide).sum(axis, keepdims=True)) * wide / by
        else:
            exact = (g_wide - np.exp(wide) * g_wide.sum(axis, keepdims=True)) / by
        form = single.Form(single.Slope(of=op), [g, y, x])
        size = np.abs(exact).max()
        assert np.abs(form([g, y, x]) - exact).max() <= 8 * ULPS[kind] * size
        tape = form.segment.tape if form.rounds is None else form.rounds.tape.view(np.uint64)
        plain = axis != 0 and by == 1
        assert (told(tape)[0] == f"slope {name.replace('S', '_s').lower().strip('_')}") is plain


@pytest.mark.parametrize("kind", ULPS)
@pytest.mark.parametrize("shape", [(600, 500), (300000,), (2, 3, 50001)])
def test_elements_go_back_to_where_they_were_before_they_were_sorted(shape, kind):
    draw = np.random.default_rng(5)
    x, g = (draw.normal(size=shape).astype(kind) for _ in range(2))
    g.reshape(-1)[:4] = np.nan, -0.0, np.inf, 1e-45
    places = np.argsort(x, -1)
    op = OPS["AddAlongAxis"](to=shape, axis=-1, distinct=True)
    want = np.empty_like(g)
    np.put_along_axis(want, places, g, -1)
    found = single.carried_out(op, [g, places])
    assert found is not None
    assert found.tobytes() == want.tobytes()


@pytest.mark.parametrize("place", [1 << 40, -(1 << 40), 512])
def test_a_place_that_is_not_there_is_numpys_error(place):
    x, places = np.ones(SHAPE, np.float32), np.tile(np.arange(SHAPE[1]), (SHAPE[0], 1))
    op = OPS["AddAlongAxis"](to=SHAPE, axis=1, distinct=True)
    assert single.carried_out(op, [x, places]) is not None
    places[-1, 7] = place
    assert single.carried_out(op, [x, places]) is None
    large = np.tile(places, (4, 1))
    with pytest.raises(IndexError):
        op.forward(np, x, places)
    with pytest.raises(tl.errors.LessonError, match="AddAlongAxis"):
        tl.add_along_axis(np.ones(large.shape, np.float32), large, shape=large.shape, axis=1, distinct=True)


FRAMES = {
    (400, 700): (1, ((2, 0), (0, 3)), ((0, 0), (4, 5)), ((3, 1), (0, 0))),
    (280000,): (((5, 5),), ((0, 1),)),
    (30, 40, 300): (1, ((0, 0), (1, 2), (3, 4)), ((1, 1), (0, 0), (2, 2)), ((0, 0), (2, 2), (0, 0))),
}


@pytest.mark.parametrize(
    ("shape", "width"), [(s, w) for s, widths in FRAMES.items() for w in widths], ids=str
)
@pytest.mark.parametrize("kind", ULPS)
def test_an_array_in_a_frame_is_numpys_bit_by_bit(kind, shape, width):
    x = np.random.default_rng(6).normal(size=shape).astype(kind)
    x.reshape(-1)[:4] = np.nan, -0.0, -np.inf, 1e-45
    pairs = tuple(map(tuple, np.broadcast_to(width, (x.ndim, 2)).tolist()))
    for value in (0.0, 2.5, -0.0, np.nan):
        found = single.carried_out(OPS["Pad"](pad_width=pairs, constant_values=value), [x])
        assert found is not None
        assert found.tobytes() == np.pad(x, width, constant_values=value).tobytes()
        assert tl.pad(x, width, constant_values=value).numpy().tobytes() == found.tobytes()


def test_other_frames_are_numpys_own():
    x = np.ones((600, 600), np.float32)
    assert not OPS["Pad"](pad_width=((1, 1), (0, 0)), mode="edge").compiled
    np.testing.assert_array_equal(tl.pad(x, 2, mode="reflect").numpy(), np.pad(x, 2, mode="reflect"))
