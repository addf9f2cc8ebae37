"""`draw`: what is drawn of whatever has a graph; and blocks that repeat."""

import re
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import sym, viz
from tinygrad_lesson.errors import DTypeError, GraphError, ShapeError
from tinygrad_lesson.lesson.networks import NETWORKS, cross_entropy, mlp, res
from tinygrad_lesson.train.optimizer import SGD
from tinygrad_lesson.viz.fold import repeats
from tinygrad_lesson.viz.render import render_svg
from tinygrad_lesson.viz.values import in_words

SHAPES = {"data": (20, 4), "label": (20, 3)}
TIMES = "\N{MULTIPLICATION SIGN}"


BOX = re.compile(r'^\s*(n\d+) \[label=(?:"((?:[^"\\]|\\.)*)"|([^\s\]]+))', re.MULTILINE)


def labels(drawing):
    """What stands in the boxes."""
    return [(quoted or plain).split("\\n") for _, quoted, plain in BOX.findall(drawing.source)]


def arrows(drawing):
    """For each arrow the first lines of its boxes, and its attributes."""
    first = {node: (quoted or plain).split("\\n")[0] for node, quoted, plain in BOX.findall(drawing.source)}
    found = re.findall(r"^\s*(n\d+) -> (n\d+) \[(.*)\]$", drawing.source, re.MULTILINE)
    return [(first[a], first[b], text) for a, b, text in found]


def loss(x, w):
    return tl.sum(tl.tanh(x @ w))


X, W = np.array([[1.0, 2.0]]), np.array([[0.5], [0.25]])


def test_a_function_is_drawn_with_its_names_shapes_and_types():
    drawing = viz.draw(loss, X, W)
    assert labels(drawing) == [["x"], ["w"], ["MatMul"], ["Tanh"], ["Sum"]]
    told = {(a, b): re.search('label=" (.*?)"', text)[1] for a, b, text in arrows(drawing)}
    assert told == {
        ("x", "MatMul"): "(1, 2) float64", ("w", "MatMul"): "(2, 1) float64",
        ("MatMul", "Tanh"): "(1, 1) float64", ("Tanh", "Sum"): "(1, 1) float64",
    }  # fmt: skip


def test_values_and_gradients_are_shown_on_request():
    slope = 1 - np.tanh(1.0) ** 2  # of tanh at 1 * 0.5 + 2 * 0.25
    boxes = {box[0]: box[1:] for box in labels(viz.draw(loss, X, W, values=True, gradients=True))}
    assert (
        boxes["w"] == ["[[0.5 ],", " [0.25]]", f"gradient [[{slope:.4g}],", f" [{2 * slope:.4g}]]"]
        or boxes["w"]
    )
    assert boxes["Tanh"] == [f"[[{np.tanh(1.0):.4g}]]", "gradient [[1]]"]
    assert boxes["MatMul"] == ["[[1]]", f"gradient [[{slope:.4g}]]"]
    assert not any("gradient" in line for box in labels(viz.draw(loss, X, W, values=True)) for line in box)


def test_a_tensor_is_drawn_with_all_that_made_it():
    x = tl.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 3 + tl.Tensor([0.5, 0.5])
    assert labels(viz.draw(y)) == [["x0"], ["3"], ["Multiply"], ["constant"], ["Add"]]
    assert x.grad is None
    with pytest.raises(GraphError, match="computed without recording"):
        viz.draw(tl.Tensor([1.0]))


def test_a_function_that_looks_at_values_is_drawn_as_it_ran():
    drawing = viz.draw(lambda x: tl.exp(x) if x.sum().item() > 0 else x, [1.0])
    assert ["Exp"] in labels(drawing)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_drawn_with_its_backward_part(name):
    symbol = cross_entropy(NETWORKS[name].build())
    drawing = viz.draw(symbol, shape=SHAPES, backward=True, expand=True)
    parameters = {n for n in symbol.list_arguments() if n not in SHAPES}
    results = {
        box[0].removeprefix("gradient of ") for box in labels(drawing) if box[0].startswith("gradient of ")
    }
    assert results >= parameters
    assert sum(box[0] in NAMES[name] for box in labels(drawing)) == len(NAMES[name])
    orange = [text for *_, text in arrows(drawing) if "#d55e00" in text]
    assert len(orange) >= len(parameters)
    assert render_svg(viz.draw(symbol, shape=SHAPES, backward=True))


def test_what_carries_a_gradient_is_orange_and_its_factors_are_not():
    """The slope 1 - y * y and the other factor of a product come from the forward part alone."""
    drawn = [
        (b, a, "#d55e00" in text)
        for a, b, text in arrows(viz.draw(loss, X, W, backward=True))
        if "dir=back" in text
    ]
    assert sorted(arrow[:2] for arrow in drawn if not arrow[2]) == [
        ("1", "Subtract"), ("Multiply", "Subtract"), ("Subtract", "Multiply"),
        ("SwapAxes(a=-1, b=-2)", "MatMul"), ("SwapAxes(a=-1, b=-2)", "MatMul"),
    ]  # fmt: skip
    assert sorted(arrow[:2] for arrow in drawn if arrow[2]) == [
        ("MatMul", "gradient of w"), ("MatMul", "gradient of x"), ("Multiply", "MatMul"), ("Multiply", "MatMul"),
        ("Reshape(to=(1, 1))", "Multiply"), ("gradient of the result", "Reshape(to=(1, 1))"),
    ]  # fmt: skip


def test_the_gradient_of_a_loss_is_orange_from_its_beginning():
    """A loss sends its own gradient, whose first factor is a number; the slope of relu is no part of its way."""
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc1")
    net = cross_entropy(sym.softmax(sym.Activation(x, act_type="relu"), axis=1))
    back = [t for t in arrows(viz.draw(net, shape=SHAPES, backward=True)) if "dir=back" in t[2]]
    plain = {b for _, b, text in back if "#d55e00" not in text}
    assert plain == {"Sign", "-0.01667"}
    assert not any(b == "Sign" and "#d55e00" in text for _, b, text in back)


def test_the_gradient_of_a_deep_network_is_folded_so_that_it_can_be_read(monkeypatch):
    net = cross_entropy(NETWORKS["bn8"].build())
    drawing = viz.draw(net, shape=SHAPES, backward=True)
    assert drawing.source.count(f'label="{TIMES} 6"') == 2  # six layers, there and back
    between = " \N{HORIZONTAL ELLIPSIS} "
    shown = [line for box in labels(drawing) for line in box]
    for line in (
        f"fc2{between}fc7_weight",
        f"gradient of fc7{between}fc2_weight",
        f"reads relu6{between}relu1",
    ):
        assert line in shown
    monkeypatch.setattr(
        "shutil.which", lambda name: None
    )  # so it is the Graphviz that comes with the package
    width, height = re.search(r'width="(\d+)pt" height="(\d+)pt"', render_svg(drawing)).groups()
    assert max(int(width), int(height)) < 2400  # it was 3920


NAMES = {
    name: {n.name for n in cross_entropy(network.build()).nodes if n.op is not None}
    for name, network in NETWORKS.items()
}
# Automatic names count on, so those of the loss differ from one build to the next.
NAMES = {
    name: {n for n in names if re.match("fc|relu|bn|plus|concat|softmax", n)} for name, names in NAMES.items()
}


def test_a_backward_part_needs_shapes_and_says_so():
    with pytest.raises(ShapeError, match=r"variable 'data' is unknown; .*draw\(net, backward=True, shape="):
        viz.draw(mlp(2), backward=True)


def test_an_executor_shows_its_own_values_and_gradients():
    executor = cross_entropy(mlp(2)).simple_bind(**SHAPES)
    draw = np.random.default_rng(0)
    for array in executor.arguments.values():
        array[...] = draw.normal(size=array.shape)
    executor.forward(is_train=True)
    executor.backward()
    boxes = {box[0]: box[1:] for box in labels(viz.draw(executor, values=True, gradients=True))}
    bias, gradient = executor.arguments["fc2_bias"], executor.gradients["fc2_bias"]
    assert boxes["fc2_bias"] == [*in_words(bias), "gradient " + in_words(gradient)[0]]
    assert boxes["m_logloss"][1] == in_words(executor.outputs_now[0])[0]


@pytest.mark.parametrize("optimizer", [None, SGD()])
def test_a_plan_is_drawn_step_by_step(optimizer):
    executor = cross_entropy(mlp(2)).simple_bind(**SHAPES)
    plan = executor.plan(optimizer=optimizer)
    drawing = viz.draw(plan, expand=True)
    steps = [*plan.setup, *plan.forward, *plan.backward, *plan.update]
    ops = [
        box
        for box in labels(drawing)
        if any(line.split("(")[0] in {s.op.name for s in steps} for line in box)
    ]
    assert len(ops) == len(steps)
    parts = {part for part in ("setup", "forward", "backward", "update") if getattr(plan, part)}
    assert parts <= set(re.findall(r"label=(\w+)", drawing.source))
    assert any("in place" in line for box in labels(drawing) for line in box)
    assert ["gradient fc1_weight"] in labels(drawing)


def test_the_legend_tells_the_kinds_that_occur_and_no_others():
    def legend(drawing):
        return {a or b for a, b in re.findall(r'legend\d+ \[label=(?:"(.*?)"|(\w+))', drawing.source)}

    assert legend(viz.draw(lambda x: tl.exp(x), [1.0])) == {"element by element", "input"}
    assert "normalization, softmax" in legend(viz.draw(mlp(2)))
    assert not legend(viz.draw(mlp(2), legend=False))
    assert f"{TIMES} 39: a block, 39 times" in legend(viz.draw(res(40, 4)))


def test_what_has_no_graph_is_refused():
    with pytest.raises(DTypeError, match="3 has no graph; expected a Tensor, a Symbol, an Executor, a Plan"):
        viz.draw(3)
    with pytest.raises(GraphError, match="a Symbol holds no values"):
        viz.draw(mlp(2), values=True)


def test_names_that_begin_alike_stand_in_a_frame_and_automatic_ones_do_not():
    x = sym.Variable("data")
    for i in range(2):
        x = sym.Activation(
            sym.FullyConnected(x, num_hidden=3, name=f"stage{i}_fc"), act_type="relu", name=f"stage{i}_relu"
        )
    x = sym.broadcast_plus(x, x) + sym.broadcast_plus(x, x)
    assert re.findall(r"label=(\w+) labeljust=l", viz.plot_network(x).source) == ["stage0", "stage1"]


def test_blocks_that_repeat_are_found_by_structure_and_not_by_name():
    x = sym.Variable("data")
    for name in "abcdefgh":  # names that tell nothing
        x = sym.Activation(sym.FullyConnected(x, num_hidden=4, name=name), act_type="tanh", name=name * 2)
    drawing = viz.draw(x, shape={"data": (2, 4)}, expand=False)
    assert f'label="{TIMES} 8"' in drawing.source
    assert ["a \N{HORIZONTAL ELLIPSIS} h", "FullyConnected(num_hidden=4)"] in labels(drawing)
    assert len(labels(viz.draw(x, expand=True))) == 1 + 8 * 4


def test_a_thousand_layers_are_drawn_in_time():
    net = res(1000, 10)
    for draw in (viz.draw, viz.plot_network):
        began = time.process_time()
        drawing = draw(net, shape={"data": (20, 4)})
        assert time.process_time() - began < 2
        svg = render_svg(drawing)
        assert len(svg) < 100_000
        assert f"{TIMES} 999" in svg.replace("\xa0", " ")


@given(
    before=st.lists(st.integers(5, 9), max_size=4),
    block=st.lists(st.integers(0, 2), min_size=1, max_size=5, unique=True),
    times=st.integers(1, 9),
)
def test_a_chain_with_a_repeated_block_is_folded_just_there(before, block, times):
    kinds = [11, *before, *block * times, 10]
    inputs = [[i - 1] if i else [] for i in range(len(kinds))]
    start = 1 + len(before)
    found = [r for r in repeats(kinds, inputs, [False] * len(kinds)) if r.start >= start]
    worth = times >= 3 and len(block) * (times - 1) > 1
    assert found == ([(start, len(block), times)] if worth else [])


def test_equal_ops_that_are_wired_differently_are_not_folded():
    kinds = ["a", *["f", "g"] * 6]
    chain = [[], *([i - 1] for i in range(1, 13))]
    crossed = [list(x) for x in chain]
    crossed[7] = [0]  # reads the beginning, where its neighbours read the one before
    assert [r.times for r in repeats(kinds, chain, [False] * 13)] == [6]
    found = repeats(kinds, crossed, [False] * 13)
    assert found
    assert not any(r.start <= 7 < r.stop for r in found)


def test_long_arrays_are_told_in_a_few_words():
    assert in_words(np.zeros(100)) == ["all 0"]
    assert in_words(3.14159) == ["3.142"]
    told = in_words(np.array([np.nan, np.inf, *range(10)]))
    assert told[0] == "0 to 9, mean 4.5"
    assert told[-1] == "2 of 12 not finite"
    assert in_words(np.full(9, np.nan)) == ["9 of 9 not finite"]
    assert len(in_words(np.array([-1.7e308, 1.7e308] * 6))) == 2


@pytest.mark.parametrize("wrapped", [lambda f: f, tl.jit], ids=["plain", "jitted"])
def test_a_function_without_its_inputs_is_told_which_it_needs(wrapped):
    f = wrapped(lambda a, b, c=1: a * b)
    with pytest.raises(DTypeError, match=r"nothing is given for 'b': viz.draw\(f, a, b\)"):
        viz.draw(f, [1.0])
    assert "Multiply" in viz.draw(f, [1.0], [2.0]).source


def test_no_bar_of_a_histogram_reaches_into_the_line_above():
    _, bars = in_words(np.repeat(np.arange(16.0), np.arange(1, 17)))
    assert len(bars) == 16
    assert len(set(bars)) > 3
    assert all(0x2581 <= ord(bar) <= 0x2586 for bar in bars)  # six eighths of a line's height at most
