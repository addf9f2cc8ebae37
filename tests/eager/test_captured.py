"""What a function sees without being given it: every way to it is watched, and what it changes itself is not."""

import array
import collections
import dataclasses
import functools
import types
from argparse import Namespace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinygrad_lesson as tl
from tinygrad_lesson.eager.captured import Captured, exact, is_same, same_bits

FACTOR = 2.0
WEIGHT = np.array([1.0, 2.0])
SETTINGS = types.ModuleType("settings")
SETTINGS.factor = 2.0


def times(x):
    return x * FACTOR


def cell_number():
    factor = 2.0

    def change():
        nonlocal factor
        factor = 3.0

    return (lambda x: x * factor), change


def cell_equal_number_of_another_type():
    power = 2

    def change():
        nonlocal power
        power = 2.0

    return (lambda x: x * 0 + len(str(power))), change


def cell_array():
    w = np.array([1.0, 2.0])
    return (lambda x: x * w), lambda: w.__setitem__(0, 7)


def cell_array_replaced():
    w = np.array([1.0, 2.0])

    def change():
        nonlocal w
        w = w + 1

    return (lambda x: x * w), change


def cell_array_of_one_element():
    w = np.array([2.0])
    return (lambda x: x * w), lambda: w.fill(3)


def cell_array_used_through_numpy():
    w = np.array([1.0, 2.0])
    return (lambda x: x * np.exp(w) + float(w[0])), lambda: w.fill(0.5)


def cell_array_that_decides():
    w = np.array([1.0, 2.0])
    return (lambda x: x if w.sum() > 0 else -x), lambda: w.fill(-1)


def cell_view_of_an_array():
    w = np.arange(4.0)
    part = w[::2]
    return (lambda x: x * part), lambda: w.fill(3)


def cell_tensor():
    w = tl.Tensor([1.0, 2.0])
    return (lambda x: x * w), lambda: w.value.fill(4)


def nested_containers():
    parameters = {"layers": [(np.ones(2), 1.0), (np.zeros(2), 2.0)]}

    def f(x):
        for w, b in parameters["layers"]:
            x = x * w + b
        return x

    return f, lambda: parameters["layers"].append((np.ones(2), 5.0))


def element_of_a_dict():
    parameters = {"w": 2.0}
    return (lambda x: x * parameters["w"]), lambda: parameters.update(w=4.0)


def element_of_a_deque():
    w = collections.deque([2.0, np.array([1.0, 2.0])])
    return (lambda x: x * w[0] * w[1]), lambda: w[1].fill(4)


def element_of_a_user_dict():
    parameters = collections.UserDict(w=2.0)
    return (lambda x: x * parameters["w"]), lambda: parameters.update(w=4.0)


def element_of_a_chain_of_dicts():
    defaults = {"w": 2.0}
    parameters = collections.ChainMap({}, defaults)
    return (lambda x: x * parameters["w"]), lambda: defaults.update(w=4.0)


def element_of_a_set():
    wanted = {"square"}
    return (lambda x: x * x if "square" in wanted else x), lambda: wanted.clear()


def array_of_the_standard_library():
    w = array.array("d", [2.0, 3.0])
    return (lambda x: x * w[0]), lambda: w.__setitem__(0, 5.0)


def global_number():
    def change():
        global FACTOR
        FACTOR += 1

    return times, change


def global_array():
    return (lambda x: x * WEIGHT), lambda: WEIGHT.__iadd__(1)


def attribute_of_a_module():
    return (lambda x: x * SETTINGS.factor), lambda: setattr(SETTINGS, "factor", SETTINGS.factor + 1)


def namespace():
    options = Namespace(factor=2.0)
    return (lambda x: x * options.factor), lambda: setattr(options, "factor", 3.0)


class Model:
    scale = 2.0

    def __init__(self):
        self.w, self.seen = np.array([1.0, 2.0]), []

    def __call__(self, x):
        return self.forward(x)

    def forward(self, x):
        return x * self.w * self.scale

    @property
    def factor(self):
        return times(self.w)


def attribute_of_an_object():
    model = Model()
    return model.forward, lambda: setattr(model, "w", np.array([5.0, 6.0]))


def object_that_can_be_called():
    model = Model()
    return model, lambda: model.w.fill(9)


def attribute_that_hides_that_of_the_class():
    model = Model()
    return (lambda x: model(x)), lambda: setattr(model, "scale", 3.0)


def attribute_of_a_class():
    class Fresh(Model):
        pass

    return Fresh(), lambda: setattr(Fresh, "scale", 5.0)


def property_of_an_object():
    model = Model()
    return (lambda x: x * model.factor), lambda: model.w.fill(2)


class Slotted:
    __slots__ = ("w",)


def slot():
    box = Slotted()
    box.w = 2.0
    return (lambda x: x * box.w), lambda: setattr(box, "w", 3.0)


def another_function():
    helpers = {"activation": tl.tanh}

    def inner(x):
        return helpers["activation"](x)

    return (lambda x: inner(x) * 2), lambda: helpers.update(activation=tl.exp)


def default_argument():
    w = np.array([1.0, 2.0])

    def f(x, w=w):
        return x * w

    return f, lambda: w.fill(3)


def partial_argument():
    w = np.array([1.0, 2.0])
    return functools.partial(lambda w, x: x * w, w), lambda: w.fill(3)


def wrapped_function():
    w = np.array([1.0, 2.0])

    def doubled(f):
        @functools.wraps(f)
        def function(x):
            return 2 * f(x)

        return function

    return doubled(lambda x: x * w), lambda: w.fill(3)


def inside_of_a_gradient():
    w = np.array([1.0, 2.0])
    return tl.grad(lambda x: (x * x * w).sum()), lambda: w.fill(3)


def inside_of_another_jit():
    w = np.array([1.0, 2.0])
    inner = tl.jit(lambda x: x * w)
    return (lambda x: inner(x) + 1), lambda: w.fill(3)


WAYS = [f for name, f in list(globals().items()) if isinstance(f, types.FunctionType) and f.__module__ == __name__
        and f.__code__.co_argcount == 0]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_a_jitted_function_sees_is_as_it_is_now(way):
    f, change = way()
    jitted, x = tl.jit(f), tl.Tensor([3.0, 4.0])
    before = f(x).numpy()
    np.testing.assert_allclose(jitted(x).numpy(), before)
    change()
    after = f(x).numpy()
    assert way is cell_equal_number_of_another_type or not np.array_equal(before, after)
    for _ in range(2):
        np.testing.assert_allclose(jitted(x).numpy(), after)
    np.testing.assert_allclose(
        tl.grad(lambda x: jitted(x).sum())(x).numpy(), tl.grad(lambda x: f(x).sum())(x).numpy()
    )


def test_the_gradient_is_that_of_the_time_of_the_call():
    w = np.array([1.0, 2.0])
    f, x = tl.jit(lambda x: x * x * w), tl.Tensor([3.0, 4.0], requires_grad=True)
    y = f(x)
    w[:] = 100
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6, 16])


def test_what_the_function_changes_itself_is_not_watched():
    calls, state, traces = [], {"count": 0}, 0

    def f(x):
        nonlocal traces
        traces += 1
        calls.append(x.shape)
        state["count"] += 1
        return x + 1

    jitted = tl.jit(f)
    for n in (2, 3, 2, 3, 2):
        jitted(np.ones(n))
    assert (traces, len(calls), state["count"]) == (2, 2, 2)


def test_attributes_that_the_code_does_not_name_do_not_count():
    model = Model()
    jitted = tl.jit(model.forward)
    jitted(np.ones(2))
    (program,) = jitted.programs.values()
    model.seen.append(1.0)
    model.note = "new"
    jitted(np.ones(2))
    assert list(jitted.programs.values()) == [program]


def test_equal_values_are_no_change():
    options = {"factor": float("2.5")}
    jitted = tl.jit(lambda x: x * options["factor"])
    jitted(np.ones(2))
    (program,) = jitted.programs.values()
    options["factor"] = float("2.5")
    jitted(np.ones(2))
    assert list(jitted.programs.values()) == [program]


def test_objects_that_refer_to_each_other_and_empty_cells_are_walked():
    a, b = Model(), Model()
    a.w, b.w = b, a
    ring = [a]
    ring.append(ring)

    def f():
        return ring, late

    assert not Captured([f]).changed()
    late = 1


numbers = st.one_of(
    st.floats(), st.integers(-3, 3), st.booleans(), st.complex_numbers(), st.sampled_from(["1", b"1", None])
)
values = st.one_of(
    numbers, st.tuples(numbers), st.frozensets(st.integers(0, 2)), numbers.map(lambda x: slice(x))
)


def described(x):
    """By another way: the type of each part, its text, and the sign of a zero."""
    if isinstance(x, slice):
        return "slice", described(x.stop)
    if isinstance(x, tuple):
        return "tuple", *map(described, x)
    return type(x), sorted(x) if isinstance(x, frozenset) else str(x)


@example(0.0, -0.0)
@example((0.0,), (-0.0,))
@example(complex(0.0, -0.0), complex(0.0, 0.0))
@example(1, True)
@example(float("nan"), -float("nan"))
@given(values, values)
def test_values_are_told_apart_as_by_their_text_and_type(a, b):
    assert (exact(a) == exact(b)) == (described(a) == described(b))


@example(np.array([0.0, np.nan]), 63)  # the sign of the zero
@given(
    hnp.arrays(st.sampled_from(["f4", "f8", "i2", "?"]), hnp.array_shapes(min_dims=0, max_side=4)),
    st.integers(0),
)
def test_arrays_are_compared_bit_for_bit(a, place):
    b = np.array(a, order="F")
    assert same_bits(a, b)
    if a.size:
        at, bit = divmod(place % (8 * a.nbytes), 8)
        raw = bytearray(a.tobytes())
        raw[at] ^= 1 << bit
        assert not same_bits(a, np.frombuffer(bytes(raw), a.dtype).reshape(a.shape))
    assert not is_same(a, b)


def test_a_dataclass_is_taken_apart():
    @dataclasses.dataclass(frozen=True)
    class Layer:
        w: object
        slope: float

    f = tl.jit(lambda x, layer: tl.where(x > 0, x, layer.slope * x) * layer.w)
    for slope in (0.5, 0.25):
        for w in (np.ones(2), np.array([2.0, 3.0])):
            np.testing.assert_array_equal(f(np.array([-1.0, 2.0]), Layer(w, slope)).numpy(), [-slope, 2] * w)
    assert len(f.programs) == 1  # floats are arguments


def test_a_dictionary_that_grows_while_it_is_looked_through_does_no_harm():
    class Growing(dict):
        def get(self, key, default=None):
            self.setdefault(len(self), 1.0)  # as another thread, or a cache, may do
            return super().get(key, default)

    table = Growing(a=2.0, b=3.0)
    assert tl.jit(lambda x: x * table["a"])(tl.Tensor([1.0, 2.0])).tolist() == [2.0, 4.0]
