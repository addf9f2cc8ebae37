"""What the reference has on which page: every public name of the package, found in its tables."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from typing import Any, NamedTuple

import tinygrad_lesson as tl
from tinygrad_lesson import mx, nn, optim, sym
from tinygrad_lesson.eager.functions import NAMES
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.engine.op import FUNCTIONS
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.register import offered, offered_names

INTERNAL = {"with_scalar"}  # how `x + 1.5` is recorded
FAMILIES = {  # title of a page -> the files of `ops/` on it
    "Numbers: arithmetic, powers, activations": "elementwise scalars ramps activations constant",
    "Numbers: angles, rounding, comparisons": "angles functions choices rounding",
    "Numbers: special functions": "special probabilities gamma bessel by_scipy finite",
    "Arrays": "reduce fills order top copies movement repeated diagonals index advanced gather scans slopes creation "
    "random draws densities masked placed quantized",
    "Linear algebra and Fourier transforms": "linear products linalg decompositions exponential lapack factors fourier",
    "Layers": "nn norms layers sliding conv deconv pool columns image pictures spatial regions aligned rotated "
    "detection anchored proposals deformed sequence recurrent resampled kept interleaved",
    "Losses": "loss labels regression hawkes",
    "Optimizers' steps": "updates adaptive decoupled multi",
    "Old operators of MXNet": "legacy",
}
MODULES = {  # the file in `eager/functions/` that has functions written in ops -> the title of its page
    "elementwise": "NumPy: numbers",
    "bits": "NumPy: bits",
    "reductions": "NumPy: sums and the like",
    "quantiles": "NumPy: quantiles",
    "calculus": "NumPy: running sums, differences, statistics",
    "indexing": "NumPy: indices and searching",
    "moves": "NumPy: shapes and axes",
    "joins": "NumPy: joining and splitting",
    "creation": "NumPy: making arrays",
    "diagonals": "NumPy: diagonals",
    "products": "NumPy: products",
    "linalg": "NumPy: products",
    "polynomials": "NumPy: polynomials",
    "networks": "PyTorch: layers and losses as functions",
    "windows": "PyTorch: layers and losses as functions",
}
OPERATORS = (
    "batch_norm",
    "dropout",
    "linear",
    "matmul",
)  # functions of `tl` that call an op in a friendlier way
DERIVATIVES = """
    grad value_and_grad vjp jvp jacobian hessian hvp vmap jit scan cond checkpoint custom_vjp custom_jvp custom
    no_grad enable_grad set_grad_enabled is_grad_enabled manual_seed rand randn show_config show_program cpu gpu
    op attr Tensor NDArray Op Context LessonError
"""
OTHERS = {"tl.nn": nn, "tl.optim": optim}
LISTED = ("train", "check", "viz", "random", "parallel")
PLUMBING = """
    FlatUpdater GradientMonitor Falling Binary Distance BatchEndParam InPlace State flat log_line
"""  # of modules in `tl.train`: what they are built of
RESULTS = """
    Culprit Diagnosis Divergence Entry History NonFinite OpError GradientError Report Taylor LessonError World
"""  # which are given, never made by a user: how they are called says nothing
SPELLINGS = "Symbol group var variable operator"  # further names for what has one, and the first on its page
MXNETS = "model mod io nd autograd optimizer lr_scheduler init metric callback mon kvstore operator random"
SYMBOLS = (
    ("MXNet's layers and losses (sym)", lambda name: name[0].isupper()),
    ("MXNet's matrices (sym.linalg)", lambda name: name.startswith("linalg_")),
    ("MXNet's random numbers (sym.random)", lambda name: name.startswith(("random_", "sample_"))),
    ("MXNet's steps of optimizers (sym)", lambda name: name.endswith("_update") or "_update_" in name),
    ("MXNet's functions, a to d (sym)", lambda name: name[0] <= "d"),
    ("MXNet's functions, e to o (sym)", lambda name: name[0] <= "o"),
    ("MXNet's functions, p to z (sym)", lambda name: True),
)


class Named(NamedTuple):
    """A public name and what it stands for."""

    name: str  # as it is written: `tl.tanh`
    thing: Any


def chapters() -> dict[str, list[Named]]:
    """The names on each page, by its title."""
    pages = {
        "Derivatives, transformations, tensors": [
            Named(f"tl.{name}", getattr(tl, name)) for name in DERIVATIVES.split()
        ]
    }
    taken = {named.name for named in pages["Derivatives, transformations, tensors"]}
    pages |= {title: [] for title in (*FAMILIES, *MODULES.values())}
    for name in sorted(
        {*NAMES, *(name for name, cls in FUNCTIONS.items() if cls.ours), *OPERATORS} - INTERNAL
    ):
        if f"tl.{name}" not in taken:
            pages[page_of(name)].append(Named(f"tl.{name}", getattr(tl, name)))
    for home in ("linalg", "fft"):
        module = getattr(tl, home)
        pages[f"tl.{home}"] = [
            Named(f"tl.{home}.{name}", getattr(module, name)) for name in sorted(module.__all__)
        ]
    for title, module in OTHERS.items():
        pages[title] = [Named(f"{title}.{name}", thing) for name, thing in declared_in(module)]
    for home in LISTED:
        pages[f"tl.{home}"] = list(listed(home))
    pages["Symbols and executors (sym)"] = [Named("Executor", Executor), *builders()]
    return pages | operators() | {"MXNet's modules (mx)": list(of_mxnet(pages))}


def page_of(name: str) -> str:
    """The page of a function of `tl`: an op's by its family, another's by the file that it is written in."""
    function = getattr(tl, name)
    cls = getattr(function, "op", None)
    if cls is not None:
        return next(title for title, families in FAMILIES.items() if cls.family in families.split())
    return MODULES.get(function.__module__.rpartition(".")[2], "Layers")


def declared_in(module: Any) -> Iterator[tuple[str, Any]]:
    """The public classes and functions of a module of names."""
    for name, thing in [(name, getattr(module, name)) for name in dir(module)]:
        public = not name.startswith(("_", "as_", "is_", "of_")) and name not in PLUMBING.split()
        ours = public and getattr(thing, "__module__", "").startswith("tinygrad_lesson")
        if ours and (
            inspect.isfunction(thing) or (inspect.isclass(thing) and not issubclass(thing, LessonError))
        ):
            yield name, thing


def listed(home: str) -> Iterator[Named]:
    """The public names of a package that says what is public, and of the modules among them."""
    module = getattr(tl, home)
    names = getattr(module, "__all__", None) or [name for name, _ in declared_in(module)]
    for name in names:
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            inner = [(n, t) for n, t in declared_in(thing) if t.__module__ == thing.__name__]
            yield from (Named(f"tl.{home}.{name}.{n}", t) for n, t in inner)
        elif callable(thing) and getattr(thing, "__module__", "").startswith("tinygrad_lesson"):
            yield Named(f"tl.{home}.{name}", thing)


def builders() -> Iterator[Named]:
    """What makes symbols, and is no operator."""
    for name in ("Symbol", *(name for name in sym.__all__ if name not in SPELLINGS.split())):
        thing = getattr(sym, name)
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and offered(name) is None:
            yield Named(f"sym.{name}", thing)


def of_mxnet(pages: dict[str, list[Named]]) -> Iterator[Named]:
    """The names in MXNet's modules that are not on another page."""
    known = {id(named.thing) for found in pages.values() for named in found}
    for home in MXNETS.split():
        module = getattr(mx, home)
        for name in sorted(set(module.__all__) - set(PLUMBING.split())):
            thing = getattr(module, name)
            plain = inspect.isfunction(thing) or inspect.isclass(thing)
            if plain and id(thing) not in known and thing.__module__.startswith("tinygrad_lesson"):
                known.add(id(thing))
                yield Named(f"mx.{home}.{name}", thing)


def operators() -> dict[str, list[Named]]:
    """The operators of the symbolic face."""
    pages: dict[str, list[Named]] = {title: [] for title, _ in SYMBOLS}
    for name in sorted(name for name in offered_names() if not name.startswith("_")):
        title = next(title for title, wanted in SYMBOLS if wanted(name))
        pages[title].append(Named(f"sym.{name}", getattr(tl.sym, name)))
    return pages


def found(name: str) -> Any:
    """What a name in an example stands for."""
    return operator.attrgetter(name.partition(".")[2])(tl.sym if name.startswith("sym.") else tl)
