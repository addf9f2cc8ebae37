"""Pictures of symbols: what is drawn, and that no name becomes anything but a name."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

import tinygrad_lesson as mx
from tinygrad_lesson import symbol as sym
from tinygrad_lesson.errors import DTypeError, LessonError, ShapeError
from tinygrad_lesson.viz import render
from tinygrad_lesson.viz.architecture import PARAMETER_ENDINGS
from tinygrad_lesson.viz.network import plot_network, save_network
from tinygrad_lesson.viz.render import render_svg

NETS = Path(__file__).parents[1] / "data" / "nets"
NAMES = sorted(path.name.removesuffix("-symbol.json") for path in NETS.glob("*-symbol.json"))
SHAPES = {"data": (20, 4), "label": (20, 3)}
HOSTILE = (
    '"];evil [URL="javascript:alert(1)"];"',
    "<<b>bold</b>>",
    "<table><tr><td href='https://example.org'>x</td></tr></table>",
    "a&lt;b &#60; &amp;",
    "\\N \\G \\L \\",
    "line\nbreak\r\x00\x1b[31m",
    "]]> --> <!-- <script>alert(1)</script>",
    "\u202eturned around\u202c \ud800",
    "\u5c64 \U0001f98b",
    "x" * 10_000,
)


def layer(name, data="data"):
    return sym.FullyConnected(sym.Variable(data), num_hidden=10, name=name)


def lines(drawing, mark):
    """The lines of the DOT text that hold `mark`."""
    return [line.strip() for line in drawing.source.splitlines() if mark in line]


def shown_texts(svg):
    """What a reader of the picture sees."""
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def as_a_reader_sees(name):
    """A name as it should stand in the picture: whole, or cut with its length told."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return plain if len(plain) <= 60 else f"{plain[:40]} ... ({len(plain)} characters)"


def unquoted(text):
    """What lies outside quoted strings in DOT, by the language's rule: only a backslash hides a quote."""
    outside, inside, escaped = [], False, False
    for c in text:
        if not inside:
            outside.append(c)
        if c == '"' and not escaped:
            inside = not inside
        escaped = inside and c == "\\" and not escaped
    assert not inside, "a string does not end"
    return "".join(outside)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_of_the_lesson_has_a_box_per_op_and_none_per_weight(name):
    nodes = json.loads((NETS / f"{name}-symbol.json").read_text())["nodes"]
    symbol = sym.load(str(NETS / f"{name}-symbol.json"))
    drawing = plot_network(symbol, shape=SHAPES)
    boxes, arrows = lines(drawing, "label="), lines(drawing, " -> ")
    ops = [node["name"] for node in nodes if node["op"] != "null"]
    labels = [line.partition('label="')[2] for line in boxes if " -> " not in line]
    assert [label.split("\\n")[0].rstrip('"]') for label in labels if "\\n" in label] == ops
    assert len(labels) == len(ops) + len({"data", "label"} & {node["name"] for node in nodes})
    assert not any(ending in drawing.source for ending in ("_weight", "_bias", "_gamma", "_moving_mean"))
    assert any("(20, 4)" in arrow for arrow in arrows)
    assert all("label=" in arrow for arrow in arrows)


def test_a_box_tells_name_kind_and_attributes():
    drawing = plot_network(sym.Activation(layer("fc1"), act_type="relu", name="relu1"))
    (fc,) = lines(drawing, "fc1")
    (relu,) = lines(drawing, "relu1")
    assert r'label="fc1\nFullyConnected(num_hidden=10)"' in fc
    assert r'label="relu1\nRelu"' in relu
    assert fc.partition("fillcolor=")[2] != relu.partition("fillcolor=")[2]


def test_weights_are_shown_when_asked_for():
    drawing = plot_network(layer("fc1"), hide_weights=False)
    assert len(lines(drawing, " -> ")) == 3
    assert lines(drawing, "fc1_weight")
    assert lines(drawing, "fc1_bias")


def test_edges_have_shapes_only_when_some_are_given():
    assert "(20, 4)" in plot_network(layer("fc1"), shape={"data": (20, 4)}).source
    assert "(" not in lines(plot_network(layer("fc1")), " -> ")[0]


def test_attributes_of_boxes_format_and_title_reach_graphviz():
    drawing = plot_network(layer("fc1"), title='my "net"', save_format="svg", node_attrs={"shape": "oval"})
    assert drawing.format == "svg"
    assert "shape=oval" in lines(drawing, "node [")[0]
    assert drawing.source.startswith('digraph "my _net_" {')


def test_shapes_that_do_not_fit_name_the_node():
    with pytest.raises(ShapeError, match=r"fc1 .*: weight is \(10, 5\), expected \(10, 4\)"):
        plot_network(layer("fc1"), shape={"data": (20, 4), "fc1_weight": (10, 5)})


def test_what_is_no_symbol_is_refused():
    with pytest.raises(DTypeError, match="expected a Symbol, not 3"):
        plot_network(3)


def test_a_value_used_twice_has_two_arrows():
    x = sym.Variable("x")
    assert [line.split(" [")[0] for line in lines(plot_network(x * x), " -> ")] == ["n0 -> n1"] * 2


def test_a_deep_network_is_drawn_without_recursion():
    x = sym.Variable("data")
    for i in range(3000):
        x = sym.Activation(x, act_type="relu", name=f"relu{i}")
    assert len(lines(plot_network(x, shape={"data": (2, 3)}, expand=True), " -> ")) == 3000
    folded = plot_network(x, shape={"data": (2, 3)})
    assert len(lines(folded, " -> ")) == 1
    assert lines(folded, "\N{MULTIPLICATION SIGN} 3000")


@given(st.text(max_size=300))
@example(HOSTILE[0])
@example(HOSTILE[1])
@example(HOSTILE[4])
@example(HOSTILE[7])
def test_no_name_gets_out_of_its_quotes(name):
    calm, wild = (
        plot_network(layer(f"a {text}", data=f"<{text}>"), shape={f"<{text}>": (2, 3)}).source
        for text in ("calm", name)
    )
    assert unquoted(wild) == unquoted(calm)
    assert wild.count("\n") == calm.count("\n")


@given(st.text(max_size=100))
def test_a_title_becomes_a_harmless_file_name(title):
    stem = Path(plot_network(layer("fc1"), title=title).filename).stem
    assert stem
    assert not set(stem) & set('/\\:"<>|?*\n\0')


def check_that_it_can_be_read(name):
    """Draw a layer and its input of this name; the picture must show it, without a link or a handler."""
    svg = render_svg(plot_network(layer(name, data=name), title=name))
    for element in ET.fromstring(svg).iter():
        assert element.tag.partition("}")[2] in {
            "svg",
            "style",
            "g",
            "title",
            "path",
            "polygon",
            "ellipse",
            "text",
        }
        assert not [key for key in element.attrib if "href" in key or key.startswith("on")]
    texts = [text.replace("\xa0", " ") for text in shown_texts(svg)]
    assert texts == [as_a_reader_sees(name), as_a_reader_sees(name), "FullyConnected(num_hidden=10)"]


@settings(max_examples=10)
@given(st.text(min_size=1, max_size=40))
def test_any_name_can_be_read_in_the_picture(name):
    assume(not name.endswith(PARAMETER_ENDINGS))  # MXNet takes such an input for a weight, and hides it
    check_that_it_can_be_read(name)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_name_is_drawn_as_it_is(name):
    check_that_it_can_be_read(name)


def test_a_picture_that_takes_too_long_is_given_up():
    with pytest.raises(LessonError, match="longer than 1e-06 s"):
        render_svg(plot_network(layer("fc1")), timeout=1e-6)


def test_the_picture_of_a_network_is_written_as_svg(tmp_path):
    path = save_network(sym.load(str(NETS / "res6-symbol.json")), tmp_path, SHAPES)
    assert path == tmp_path / "network.svg"
    texts = shown_texts(path.read_text(encoding="utf-8"))
    assert {"fc1", "FullyConnected(num_hidden=3)", "data", "(20, 4)", "Add"} <= set(texts)


def test_without_graphviz_its_text_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "commands", lambda form: [])
    path = save_network(layer("fc1"), tmp_path)
    assert path == tmp_path / "network.gv"
    assert path.read_text(encoding="utf-8") == plot_network(layer("fc1"), title="network").source
    assert render_svg(plot_network(layer("fc1"))) is None


def test_a_graphviz_that_fails_is_told_with_its_own_words(tmp_path, monkeypatch):
    dot = tmp_path / "dot"
    dot.write_text("#!/bin/sh\necho no fonts today >&2\nexit 3\n")
    dot.chmod(0o755)
    monkeypatch.setattr(render, "commands", lambda form: [[str(dot)]])
    with pytest.raises(LessonError, match="no fonts today"):
        render_svg(plot_network(layer("fc1")))


def documented():
    """The network of MXNet's documentation of `plot_network`, as it stands there."""
    net = mx.sym.Variable("data")
    net = mx.sym.FullyConnected(data=net, name="fc1", num_hidden=128)
    net = mx.sym.Activation(data=net, name="relu1", act_type="relu")
    net = mx.sym.FullyConnected(data=net, name="fc2", num_hidden=10)
    return mx.sym.SoftmaxOutput(data=net, name="out")


def test_the_example_of_mxnets_documentation_runs_as_it_stands():
    digraph = mx.viz.plot_network(documented(), shape={"data": (100, 200)}, node_attrs={"fixedsize": "false"})
    told = [node.text for node in ET.fromstring(render_svg(digraph)).iter("{http://www.w3.org/2000/svg}text")]
    for text in ("out", "SoftmaxOutput", "out_label", "(100, 10)", "(100,)", "(100, 200)", "data"):
        assert text in told
    assert "fc1_weight" not in told


def test_its_summary_is_that_of_mxnet(capsys):
    mx.viz.print_summary(
        documented(), shape={"data": (100, 200)}, line_length=100, positions=[0.4, 0.6, 0.7, 1.0]
    )
    assert (
        capsys.readouterr().out == (Path(__file__).parents[1] / "data" / "documented_summary.txt").read_text()
    )
