"""Messages: whatever a thing is called, its name is shown and does nothing to the terminal."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_lesson import cpu, sym, viz
from tinygrad_lesson.errors import FormatError, LessonError, near, shown
from tinygrad_lesson.train.feedforward import FeedForward

HOSTILE = st.text(
    alphabet=st.sampled_from("ab_ \t\n\r\x00\x07\x08\x1b[31m\x7f\x9b\u202e\u2028\ud800é\N{GRINNING FACE}"),
    min_size=1,
    max_size=12,
)


def net_of(name):
    """Layers, and inputs, of that name."""
    data = sym.Variable(f"{name}1")
    x = sym.FullyConnected(data, num_hidden=2, name=name, attr={f"{name}2": name})
    return sym.relu(x, name=f"{name}3")


def summary(name):
    out = io.StringIO()
    with redirect_stdout(out):
        viz.print_summary(net_of(name))
    return out.getvalue()


def shapes(name):
    return {f"{name}1": (2, 3)}


TOLD = {
    "symbol": lambda name: f"{net_of(name)!s}{net_of(name)!r}",
    "group": lambda name: str(sym.Group([net_of(name), net_of("a")])),
    "nodes": lambda name: str(net_of(name).nodes),
    "names": lambda name: str(net_of(name).list_arguments()),
    "debug_str": lambda name: net_of(name).debug_str(),
    "print_summary": summary,
    "plan": lambda name: str(net_of(name).simple_bind(cpu(), **shapes(name)).plan()),
    "json": lambda name: net_of(name).tojson(),
}
REFUSED = {
    "attribute": lambda name: sym.FullyConnected(sym.Variable("x"), num_hidden=0, name=name),
    "unknown attribute": lambda name: sym.relu(sym.Variable("x"), name="r", **{name: 1}),
    "input": lambda name: sym.relu(3, name=name),
    "inputs": lambda name: sym.relu(sym.Variable("x"), sym.Variable("x"), name=name),
    "output": lambda name: net_of(name)["nothing"],
    "composition": lambda name: net_of(name)(nothing=sym.Variable("x")),
    "scope": lambda name: sym.Variable("x", attr={f"{name}_lr_mult": "1"}),
    "shapes": lambda name: net_of(name).infer_shape(**shapes(name), **{f"{name}_weight": (7, 7)}),
    "unknown shape": lambda name: net_of(name).simple_bind(cpu()),
    "unknown argument": lambda name: net_of(name).infer_shape(nothing=(2,)),
    "same names": lambda name: (sym.Variable(name) + sym.Variable(name)).simple_bind(cpu()),
    "bind": lambda name: net_of(name).bind(cpu(), {}),
    "forward": lambda name: net_of(name).simple_bind(cpu(), **shapes(name)).forward(nothing=1),
    "forward shape": lambda name: net_of(name).simple_bind(cpu(), **shapes(name)).forward(**{f"{name}1": [1.0]}),
    "backward": lambda name: trained(name).backward(),
    "file": lambda name: sym.load_json(net_of(name).tojson().replace('"relu"', '"nothing"')),
    "fit": lambda name: FeedForward(sym.MakeLoss(net_of(name))).fit(np.ones((2, 3), np.float32)),
    "summary": lambda name: viz.print_summary(net_of(name), shape={"nothing": (2,)}),
}  # fmt: skip


def trained(name):
    executor = net_of(name).simple_bind(cpu(), **shapes(name))
    executor.forward(is_train=True)
    return executor


@pytest.mark.parametrize("what", TOLD)
@given(name=HOSTILE)
def test_what_is_printed_of_a_network_holds_no_control_character(what, name):
    harmless, text = TOLD[what]("a"), TOLD[what](name)
    assert all(c.isprintable() for line in text.split("\n") for c in line.removeprefix("\t"))
    assert text.count("\n") == harmless.count("\n")


@pytest.mark.parametrize("what", REFUSED)
@given(name=HOSTILE)
@example(name="_")
@example(name="__a")
def test_a_message_holds_no_control_character_and_no_line_of_a_name(what, name):
    texts = []
    for given_name in (name, "a"):
        with pytest.raises(LessonError) as caught:
            REFUSED[what](given_name)
        texts.append(str(caught.value))
    text, harmless = texts
    assert all(line.isprintable() for line in text.split("\n"))
    assert text.count("\n") == harmless.count("\n")


@given(text=st.text())
def test_what_is_shown_prints_and_tells_what_was_there(text):
    assert shown(text).isprintable()
    if text.isprintable():
        assert shown(text) == text
    else:
        assert shown(shown(text)) == shown(text) != text


def test_an_escape_is_shown_as_python_writes_it():
    assert shown("a\x1b[31m\n\u202eb\ud800") == r"a\x1b[31m\n\u202eb\ud800"
    assert near("a", ["b\n"]) == r"it takes b\n"
    assert str(FormatError("a\x1b\nb")) == "a\\x1b\nb"
