"""What `import tinygrad_lesson` brings along: NumPy, and nothing that draws, compiles or tests."""

import importlib.util
import subprocess
import sys

HEAVY = (
    "matplotlib", "graphviz", "hypothesis", "numba", "scipy", "cupy", "pytest", "tqdm", "importlib.metadata", "email",
)  # fmt: skip


def test_import_brings_nothing_heavy():
    code = f"import sys, tinygrad_lesson; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


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
