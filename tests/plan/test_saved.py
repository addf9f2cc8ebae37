"""Plans in files: what was saved comes out again, and a damaged file is one error that names it."""

import json
import random

import numpy as np
import pytest

from tinygrad_lesson import sym
from tinygrad_lesson.errors import FormatError, GraphError
from tinygrad_lesson.plan import Plan
from tinygrad_lesson.plan.calls import program
from tinygrad_lesson.run import reference


def executor(dropped=False):
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc")
    x = sym.Dropout(x, p=0.5, name="drop") if dropped else x
    return sym.softmax(sym.transpose(x) * 2, axis=0).simple_bind(data=(4, 2), runner="numpy")


@pytest.fixture
def path(tmp_path):
    executor().plan(is_train=False).save(tmp_path / "plan.json")
    return tmp_path / "plan.json"


def test_a_plan_comes_out_of_a_file_as_it_went_in(path):
    loaded, made = Plan.load(path), program(executor().plan(is_train=False))
    assert loaded.arrays == made.arrays
    assert [line.calls for line in loaded.forward] == [line.calls for line in made.forward]
    assert loaded.outputs == made.outputs
    assert loaded.arena == made.arena


def test_the_loaded_calls_compute_what_the_executor_computes(path):
    bound, rng = executor(), np.random.default_rng(0)
    for array in bound.arguments.values():
        array[...] = rng.normal(size=array.shape)
    loaded = Plan.load(path)
    arrays = reference.bound(loaded, bound.arguments)
    reference.run(loaded.forward, arrays)
    np.testing.assert_array_equal(arrays[loaded.outputs["output 0"]], bound.forward()[0])


def test_a_file_without_an_update_part_is_read_too(path):
    told = json.loads(path.read_text())
    assert told.pop("update") == []
    path.write_text(json.dumps(told))
    assert Plan.load(path).update == []


def test_a_step_that_is_no_list_of_calls_is_named():
    with pytest.raises(GraphError, match=r"plan.save: drop \(Dropout.*draws random numbers"):
        executor(dropped=True).plan(is_train=True).save("never.json")


@pytest.mark.parametrize(
    "name", ["load", "fromfile", "ctypeslib.load_library", "add.at", "f2py.run_main", "__import__"]
)
def test_a_file_cannot_call_what_no_trace_may_hold(path, name):
    told = json.loads(path.read_text())
    told["forward"][0]["calls"][0]["call"] = name
    path.write_text(json.dumps(told))
    with pytest.raises(FormatError, match="there is no call"):
        Plan.load(path)


def test_an_array_beyond_its_memory_is_refused(path):
    told = json.loads(path.read_text())
    for array in told["arrays"]:
        if "offset" in array:
            array["offset"] = told["arena"]
    path.write_text(json.dumps(told))
    with pytest.raises(FormatError, match=r"plan.json: .*reaches beyond its memory"):
        Plan.load(path)


def test_a_damaged_file_is_one_error_that_names_it(path):
    whole, chance = path.read_text(), random.Random(0)
    for _ in range(400):
        at, size = chance.randrange(len(whole)), chance.randrange(1, 20)
        path.write_text(whole[:at] + chance.choice(["", "9", '"x"', "-", "null", "[]"]) + whole[at + size :])
        try:
            Plan.load(path)
        except FormatError as error:
            assert "plan.json" in str(error)
