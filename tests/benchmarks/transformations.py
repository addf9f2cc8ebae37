"""What derivatives, batches and loops cost: a line for each figure, with what was wanted.

    python tests/benchmarks/transformations.py                 all but what follows; a minute
    python tests/benchmarks/transformations.py jvp jacobian    some of them
    python tests/benchmarks/transformations.py scan trace      loops: 10,000 steps, beside JAX if it is installed

Times are least processor times of some runs, in turn, of one thread.
"""

import argparse
import gc
import itertools
import os
import time
import tracemalloc

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy is imported: processor times add up over threads

import numpy as np

import tinygrad_lesson as tl

SPEND = 0.3  # seconds of a run
DRAW = np.random.default_rng(0).normal
W = [DRAW(size=size) / np.sqrt(size[0]) for size in ((20, 50), (50, 50), (50, 10))]


def seconds(f, *inputs, count=0):
    """Processor time of a call, over as many as take `SPEND`, or `count`."""
    begin, done = time.process_time(), 0
    while done < count or (not count and time.process_time() - begin < SPEND):
        f(*inputs)
        done += 1
    return (time.process_time() - begin) / done


def minima(fs, runs, count=0):
    """The least time of each function, in turn."""
    return [
        min(column)
        for column in zip(*[[seconds(f, count=count) for f in fs] for _ in range(runs)], strict=True)
    ]


def peak(f):
    """Bytes that a call needs at its biggest moment."""
    f()
    tracemalloc.start()
    f()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def network(x, ws=W):
    """Three layers."""
    for w in ws:
        x = tl.tanh(x @ w)
    return x


def chain(x, steps=2000):
    """A long chain of small steps."""
    for _ in range(steps // 2):
        x = tl.sin(x) * 1.01
    return x


def jvp(runs):
    """A tangent beside the function itself, of a network and of a chain; and the memory of the chain."""
    for name, f, x in [
        ("3 layers of 50, 64 rows", network, DRAW(size=(64, 20))),
        ("3 layers of 50, 1,024 rows", network, DRAW(size=(1024, 20))),
        ("chain of 2,000 steps, 1,000 numbers", chain, DRAW(size=1000)),
        ("chain of 2,000 steps, 10,000 numbers", chain, DRAW(size=10_000)),
    ]:
        x = tl.Tensor(x)
        plain, along = minima([lambda f=f, x=x: f(x), lambda f=f, x=x: tl.jvp(f, [x], [x])], runs)
        print(f"jvp, {name}: {along / plain:.2f} times f; at most 2.5")
    x = tl.Tensor(DRAW(size=10_000))
    times = peak(lambda: tl.jvp(chain, [x], [x])) / peak(lambda: chain(x))
    print(f"jvp, memory of a chain of 2,000 steps: {times:.2f} times f; at most 2")


def jacobian(runs):
    """3 inputs and 300 results: forward, and row by row as one does with reverse mode alone."""
    a, b, x = DRAW(size=(30, 3)), DRAW(size=(300, 30)), DRAW(size=3)

    def f(x):
        return tl.tanh(b @ tl.tanh(a @ x))

    def by_reverse():
        pull = tl.vjp(f, x)[1]
        return np.stack([pull(row)[0].numpy() for row in np.eye(300)])

    np.testing.assert_allclose(tl.jacobian(f, x).numpy(), by_reverse(), rtol=1e-10)
    forward, back = minima([lambda: tl.jacobian(f, x), by_reverse], runs)
    print(f"Jacobian 3 to 300: {back / forward:.0f} times as fast as 300 sweeps; at least 30")


def vmap(runs):
    """Gradients of 128 samples of a network."""
    xs, ys = DRAW(size=(128, 20)), DRAW(size=(128, 10))
    slope = tl.grad(lambda ws, x, y: ((network(x, ws) - y) ** 2).sum())
    ws = [tl.Tensor(w) for w in W]
    whole = tl.vmap(slope, (None, 0, 0))

    def looped():
        return [slope(ws, x, y) for x, y in zip(xs, ys, strict=True)]

    for i, found in enumerate(whole(ws, xs, ys)):
        np.testing.assert_allclose(found.numpy(), [g[i].numpy() for g in looped()], rtol=1e-10, atol=1e-14)
    once, each = minima([lambda: whole(ws, xs, ys), looped], runs)
    print(
        f"vmap(grad) of 128 samples, 3 layers of 50: {each / once:.1f} times as fast as a loop; at least 20"
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


def scan(runs, steps=10_000):
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


def trace(runs):
    """How the first call of a compiled gradient grows with the steps of a loop in Python."""
    sizes, least = (1000, 10_000), {}
    for _, steps in itertools.product(range(runs), sizes):
        gc.collect()
        f = tl.jit(tl.grad(lambda p, n=steps: swing(p, n, tl, written_out)))
        least[steps] = min(least.get(steps, np.inf), seconds(f, np.array(8.0), count=1))
    for steps in sizes:
        print(f"{steps:6} steps: {least[steps]:7.2f} s for the trace and the plan")
    print(f"trace of jit(grad(f)), 10,000 steps: {least[10_000] / least[1000]:.1f} times 1,000; at most 12")


FIGURES = {"jvp": jvp, "jacobian": jacobian, "vmap": vmap, "scan": scan, "trace": trace}


def main():
    """Print what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("figures", nargs="*", default=["jvp", "jacobian", "vmap"], help=", ".join(FIGURES))
    parser.add_argument("-r", "--runs", type=int, default=5)
    given = parser.parse_args()
    for name in given.figures:
        FIGURES[name](given.runs)


if __name__ == "__main__":
    main()
