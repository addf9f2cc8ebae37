"""Gradient flow on the architecture: each layer its number, its colour and its mark; blocks that repeat are folded."""

import itertools
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from tinygrad_lesson import FeedForward, History, sym, viz
from tinygrad_lesson.errors import AttributeValueError, DTypeError
from tinygrad_lesson.lesson.networks import NETWORKS, res
from tinygrad_lesson.train import marks
from tinygrad_lesson.viz.column import scale_of
from tinygrad_lesson.viz.render import render_svg

DATA = {"data": (20, 4)}
SVG = "{http://www.w3.org/2000/svg}"


def weights(symbol):
    return [name for name in symbol.list_arguments() if name.endswith("weight")]


def boxes(drawing):
    """Attributes of each node of a DOT text, by its label."""
    nodes = re.findall(r'^\s*"?([\w-]+)"? \[(.*)\]$', drawing.source, re.MULTILINE)
    found = [dict(re.findall(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|\S+)', text)) for _, text in nodes]
    return {box["label"]: text for box, (_, text) in zip(found, nodes, strict=True) if box.get("label")}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_shows_the_number_of_each_weight(name):
    symbol = NETWORKS[name].build()
    numbers = {w: 10.0 ** -(i % 7) for i, w in enumerate(weights(symbol))}
    source = viz.gradient_flow((symbol, numbers), shape=DATA, expand=True).source
    shown = re.findall(r'label="(\S+)   (\S+?)"', source)
    assert shown == [(w.removesuffix("_weight"), f"{n:.1e}") for w, n in numbers.items()]
    assert "(20, 4)" in source


def test_one_scale_serves_all_models():
    one = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="one")
    other = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="other")
    both = boxes(viz.gradient_flow({"a": (one, {"one_weight": 1e-3}), "b": (other, {"other_weight": 1e-3})}))
    fill = re.compile(r'fillcolor="(#\w+)"')
    assert fill.search(both["one   1.0e-03"])[1] == fill.search(both["other   1.0e-03"])[1]
    wide = boxes(viz.gradient_flow([(one, {"one_weight": 1e-3}), (other, {"other_weight": 1e-12})]))
    assert fill.search(wide["one   1.0e-03"])[1] != fill.search(wide["other   1.0e-12"])[1]


def two_layers():
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc1")
    return sym.FullyConnected(x, num_hidden=2, name="fc2")


@pytest.mark.parametrize(
    ("number", "mark"),
    [
        (0.0, "dead"),
        (0.9e-6, "vanishing"),
        (1.1e-6, ""),
        (1.1e3, "exploding"),
        (np.nan, "not finite"),
        (np.inf, "not finite"),
    ],
)
def test_a_layer_is_marked_by_a_word_that_the_legend_explains(number, mark):
    labels = list(boxes(viz.gradient_flow((two_layers(), {"fc1_weight": number, "fc2_weight": 1e-2}))))
    (layer,) = [label for label in labels if label.startswith("fc1")]
    assert layer.partition("\\n")[2] == mark
    told = [label.split(":")[0] for label in labels if label.split(":")[0] in marks.WORDS.values()]
    assert told == [mark] * bool(mark)


def test_marks_are_those_of_the_diagnosis():
    history = History(mean_abs_grad={"fc1_weight": [1e-9, 1e-2, 1e-2], "fc2_weight": [1e-2, 1e-2, 1e-2]})
    assert "vanishing" in viz.gradient_flow(history, epoch=1).source
    assert "vanishing" not in viz.gradient_flow(history, epoch=2).source


def test_colours_follow_the_logarithm_and_are_told_in_the_legend():
    scale = scale_of([3e-15, 2e-2])
    assert (scale.low, scale.high) == (pytest.approx(1e-15), pytest.approx(1e-1))
    assert scale.colour(1e-15) == "#440154"  # viridis begins and ends so, van der Walt and Smith 2015
    assert scale.colour(1e-1) == "#fde725"
    assert scale.colour(1e-8) == "#21918c"  # the middle of viridis, at the middle of the logarithms
    assert scale.colour(0.0) == scale.colour(float("nan")) == "#ffffff"


def test_a_deep_network_is_folded_by_structure_and_drawn_whole_on_request():
    net = res(25, 10)
    numbers = {w: 10.0 ** -(i % 3) for i, w in enumerate(weights(net))}
    folded = viz.gradient_flow((net, numbers), shape=DATA)
    assert "\N{MULTIPLICATION SIGN} 24" in folded.source
    (stripes,) = re.findall(r"fillcolor=\"(#\w+(?::#\w+)+)\"", folded.source)
    scale = scale_of(list(numbers.values()))
    assert stripes.split(":") == [scale.colour(n) for n in list(numbers.values())[1:25]]
    whole = viz.gradient_flow((net, numbers), expand=True)
    assert sum(label.startswith("fc") for label in boxes(whole)) == 26
    assert "\N{MULTIPLICATION SIGN}" not in whole.source


def test_the_legend_says_for_how_many_layers_a_stripe_stands():
    for depth, told in ((25, "one layer each"), (1000, "the worst of up to 21")):
        net = res(depth, 10)
        legend = boxes(viz.gradient_flow((net, dict.fromkeys(weights(net), 1e-5))))
        assert f"stripes: {told},\\nthe first at the left" in legend


def test_a_long_name_leaves_the_number_whole():
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="x" * 70)
    (label,) = [t for t in boxes(viz.gradient_flow((net, {"x" * 70 + "_weight": 2e-9}))) if t.startswith("x")]
    assert label == "x" * 40 + " ... (70 characters)   2.0e-09"


def test_the_whole_of_a_thousand_layers_is_drawn_on_request(tmp_path):
    net = res(1000, 10)
    drawing = viz.gradient_flow((net, dict.fromkeys(weights(net), 1e-5)), expand=True)
    svg = viz.save(drawing, tmp_path / "whole.svg", timeout=120).read_text(encoding="utf-8")
    assert len(re.findall(r'class="node layer"', svg)) == 1001


def test_the_epoch_can_be_chosen():
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc1")
    history = History(mean_abs_grad={"fc1_weight": [1.0, 2.0, 3.0]})
    for epoch, shown in ((1, "1.0e+00"), (3, "3.0e+00"), (-1, "3.0e+00")):
        assert shown in viz.gradient_flow(history, epoch=epoch).source
        assert shown in viz.gradient_flow((net, history.mean_abs_grad), epoch=epoch).source
    array = {"fc1_weight": np.array([1.0, 2.0, 3.0])}
    assert "2.0e+00" in viz.gradient_flow((net, array), epoch=2).source
    with pytest.raises(AttributeValueError, match="epoch is 4, but fc1_weight has 3 epochs"):
        viz.gradient_flow(history, epoch=4)


def test_the_legend_names_an_epoch_only_where_there_are_epochs():
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc1")
    assert "in epoch 1" in viz.gradient_flow((net, {"fc1_weight": [1.0, 2.0]})).source
    assert "epoch" not in viz.gradient_flow((net, {"fc1_weight": 1.0})).source


def test_a_fitted_model_shows_what_its_history_holds():
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=1, name="fc1")
    loss = sym.MakeLoss(sym.mean(sym.square(net - sym.Variable("label"))))
    model = FeedForward(loss, prediction=net, num_epoch=2, numpy_batch_size=4, seed=0)
    with pytest.raises(AttributeValueError, match="no gradients yet; call fit first"):
        viz.gradient_flow(model)
    model.fit(np.ones((4, 2)), np.zeros((4, 1)))
    assert f"{model.history.mean_abs_grad['fc1_weight'][0]:.1e}" in viz.gradient_flow(model).source


def halved_towards_one(**fit):
    """A weight w and the loss (w - 1)^2, whose steps of rate 0.25 halve the way: 2, 1.5, 1.25, 1.125."""
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=1, no_bias=True, name="fc1")
    loss = sym.MakeLoss(sym.mean(sym.square(net - sym.Variable("label"))))
    start = {"fc1_weight": np.array([[2.0]], np.float32)}
    model = FeedForward(
        loss, prediction=net, num_epoch=3, numpy_batch_size=1, arg_params=start, learning_rate=0.25
    )
    model.fit(np.ones((1, 1)), np.ones((1, 1)), progress=False, **fit)
    return model


@pytest.mark.parametrize(
    ("keep", "epoch", "ratio", "when"),
    [
        ((), 1, 0.5 / 2, "in epoch 1"),
        ((2,), 2, 0.25 / 1.5, "in epoch 2"),
        ((2,), -1, 0.125 / 1.25, "in the last epoch"),
        ((), 2, (0.25 + 0.125) / 2 / 1.5, "in epochs 2 to 3"),
        ((), 3, (0.25 + 0.125) / 2 / 1.5, "in epochs 2 to 3"),
    ],
)
def test_the_ratio_of_update_to_weight_is_that_by_hand(keep, epoch, ratio, when):
    model = halved_towards_one(keep=keep)
    assert model.history.updates(epoch).ratios == {"fc1_weight": pytest.approx(ratio, rel=1e-6)}
    shown = boxes(viz.gradient_flow(model, by="update", epoch=epoch))
    assert f"fc1   {ratio:.1e}" in shown
    (legend,) = [label for label in shown if label.startswith("update / weight")]
    assert legend.endswith(when)


def test_updates_of_several_models_stand_on_one_scale_and_marks_are_those_of_the_gradient():
    model, other = halved_towards_one(), halved_towards_one(keep=(2,))
    model.history.mean_abs_grad["fc1_weight"][0] = 0.0
    shown = boxes(viz.gradient_flow({"a": model, "b": other.history}, by="update"))
    assert {"fc1   2.5e-01\\ndead", "fc1_weight   2.5e-01"} <= set(shown)
    assert [label for label in shown if label.endswith("in epoch 1\\nmarked by the gradient")]
    around = boxes(viz.gradient_flow([model, other], by="update", epoch=2))
    assert [label for label in around if "around epoch 2" in label]


def test_updates_without_parameters_are_refused():
    told = halved_towards_one().history.as_json()
    with pytest.raises(AttributeValueError, match="knows no parameters; it has to come from a fit"):
        viz.gradient_flow(History.read(told), by="update")
    with pytest.raises(AttributeValueError, match="computed from a FeedForward after fit"):
        viz.gradient_flow((two_layers(), {"fc1_weight": 1.0}), by="update")
    with pytest.raises(AttributeValueError, match="epoch is 4, but there were 3 epochs"):
        viz.gradient_flow(halved_towards_one(), by="update", epoch=4)
    with pytest.raises(AttributeValueError, match="by is 'size', expected one of gradient, update"):
        viz.gradient_flow(halved_towards_one(), by="size")


def test_what_is_no_model_is_refused():
    with pytest.raises(DTypeError, match="3 is no model; expected a FeedForward after fit"):
        viz.gradient_flow(3)
    with pytest.raises(AttributeValueError, match="there is no model"):
        viz.gradient_flow([])
    net = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc1")
    with pytest.raises(AttributeValueError, match="none of fc2_weight is a weight of the symbol"):
        viz.gradient_flow((net, {"fc2_weight": 1.0}))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_page_finds_each_layer_by_its_number(name):
    symbol = NETWORKS[name].build()
    root = ET.fromstring(viz.network_svg(symbol, DATA, prefix="x-"))
    layers = [g for g in root.iter(f"{SVG}g") if g.get("class") == "node layer"]
    assert root.tag == f"{SVG}svg"
    assert {g.get("id"): g.get("data-weight") for g in layers} == {
        f"x-layer-{i}": weight for i, weight in enumerate(weights(symbol))
    }
    for g in layers:
        (shape,) = [*g.findall(f"{SVG}path"), *g.findall(f"{SVG}polygon")]
        assert shape.get("fill")
        assert "".join(g.find(f"{SVG}text").itertext()) == g.get("data-layer")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert all(i.startswith("x-") for i in ids)


def test_a_folded_layer_names_all_it_stands_for():
    root = ET.fromstring(viz.network_svg(res(25, 10), DATA, expand=False))
    layers = [g for g in root.iter(f"{SVG}g") if g.get("class") == "node layer"]
    assert [len(json.loads(g.get("data-weights"))) for g in layers] == [1, 24, 1]
    assert json.loads(layers[1].get("data-layers"))[-1] == "fc25"


def test_a_thousand_layers_are_a_small_picture():
    net = res(1000, 10)
    svg = render_svg(viz.gradient_flow((net, dict.fromkeys(weights(net), 1e-5)), shape=DATA))
    assert len(svg) < 100_000
    assert "\N{MULTIPLICATION SIGN} 999" in svg.replace("\xa0", " ")


def test_steps_are_joined_where_nothing_branches_off_and_only_there():
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc1")
    straight = sym.tanh(sym.Activation(x, act_type="relu"))
    assert "relu, tanh" in boxes(viz.gradient_flow((straight, {"fc1_weight": 1.0})))
    relu = sym.Activation(x, act_type="relu")
    branching = sym.broadcast_plus(sym.tanh(relu), sym.exp(relu))
    source = viz.gradient_flow((branching, {"fc1_weight": 1.0})).source
    assert re.findall(r"label=\"?(relu|tanh|exp|relu, \w+)\"? ", source) == ["relu", "tanh", "exp"]


def test_a_folded_skip_passes_one_block_by_and_not_all():
    """It begins inside of the frame, at a point that stands for where each block is entered."""
    symbol = res(25, 10)
    source = viz.gradient_flow((symbol, dict.fromkeys(weights(symbol), 1e-3))).source
    frame = next(part for part in source.split("subgraph ") if "-in" in part.partition("}")[0])
    assert "\u00d7 24" in frame
    point = re.search(r'"?(net0-\d+-in)"? \[', frame)[1]
    skip = next(line for line in source.splitlines() if "->" in line and "d55e00" in line)
    assert f'"{point}" -> ' in skip
    entering = [line for line in source.splitlines() if f'-> "{point}"' in line]
    assert len(entering) == 1
    assert "arrowhead=none" in entering[0]


def test_eight_networks_stand_in_straight_columns():
    nets = {name: network.build() for name, network in NETWORKS.items()}
    models = {name: (net, dict.fromkeys(weights(net), 1e-3)) for name, net in nets.items()}
    root = ET.fromstring(render_svg(viz.gradient_flow(models)))
    middles = {"layer": set(), "step": set()}
    for group in root.iter(f"{SVG}g"):
        kind = group.get("class", "").removeprefix("node ")
        if kind in middles:
            middles[kind].add(float(group.find(f"{SVG}text").get("x")))
    assert len(middles["layer"]) == len(NETWORKS)  # a column each, and what is between layers stands in it
    assert all(min(abs(step - layer) for layer in middles["layer"]) < 2 for step in middles["step"])


def test_an_end_of_the_scale_says_that_numbers_lie_beyond_it():
    def legend(first, **scale):
        drawn = viz.gradient_flow((two_layers(), {"fc1_weight": first, "fc2_weight": 1e-2}), **scale)
        return [label for label in boxes(drawn) if re.match(r"1e[-+]\d\d", label)]

    assert legend(1e-30)[-1] == "1e-16 or less"
    assert legend(1e-9)[-1] == "1e-09"
    assert legend(5.0, scale=(1e-16, 1.0))[:2] == ["1e+00 or more", "1e-02"]
    assert legend(0.0)[-1] == "1e-02"  # which is white


def test_titles_of_neighbours_stay_apart_in_a_wide_font():
    """A browser without Helvetica takes another font, on many systems DejaVu Sans, which is wider."""
    titles = {
        "mlp8": "mlp8: 8 plain layers", "bn8": "bn8: with batch normalization", "res6": "res6: with skip connections",
    }  # fmt: skip
    nets = {title: NETWORKS[name].build() for name, title in titles.items()}
    models = {title: (net, dict.fromkeys(weights(net), 1e-3)) for title, net in nets.items()}
    root = ET.fromstring(render_svg(viz.gradient_flow(models)))
    columns = []
    for group in root.iter(f"{SVG}g"):
        lines = group.findall(f"{SVG}text") if group.get("class") == "cluster" else []
        if lines:
            middle, size = (float(lines[0].get(name)) for name in ("x", "font-size"))
            font = FontProperties("DejaVu Sans")
            drawn = [TextPath((0, 0), line.text, size=size, prop=font).get_extents() for line in lines]
            half = max(box.width for box in drawn) / 2
            columns.append((middle - half, middle + half))
    assert len(columns) == 3
    assert all(left[1] + 5 < right[0] for left, right in itertools.pairwise(sorted(columns)))
