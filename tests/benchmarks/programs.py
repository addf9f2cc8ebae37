"""The ten programs of `examples/` that train: a value with its gradient, eager and compiled by `tl.jit`.

    python tests/benchmarks/programs.py
    python tests/benchmarks/programs.py -r 9 pendulum lstm
    python tests/benchmarks/programs.py --scan                10,000 steps of the pendulum, beside JAX if it is installed
    python tests/benchmarks/programs.py --trace               what it takes to trace a loop in Python of 1,000 and 10,000

A line has milliseconds (least processor time of some runs, eager and compiled in turn), how many times as fast the
plan is, how long the first call takes, and the largest difference between the numbers, relative to the largest.
"""

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np

import tinygrad_lesson as tl
from tinygrad_lesson.eager.differential import leaves

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = [
    "convnet", "gaussian_process", "logistic_regression", "lstm", "neural_ode", "newton", "pendulum",
    "physics_informed", "transformer", "variational_autoencoder",
]  # fmt: skip
SPEND = 0.3  # seconds of a run


def program(name):
    """A program as a module; it draws nothing here."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(f, *inputs, count=0):
    """Processor time of a call, over as many as take `SPEND`, or `count`."""
    begin, done = time.process_time(), 0
    while done < count or (not count and time.process_time() - begin < SPEND):
        f(*inputs)
        done += 1
    return (time.process_time() - begin) / done


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


def swing(push, steps, ops, loop):
    """The square of what the pendulum of `examples/pendulum.py` misses."""
    dt = 1.0 / steps

    def step(state, _):
        angle, speed = state
        speed = speed - dt * (9.81 * ops.sin(angle) + 0.3 * speed)
        angle = angle + dt * speed
        return (angle, speed), angle

    (angle, _), _ = loop(step, (0.0 * push, push), steps)
    return (angle - np.pi) ** 2


def written_out(step, state, steps):
    """The loop in Python."""
    for _ in range(steps):
        state, _ = step(state, None)
    return state, None


def scanned(steps=10_000, runs=5):
    """Value and gradient of a long loop: eager, by `tl.scan`, in a plan, and by JAX."""
    push = np.array(8.0)
    ours = tl.value_and_grad(lambda p: swing(p, steps, tl, lambda f, s, n: tl.scan(f, s, length=n)))
    plain = tl.value_and_grad(lambda p: swing(p, steps, tl, written_out))
    ways = {"a loop in Python": (plain, 1), "tl.scan": (ours, 0), "tl.scan in tl.jit": (tl.jit(ours), 0)}
    try:
        import jax
    except ImportError:
        print("JAX is not installed")
    else:
        jax.config.update("jax_enable_x64", True)
        fast = jax.jit(
            jax.value_and_grad(
                lambda p: swing(p, steps, jax.numpy, lambda f, s, n: jax.lax.scan(f, s, length=n))
            )
        )
        ways["jax.lax.scan in jax.jit"] = (lambda p: jax.block_until_ready(fast(p)), 0)
    found = {name: np.array([float(x) for x in f(push)]) for name, (f, _) in ways.items()}
    least = dict.fromkeys(ways, np.inf)
    for _ in range(runs):
        for name, (f, count) in ways.items():
            least[name] = min(least[name], seconds(f, push, count=count))
    for name, x in found.items():
        off = np.max(np.abs(x - found["a loop in Python"]) / np.abs(x))
        print(f"{name:26}{least[name] * 1e3:10.3f} ms  difference {off:.0e}")


def traced():
    """How the first call of a compiled gradient grows with the steps of a loop in Python."""
    times = []
    for steps in (1000, 10_000):
        f = tl.jit(tl.grad(lambda p, n=steps: swing(p, n, tl, written_out)))
        times.append(seconds(f, np.array(8.0), count=1))
        print(f"{steps:6} steps: {times[-1]:7.2f} s for the trace and the plan")
    print(f"{times[1] / times[0]:.1f} times")


def main():
    """Print what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("-r", "--runs", type=int, default=5)
    parser.add_argument("--scan", action="store_true")
    parser.add_argument("--trace", action="store_true")
    given = parser.parse_args()
    if given.scan:
        scanned(runs=given.runs)
    if given.trace:
        traced()
    if not given.scan and not given.trace:
        table(given.names, given.runs)


if __name__ == "__main__":
    main()
