"""How much hypothesis tries: HYPOTHESIS_PROFILE is `default`, for every change, or `nightly`. What cannot run here is skipped."""

import importlib
import os
import shutil
import signal
import sys

import pytest
from hypothesis import settings

from tinygrad_lesson import arrays
from tinygrad_lesson.run import RUNNERS, available_runners

settings.register_profile("default", max_examples=25, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=200, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# What a shell starts in the background does not hear Ctrl-C, nor would what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """A case whose `runner` is not installed here is skipped, so that tests may name every runner there is."""
    absent = [name for name in RUNNERS if name not in available_runners()]
    skip = pytest.mark.skip(reason="the interpreter is an extra: pip install '.[fast]'")
    for item in items:
        if hasattr(item, "callspec") and item.callspec.params.get("runner") in absent:
            item.add_marker(skip)


@pytest.fixture
def unknown_xp(monkeypatch):
    """The stand-in in CuPy's place, of which the package does not know yet; afterwards it knows of no device again."""
    module = importlib.import_module("strict_cupy")
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setitem(sys.modules, "cupyx.scipy.special", module.special)
    known, slow = dict(arrays.MODULES), len(arrays.NEEDS_SLOW_PATH)
    yield module
    arrays.MODULES.clear()
    arrays.MODULES.update(known)
    del arrays.NEEDS_SLOW_PATH[slow:]


@pytest.fixture
def xp(unknown_xp, monkeypatch):
    """The stand-in in CuPy's place, and known; plans run call by call, which needs no compiler."""
    arrays.require_device(arrays.gpu(0))
    module = importlib.import_module("tinygrad_lesson.run.graph")
    monkeypatch.setattr(module, "fitting", module.DeviceRunner)
    return unknown_xp


@pytest.fixture
def blocks(unknown_xp, monkeypatch):
    """The stand-in as `xp` has it, but plans run as our own kernels, compiled by the host's compiler."""
    if shutil.which("g++") is None:
        pytest.skip("g++, which compiles CUDA C for the stand-in, is not here")
    arrays.require_device(arrays.gpu(0))
    module = importlib.import_module("tinygrad_lesson.run.cublas")
    monkeypatch.setattr(module, "library", lambda: unknown_xp.cublas)
    monkeypatch.setattr(module, "WORKSPACE", 64)  # the stand-in copies all memory at each launch
    module.products.cache_clear()
    yield unknown_xp
    module.products.cache_clear()
