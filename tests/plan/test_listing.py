"""What a printed plan says is so: counted by hand, or byte by byte over a small arena."""

import re
from unittest import mock

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.op import FUNCTIONS, OPS, Op
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.plan.calls import program


def answer():
    """Two layers and probabilities."""
    x = sym.relu(sym.FullyConnected(sym.Variable("data"), num_hidden=10, name="fc1"), name="relu1")
    return sym.softmax(sym.FullyConnected(x, num_hidden=3, name="fc2"), name="answer")


def plan_of(name):
    """The training plan of a network of the lesson."""
    symbol = cross_entropy(NETWORKS[name].build())
    return symbol.simple_bind(tl.cpu(), runner="numpy", data=(20, 4), label=(20, 3)).plan()


def test_a_step_shows_its_calls_its_place_and_what_lay_there():
    text = str(answer().simple_bind(tl.cpu(), runner="numpy", data=(20, 4)).plan(is_train=False))
    first, second = (
        re.search(r"-> (b\d+) \(20, 10\) float32 @0\+800\n", text),
        re.search(r"-> (b\d+) .*", text),
    )
    b = first[1]
    assert second[1] == b
    assert f"data fc1_weight fc1_bias -> {b} " in text
    assert f"matmul(data, fc1_weight.T) -> {b}\n" in text
    assert f"add({b}, fc1_bias) -> {b}\n" in text
    assert re.search(rf"relu1  Relu\(\)  {b} -> b\d+ \(20, 10\) float32 @0\+800 in place of {b}\n", text)
    assert re.search(r"answer  Softmax\(\)  b(\d+) -> b\d+ \(20, 3\) float32 @0\+240 after b\d+\n", text)
    assert re.search(r"exp\(t2\) -> t3\n.*add.reduce\(t3, axis=-1, keepdims=True\) -> t4", text)


def test_bytes_are_those_that_one_counts_by_hand():
    """Of 20 rows: 10 numbers twice, in place; 3 numbers twice. Places begin at multiples of 64 bytes."""
    executor = answer().simple_bind(tl.cpu(), runner="numpy", data=(20, 4))
    arena, at_once, alone = 832 + 256, 800 + 240, 2 * 800 + 2 * 240
    arguments = 4 * (20 * 4 + 4 * 10 + 10 + 10 * 3 + 3)
    between = 4 * (20 + 60 + 60 + 20)  # the largest, differences, exponentials, their sum
    assert str(executor.plan(is_train=False)).splitlines()[-1] == (
        f"bytes: arena {arena:,}; most at once (in forward 2) {at_once:,}; without sharing {alone:,}; "
        f"between calls {between}; arguments {arguments}; gradients and states 0"
    )


def counted(plan, what):
    """A number of the line of bytes."""
    line = next(line for line in str(plan).splitlines() if line.startswith("bytes: "))
    return int(re.search(rf"{re.escape(what)}(?: \(in [a-z]+ \d+\))? ([\d,]+)", line)[1].replace(",", ""))


def most_in_use(plan):
    """Bytes of the arena that hold what is needed later, at the step where they are most; byte by byte."""
    steps, buffers = [*plan.setup, *plan.forward, *plan.backward], plan.buffers
    made = {v for step in plan.forward for v in step.targets}
    needed = {v for step in plan.backward for v in step.sources} & made | set(plan.outputs.values())
    needed |= {v for step in plan.setup for v in step.targets}
    most = 0
    for t in range(len(steps)):
        here = np.zeros(plan.arena, bool)
        written = {v for step in steps[: t + 1] for v in step.targets}
        wanted = {v for step in steps[t:] for v in (*step.sources, *step.targets)} | needed
        for v in {buffers[v].owner for v in wanted} & written:
            if buffers[v].offset is not None:
                here[buffers[v].offset : buffers[v].offset + buffers[v].nbytes] = True
        most = max(most, here.sum())
    return most


@pytest.mark.parametrize("name", NETWORKS)
def test_the_biggest_moment_is_that_of_the_bytes_in_use(name):
    plan = plan_of(name)
    assert counted(plan, "most at once") == most_in_use(plan) <= plan.arena


@pytest.mark.parametrize("name", NETWORKS)
def test_what_lay_in_a_place_before_is_named(name):
    plan = plan_of(name)
    arena = np.full(plan.arena, -1)
    told = re.findall(
        r"(b\d+) \([^)]*\) float32 @(\d+)\+(\d+)(?: (?:in place of|after)((?: b\d+)+))?", str(plan)
    )
    assert len(told) > 10
    for buffer, begin, size, before in told:
        place = arena[int(begin) : int(begin) + int(size)]
        assert {f"b{v}" for v in place if v >= 0} - {buffer} == set(before.split())
        place[:] = int(buffer[1:])


@pytest.mark.parametrize("name", NETWORKS)
def test_every_call_has_a_line(name):
    plan = plan_of(name)
    made = program(plan)
    calls = [
        call for part in (made.setup, made.forward, made.backward) for line in part for call in line.calls
    ]
    listed = re.findall(r"^ {11}([a-z_.0-9]+)\(.*\) -> ", str(plan), re.MULTILINE)
    assert listed == [call.name for call in calls]


def test_views_say_of_what_and_which_part():
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS):

        @op
        class Viewed(Op):
            """Parts of a matrix of four rows and columns."""

            differentiable = False

            def shape(self, x):
                return (4, 2)

            def forward(self, xp, x):
                return xp.add(xp.matmul(x.T, xp.reshape(x, (8, 2))[1::2]), xp.max(xp.exp(x)[1:, ::2], axis=0))

            def vjp(self, F, g, y, x):
                return (None,)

        symbol = sym.Viewed(sym.Variable("x"))
        text = str(symbol.simple_bind(tl.cpu(), runner="numpy", grad_req="null", x=(4, 4)).plan(False))
    assert "matmul(x.T, x as (4, 2) from 2 by (4, 1)) -> t1" in text
    assert "maximum.reduce(t2 as (3, 2) from 4 by (4, 2), axis=0) -> t3" in text
    assert "add(t1, t3) -> b1" in text


def test_a_view_that_is_a_step_names_what_it_is_a_view_of():
    jitted = tl.jit(lambda x: tl.exp(x)[1:, ::2] * 2, runner="numpy")
    jitted(np.ones((4, 3), np.float32))
    (made,) = jitted.programs.values()
    assert re.search(r"Slice\(\[1:, ::2\]\)  (b\d+) -> b\d+ \(3, 2\) float32 view of \1\n", str(made.plan))


def test_what_cannot_be_traced_is_named_with_the_reason():
    x = sym.Dropout(sym.relu(sym.Variable("x")), name="drop")
    plan = sym.MakeLoss(sym.sum(x)).simple_bind(tl.cpu(), runner="numpy", x=(4, 4)).plan()
    assert str(plan).splitlines()[-1] == "falls back: drop  Dropout(is_train=True): draws random numbers"


def test_joined_steps_are_listed_with_a_place_for_one_block():
    f = tl.jit(lambda x: tl.sum(tl.tanh(x) * tl.exp(x)), runner="numpy")
    f(np.zeros(200_000, np.float32))
    (made,) = f.programs.values()
    assert re.search(
        r"  -  Tanh\(\)  input 0 -> b\d+ \(200000,\) float32 @\d+\+65536 one block\n +tanh\(", str(made.plan)
    )
    assert counted(made.plan, "without sharing") == 3 * 4 * 200_000
    assert counted(made.plan, "most at once") == 3 * 65536  # within a block nothing is in place
    off = tl.jit(lambda x: tl.sum(tl.tanh(x) * tl.exp(x)), runner="numpy", passes=Passes(block=False))
    off(np.zeros(200_000, np.float32))
    (made,) = off.programs.values()
    assert counted(made.plan, "most at once") == 2 * 800_000
