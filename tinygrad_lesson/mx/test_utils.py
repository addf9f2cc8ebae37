"""`mx.test_utils`: arrays to test with, and comparisons. Gradients are checked by `tinygrad_lesson.check`."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import logging
import os
import struct
import sys
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Number
from typing import Any
from unittest import mock

import numpy as np

from tinygrad_lesson import mx
from tinygrad_lesson.arrays import Context
from tinygrad_lesson.check.mxnet import (
    check_consistency,
    check_numeric_gradient,
    check_symbolic_backward,
    check_symbolic_forward,
)
from tinygrad_lesson.mx.absent import Absent, absent
from tinygrad_lesson.mx.context import current_context
from tinygrad_lesson.mx.ndarray import array
from tinygrad_lesson.mx.samples import (
    DummyIter,
    assign_each,
    assign_each2,
    chi_square_check,
    collapse_sum_like,
    create_2d_tensor,
    create_vector,
    default_context,
    default_dtype,
    gen_buckets_probs_with_ppf,
    mean_check,
    np_reduce,
    rand_coord_2d,
    rand_ndarray,
    rand_shape_2d,
    rand_shape_3d,
    rand_shape_nd,
    random_arrays,
    random_sample,
    random_uniform_arrays,
    var_check,
    verify_generator,
)
from tinygrad_lesson.mx.util import use_np
from tinygrad_lesson.mxnet.ndarray import NDArray, bare
from tinygrad_lesson.train.rules import State

__test__: dict[str, str] = {}  # its functions are no tests, whatever they are called
INTEGERS = ("bool", "int8", "uint8", "int32", "uint32", "int64", "uint64")
RTOLS = {"float16": 1e-2, "float32": 1e-4, "float64": 1e-5, **dict.fromkeys(INTEGERS, 0.0)}
ATOLS = {"float16": 1e-1, "float32": 1e-3, "float64": 1e-20, **dict.fromkeys(INTEGERS, 0.0)}


# Contexts and tolerances.


def set_default_context(ctx: Context) -> None:
    """Test on a device, which is the processor."""


def list_gpus() -> list[int]:
    """The graphics cards that plans run on: none."""
    return []


def default_rtols() -> dict[np.dtype[Any], float]:
    """The relative differences that are let pass, by element type, as MXNet 1.9 has them."""
    return {np.dtype(name): tol for name, tol in RTOLS.items()}


def default_atols() -> dict[np.dtype[Any], float]:
    """The absolute differences that are let pass, by element type, as MXNet 1.9 has them."""
    return {np.dtype(name): tol for name, tol in ATOLS.items()}


def default_numeric_eps() -> dict[np.dtype[Any], float]:
    """Steps of differences by element type, as MXNet 1.9 has them."""
    return {np.dtype("float16"): 2.0**-6, np.dtype("float32"): 2.0**-9, np.dtype("float64"): 2.0**-14}


def effective_dtype(dat: Any) -> np.dtype[Any]:
    """The element type that says how exact numbers are."""
    found: np.dtype[Any] = np.dtype(dat.dtype)
    return found


def get_tolerance(dat: Any, tol: Any, default_tol: Mapping[np.dtype[Any], float]) -> float:
    """A tolerance: one that was given, also by element type, or that of the type of `dat`."""
    if isinstance(tol, Number):
        return tol  # type: ignore[return-value]
    dtype = effective_dtype(dat)
    return float((tol or {}).get(dtype, default_tol[dtype]))


def get_tols(x: Any, y: Any, rtol: Any, atol: Any) -> tuple[float, float]:
    """The larger of the tolerances of two arrays."""
    pair = [np.asarray(part) for part in (x, y)]
    return (
        max(get_tolerance(part, rtol, default_rtols()) for part in pair),
        max(get_tolerance(part, atol, default_atols()) for part in pair),
    )


def get_atol(atol: float | None = None, dtype: Any = "float64") -> float:
    """`atol`, or that of an element type."""
    return default_atols()[np.dtype(dtype)] if atol is None else atol


def get_rtol(rtol: float | None = None, dtype: Any = "float64") -> float:
    """`rtol`, or that of an element type."""
    return default_rtols()[np.dtype(dtype)] if rtol is None else rtol


def get_etol(etol: float | None = None) -> float:
    """The share of elements that may differ."""
    return 0 if etol is None else etol


# Comparisons.


def same(a: Any, b: Any) -> bool:
    """Whether two arrays hold the same numbers."""
    return np.array_equal(np.asarray(a), np.asarray(b))


def almost_equal(
    a: Any, b: Any, rtol: Any = None, atol: Any = None, equal_nan: bool = False, use_broadcast: bool = True
) -> bool:
    """Whether two arrays agree within ``atol + rtol * |b|``."""
    a, b = np.asarray(a), np.asarray(b)
    if not use_broadcast and a.shape != b.shape:
        return False
    rtol, atol = get_tols(a, b, rtol, atol)
    return bool(np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan))


def assert_almost_equal(
    a: Any, b: Any, rtol: Any = None, atol: Any = None, names: Sequence[str] = ("a", "b"),
    equal_nan: bool = False, use_broadcast: bool = True, mismatches: Any = (10, 10),
) -> None:  # fmt: skip
    """Two arrays agree within ``atol + rtol * |b|``.

    Errors
        AssertionError naming the place where they differ most.
    """
    a, b = np.asarray(a), np.asarray(b)
    if not use_broadcast and a.shape != b.shape:
        raise AssertionError(f"shapes of {names[0]} = {a.shape} and {names[1]} = {b.shape} differ")
    rtol, atol = get_tols(a, b, rtol, atol)
    if np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan):
        return
    a, b = (np.asarray(x, np.float64) for x in np.broadcast_arrays(a, b))
    with np.errstate(all="ignore"):
        excess = np.abs(a - b) / (atol + rtol * np.abs(b) + 1e-20)
    both = np.isnan(a) & np.isnan(b) & equal_nan
    excess = np.where(both | (a == b), 0, np.where(np.isnan(excess), np.inf, excess))
    place = np.unravel_index(np.argmax(excess), excess.shape)
    raise AssertionError(
        f"Items are not equal: error {excess[place]:f} exceeds tolerance rtol={rtol:e}, atol={atol:e} at "
        f"{tuple(map(int, place))}: {names[0]} = {a[place]:.8g}, {names[1]} = {b[place]:.8g}"
    )


def assert_allclose(a: Any, b: Any, rtol: float = 1e-7, atol: float = 0, equal_nan: bool = True) -> None:
    """As `assert_almost_equal`, with NumPy's tolerances."""
    assert_almost_equal(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


def assert_almost_equal_with_err(
    a: Any, b: Any, rtol: Any = None, atol: Any = None, etol: float | None = None,
    names: Sequence[str] = ("a", "b"), equal_nan: bool = False, mismatches: Any = (10, 10),
) -> None:  # fmt: skip
    """As `assert_almost_equal`, but a share `etol` of the elements may differ."""
    x, y = np.asarray(a), np.asarray(b)
    rtol, atol = get_tols(x, y, rtol, atol)
    wrong = ~np.isclose(x, y, rtol=rtol, atol=atol, equal_nan=equal_nan)
    if wrong.mean() > get_etol(etol):
        assert_almost_equal(a, b, rtol, atol, names, equal_nan)


def assert_almost_equal_ignore_nan(
    a: Any, b: Any, rtol: Any = None, atol: Any = None, names: Sequence[str] = ("a", "b")
) -> None:
    """As `assert_almost_equal`, where neither is NaN."""
    x, y = np.array(bare(a)), np.array(bare(b))
    unknown = np.isnan(x) | np.isnan(y)
    x[unknown] = y[unknown] = 0
    assert_almost_equal(x, y, rtol, atol, names)


def assert_exception(f: Callable[..., Any], exception_type: Any, *args: Any, **kwargs: Any) -> None:
    """A call raises an error of this type."""
    try:
        f(*args, **kwargs)
    except exception_type:
        return
    raise AssertionError(f"{f!r} raised no {exception_type!r}")


def same_array(array1: NDArray, array2: NDArray) -> bool:
    """Whether two arrays have the same memory."""
    return np.shares_memory(np.asarray(array1), np.asarray(array2))


def same_symbol_structure(sym1: Any, sym2: Any) -> bool:
    """Whether two symbols apply the same operators in the same order."""
    kinds = [[node.label.mxnet_op for node in s.nodes] for s in (sym1, sym2)]
    return kinds[0] == kinds[1]


def compare_ndarray_tuple(t1: Any, t2: Any, rtol: Any = None, atol: Any = None) -> None:
    """Arrays nested in tuples agree; None agrees with all."""
    if t1 is None or t2 is None:
        return
    t1, t2 = (t.moments if isinstance(t, State) else t for t in (t1, t2))
    if isinstance(t1, tuple) or isinstance(t2, tuple):
        one, other = (t if isinstance(t, tuple) else (t,) for t in (t1, t2))
        for pair in zip(one, other, strict=False):
            compare_ndarray_tuple(*pair, rtol, atol)
        return
    assert_almost_equal(t1.reshape(-1), t2.reshape(-1), rtol, atol)


def compare_optimizer(
    opt1: Any, opt2: Any, shape: Sequence[int], dtype: Any, w_stype: str = "default", g_stype: str = "default",
    rtol: float = 1e-4, atol: float = 1e-5, compare_states: bool = True,
) -> None:  # fmt: skip
    """Two optimizers make the same of the same weights and gradients."""
    start, slope = (np.random.uniform(-1, 1, shape).astype(dtype) for _ in range(2))
    weights, states = [array(start, dtype=dtype) for _ in range(2)], []
    for optimizer, weight in zip((opt1, opt2), weights, strict=True):
        states.append(optimizer.create_state_multi_precision(0, weight))
        optimizer.update_multi_precision(0, weight, array(slope, dtype=dtype), states[-1])
    if compare_states:
        compare_ndarray_tuple(states[0], states[1], rtol, atol)
    assert_almost_equal(weights[0], weights[1], rtol, atol)


# Runs.


def simple_forward(sym: Any, ctx: Context | None = None, is_train: bool = False, **inputs: Any) -> Any:
    """The output of a symbol for arrays of NumPy, as one; a list of several."""
    given = {name: array(x, dtype=np.asarray(x).dtype) for name, x in inputs.items()}
    executor = sym.bind(ctx or default_context(), args=given)
    found = [y.asnumpy() for y in executor.forward(is_train=is_train)]
    return found[0] if len(found) == 1 else found


def check_speed(
    sym: Any, location: Mapping[str, Any] | None = None, ctx: Context | None = None, N: int = 20,
    grad_req: Any = "write", typ: str = "whole", **shapes: Any,
) -> float:  # fmt: skip
    """Seconds that a run forward takes, or with `typ` ``"whole"`` one forward and back: a mean of `N`."""
    location = location or {}
    shapes = {name: np.shape(x) for name, x in location.items()} or shapes
    executor = sym.simple_bind(
        ctx or default_context(), grad_req=grad_req if typ == "whole" else "null", **shapes
    )
    for name, x in executor.arg_dict.items():
        x[:] = location[name] if name in location else np.random.normal(size=x.shape)

    def once() -> None:
        executor.forward(is_train=typ == "whole")
        if typ == "whole":
            executor.backward(executor.outputs)

    once()
    start = time.time()
    for _ in range(N):
        once()
    return (time.time() - start) / N


def retry(n: int) -> Callable[..., Any]:
    """A decorator: a test may fail, but not `n` times in a row."""
    assert n > 0

    def decorate(f: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(f)
        def tried(*args: Any, **kwargs: Any) -> None:
            for _ in range(n - 1):
                try:
                    return f(*args, **kwargs)  # type: ignore[no-any-return]
                except AssertionError:
                    continue
            return f(*args, **kwargs)  # type: ignore[no-any-return]

        return tried

    return decorate


@contextlib.contextmanager
def discard_stderr() -> Iterator[None]:
    """What is written to the error stream inside is lost."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


@contextlib.contextmanager
def environment(*args: Any) -> Iterator[None]:
    """Environment variables inside: a name and a value, or a dict; None means that there is none."""
    changed = args[0] if len(args) == 1 else {args[0]: args[1]}
    with mock.patch.dict(os.environ, {name: text for name, text in changed.items() if text is not None}):
        for name in changed:
            if changed[name] is None:
                os.environ.pop(name, None)
        yield


def __getattr__(name: str) -> type[Absent]:
    return absent(
        f"mx.test_utils.{name}", "it needs sparse arrays, files from the net, or MXNet's NumPy mode"
    )


def is_cd_run() -> bool:
    """Whether this is MXNet's own delivery."""
    return False


def has_tvm_ops() -> bool:
    """Whether operators of TVM are there."""
    return False


def is_op_runnable() -> bool:
    """Whether operators can run here."""
    return True


def is_aarch64_run() -> bool:
    """Whether this is an ARM processor."""
    return sys.platform == "linux" and os.uname().machine == "aarch64"


# Modules and a few kinds of value among them: scripts have those by ``from mxnet.test_utils import *``.
__all__ = [
    "Context", "DummyIter", "OrderedDict", "almost_equal", "array", "assert_allclose", "assert_almost_equal",
    "assert_almost_equal_ignore_nan", "assert_almost_equal_with_err", "assert_exception", "assign_each",
    "assign_each2", "check_consistency", "check_numeric_gradient", "check_speed", "check_symbolic_backward",
    "check_symbolic_forward", "chi_square_check", "collapse_sum_like", "compare_ndarray_tuple", "compare_optimizer",
    "create_2d_tensor", "create_vector", "current_context", "default_atols", "default_context", "default_dtype",
    "default_numeric_eps", "default_rtols", "discard_stderr", "effective_dtype", "environment",
    "gen_buckets_probs_with_ppf", "get_atol", "get_etol", "get_rtol", "get_tolerance", "get_tols", "gzip",
    "has_tvm_ops", "is_aarch64_run", "is_cd_run", "is_op_runnable", "json", "list_gpus", "logging", "mean_check",
    "mx", "np", "np_reduce", "os", "rand_coord_2d", "rand_ndarray", "rand_shape_2d", "rand_shape_3d",
    "rand_shape_nd", "random_arrays", "random_sample", "random_uniform_arrays", "retry", "same", "same_array",
    "same_symbol_structure", "set_default_context", "simple_forward", "struct", "sys", "time", "use_np",
    "var_check", "verify_generator", "zipfile",
]  # fmt: skip
