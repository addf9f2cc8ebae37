"""Loops and choices in a plan: in a file, in its listing, and carried out by the reference runner."""

import json

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import cond, grad, jit, run, scan
from tinygrad_lesson.errors import FormatError
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.plan.calls import program
from tinygrad_lesson.run import reference

W = np.random.default_rng(0).normal(size=(3, 3)) * 0.5


def loop(w, q, xs):
    """A loop with a choice inside, whose last state goes on."""

    def step(s, x):
        s = cond(s.sum() > 0, lambda s: tl.tanh(w @ s) + x, lambda s: tl.cos(w @ s + 1) * x, s)
        return s, (s * s).sum()

    last, rows = scan(step, q, xs, reverse=True)
    return (last * last).sum() + (rows * np.arange(20.0)).sum()


def plan_and_inputs(f):
    xs = [W, np.array([0.3, -0.2, 0.4]), np.sin(np.arange(60.0)).reshape(20, 3)]
    f = jit(f)
    expected = f(*xs)
    (made,) = f.programs.values()
    return made, xs, [y.numpy() for y in (expected if isinstance(expected, list | tuple) else [expected])]


@pytest.mark.parametrize("f", [loop, grad(loop, (0, 1, 2))])
def test_the_reference_carries_out_what_was_saved(tmp_path, f):
    made, xs, expected = plan_and_inputs(f)
    made.plan.save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json")
    assert "nested" in (tmp_path / "plan.json").read_text()
    for told in (loaded, program(made.plan)):
        named = {name: np.array(x) for name, x in made.arrays.items()} | {
            f"input {i}": x for i, x in enumerate(xs)
        }
        for name in made.results:
            named[name][...] = np.nan
        arrays = reference.bound(told, named)
        reference.run(told.setup, arrays)
        reference.run(told.forward, arrays)
        for name, y in zip(made.results, expected, strict=True):
            np.testing.assert_allclose(named[name], y, rtol=1e-10)


def test_the_listing_shows_the_plans_inside():
    text = str(plan_and_inputs(loop)[0].plan)
    assert "Scan(20 steps of" in text
    assert "reverse" in text
    assert text.count("| forward: ") == 3  # the step, and both branches
    assert "falls back" not in text


@pytest.mark.parametrize(
    ("steps", "ways"),
    [
        (20, {"numpy": "step by step", "vm": "all steps as one tape of instructions"}),
        (5000, {"numpy": "step by step", "vm": "all steps as one loop of elements"}),
    ],
)
@pytest.mark.parametrize("runner", run.available_runners())
def test_a_runner_tells_how_it_carries_out_a_loop(steps, ways, runner):
    f = jit(lambda s: scan(lambda s, x: (tl.sin(s), None), s, length=steps)[0], runner=runner)
    f(np.ones(3))
    (made,) = f.programs.values()
    assert f"its own plan, {ways[runner]}" in str(made.runner)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda step: step.update(kind="loop"), "no step of kind 'loop'"),
        (lambda step: step["outputs"].append(10_000), "an array that is not there"),
        (lambda step: step["programs"].pop(), "with 0 programs"),
        (lambda step: step["programs"][0]["forward"][0]["calls"].append({"call": "load"}), "no call 'load'"),
        (lambda step: step.pop("held"), "KeyError"),
    ],
)
def test_a_damaged_loop_in_a_file_is_refused(tmp_path, damage, told):
    plan_and_inputs(loop)[0].plan.save(tmp_path / "plan.json")
    whole = json.loads((tmp_path / "plan.json").read_text())
    (step,) = [step["nested"] for step in whole["forward"] if "nested" in step]
    damage(step)
    (tmp_path / "plan.json").write_text(json.dumps(whole))
    with pytest.raises(FormatError, match=told):
        Plan.load(tmp_path / "plan.json")
