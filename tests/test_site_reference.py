"""The pages of the reference: every public name is there, each parameter has a meaning, pictures show the function."""

import inspect
import operator
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.mxnet.register import offered_names
from tinygrad_lesson.op import FUNCTIONS, OPS

sys.path.insert(0, str(Path(__file__).parent.parent / "docs" / "tools"))
import chapters
import curves
import elsewhere
import reference

PAGES = chapters.chapters()
ENTRIES = {named.name: named.thing for found in PAGES.values() for named in found}
INTERNAL = {"with_scalar"}  # how `x + 1.5` is recorded
MADE_BY_USERS = {
    n: t for n, t in ENTRIES.items() if not reference.is_operator(n) and not reference.alias(n, t)
}


def test_every_public_name_has_an_entry():
    declared = {n for cls in OPS.values() if not cls.ours for n in (cls.name, cls.function)}  # by other tests
    ours = [n for n in dir(tl) if not n.startswith("_") and n not in declared and callable(getattr(tl, n))]
    ours = [n for n in ours if not inspect.ismodule(getattr(tl, n))]
    ours = [n for n in ours if getattr(tl, n).__module__.startswith("tinygrad_lesson") and n not in INTERNAL]
    train = {"FeedForward", "History", "NDArrayIter", "diagnose"}  # which are under tl.train
    later = {"Displayed"}  # how a notebook shows a value
    assert {f"tl.{n}" for n in ours if n not in train | later} <= set(ENTRIES)
    assert {f"tl.train.{n}" for n in train} <= set(ENTRIES)
    assert {f"tl.{n}" for n, cls in FUNCTIONS.items() if cls.ours and n not in INTERNAL} <= set(ENTRIES)
    assert {f"sym.{n}" for n in offered_names() - declared if not n.startswith("_")} <= set(ENTRIES)
    assert {"Executor", "sym.Symbol", "sym.Variable", "sym.Group", "mx.mod.Module", "mx.io.CSVIter"} <= set(
        ENTRIES
    )
    for home in ("check", "viz", "linalg", "fft"):
        module = getattr(tl, home)
        names = [n for n in module.__all__ if inspect.isfunction(getattr(module, n))]
        assert {f"tl.{home}.{n}" for n in names} <= set(ENTRIES)


@pytest.mark.parametrize("name", MADE_BY_USERS)
def test_every_parameter_has_a_meaning(name):
    thing = MADE_BY_USERS[name]
    assert inspect.getdoc(thing)
    text = reference.entry(chapters.Named(name, thing))
    for key in reference.parameters(name, thing):
        assert re.search(rf"\b{re.escape(key)}\d*\b", text.partition("\n```\n")[2].replace("\\_", "_")), key


def test_no_meaning_is_left_over():
    used = set()
    for name, thing in MADE_BY_USERS.items():
        untold = [key for key in reference.parameters(name, thing) if not reference.told(key, thing)]
        used |= {next(p for p in reference.places(name, key) if p in reference.MEANINGS) for key in untold}
    assert set(reference.MEANINGS) == used
    assert not [key for key in used if key.startswith("tl.*")]  # what holds for all says nothing


def points(svg, kind):
    """What a line of a picture goes through, as x and y."""
    found = re.findall(rf'class="{kind}".*? points="([^"]*)"', svg)
    pairs = np.array([pair.split(",") for line in found for pair in line.split()], float)
    x = pairs[:, 0] / curves.WIDTH * (curves.HIGH - curves.LOW) + curves.LOW
    return x, curves.HIGH - pairs[:, 1] / curves.HEIGHT * (curves.HIGH - curves.LOW)


@pytest.mark.parametrize(
    ("name", "function", "slope"),
    [
        ("tanh", np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        ("abs", np.abs, np.sign),
        ("log", np.log, np.reciprocal),
        ("tan", np.tan, lambda x: 1 + np.tan(x) ** 2),
    ],
)
def test_a_picture_shows_the_function_and_its_gradient(name, function, slope):
    svg = curves.curve(name, FUNCTIONS[name])
    for kind, expected in (("own", function), ("slope", slope)):
        x, y = points(svg, kind)
        assert len(x) > 20
        half = 0.06 * (curves.HIGH - curves.LOW) / curves.HEIGHT  # places are written with one decimal
        steep = np.abs(expected(x + 0.01) - expected(x - 0.01)) + 2 * half  # and so are those of x
        assert np.all(np.abs(y - expected(x)) <= steep), (kind, np.max(np.abs(y - expected(x))))


def test_what_jumps_or_leaves_the_picture_is_drawn_in_pieces():
    x = np.linspace(-3, 3, 121)
    assert len(curves.pieces(x, np.sign(x))) == 2
    assert len(curves.pieces(x, np.where(np.abs(x) < 1, 99, x))) == 2
    assert curves.pieces(x, np.full(121, np.nan)) == []
    assert "slope" not in curves.curve("floor", FUNCTIONS["isnan"])


def test_names_elsewhere():
    told = " ".join(elsewhere.elsewhere("abs", FUNCTIONS["abs"]))
    assert told == "MXNet: `abs` NumPy: `np.abs` PyTorch: `torch.abs`"
    assert elsewhere.elsewhere("polygamma", FUNCTIONS["polygamma"])[-1] == "PyTorch: `torch.polygamma`"
    for name in ENTRIES:
        numpys = elsewhere.numpys(name.partition(".")[2]) if name.startswith("tl.") else ""
        assert not numpys or callable(operator.attrgetter(numpys.partition(".")[2])(np))


def test_every_name_that_has_one_in_pytorch_is_ours():
    for home, names in elsewhere.TORCH.items():
        assert [name for name in names if not hasattr(tl.linalg if "linalg" in home else tl, name)] == []


def test_pytorchs_names_are_its_own():
    torch = pytest.importorskip("torch")
    for name in ENTRIES:
        told = elsewhere.torchs(name.partition(".")[2]) if name.startswith("tl.") else ""
        for word in re.findall(r"torch\.[\w.]+", told):
            operator.attrgetter(word.partition(".")[2])(torch)


def test_a_docstring_becomes_markdown_without_losing_a_sign():
    doc = "Sum *of* x_1 and ``a*b``.\n\nShapes\n    x (n,) -> ()\n\nExample\n    >>> 1 + 1\n    2"
    text = reference.markdown(doc)
    assert r"Sum \*of\* x\_1 and ``a*b``." in text
    assert "**Shapes**" in text
    assert "```pycon\n>>> 1 + 1\n2\n```" in text


def test_pages_are_written_once_and_what_is_gone_is_deleted(tmp_path):
    (tmp_path / "old.md").write_text("gone")
    reference.write(tmp_path)
    assert not (tmp_path / "old.md").exists()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert len(times) == len([found for found in PAGES.values() if found]) + 1
    reference.write(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == times
    assert "at 0x" not in "".join(path.read_text() for path in tmp_path.iterdir())
