"""Ops and functions checked by name: `pytest --gradcheck package` and `tinygrad-lesson check module:function`."""

import subprocess
import sys
from unittest import mock

import pytest

from tinygrad_lesson import operator
from tinygrad_lesson.cli import main
from tinygrad_lesson.op import FUNCTIONS, OPS

RIGHT = '''
import tinygrad_lesson as tl
from tinygrad_lesson.op import Elementwise


@tl.op
class Gauss{n}(Elementwise):
    """The bell curve."""

    def forward(self, xp, x, out=None):
        return xp.exp(-x * x, out=out)

    def vjp(self, F, g, y, x):
        return (-2 * x * y * g,)


def loss(data, weight):
    return tl.sum(tl.tanh(tl.matmul(data, weight)))


def logarithm(x):
    return tl.sum(tl.log(x))


def add(a, b=2.0):
    return tl.sum(a * b)


def without_inputs():
    return tl.sum(tl.Tensor([1.0]))


def boom(x):
    raise ValueError("first line\\nsecond line")


def colours(x):
    raise ValueError("\\x1b[31mred")


def leaves(x):
    raise SystemExit(0)


def leaves_later(x, calls=[]):
    calls.append(x)
    if len(calls) > 3:
        raise SystemExit(0)
    return tl.sum(x * x)


def __getattr__(name):
    if name == "odd":
        raise SystemExit(0)
    raise AttributeError(name)


net = tl.sym.FullyConnected(tl.sym.Variable("data"), num_hidden=3, name="fc")
three = 3
'''
WRONG = RIGHT.replace("-2 * x", "-x").replace("Gauss", "Wrong")
PAIRS = (
    RIGHT
    + '''

@tl.op
class Pairs{n}(tl.Op):
    """Differences of the rows of two arrays."""

    def shape(self, a, b):
        return a[0], b[0], a[1]

    def forward(self, xp, a, b):
        return a[:, None, :] - b[None, :, :]

    def vjp(self, F, g, y, a, b):
        return F.sum(g, axis=1), -F.sum(g, axis=0)
'''
)
CUSTOM = """
from tinygrad_lesson import operator


class Twice(operator.CustomOp):
    def forward(self, is_train, req, in_data, out_data, aux):
        self.assign(out_data[0], req[0], 2 * in_data[0])

    def backward(self, req, out_grad, in_data, out_data, in_grad, aux):
        self.assign(in_grad[0], req[0], {slope} * out_grad[0])


@operator.register("twice{slope}")
class TwiceProp(operator.CustomOpProp):
    def __init__(self):
        super().__init__(need_top_grad=True)

    def create_operator(self, ctx, in_shapes, in_dtypes):
        return Twice()
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of ops that nobody has written a test for, in the folder we are in."""
    folder = tmp_path / "mypackage"
    (folder / "more").mkdir(parents=True)
    for path, text in {
        "__init__.py": "", "right.py": RIGHT.format(n=1), "wrong.py": WRONG.format(n=2),
        "more/__init__.py": "", "more/custom.py": CUSTOM.format(slope=2), "more/bad.py": CUSTOM.format(slope=3),
        "empty.py": "", "broken.py.txt": "",
    }.items():  # fmt: skip
        (folder / path).write_text(text)
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    (tmp_path / "damaged.py").write_text("import nothing_of_this_name\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with mock.patch.dict(OPS), mock.patch.dict(FUNCTIONS), mock.patch.dict(operator.REGISTERED):
        yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("mypackage", "damaged")]:
        del sys.modules[name]


def run_pytest(*arguments):
    """What pytest says, and its exit code."""
    plugins = ["-p", "no:cacheprovider", "-p", "no:benchmark"]  # an old pytest-benchmark warns of xdist
    command = [sys.executable, "-W", "error", "-m", "pytest", *plugins, "-rA", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.stdout + done.stderr, done.returncode


@pytest.mark.usefixtures("package")
def test_every_op_of_a_package_is_a_test_and_the_wrong_ones_fail():
    said, code = run_pytest("--gradcheck", "mypackage")
    assert code == 1
    assert "collected 4 items" in said
    for line in (
        "PASSED mypackage::Gauss1", "FAILED mypackage::Wrong2 - Wrong2(): wrong",
        "likely cause: ",
        "again: check.assert_op(Wrong2(), np.array(",
        "again: check.assert_op(Custom(op_type='twice3'), ", "2 failed, 2 passed",
    ):  # fmt: skip
        assert line in said, said
    assert "test_other" not in said


@pytest.mark.usefixtures("package")
def test_its_tests_are_chosen_like_any_other_and_stand_beside_others():
    said, code = run_pytest(
        "--gradcheck", "mypackage.right", "--gradcheck", "mypackage.more.custom", "-n", "2"
    )
    assert (code, "2 passed" in said) == (0, True), said
    said, code = run_pytest("--gradcheck", "mypackage", "-k", "Gauss1")
    assert (code, "1 passed, 3 deselected" in said) == (0, True), said
    said, code = run_pytest("--gradcheck", "mypackage.right", "test_other.py")
    assert (code, "2 passed" in said) == (0, True), said
    said, code = run_pytest()
    assert (code, "1 passed" in said) == (0, True), said


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "ERROR: --gradcheck nowhere: cannot import 'nowhere': ModuleNotFoundError"),
        ("mypackage.empty", "ERROR: --gradcheck mypackage.empty: mypackage.empty declares no op"),
        ("damaged", "cannot import 'damaged': ModuleNotFoundError: No module named 'nothing_of_this_name'"),
    ],
)
def test_a_package_that_cannot_be_checked_is_a_mistake_on_one_line(name, message):
    said, code = run_pytest("--gradcheck", name)
    assert (code, message in said) == (4, True), said


LEAVES = {
    "leaves": "import sys; sys.exit(0)",
    "skips": "import pytest; pytest.skip('not today', allow_module_level=True)",
    "ends": "import pytest; pytest.exit('enough', returncode=0)",
    "raises": "raise BaseException('a\\x1b[31mb')",
}


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("name", LEAVES)
def test_a_module_that_leaves_while_it_is_imported_is_a_mistake_and_no_pass(name, tmp_path, capsys):
    (tmp_path / "mypackage" / f"{name}.py").write_text(LEAVES[name])
    said, code = run_pytest("--gradcheck", "mypackage")
    assert (code, f"ERROR: --gradcheck mypackage: cannot import 'mypackage.{name}': " in said) == (4, True), (
        said
    )
    assert "\x1b[31mb" not in said
    for target in ("mypackage", f"mypackage.{name}", f"mypackage.{name}:f"):
        assert main(["check", target]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"tinygrad-lesson: cannot import 'mypackage.{name}': ")
        assert error.count("\n") == 1
        assert error.rstrip("\n").isprintable()


@pytest.mark.usefixtures("package")
def test_an_op_that_leaves_fails(tmp_path):
    left = RIGHT.format(n=6).replace("return xp.exp(-x * x, out=out)", "raise SystemExit(0)")
    (tmp_path / "mypackage" / "left.py").write_text(left)
    said, code = run_pytest("--gradcheck", "mypackage.left")
    assert (code, "1 failed" in said) == (1, True), said


@pytest.mark.usefixtures("package")
def test_the_program_of_a_package_is_not_run(tmp_path, capsys):
    (tmp_path / "mypackage" / "more" / "__main__.py").write_text("raise SystemExit(0)")
    assert main(["check", "mypackage"]) == 1
    assert "Gauss1: ok" in capsys.readouterr().out


# The same from the shell.


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["mypackage.right:loss", "--shape", "3,4", "--shape", "4,2"], 0, "loss: ok"),
        (
            ["mypackage.right:loss", "--shape", "3,4", "--shape", "4,2", "--order", "2"],
            0,
            "loss, order 2: ok",
        ),
        (["mypackage.right:add"], 0, "add: ok\n  6 derivatives"),
        (["mypackage.right:add", "--shape", "()"], 0, "add: ok\n  1 derivatives"),
        (["mypackage.right:logarithm", "--low", "0.5"], 0, "logarithm: ok"),
        (["mypackage.right:logarithm"], 1, "logarithm: non-finite"),
        (["mypackage.right:net"], 0, "fc: ok"),
        (["mypackage.right:net", "--shape", "4,5"], 0, "fc: ok"),
        (["mypackage.right:Gauss1", "--order", "2"], 0, "Gauss1, order 2: ok"),
        (["mypackage.right:Gauss1", "--shape", "7"], 0, "Gauss1(): ok\n  49 derivatives"),
        (["mypackage.wrong:Wrong2"], 1, "likely cause: factor"),
        (["mypackage.more.custom:TwiceProp"], 0, "Custom(op_type='twice2'): ok"),
        (["mypackage.more.bad:TwiceProp"], 1, "Custom(op_type='twice3'): wrong"),
        (["mypackage"], 1, "Gauss1: ok"),
        (["mypackage.right"], 0, "Gauss1: ok"),
    ],
)
def test_check_prints_the_report_and_tells_by_its_exit_code(arguments, code, said, capsys):
    assert main(["check", *arguments]) == code
    assert said in capsys.readouterr().out


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mypackage.right:loss"], "ShapeError: MatMul(): b is (2, 3), expected (3, 3) to follow a (2, 3); say others: --shape"),
        (["mypackage.right:loss", "--shape", "3,x"], "--shape is '3,x', expected sizes as in 3,4, or () for a single number"),
        (["mypackage.right:loss", "--shape", "3,4"], "missing 1 required positional argument: 'weight'"),
        (["mypackage.right:loss", "--order", "3"], "--order is 3, expected 1 or 2"),
        (["mypackage.right:loss", "--low", "3"], "--low must be below --high"),
        (["mypackage.right:boom"], "boom with inputs of shapes (2, 3): ValueError: first line"),
        (["mypackage.right:colours"], r"colours with inputs of shapes (2, 3): ValueError: \x1b[31mred"),
        (["mypackage.right:leaves"], "leaves with inputs of shapes (2, 3): SystemExit: 0"),
        (["mypackage.right:leaves_later"], "leaves_later with inputs of shapes (2, 3): SystemExit: 0"),
        (["mypackage.right:odd"], "cannot look up 'mypackage.right:odd': SystemExit: 0"),
        (["mypackage.right:add", "--low=-1e308", "--high", "1e308"], "--low must be below --high, both finite"),
        (["mypackage.right:add", "--shape", "1000000000000"], "has 1e+12 numbers, expected 10000000 at most"),
        (["mypackage.right:add", "--shape", "9" * 5000], "expected sizes as in 3,4"),
        (["mypackage.right:"], "mypackage.right has no ''; it has tl"),
        ([":f"], "cannot import '': ValueError"),
        (["..right:f"], "cannot import '..right'"),
        (["a\x1b[31m\nb:f"], r"cannot import 'a\x1b[31m\nb'"),
        (["mypackage.right:without_inputs"], "without_inputs needs inputs to be checked at"),
        (["mypackage.right:los"], "mypackage.right has no 'los'; did you mean 'loss'?"),
        (["mypackage.right:three"], "expected a function, an op or a Symbol"),
        (["mypackage.left:loss"], "cannot import 'mypackage.left'"),
        (["mypackage.empty"], "mypackage.empty declares no op"),
        (["mypackage.right", "--shape", "3"], "--shape says nothing about a whole module"),
        (["damaged:f"], "cannot import 'damaged': ModuleNotFoundError"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(arguments, said, capsys):
    assert main(["check", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert error.startswith("tinygrad-lesson: ")
    assert error[:-1].isprintable()


@pytest.mark.usefixtures("package")
def test_an_op_that_does_not_say_its_inputs_hides_no_other(tmp_path, capsys):
    (tmp_path / "mypackage" / "pairs.py").write_text(PAIRS.format(n=4))
    assert main(["check", "mypackage.pairs"]) == 2
    said = capsys.readouterr()
    assert "Gauss4: ok" in said.out
    assert "Pairs4 with inputs that were guessed: " in said.err
    assert "declare `sample`, or say --shape" in said.err
    assert main(["check", "mypackage.pairs:Pairs4", "--shape", "3,2", "--shape", "4,2"]) == 0
