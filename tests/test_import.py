"""What `import tinygrad_lesson` brings along: NumPy, and nothing that draws, compiles or tests."""

import ast
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import tinygrad_lesson as tl

HEAVY = (
    "matplotlib", "graphviz", "hypothesis", "numba", "scipy", "cupy", "pytest", "tqdm", "importlib.metadata", "email",
)  # fmt: skip


def test_import_brings_nothing_heavy():
    code = f"import sys, tinygrad_lesson; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def fresh(code):
    """What a process of its own prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()


def test_import_brings_no_op_and_no_face_before_one_is_used():
    code = """
import sys, tinygrad_lesson as tl
print(*{name.split(".")[1] for name in sys.modules if name.startswith("tinygrad_lesson.")})
tl.Tensor
print("|", *{name.split(".")[1] for name in sys.modules if name.startswith("tinygrad_lesson.")})
"""
    at_once, later = " ".join(fresh(code)).split("|")
    assert set(at_once.split()) == {"arrays", "display", "engine", "errors", "locks", "op", "random"}
    assert set(later.split()) == {*at_once.split(), "eager", "ops"}


def test_every_name_is_there_whichever_is_used_first():
    assert set(tl.__all__) <= set(dir(tl))
    rooms = {module.name for module in pkgutil.iter_modules(tl.__path__)} - {"__main__"}
    assert rooms <= set(dir(tl))
    for name in dir(tl):
        getattr(tl, name)
    first = "from tinygrad_lesson import {}; import tinygrad_lesson as tl; print(tl.{} is {}, tl.op.__name__, sum(op.ours for op in tl.OPS.values()))"
    count = str(sum(op.ours for op in tl.OPS.values()))  # other tests may have declared more
    for name in ("op", "tanh", "sym", "linalg", "NDArray", "train", "random", "no_grad"):
        assert fresh(first.format(name, name, name)) == ["True", "op", count], name


def test_type_checkers_are_told_the_names_that_come_late():
    tree = ast.parse(Path(tl.__file__).read_text())
    told = next(node for node in tree.body if isinstance(node, ast.If))
    names = {}
    for node in told.body:
        place = node.module.removeprefix("tinygrad_lesson").removeprefix(".")
        names |= {alias.name: place for alias in node.names}
    late = {name: place for name, place in names.items() if name in tl._PLACES}
    assert set(names) - set(late) == {"fft", "linalg"}
    assert late == {name: tl._PLACES[name] for name in late}


def test_a_users_op_may_not_take_a_name_of_ours_that_was_not_used_yet():
    code = """
import tinygrad_lesson as tl
for name in ("FromColumns", "Tanh", "Convolution", "FeedForward", "Viz"):
    try:
        tl.op(type(name, (tl.Op,), {"__doc__": "Mine.", "shape": lambda self, x: x, "forward": lambda self, xp, x: x,
                                    "vjp": lambda self, F, g, y, x: (g,)}))
    except tl.LessonError:
        print(name)
"""
    assert fresh(code) == ["FromColumns", "Tanh", "Convolution", "FeedForward", "Viz"]


def test_random_numbers_that_are_tensors_need_no_tensor_before():
    assert fresh("from tinygrad_lesson import random; print(random.normal(size=3).shape)") == ["(3,)"]
    assert fresh("from tinygrad_lesson.random import normal; print(normal(size=2).shape)") == ["(2,)"]


def test_every_module_works_without_assertions_and_docstrings():
    code = """
import importlib, os, pkgutil, numpy as np, tinygrad_lesson as tl
from tinygrad_lesson import sym
for module in pkgutil.walk_packages(tl.__path__, "tinygrad_lesson."):
    if "__main__" not in module.name and not module.name.startswith(LEFT_OUT):
        importlib.import_module(module.name)
x = np.ones((4, 3), np.float32)
for runner in tl.run.available_runners():
    f = tl.jit(tl.grad(lambda a: tl.sum(tl.tanh(a) * a)), runner=runner)
    np.testing.assert_allclose(f(x).numpy(), np.tanh(1) + 1 / np.cosh(1) ** 2, rtol=1e-6)
os.environ[tl.run.CHOICE] = "numpy"  # or the training loop would be compiled anew, for this test alone
net = sym.SoftmaxOutput(sym.FullyConnected(sym.Variable("data"), num_hidden=3), name="softmax")
tl.FeedForward(net, num_epoch=1).fit(x, np.array([0, 1, 2, 1]))
tl.op(type("Twice", (tl.Op,), {
    "__doc__": "Twice.", "shape": lambda self, x: x,
    "forward": lambda self, xp, x: 2 * x, "vjp": lambda self, F, g, y, x: (2 * g,),
}))
importlib.import_module("tinygrad_lesson.cli").main(["list"])
"""
    without = () if importlib.util.find_spec("llvmlite") else ("tinygrad_lesson.run.",)
    code = code.replace("LEFT_OUT", repr((*without, "tinygrad_lesson.check.plugin")))
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "mlp4" in done.stdout


def test_a_function_that_was_used_is_forgotten_when_its_op_is_declared_again():
    before, kind = tl.arctanh, tl.OPS["Arctanh"]
    assert vars(tl)["arctanh"] is before
    again = type("Arctanh", (kind,), {"__doc__": kind.__doc__, "__module__": kind.__module__})
    try:
        tl.op(again)
        assert "arctanh" not in vars(tl)
        assert tl.Tensor.F.arctanh.op is again
    finally:
        tl.op(kind)
    assert tl.Tensor.F.arctanh.op is kind
