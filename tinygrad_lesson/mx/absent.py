"""What scripts of MXNet import and is not here: it says so when it is used."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from tinygrad_lesson.engine.errors import LessonError


class AbsentError(LessonError, NotImplementedError):
    """Something of MXNet that has no meaning here."""


class Absent:
    """A class or function that is only a name."""

    told = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise AbsentError(self.told)


def absent(name: str, instead: str) -> type[Absent]:
    """A name to import, call or derive from, whose use is an AbsentError that says what to write `instead`.

    Errors
        AttributeError for a name with an underscore before it, and for what pytest looks for in every module.
    """
    last = name.rpartition(".")[2]
    if re.match("_|pytest|set_?[uU]p|tear_?[dD]own", last):
        raise AttributeError(f"there is no {name!r}")
    told = f"{name} is not here: {instead}"
    return type(last, (Absent,), {"told": told, "__doc__": told})


LAYERS = "build the network from mx.sym and train it with mx.mod.Module"
NUMPY = "mx.nd and mx.sym are MXNet's first arrays and symbols; tinygrad_lesson.numpy has NumPy's names"
FILES = "read the data by NumPy or another library and hand its arrays to mx.io.NDArrayIter"
KERNELS = "declare an operator with mx.operator.register, or with tinygrad_lesson.op"
INSIDE = "it is a part of MXNet's own build"
ONE = "mx.mod.Module has one executor, on the processor"
INSTEAD = {  # modules whose names can be imported, and what to write in their place
    "contrib.amp": "plans keep the element types of a symbol; Cast changes them",
    "contrib.io": FILES,
    "contrib.onnx": "tinygrad-lesson convert writes safetensors, which other libraries read",
    "contrib.quantization": "plans compute in the element types of their symbol",
    "contrib.svrg_optimization": "mx.optimizer has MXNet's other optimizers",
    "contrib.svrg_optimization.svrg_module": "mx.optimizer has MXNet's other optimizers",
    "contrib.tensorboard": "mx.callback.Speedometer logs metrics",
    "contrib.text": FILES,
    "error": "every error of MXNet's is mx.base.MXNetError here",
    "executor_manager": ONE,
    "gluon": LAYERS,
    **dict.fromkeys(
        (f"gluon.{name}" for name in ("block", "contrib", "data", "loss", "model_zoo", "model_zoo.vision", "nn",
                                      "parameter", "rnn", "trainer", "utils")),
        LAYERS,
    ),
    "image": FILES,
    "libinfo": INSIDE,
    "library": KERNELS,
    "module.executor_group": ONE,
    "notebook": "a symbol, an executor's plan and a training show themselves in a notebook",
    "notebook.callback": "a symbol, an executor's plan and a training show themselves in a notebook",
    "np": NUMPY,
    "npx": NUMPY,
    "numpy": NUMPY,
    "numpy_extension": NUMPY,
    "onnx": "tinygrad-lesson convert writes safetensors, which other libraries read",
    "profiler": "Python's cProfile measures calls, and print(executor.plan()) shows every step and its memory",
    "recordio": FILES,
    "registry": INSIDE,
    "rtc": KERNELS,
    "th": KERNELS,
    "torch": KERNELS,
}  # fmt: skip


class Nowhere(ModuleType):
    """A module of MXNet's that is only names, its submodules among them."""

    def __getattr__(self, name: str) -> Any:
        path = f"{self.__name__}.{name}"
        return MODULES.get(path) or absent(f"mx.{path}", INSTEAD[self.__name__])


MODULES = {
    path: Nowhere(path, f"`mx.{path}`, to be imported only: {told}.") for path, told in INSTEAD.items()
}


def submodule(package: str, name: str) -> Nowhere:
    """A module that is only names, as an attribute of a package that is here.

    Errors
        AttributeError for any other name.
    """
    found = MODULES.get(f"{package}.{name}".removeprefix("mx."))
    if found is None:
        raise AttributeError(f"{package} has no {name!r}")
    return found
