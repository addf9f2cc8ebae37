"""What this package runs on: for bug reports, and beside measured numbers."""

import importlib.metadata
import os
import platform

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.run import available_runners, runner_name

THREADS = "OMP_NUM_THREADS"  # environment variable that NumPy's BLAS respects


def show_config() -> None:
    """Print version, runner, seed, threads and machine."""
    runners = f"{runner_name()} (of {', '.join(available_runners())})"
    threads = os.environ.get(THREADS) or f"{os.cpu_count()}, all there are; {THREADS} sets another number"
    for name, value in {
        "tinygrad_lesson": importlib.metadata.version("tinygrad_lesson"),
        "runner": runners,
        "seed": random.default_generator().seed,
        "threads of BLAS": threads,
        "numpy": np.__version__,
        "numba": importlib.metadata.version("numba") if "vm" in available_runners() else "not installed",
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {platform.system()}",
    }.items():
        print(f"{name:16} {value}")
