"""A network of the lesson, trained from a file alone, has the bits that `fit` gives it."""

import numpy as np
import pytest

from tinygrad_lesson.lesson.data import load
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.plan.trace import Ref
from tinygrad_lesson.run import reference
from tinygrad_lesson.run.calls import Scratch
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.initializer import Uniform
from tinygrad_lesson.train.optimizer import SGD, Adam, create

EPOCHS, ROWS = 2, 20


def as_the_numpy_runner(lines, arrays):
    """The calls of a part in the form in which the NumPy runner makes them, with `dot` in the place of small products."""
    scratch = Scratch()

    def array(x):
        return arrays[x.number] if isinstance(x, Ref) else tuple(map(array, x)) if isinstance(x, tuple) else x

    return [
        run
        for line in lines
        for call in line.calls
        for run in scratch.carried_out(
            call, array(call.inputs), {key: array(x) for key, x in call.named}, arrays[call.out]
        )
    ]


def fitted(loss, rows, optimizer):
    model = FeedForward(loss, num_epoch=EPOCHS, initializer=Uniform(0.01), seed=0, optimizer=optimizer)
    history = model.fit(NDArrayIter(rows.train_data, rows.train_label, ROWS, label_name="label"))
    return model, history


def saved(loss, optimizer, path):
    trained = [name for name in loss.list_arguments() if name not in ("data", "label")]
    executor = loss.simple_bind(
        grad_req=dict.fromkeys(trained, "write"), runner="numpy", data=(ROWS, 4), label=(ROWS, 3)
    )
    executor.plan(is_train=True, optimizer=optimizer).save(path)
    return Plan.load(path)


def trained_from(plan, first, rows, optimizer, prepared):
    """Losses of the epochs, and all arrays by name."""
    named = {a.name: np.zeros(a.shape, a.dtype) for a in plan.arrays if a.name}
    for name, array in first.items():
        named[name][...] = array
    arrays = reference.bound(plan, named)
    reference.run(plan.setup, arrays)
    parts = [prepared(part, arrays) for part in (plan.forward, plan.backward, plan.update)]
    losses, number = [], 0
    for _ in range(EPOCHS):
        losses.append([])
        for start in range(0, len(rows.train_data), ROWS):
            number += 1
            named["data"][...] = rows.train_data[start : start + ROWS]
            named["label"][...] = rows.train_label[start : start + ROWS]
            named["rate"][...] = optimizer.rate(number)
            if "decay" in named:
                named["decay"][...] = optimizer.wd
            for part in parts:
                for run in part:
                    run()
            losses[-1].append(arrays[plan.outputs["output 0"]].mean(dtype=float))
    return np.mean(losses, axis=1), named


def by_reference(lines, arrays):
    return [lambda: reference.run(lines, arrays)]


SETTINGS = {name: NETWORKS[name].training for name in NETWORKS}


def compared(name, optimizer, tmp_path, prepared, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", "numpy")
    loss, rows = cross_entropy(NETWORKS[name].build()), load()
    model, history = fitted(loss, rows, optimizer)
    plan = saved(loss, optimizer, tmp_path / "plan.json")
    losses, named = trained_from(plan, history.trained.first, rows, optimizer, prepared)
    return (history.loss, {**model.arg_params, **model.aux_params}), (losses, named)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_trained_from_a_file_to_the_same_bits(name, tmp_path, monkeypatch):
    optimizer = create(
        SETTINGS[name]["optimizer"], **{k: v for k, v in SETTINGS[name].items() if k != "optimizer"}
    )
    fit, file = compared(name, optimizer, tmp_path, as_the_numpy_runner, monkeypatch)
    np.testing.assert_array_equal(fit[0], file[0])
    assert any((array != 0).any() for array in fit[1].values())
    for key, array in fit[1].items():
        np.testing.assert_array_equal(array, file[1][key], err_msg=key)


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1, momentum=0.9, wd=0.1, clip_gradient=0.01, lr_mult={"fc1_weight": 0.3}, wd_mult={"fc2_weight": 2.0}),
        Adam(0.01, wd=0.1, rescale_grad=0.5, lr_mult={"fc1_bias": 0.0}, lr_scheduler=lambda n: 0.1 / n),
    ],
    ids=["sgd", "adam"],
)  # fmt: skip
def test_settings_and_multipliers_of_an_optimizer_are_in_the_file(optimizer, tmp_path, monkeypatch):
    fit, file = compared("bn8", optimizer, tmp_path, as_the_numpy_runner, monkeypatch)
    np.testing.assert_array_equal(fit[0], file[0])
    for key, array in fit[1].items():
        np.testing.assert_array_equal(array, file[1][key], err_msg=key)


def test_the_reference_carries_out_the_update_part(tmp_path, monkeypatch):
    fit, file = compared("res6", SGD(0.05, momentum=0.9), tmp_path, by_reference, monkeypatch)
    np.testing.assert_allclose(fit[0], file[0], rtol=1e-5)
    for key, array in fit[1].items():
        np.testing.assert_allclose(array, file[1][key], rtol=1e-4, atol=1e-6, err_msg=key)
