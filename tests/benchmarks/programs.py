"""The ten programs of `examples/` that train: a value with its gradient, eager and compiled by `tl.jit`.

    python tests/benchmarks/programs.py
    python tests/benchmarks/programs.py -r 9 pendulum lstm

A line has milliseconds (least processor time of some runs of one thread, eager and compiled in turn), how many times as fast the
plan is, how long the first call takes, and the largest difference between the numbers, relative to the largest.
"""

import argparse
import importlib.util
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported: processor times add up over threads

import numpy as np
from transformations import seconds

import tinygrad_lesson as tl
from tinygrad_lesson.eager.differential import leaves

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = [
    "convnet", "gaussian_process", "logistic_regression", "lstm", "neural_ode", "newton", "pendulum",
    "physics_informed", "transformer", "variational_autoencoder",
]  # fmt: skip


def program(name):
    """A program as a module; it draws nothing here."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(found):
    """All numbers of a value and its gradient in a row."""
    return np.concatenate([np.ravel(x.numpy()) for x in leaves(found) if isinstance(x, tl.Tensor)])


def compared(f, inputs, runs):
    """A function eager and compiled: milliseconds of both, of the first call, and the difference."""
    plan = tl.jit(f)
    begin = time.process_time()
    a = numbers(plan(*inputs))
    first = time.process_time() - begin
    b = numbers(f(*inputs))
    pairs = [(seconds(f, *inputs), seconds(plan, *inputs)) for _ in range(runs)]
    eager, compiled = (min(column) * 1e3 for column in zip(*pairs, strict=True))
    return eager, compiled, first * 1e3, np.max(np.abs(a - b)) / np.max(np.abs(b))


def table(names, runs):
    """A line for each program."""
    print(f"{'':24}{'eager':>9}{'plan':>9}{'times':>7}{'first':>9}  difference")
    for name in names:
        module = program(name)
        params, data = module.begin()
        told = compared(tl.value_and_grad(module.loss), (params, *data), runs)
        eager, compiled, first, off = told
        print(
            f"{name:24}{eager:9.3f}{compiled:9.3f}{eager / compiled:7.1f}{first:9.0f}  {off:.0e}", flush=True
        )


def main():
    """Print what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("-r", "--runs", type=int, default=5)
    given = parser.parse_args()
    table(given.names, given.runs)


if __name__ == "__main__":
    main()
