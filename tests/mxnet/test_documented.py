"""What `help` says of MXNet's operators."""

import doctest
import inspect
import pydoc
import re

import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.mxnet.documented import documented, signature
from tinygrad_lesson.mxnet.register import offered, offered_names

NAMES = sorted(offered_names())


@pytest.mark.parametrize("name", NAMES)
def test_every_attribute_has_a_meaning(name):
    known = offered(name)
    listed = dict(re.findall(r"^    (\w+): (.*)$", documented(known).partition("\nAttributes\n")[2], re.M))
    for key in known.parameters:
        assert listed[key].removesuffix("(must be given)").strip(), key
    assert not documented(known).startswith("The op behind")


@pytest.mark.parametrize("name", NAMES)
def test_a_signature_has_the_order_in_which_a_call_without_names_is_read(name):
    known = offered(name)
    parameters = signature(known).parameters.values()
    given = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    inputs, attributes = known.by_position(given, {})
    assert set(known.parameters) <= {p.name for p in parameters}
    assert [*inputs, *attributes] == given or not attributes
    assert all(key == value for key, value in attributes.items())


@pytest.mark.parametrize("name", NAMES)
def test_the_example_runs_and_shapes_are_told(name):
    known = offered(name)
    text = documented(known)
    assert "Shapes\n" in text or name == "Custom"  # of which only the user knows
    assert "Example\n" in text or name.startswith(("multi_", "preloaded_multi_", "Custom"))  # of many arrays
    told = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    report = []
    doctest.DocTestRunner().run(told, out=report.append)
    assert not report, "".join(report)


def test_help_shows_inputs_defaults_and_meanings():
    shown = " ".join(
        pydoc.render_doc(tl.sym.BatchNorm, renderer=pydoc.plaintext).split()
    )  # 3.13 has a line for each
    for part in (
        "data=None, gamma=None, beta=None",
        "eps: float = 0.001",
        "fix_gamma: ",
        "Shapes",
        "cudnn_off",
    ):
        assert part in shown, shown
    assert inspect.signature(tl.sym.FullyConnected).parameters["num_hidden"].default is None
