"""What this package runs on: for bug reports, and beside measured numbers."""

from __future__ import annotations

import importlib
import os
import platform

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.run import available_runners, runner_name
from tinygrad_lesson.run.threads import OTHERS, THREADS, threads


def show_config() -> None:
    """Print version, runner, seed, threads and machine."""
    version = importlib.import_module("importlib.metadata").version  # it takes a tenth of all other imports
    runners = f"{runner_name()} (of {', '.join(available_runners())})"
    of_blas = os.environ.get(OTHERS) or f"{os.cpu_count()}, all there are; {OTHERS} sets another number"
    for name, value in {
        "tinygrad_lesson": version("tinygrad_lesson"),
        "runner": runners,
        "seed": random.default_generator().seed,
        "threads of BLAS": of_blas,
        "threads of loops": f"{threads()}; {THREADS} sets another number",
        "numpy": np.__version__,
        "llvmlite": version("llvmlite") if "vm" in available_runners() else "not installed",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
    }.items():
        print(f"{name:16} {value}")
