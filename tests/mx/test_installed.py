"""Scripts whose ``import mxnet`` finds this package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRINTS = {  # with MXNet 1.9.1 too
    "alexnet": "accuracy 1.0", "autoencoder": "variance left below a hundredth: True", "custom_softmax": "accuracy 1.0",
    "gan": "at the ring: True", "lenet": "accuracy 0.99", "linear_regression": "['2.0', '-3.4', '4.2']",
    "lstm": "accuracy 1.0", "matrix_factorization": "error below a tenth: True", "mlp": "accuracy 1.00",
    "resnet": "accuracy 1.00", "vgg": "accuracy 1.0 and 1.0; the features are kept: True",
}  # fmt: skip
EXAMPLES = sorted((ROOT / "examples" / "mxnet").glob("*.py"))


def python(*arguments, folder):
    """What Python prints, its errors and how it ends; a warning is an error."""
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        capture_output=True, text=True, cwd=folder, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_script_of_mxnet_runs_unchanged(path, tmp_path):
    done = python("-m", "tinygrad_lesson.mx", path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == PRINTS[path.stem] + "\n"
    text = path.read_text(encoding="utf-8")
    assert f"\npython -m tinygrad_lesson.mx examples/mxnet/{path.name}" in text
    assert "tinygrad_lesson" not in text.replace("-m tinygrad_lesson.mx", "")


SCRIPT = """
import sys
import mxnet as mx
import mxnet.symbol as S
import mxnet.initializer
from mxnet import init, sym
from mxnet.io import DataBatch, NDArrayIter
from mxnet.lr_scheduler import FactorScheduler
import mxnet.visualization, mxnet.operator, mxnet.sym, mxnet.test_utils
from mxnet.module.base_module import BaseModule
from mxnet.ndarray.ndarray import NDArray
from mxnet.autograd import *
import mxnet.monitor, mxnet.kvstore, mxnet.recordio, mxnet.contrib.amp, mxnet.contrib.quantization, mxnet.ndarray.sparse
from mxnet import gluon
from mxnet.gluon import nn, Trainer
from mxnet.module.executor_group import DataParallelExecutorGroup
from mxnet.ndarray.ndarray import py_slice
from mxnet.symbol.random import normal
import mxnet.ndarray.contrib, mxnet.gluon.data, mxnet.gluon.model_zoo.vision, mxnet.contrib.text, mxnet.rnn.rnn_cell, mxnet.rtc
from mxnet import np, npx
from mxnet.contrib.autograd import grad_and_loss
from mxnet.util import np_shape, use_np
import beside
assert S is mx.sym is mx.symbol is sym and init is mxnet.initializer is mx.init
assert issubclass(mx.mod.Module, BaseModule) and NDArray is mx.nd.NDArray and record is mx.autograd.record
assert mxnet.operator.CustomOp and beside.FOUND and NDArrayIter is mx.io.NDArrayIter
assert py_slice is slice and mxnet.ndarray.contrib is mx.nd.contrib and mxnet.rnn.rnn_cell.LSTMCell is mx.rnn.LSTMCell
assert mxnet.gluon.data is mx.gluon.data and np is mx.np and mxnet.contrib.text is mx.contrib.text
assert mx.__name__ == "tinygrad_lesson.mx"
try:
    import mxnet.dlpack
except ModuleNotFoundError as error:
    print(error)
print(__name__, sys.argv[1:])
"""


def test_its_modules_are_found_by_their_names_in_mxnet(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("FOUND = True")
    (tmp_path / "elsewhere").mkdir()
    done = python("-m", "tinygrad_lesson.mx", "../script.py", "a", "--b", folder=tmp_path / "elsewhere")
    assert done.stdout.splitlines() == ["No module named 'mxnet.dlpack'", "__main__ ['a', '--b']"], (
        done.stderr
    )
    assert done.returncode == 0


def test_what_cannot_be_run_is_told(tmp_path):
    done = python("-m", "tinygrad_lesson.mx", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: python -m tinygrad_lesson.mx script.py")
    done = python("-m", "tinygrad_lesson.mx", "absent.py", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "python -m tinygrad_lesson.mx: there is no file 'absent.py'\n"


def test_an_error_of_a_script_is_its_own(tmp_path):
    (tmp_path / "script.py").write_text("import mxnet\n1 / 0")
    done = python("-m", "tinygrad_lesson.mx", "script.py", folder=tmp_path)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
    assert 'script.py", line 2' in done.stderr


def test_mxnet_itself_is_not_replaced(tmp_path):
    code = (
        "import sys; sys.modules['mxnet'] = sys; from tinygrad_lesson import mx\n"
        "try: mx.install()\nexcept ImportError as error: print(error)"
    )
    done = python("-c", code, folder=tmp_path)
    assert "already; call install() before it is imported" in done.stdout, done.stderr
    code = "from tinygrad_lesson import mx; mx.install(); mx.install(); import mxnet; print(mxnet is mx)"
    assert python("-c", code, folder=tmp_path).stdout == "True\n"
