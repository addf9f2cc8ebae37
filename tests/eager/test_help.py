"""What `help` says of the functions of `tl`: parameters, shapes, where they are not smooth, an example that runs."""

import doctest
import inspect
import operator
import re
import subprocess
import sys
from pathlib import Path

import numpy
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.eager import documented
from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.op import FUNCTIONS

NUMPYS = {"fft.fftfreq", "fft.rfftfreq"}  # which are NumPy's own
INTERNAL = {"with_scalar"}  # how `x + 1.5` is recorded: it takes an op
MODULES = {"linalg": tl.linalg, "fft": tl.fft}
INSIDE = {f"{home}.{name}" for home, module in MODULES.items() for name in module.__all__}
ALL = sorted(
    name
    for name in {*NAMES, *(name for name, cls in FUNCTIONS.items() if cls.ours)} | INSIDE
    if name not in NUMPYS | INTERNAL
)
UNLIKE = {  # NumPy takes no lists there, or something else: "trim_zeros" gives a list for one
    "apply_over_axes", "astype", "hsplit", "put_along_axis", "split", "take_along_axis", "unstack", "vsplit", "trim_zeros", "row_stack",
}  # fmt: skip
EXAMPLES = Path(documented.__file__).with_name("examples.txt")


def found(name):
    return operator.attrgetter(name)(tl)


def sections(doc):
    """The lines of each section by its title."""
    parts = re.split(r"^(\S[^\n]*)\n(?=    )", doc, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", ALL)
def test_help_tells_every_parameter_and_an_example_that_runs(name):
    function = found(name)
    told = sections(inspect.getdoc(function))
    lines = told.get("Parameters", "") + told.get("Attributes", "")
    meanings = dict(re.findall(r"^    (\w+): (\S.*)$", lines, re.M))
    for key in inspect.signature(function).parameters:
        assert key in meanings or re.search(rf"\b{key}\d*\b", told["Shapes"]), key
    example = doctest.DocTestParser().get_doctest(told["Example"], {"tl": tl, "np": numpy}, name, None, None)
    assert example.examples
    report = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=report.append)
    assert not report, "".join(report)


OTHERS = [name for name in tl.__all__ if not inspect.ismodule(getattr(tl, name))]
KNOWN = {name: getattr(tl, name) for name in tl.__all__}
IN_GUIDES = {
    "Op",
    "attr",
    "custom",
    "op",
}  # an example would declare an op: docs/howto/own_op.md and mxnet.md have them
OF_NO_USE = {"LessonError", "show_config"}  # what all errors are; what a machine prints


@pytest.mark.parametrize("name", [name for name in OTHERS if name not in IN_GUIDES | OF_NO_USE])
def test_what_is_no_op_has_an_example_that_runs(name):
    text = inspect.getdoc(found(name))
    example = doctest.DocTestParser().get_doctest(text, KNOWN | {"np": numpy}, name, None, None)
    assert example.examples
    report = []
    doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("cls", [cls for cls in FUNCTIONS.values() if cls.ours], ids=lambda cls: cls.name)
def test_help_tells_where_an_op_is_not_smooth(cls):
    draw = documented.Told()
    made, inputs = draw.sample(cls)
    text = documented.of_op(cls, cls.__doc__, cls.function)
    rough = any(id(x) in draw.rough for x in inputs.values())
    assert ("Not smooth" in text) == (rough or not made.differentiable)
    assert "Shapes" in text


LISTED = EXAMPLES.read_text().split(">>> ")[1:]


@pytest.mark.parametrize("part", LISTED, ids=lambda part: part.partition("(")[0])
def test_numpy_gives_what_the_examples_show(part):
    call = part.partition("\n")[0]
    name = call.partition("(")[0].removeprefix("tl.")
    home, _, last = name.rpartition(".")
    if name in UNLIKE or not hasattr(getattr(numpy, home) if home else numpy, last):
        pytest.skip("NumPy has no such function, or it takes no lists")
    ours = eval(call, {"tl": tl, "np": numpy})
    theirs = eval(re.sub(r"\btl\.", "np.", call), {"np": numpy})
    many = isinstance(ours, list | tuple)
    for y, z in zip(ours if many else [ours], theirs if many else [theirs], strict=True):
        numpy.testing.assert_allclose(numpy.asarray(getattr(y, "array", y)), z, atol=1e-12)


def test_the_examples_are_those_of_the_functions_that_there_are():
    told = documented.examples()
    assert set(told) == {name for name in {*NAMES, *INSIDE} if not hasattr(found(name), "op")}
    _, own, rough = documented.tables()
    assert {name.rpartition(".")[0] for name in own} <= set(told)
    assert set(rough) <= {*told, *FUNCTIONS}


def test_documentation_costs_nothing_until_a_function_is_looked_up():
    code = (
        "import sys, tinygrad_lesson as tl; print(any(name.endswith('documented') for name in sys.modules))"
    )
    code += "; tl.tanh, tl.cumsum; print('numpy.random' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
