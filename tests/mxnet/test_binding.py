"""Binding: a name, a device, a runner or a request that does not exist is refused at once, and the nearest is named."""

import re

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import LessonError


def net():
    with sym.AttrScope(__ctx_group__="front"):
        hidden = sym.BatchNorm(sym.Variable("data"), name="bn")
    return sym.FullyConnected(hidden, num_hidden=2, name="fc")


ARRAYS = {
    "data": np.ones((4, 3)),
    "bn_gamma": np.ones(3),
    "bn_beta": np.ones(3),
    "fc_weight": np.ones((2, 3)),
    "fc_bias": np.ones(2),
}
STATES = {"bn_moving_mean": np.zeros(3), "bn_moving_var": np.ones(3)}


def without(arrays, name, **more):
    return {key: value for key, value in arrays.items() if key != name} | more


WRONG = [
    (lambda: net().simple_bind(tl.cpu(), data=(4, 3), fc_wieght=(2, 3)), "'fc_wieght' is no argument; did you mean 'fc_weight'"),
    (lambda: net().simple_bind(tl.cpu(), dta=(4, 3)), "'dta' is no argument; did you mean 'data'"),
    (lambda: net().simple_bind(tl.cpu(), data=(4, 3), grad_rq="null"), "'grad_rq' is no argument"),
    (lambda: net().infer_shape(dta=(4, 3)), "'dta' is no argument; did you mean 'data'"),
    (lambda: net().infer_shape_partial(dta=(4, 3)), "'dta' is no argument; did you mean 'data'"),
    (lambda: net().infer_type(dta="float32"), "'dta' is no argument; did you mean 'data'"),
    (lambda: net().simple_bind(tl.cpu(), type_dict={"dta": "float64"}, data=(4, 3)), "'dta' is no argument; did you mean 'data'"),
    (lambda: net().simple_bind(tl.cpu(), {"fc_wieght": "write"}, data=(4, 3)), "grad_req: 'fc_wieght' is no argument; did you mean"),
    (lambda: net().simple_bind(tl.cpu(), {"fc_weight": "wirte"}, data=(4, 3)), "grad_req: 'wirte' for 'fc_weight', expected one of"),
    (lambda: net().simple_bind(tl.cpu(), group2ctx={"frnt": tl.cpu()}, data=(4, 3)), "group 'frnt'.*did you mean 'front'"),
    (lambda: net().simple_bind(tl.cpu(), group2ctx={"front": tl.gpu()}, data=(4, 3)), r"gpu\(0\)"),
    (lambda: net().simple_bind(tl.cpu(), group2ctx={"front": "cpu"}, data=(4, 3)), "'cpu' is no device"),
    (lambda: net().simple_bind(tl.cpu(), group2ctx="front", data=(4, 3)), "expected a dict"),
    (lambda: net().simple_bind("cpu", data=(4, 3)), "'cpu' is no device"),
    (lambda: net().simple_bind(tl.cpu(), runner="cuda", data=(4, 3)), "no runner 'cuda'; .*numpy, vm"),
    (lambda: net().simple_bind(tl.cpu(), runner="nunpy", data=(4, 3)), "no runner 'nunpy'; did you mean 'numpy'"),
    (lambda: net().bind(tl.cpu(), ARRAYS, aux_states=STATES, runner="cuda"), "no runner 'cuda'"),
    (lambda: net().bind(tl.cpu(), ARRAYS, aux_states=STATES, group2ctx={"frnt": tl.cpu()}), "group 'frnt'"),
    (lambda: net().bind(tl.cpu(), without(ARRAYS, "fc_weight", fc_wieght=1), aux_states=STATES), "lacks 'fc_weight'; did you mean 'fc_wieght'"),
    (lambda: net().bind(tl.cpu(), ARRAYS, aux_states=without(STATES, "bn_moving_var", bn_moving_vr=1)), "lacks 'bn_moving_var'; did you mean 'bn_moving_vr'"),
    (lambda: net().bind(tl.cpu(), ARRAYS, {"fc_wieght": np.ones((2, 3))}, aux_states=STATES), "'fc_wieght', which is no argument; did you mean"),
    (lambda: net().bind(tl.cpu(), ARRAYS | {"data": np.ones((4, 3)) * 1j}, aux_states=STATES), "'data' is complex128"),
    (lambda: net().bind(tl.cpu(), ARRAYS | {"data": np.ma.array(np.ones((4, 3)))}, aux_states=STATES), "'data' is a masked array"),
    (lambda: net().simple_bind(tl.cpu(), data=(4, 3)).forward(data=np.ma.array(np.ones((4, 3)))), "'data' is a masked array"),
    (lambda: net().simple_bind(tl.cpu(), data=(4, 3)).forward(data=np.ones((4, 3)) * 1j), "'data' is complex128"),
    (lambda: net().simple_bind(tl.cpu(), data=(4, 3)).copy_params_from({"fc_bias": np.ma.array([1.0, 2.0])}), "'fc_bias' is a masked array"),
    (lambda: net().eval(**ARRAYS, **STATES, dta=1), "eval: 'dta' is no argument; did you mean 'data'"),
    (lambda: net().eval(**without(ARRAYS, "data"), **STATES), "lacks 'data'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "words"), WRONG)
def test_what_does_not_exist_is_refused_and_the_nearest_is_named(call, words):
    with pytest.raises(LessonError, match=words):
        call()


def test_a_runner_that_the_environment_asks_for_is_refused_when_something_is_bound(monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "nonsense")
    with pytest.raises(LessonError, match=re.escape("'nonsense' (TINYGRAD_LESSON_RUNNER says so)")):
        net().simple_bind(tl.cpu(), data=(4, 3))


def test_what_exists_is_taken():
    executor = net().simple_bind(
        tl.cpu(), group2ctx={"front": tl.cpu()}, shared_exec=None, data=(4, 3), fc_weight=(2, 3)
    )
    assert executor.arg_dict["fc_weight"].shape == (2, 3)
    net().bind(
        tl.cpu(), {**ARRAYS, "of_another_network": 1}, aux_states=STATES, group2ctx={"front": tl.cpu()}
    )


def test_eval_gives_arrays_of_the_callers_own():
    x = np.ones((2, 3), np.float32)
    for symbol in (
        sym.Variable("x"),
        sym.Reshape(sym.Variable("x"), shape=(3, 2)),
        sym.tanh(sym.Variable("x")),
    ):
        (y,) = symbol.eval(x=x)
        y[:] = 5
        np.testing.assert_array_equal(x, 1)
    (y,) = net().eval(**ARRAYS, **STATES)
    np.testing.assert_allclose(y, np.full((4, 2), 3 * (1 / np.sqrt(1 + 1e-3) + 1) + 1), rtol=1e-6)


def test_a_dict_of_requests_that_leaves_no_argument_out_may_hold_more():
    shapes = {"data": (4, 3), "fc_weight": (2, 3), "fc_bias": (2,)}
    requests = {**dict.fromkeys(net().list_arguments(), "write"), "another": "add"}
    executor = net().simple_bind(tl.cpu(), requests, data=(4, 3))
    assert all(array is not None for array in executor.grad_dict.values())
    gradients = {"data": np.zeros(shapes["data"]), "another": None}
    executor = net().bind(tl.cpu(), ARRAYS, gradients, requests, STATES)
    assert [name for name, array in executor.grad_dict.items() if array is not None] == ["data"]
