"""Executors: requests, heads, states, and depth."""

import copy
import gc
import sys
import weakref

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import BindError, GraphError, LessonError, ShapeError
from tinygrad_lesson.lesson.networks import cross_entropy, res
from tinygrad_lesson.plan import Compiler, Passes
from tinygrad_lesson.run import available_runners


def product():
    return sym.MakeLoss(sym.sum(sym.square(sym.Variable("a")) * sym.Variable("b")))


def filled(executor, **values):
    for name, value in values.items():
        executor.arg_dict[name][:] = value
    return executor


def test_requests_write_add_and_null():
    executor = product().simple_bind(tl.cpu(), grad_req={"a": "add", "b": "write"}, a=(3,), b=(3,))
    filled(executor, a=[1, 2, 3], b=[4, 5, 6])
    executor.grad_dict["a"][:] = 1
    for _ in range(3):
        executor.forward(is_train=True)
        executor.backward()
    # MXNet 1.9.1 gives these numbers (symbol.json, executor, grad_req_add_three_times)
    np.testing.assert_array_equal(executor.grad_dict["a"], [25, 61, 109])
    np.testing.assert_array_equal(executor.grad_dict["b"], [1, 4, 9])
    none = product().simple_bind(tl.cpu(), grad_req={"b": "write"}, a=(3,), b=(3,))
    assert none.grad_dict["a"] is None
    assert none.grad_arrays[0] is None


def test_bind_uses_the_callers_arrays_where_they_lie():
    a, b, ga = np.array([1, 2], np.float32), np.array([3, 4], np.float32), np.zeros(2, np.float32)
    executor = product().bind(tl.cpu(), {"a": a, "b": b}, args_grad={"a": ga})
    executor.forward(is_train=True)
    executor.backward()
    np.testing.assert_array_equal(ga, 2 * a * b)
    a[:] = 5
    assert executor.forward()[0].asnumpy() == [25 * 7]


def test_heads_that_are_no_losses_need_a_cotangent():
    x = sym.Variable("x")
    executor = sym.Group([sym.tanh(x), sym.exp(x)]).simple_bind(tl.cpu(), x=(2,))
    filled(executor, x=[0.5, -1])
    executor.forward(is_train=True)
    with pytest.raises(BindError, match="tanh"):
        executor.backward()
    g, h = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    executor.backward([g, h])
    x = np.array([0.5, -1])
    np.testing.assert_allclose(executor.grad_dict["x"], g * (1 - np.tanh(x) ** 2) + h * np.exp(x), rtol=1e-6)


def test_moving_statistics_change_in_backward_and_only_there():
    net = sym.MakeLoss(sym.sum(sym.BatchNorm(sym.Variable("x"), name="bn")))
    executor = net.simple_bind(tl.cpu(), x=(4, 2))
    executor.aux_dict["bn_moving_var"][:] = 1
    x = np.arange(8, dtype=np.float32).reshape(4, 2)
    executor.forward(is_train=True, x=x)
    np.testing.assert_array_equal(executor.aux_dict["bn_moving_mean"], [0, 0])
    executor.backward()
    np.testing.assert_allclose(executor.aux_dict["bn_moving_mean"], 0.1 * x.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(executor.aux_dict["bn_moving_var"], 0.9 + 0.1 * x.var(axis=0), rtol=1e-6)
    before = executor.aux_dict["bn_moving_mean"].asnumpy()
    executor.forward(is_train=False)
    np.testing.assert_array_equal(executor.aux_dict["bn_moving_mean"], before)


def batch_norm():
    """Numbers that MXNet 1.9.1 was given, and the outputs that it gave after a run in prediction."""
    net = sym.BatchNorm(sym.Variable("x"), name="bn", fix_gamma=False)
    executor = net.simple_bind(tl.cpu(), x=(4, 2))
    executor.arg_dict["x"][:] = np.arange(8).reshape(4, 2) ** 2
    executor.arg_dict["bn_gamma"][:], executor.aux_dict["bn_moving_var"][:] = 2, 3
    executor.aux_dict["bn_moving_mean"][:] = 1
    return executor, np.arange(8).reshape(4, 2)


OF_PREDICTION = [[0, 1.1545082], [2.3090165, 3.4635248], [4.618033, 5.772541], [6.9270496, 8.081557]]
AS_IN_TRAINING = [
    [23.081322, -3.4635248], [-80.78905, -370.47406], [-397.0182, -1106.8042], [-925.60614, -2212.4539],
]  # fmt: skip


@pytest.mark.parametrize(
    ("trained", "is_train", "expected"),
    [(False, True, AS_IN_TRAINING), (False, False, OF_PREDICTION), (True, False, OF_PREDICTION)],
)
def test_after_a_prediction_a_gradient_is_mxnets(trained, is_train, expected):
    """The numbers are what MXNet 1.9.1 gives."""
    executor, g = batch_norm()
    outputs = executor.forward(is_train=trained)[0].asnumpy()
    executor.backward(g, is_train=is_train)
    np.testing.assert_allclose(executor.grad_dict["x"], expected, rtol=2e-6, atol=1e-5)
    np.testing.assert_allclose(executor.grad_dict["bn_gamma"], [159.32214, 277.08197], rtol=1e-6)
    np.testing.assert_allclose(executor.grad_dict["bn_beta"], [12, 16], rtol=1e-6)
    np.testing.assert_array_equal(executor.outputs[0], outputs)
    assert [x.asnumpy().tolist() for x in executor.aux_arrays] == [[1, 1], [3, 3]]


def test_training_goes_on_after_a_gradient_of_a_prediction():
    executor, g = batch_norm()
    executor.forward(is_train=True)
    executor.backward(g)
    trained = executor.grad_dict["x"].asnumpy()
    executor.forward(is_train=False)
    executor.backward(2 * g)
    executor.forward(is_train=True)
    executor.backward(g)
    np.testing.assert_array_equal(executor.grad_dict["x"], trained)


def test_after_a_prediction_dropout_lets_the_whole_gradient_through():
    executor = sym.Dropout(sym.Variable("x"), p=0.5).simple_bind(tl.cpu(), x=(50,))
    executor.forward(is_train=False, x=np.ones(50))
    executor.backward(np.ones(50))
    np.testing.assert_array_equal(executor.grad_dict["x"], np.ones(50))
    executor.forward(is_train=True)
    executor.backward(np.ones(50))
    assert set(executor.grad_dict["x"].asnumpy().tolist()) == {0, 2}


def test_fix_gamma_writes_one_into_gamma():
    executor = sym.BatchNorm(sym.Variable("x"), name="bn").simple_bind(tl.cpu(), x=(4, 2))
    executor.arg_dict["bn_gamma"][:] = 7
    executor.forward(is_train=True)
    np.testing.assert_array_equal(executor.arg_dict["bn_gamma"], [1, 1])


def test_it_says_at_a_prompt_what_it_computes_and_where():
    net = sym.BatchNorm(sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc"), name="bn")
    executor = net.simple_bind(tl.cpu(), data=(4, 2))
    assert repr(executor) == "<Executor of bn_output (4, 3); 5 arguments, 5 gradients, 2 states on cpu(0)>"


def test_nothing_is_half_written_where_a_value_does_not_fit():
    executor = filled(product().simple_bind(tl.cpu(), a=(3,), b=(3,)), a=1, b=2)
    with pytest.raises(ShapeError):
        executor.forward(a=np.zeros(3), b=np.zeros(4))
    np.testing.assert_array_equal(executor.arg_dict["a"], [1, 1, 1])
    with pytest.raises(ShapeError, match=r"'b' is \(4,\), expected \(3,\)"):
        executor.copy_params_from({"a": np.zeros(3), "b": np.zeros(4)})
    with pytest.raises(BindError, match="zz"):
        executor.copy_params_from({"a": np.zeros(3), "zz": np.zeros(4)})
    np.testing.assert_array_equal(executor.arg_dict["a"], [1, 1, 1])


def test_two_arguments_of_one_name_are_refused():
    with pytest.raises(GraphError, match="two arguments are called 'a'"):
        (sym.Variable("a") + sym.Variable("a")).simple_bind(tl.cpu(), a=(2,))


def test_dropout_can_be_repeated_and_is_off_in_prediction():
    net = sym.Dropout(sym.Variable("x"), p=0.5)
    seen = []
    for _ in range(2):
        tl.random.seed(3)
        executor = net.simple_bind(tl.cpu(), x=(50,))
        seen.append(executor.forward(is_train=True, x=np.ones(50))[0].asnumpy())
    np.testing.assert_array_equal(seen[0], seen[1])
    assert set(np.unique(seen[0])) == {0, 2}
    np.testing.assert_array_equal(executor.forward(is_train=False)[0], np.ones(50))


@pytest.mark.parametrize("off", ["rewrite", "share", "fold"])
def test_each_pass_can_be_switched_off_and_changes_no_number(off):
    values = np.random.RandomState(0).randn(2, 3).astype(np.float32)
    found = []
    for passes in (Passes(), Passes(**{off: False})):
        executor = filled(product().simple_bind(tl.cpu(), a=(3,), b=(3,)), a=values[0], b=values[1])
        executor.passes = passes
        executor.forward(is_train=True)
        executor.backward()
        found.append([executor.outputs[0].asnumpy(), *(g.asnumpy() for g in executor.grad_arrays)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_print_of_a_plan_shows_steps_places_and_bytes():
    executor = cross_entropy(res(3, 4)).simple_bind(tl.cpu(), data=(20, 4), label=(20, 3))
    lines = str(executor.plan()).splitlines()
    assert any("fc1" in line and "FullyConnected(num_hidden=4)" in line for line in lines)
    assert any(line.startswith("backward: ") for line in lines)
    assert "in place" in str(executor.plan())
    assert lines[-1].startswith("bytes: arena ")
    assert "without sharing" in lines[-1]


def test_ten_thousand_layers_bind_run_and_are_freed_without_recursion():
    limit = sys.getrecursionlimit()
    depth = 10_000
    prediction = res(depth, 3)
    sys.setrecursionlimit(200)
    gc.disable()
    try:
        executor = cross_entropy(prediction).simple_bind(tl.cpu(), data=(2, 4), label=(2, 3))
        rng = np.random.RandomState(0)
        for name, array in executor.arguments.items():
            array[...] = rng.randn(*array.shape) * (1e-3 if "fc" in name else 1)
        executor.arguments["label"][...] = [[1, 0, 0], [0, 1, 0]]
        executor.forward(is_train=True)
        executor.backward()
        assert np.isfinite(executor.outputs[0]).all()
        assert np.abs(executor.grad_dict["fc1_weight"]).max() > 0
        dead = weakref.ref(executor), weakref.ref(prediction.heads[0].node)
        del executor, prediction
        assert [ref() for ref in dead] == [None, None]
    finally:
        gc.enable()
        sys.setrecursionlimit(limit)


# What is handed out.


def bound():
    net = sym.MakeLoss(sym.sum(sym.BatchNorm(sym.Variable("x"), name="bn") * sym.Variable("w")))
    return net.simple_bind(tl.cpu(), grad_req={"w": "write"}, x=(2, 3), w=(2, 3))


WRITTEN = [
    lambda ex, name, value: ex.arg_dict.__setitem__(name, value),
    lambda ex, name, value: ex.arg_dict.update({name: value}),
    lambda ex, name, value: ex.arg_dict.update(**{name: value}),
    lambda ex, name, value: ex.arg_dict.__ior__({name: value}),
    lambda ex, name, value: ex.arg_arrays.__setitem__(list(ex.arg_dict).index(name), value),
    lambda ex, name, value: ex.arg_arrays.__setitem__(
        slice(list(ex.arg_dict).index(name), list(ex.arg_dict).index(name) + 1), [value]
    ),
]


@pytest.mark.parametrize("write", WRITTEN)
def test_what_is_put_under_a_name_or_in_a_place_is_copied_into_the_bound_array(write):
    executor, value = bound(), np.arange(6.0).reshape(2, 3)
    array = executor.arguments["w"]
    write(executor, "w", value)
    assert executor.arguments["w"] is array
    np.testing.assert_array_equal(array, value)
    value[:] = 7
    np.testing.assert_array_equal(executor.arg_dict["w"], np.arange(6.0).reshape(2, 3))
    for wrong, words in (
        (np.zeros(3), r"is \(3,\), expected \(2, 3\)"),
        (np.zeros((2, 3)) * 1j, "complex"),
        (np.ma.array(np.zeros((2, 3)), mask=True), "mask would be lost"),
        (None, "expected real numbers"),
    ):
        with pytest.raises(LessonError, match=words):
            write(executor, "w", wrong)
    np.testing.assert_array_equal(array, np.arange(6.0).reshape(2, 3))


def test_operators_that_write_in_place_do_so():
    executor = filled(bound(), w=1)
    executor.arg_dict["w"] += 1
    executor.arg_arrays[list(executor.arg_dict).index("w")] *= 2
    executor.grad_dict["w"] -= 3
    executor.aux_dict["bn_moving_var"] = np.full(3, 5)
    np.testing.assert_array_equal(executor.arguments["w"], np.full((2, 3), 4))
    np.testing.assert_array_equal(executor.gradients["w"], np.full((2, 3), -3))
    np.testing.assert_array_equal(executor.states["bn_moving_var"], [5, 5, 5])


def test_several_values_are_taken_together_or_not_at_all():
    executor = bound()
    with pytest.raises(ShapeError):
        executor.arg_dict.update(w=np.ones((2, 3)), x=np.ones(2))
    with pytest.raises(BindError, match="did you mean 'w'"):
        executor.arg_dict.update(w=np.ones((2, 3)), ww=1)
    np.testing.assert_array_equal(executor.arg_dict["w"], np.zeros((2, 3)))


@pytest.mark.parametrize(
    "change",
    [
        lambda ex: ex.arg_dict.pop("w"), lambda ex: ex.arg_dict.clear(), lambda ex: ex.arg_dict.popitem(),
        lambda ex: ex.arg_dict.setdefault("v", 1), lambda ex: ex.arg_dict.__delitem__("w"),
        lambda ex: ex.grad_dict.update(x=np.zeros((2, 3))), lambda ex: ex.aux_dict.update(mean=0),
        lambda ex: ex.output_dict.update({ex.output_names[0]: np.zeros(1)}), lambda ex: ex.output_dict.clear(),
        lambda ex: ex.arg_arrays.append(1), lambda ex: ex.arg_arrays.pop(), lambda ex: ex.arg_arrays.reverse(),
        lambda ex: ex.arg_arrays.__setitem__(slice(0, 2), [1]), lambda ex: ex.grad_arrays.__setitem__(0, 1),
        lambda ex: ex.outputs.__setitem__(0, np.zeros(1)), lambda ex: ex.outputs[0][0].__setitem__(0, 1),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_refused_in_words(change):
    with pytest.raises(BindError):
        change(bound())


@pytest.mark.parametrize(
    "name", ["arg_dict", "grad_dict", "aux_dict", "output_dict", "outputs", "arg_arrays"]
)
def test_what_is_handed_out_cannot_be_replaced(name):
    with pytest.raises(AttributeError, match=name):
        setattr(bound(), name, {})


def test_an_array_takes_neither_complex_nor_masked_values():
    array = bound().arg_dict["w"]
    for value, words in (
        (np.ones((2, 3)) * 1j, "complex128"),
        (np.ma.array(np.ones((2, 3))), "mask would be lost"),
    ):
        with pytest.raises(LessonError, match=words):
            array[:] = value
    with pytest.raises(ValueError, match="broadcast"):
        array[:] = np.ones(5)


def test_copies_of_what_is_handed_out_are_plain():
    executor = bound()
    assert type(copy.deepcopy(executor.arg_dict)) is dict
    assert type(copy.copy(executor.arg_arrays)) is list
    assert type(executor.arg_dict.copy()) is dict


@pytest.mark.parametrize("runner", available_runners())
@pytest.mark.parametrize(
    "net",
    [
        lambda x: x, lambda x: sym.Reshape(x, shape=(3, 2)), lambda x: sym.transpose(x), lambda x: sym.identity(x),
        lambda x: sym.SwapAxis(x, dim1=0, dim2=1), lambda x: sym.tanh(x), lambda x: sym.Flatten(x),
        lambda x: sym.Group([x, sym.exp(x)]), lambda x: sym.expand_dims(x, axis=0), lambda x: sym.BlockGrad(x),
    ],
)  # fmt: skip
def test_outputs_keep_what_was_computed_and_what_is_written_to_them_stays_with_them(net, runner):
    executor = net(sym.Variable("x")).simple_bind(tl.cpu(), runner=runner, x=(2, 3))
    values = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    for is_train in (False, True, False, True):
        outputs = executor.forward(is_train=is_train, x=values)
        before = [y.asnumpy() for y in outputs]
        executor.arg_dict["x"][:] = 100
        for y, expected in zip(outputs, before, strict=True):
            np.testing.assert_array_equal(y, expected)
            assert not np.asarray(y).flags.writeable
            if np.asarray(y).flags.c_contiguous:  # else a part is a copy
                with pytest.raises(BindError, match="cannot be written"):
                    y[0][:] = 1
            y[0] = 7
            y += 1
            np.testing.assert_array_equal(y.asnumpy()[0], np.full_like(expected[0], 8))
            np.testing.assert_array_equal(y.asnumpy()[1:], expected[1:] + 1)
        assert executor.outputs[0] is outputs[0]
    executor.arg_dict["x"][:] = values
    again = executor.forward()
    for y, expected in zip(again, before, strict=True):
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("runner", available_runners())
def test_an_output_that_was_handed_out_shows_every_later_run(runner):
    """As in MXNet: a state of a recurrent network is copied back from where it was before the first run."""
    x = sym.Variable("x")
    executor = sym.Group([x + 1, sym.Dropout(x * 2)]).simple_bind(tl.cpu(), runner=runner, x=(2,))
    state, other = executor.outputs
    for i, is_train in enumerate((False, True, False)):
        executor.forward(is_train=is_train)
        assert state.asnumpy().tolist() == [i + 1, i + 1]
        assert executor.outputs[0] is executor.output_dict[executor.output_names[0]] is state
        state[0] = 9
        state.copyto(executor.arg_dict["x"])
        executor.arg_dict["x"][:] = state[1:].asnumpy()
    assert other.asnumpy().tolist() == [4, 4]


@pytest.mark.parametrize("runner", available_runners())
def test_a_gradient_after_a_prediction_has_the_mask_that_was_drawn(runner):
    """MXNet keeps the mask of `forward` for `backward`, in prediction too."""
    net = sym.Dropout(sym.Dropout(sym.Variable("x"), p=0.5, mode="always"), p=0.25, mode="always")
    executor = net.simple_bind(tl.cpu(), runner=runner, x=(30, 40))
    for _ in range(2):
        for is_train in (True, False):
            y = executor.forward(is_train=False, x=np.ones((30, 40)))[0].asnumpy()
            executor.backward([np.ones((30, 40))], is_train=is_train)
            np.testing.assert_array_equal(executor.grad_dict["x"], y)
            assert 0.2 < np.mean(y == 0) < 0.8
            assert np.any(y != executor.forward(is_train=False)[0].asnumpy())


def test_the_collector_is_on_again_after_ctrl_c(monkeypatch):
    def stop():
        gc.enable()
        real()
        raise KeyboardInterrupt

    real = gc.disable
    monkeypatch.setattr(gc, "disable", stop)
    with pytest.raises(KeyboardInterrupt):
        product().simple_bind(tl.cpu(), a=(3,), b=(3,))
    assert gc.isenabled()


def test_an_executor_can_be_used_after_ctrl_c_while_it_was_made(monkeypatch):
    executor = filled(product().simple_bind(tl.cpu(), a=(3,), b=(3,)), a=[1, 2, 3], b=[4, 5, 6])
    real, calls = Compiler.compile, []

    def stop(self, task):
        calls.append(task)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return real(self, task)

    monkeypatch.setattr(Compiler, "compile", stop)
    with pytest.raises(KeyboardInterrupt):
        executor.forward(is_train=True)
    executor.forward(is_train=True)
    executor.backward()
    np.testing.assert_array_equal(executor.grad_dict["a"], [8, 20, 36])


@pytest.mark.parametrize("value", [[[1.0], [1.0, 2.0]], [[1.0, 2.0], 3.0]])
def test_lists_of_different_lengths_are_refused_by_the_name_of_the_argument(value):
    executor = (sym.Variable("x") + 1).simple_bind(tl.cpu(), x=(2, 2))
    with pytest.raises(ShapeError, match="'x' is no array"):
        executor.forward(x=value)


@pytest.mark.parametrize("is_train", [None, False])
def test_backward_needs_no_forward_run_in_training_and_leaves_outputs_and_states(is_train):
    product = sym.Variable("x") * sym.Variable("y")
    executor = product.simple_bind(tl.cpu(), x=(2,), y=(2,))
    executor.arg_dict["x"][:], executor.arg_dict["y"][:] = [1, 2], [3, 4]
    if is_train is not None:
        executor.forward(is_train=is_train)
    shown = executor.outputs[0].asnumpy()
    executor.backward(np.ones(2, np.float32))
    assert [g.asnumpy().tolist() for g in executor.grad_arrays] == [[3, 4], [1, 2]]  # as MXNet 1.9.1
    np.testing.assert_array_equal(executor.outputs[0].asnumpy(), shown)
    norm = sym.BatchNorm(sym.Variable("x"), name="bn").simple_bind(tl.cpu(), x=(3, 2))
    norm.arg_dict["x"][:] = [[1, 2], [3, 5], [4, 4]]
    norm.aux_dict["bn_moving_var"][:] = 1
    norm.backward(np.ones((3, 2), np.float32))
    assert [a.asnumpy().tolist() for a in norm.aux_arrays] == [[0, 0], [1, 1]]  # as MXNet 1.9.1


def test_reshape_to_less_stays_in_the_same_memory():
    net = sym.FullyConnected(sym.Variable("x"), num_hidden=4, name="fc")
    executor = net.simple_bind(tl.cpu(), x=(5, 4), grad_req="null")
    executor.arg_arrays[0][:] = 1
    executor.arg_arrays[1][:] = np.ones((4, 4))
    smaller = executor.reshape(x=(3, 4))
    smaller.forward()
    assert (smaller.outputs[0].asnumpy() == 4).all()
    assert (executor.outputs[0].asnumpy()[:3] == 4).all()
    smaller.arg_arrays[0][:] = 7
    assert executor.arg_arrays[0].asnumpy()[:, 0].tolist() == [7, 7, 7, 1, 1]
    larger = executor.reshape(x=(8, 4), allow_up_sizing=True)
    larger.arg_arrays[0][:], larger.arg_arrays[1][:] = 9, 2
    assert executor.arg_arrays[0].asnumpy()[0, 0] == 7
    assert (executor.arg_arrays[1].asnumpy() == 2).all()
    executor.forward()
    assert executor.outputs[0].asnumpy()[:, 0].tolist() == [56, 56, 56, 8, 8]


def test_its_text_names_every_node_and_the_memory():
    text = (
        sym.FullyConnected(sym.Variable("x"), num_hidden=4, name="fc")
        .simple_bind(tl.cpu(), x=(5, 4))
        .debug_str()
    )
    assert "Op:FullyConnected, Name=fc" in text
    assert text.endswith("Total 0 MB allocated\n")


def test_outputs_are_those_of_the_run_that_was_last_whatever_its_mode():
    executor = sym.Dropout(sym.Variable("x"), p=0.5, name="drop").simple_bind(x=(64,))
    executor.arg_dict["x"][:] = 1
    for is_train in (True, False, True, False):
        given = executor.forward(is_train=is_train)
        assert given is executor.outputs
        assert (executor.outputs[0].asnumpy() == 1).all() != is_train
        assert executor.output_dict["drop_output"] is executor.outputs[0]
