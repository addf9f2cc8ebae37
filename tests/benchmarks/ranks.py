"""Several ranks measured: `python tests/benchmarks/ranks.py equal | exchange | speed | failures`.

`equal` trains the lesson's networks alone and by 2, 3 and 4 ranks, twice each, and prints how far parameters differ;
`exchange` compares what a step exchanges with a bare `Allreduce` of as many bytes, by 2 ranks; `speed` compares one rank
with two on mnist-mlp, batch 128 in all; `failures` kills a rank, raises in one and starts a differing one, 20 times each.
Needs the extra `mpi`; `speed` a quiet machine with two cores or more. docs/parallel.md has the results.
"""

import argparse
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from networks import perceptron

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.lesson.networks import NETWORKS
from tinygrad_lesson.train.ranks import Parts, Ranks

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from rank_scenarios import model, rows

TIMES = 20


def start(ranks, *arguments, **more):
    """This script under `mpiexec`, each rank on one thread."""
    beside = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    told = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        [mpiexec, "-n", str(ranks), sys.executable, __file__, *arguments], env=told, **more
    )


def finish(ranks, *arguments):
    """What it prints at its end."""
    process = start(ranks, *arguments, stdout=subprocess.PIPE, text=True)
    told, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: ended with {process.returncode}")
    return told


# The same parameters.


def train_all(dtype, path):
    """Ten epochs of every network; rank 0 writes the parameters."""
    world, found = tl.parallel.world(sync=True), {}
    for name in NETWORKS:
        made = model(name, dtype, num_epoch=10)
        made.fit(rows(20, dtype), parallel=world, progress=False)
        found.update({f"{name}:{key}": x for key, x in {**made.arg_params, **made.aux_params}.items()})
    if world.rank == 0:
        np.savez(path, **found)


def normalized_away(key):
    """Whether it is a bias before a batch normalization, or the mean there: its gradient is rounding errors alone."""
    return (
        key.startswith("bn") and re.search(r"fc\d+_bias$|moving_mean$", key) and not key.endswith("fc8_bias")
    )


def equal():
    """How far parameters are from those of one process."""
    print(f"{'':10}{'ranks':>6}{'all but these':>16}{'biases before BN':>18}  the same bits twice")
    for dtype in ("float64", "float32"):
        with tempfile.TemporaryDirectory() as folder:
            for ranks in (1, 2, 3, 4):
                for i in (1, 2):
                    finish(ranks, "train_all", dtype, f"{folder}/{ranks}-{i}.npz")
            alone = np.load(f"{folder}/1-1.npz")
            for ranks in (2, 3, 4):
                first, second = (np.load(f"{folder}/{ranks}-{i}.npz") for i in (1, 2))
                worst = [0.0, 0.0]
                for key in alone.files:
                    kind = int(bool(normalized_away(key)))
                    worst[kind] = max(worst[kind], float(np.abs(alone[key] - first[key]).max()))
                same = all(first[key].tobytes() == second[key].tobytes() for key in alone.files)
                print(f"{dtype:10}{ranks:6}{worst[0]:16.1e}{worst[1]:18.1e}  {same}")


# What it costs.


def mnist_model(**settings):
    """784-1024-1024-10 with Adam, as in `workloads.py`."""
    net = sym.SoftmaxOutput(perceptron(sym.Variable("data"), "mnist-mlp"), name="softmax")
    return tl.FeedForward(net, seed=0, optimizer="adam", learning_rate=0.001, **settings)


def mnist_rows(batch=128, batches=40):
    """Random images and classes."""
    rng = np.random.default_rng(0)
    shape = batch * batches, 784
    return tl.NDArrayIter(rng.random(shape, dtype=np.float32), rng.integers(0, 10, shape[0]), batch)


def one_exchange(ranks, executor, updater, monitor):
    """What a step costs besides its calculations."""
    ranks.exchange(executor, monitor)
    monitor.batches.clear()
    ranks.updated(updater)


def one_note(monitor):
    """What a step of one process notes of its gradients."""
    monitor.batch()
    monitor.batches.clear()


def time_exchange():
    """The least time of a step's exchange and of a bare `Allreduce`, taken in turn."""
    world = tl.parallel.world()
    models = {"mlp8": model("mlp8", "float32"), "mnist-mlp": mnist_model(num_epoch=1)}
    for name, made in models.items():
        parts = Parts(world, mnist_rows(batches=1) if name == "mnist-mlp" else rows(20, "float32"))
        parts.reset()
        parts.iter_next()
        made.ranks = Ranks(world, parts)
        executor = made.bind_training(parts.value())
        updater, monitor = made.start(executor)
        buffer = next(iter(executor.flat_gradients.buffers.values()))
        acts = [
            functools.partial(one_exchange, made.ranks, executor, updater, monitor),
            functools.partial(world.comm.Allreduce, world.in_place, np.zeros_like(buffer)),
            functools.partial(one_note, monitor),
        ]
        best = [np.inf] * len(acts)
        for _ in range(300 if name == "mnist-mlp" else 5000):
            for i, act in enumerate(acts):
                world.comm.Barrier()
                began = time.perf_counter()
                act()
                best[i] = min(best[i], time.perf_counter() - began)
        if world.rank == 0:
            spent = (
                best[0] - best[2]
            )  # while they are added up, the gradients are noted too, as one process does
            print(
                f"{name}: {buffer.nbytes} bytes, exchange {1e6 * spent:.1f} us, bare {1e6 * best[1]:.1f} us, "
                f"{spent / best[1]:.2f} times"
            )


def exchange():
    """The cost of the exchange, by two ranks."""
    print(finish(2, "time_exchange"), end="")


def time_training():
    """Seconds of a training step, the least over epochs."""
    world = tl.parallel.world()
    told = []
    made, batches = mnist_model(num_epoch=6), mnist_rows()
    clock = [time.perf_counter()]

    def note(*_):
        told.append(time.perf_counter() - clock[0])
        clock[0] = time.perf_counter()

    made.fit(batches, parallel=world, epoch_end_callback=note, progress=False)
    if world.rank == 0:
        print(min(told[1:]) / (batches.num_data / batches.batch_size))


def speed():
    """One rank beside two, five times in turn, the least of each."""
    best = {1: np.inf, 2: np.inf}
    for _ in range(5):
        for ranks in best:
            best[ranks] = min(best[ranks], float(finish(ranks, "time_training")))
    one, two = best.values()
    print(
        f"mnist-mlp, batch 128 in all: one {1e3 * one:.2f} ms a step, two ranks {1e3 * two:.2f}: {one / two:.2f} times"
    )


# What goes wrong.


def fail(kind, folder):
    """A training with a checkpoint after each epoch that a rank is killed in, raises in, or differs in."""
    world = tl.parallel.world()
    Path(f"{folder}/{world.rank}.pid").write_text(str(os.getpid()))
    made = model("res6", "float32", num_epoch=10**6, seed=int(kind == "differing" and world.rank))
    batches = rows(20, "float32")
    if kind == "raising" and world.rank:
        batches = Raising(batches)

    def save(epoch, *_):
        made.save(f"{folder}/net", epoch, states=True)

    made.fit(batches, parallel=world, epoch_end_callback=save)


class Raising:
    """An iterator that breaks in its twentieth epoch."""

    def __init__(self, rows):
        self.rows, self.batch_size, self.epochs = rows, rows.batch_size, 0

    def __getattr__(self, name):
        return getattr(self.rows, name)

    def reset(self):
        """Break, if it is time."""
        self.epochs += 1
        if self.epochs == 20:
            raise OSError("the disk with the rows is gone")
        self.rows.reset()


NAMED = {
    "killed": r"EXIT CODE: 9[\s\S]*Killed \(signal 9\)",
    "raising": r"rank 1: OSError: the disk with the rows is gone",
    "differing": r"fingerprints [0-9a-f]{16} and [0-9a-f]{16}; seed is 1, and 0 on rank 0",
}


def once(kind):
    """Seconds until all ranks had ended; refused if nothing was named, or a file is not whole."""
    with tempfile.TemporaryDirectory() as folder:
        process = start(2, "fail", kind, folder, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True)
        began = time.monotonic()
        if kind == "killed":
            while not Path(f"{folder}/net-0003.states").exists() and time.monotonic() - began < 60:
                time.sleep(0.05)
            time.sleep(float(np.random.default_rng().uniform(0, 0.3)))
            began = time.monotonic()
            os.kill(int(Path(f"{folder}/1.pid").read_text()), signal.SIGKILL)
        told, _ = process.communicate(timeout=90)
        while alive(folder) and time.monotonic() - began < 60:
            time.sleep(0.05)
        spent = time.monotonic() - began
        assert process.returncode != 0
        assert re.search(NAMED[kind], told), told
        if kind != "differing":
            written = [
                {int(path.stem[-4:]) for path in Path(folder).glob(f"*.{kind_}")}
                for kind_ in ("params", "states")
            ]
            assert len(written[0] - written[1]) <= 1  # it was about to write the states
            for epoch in written[0]:
                assert tl.FeedForward.load(f"{folder}/net", epoch, states=epoch in written[1]).arg_params
    assert spent < 30
    return spent


def alive(folder):
    """Ranks that are still there."""
    pids = [int(path.read_text()) for path in Path(folder).glob("*.pid")]
    return [
        pid
        for pid in pids
        if Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes()
    ]


def failures():
    """Each kind of failure, 20 times."""
    for kind in NAMED:
        spent = [once(kind) for _ in range(TIMES)]
        print(
            f"{kind}: {TIMES} times, named each time, files whole, ended after {min(spent):.1f} to {max(spent):.1f} s"
        )


ACTS = {
    f.__name__: f for f in (equal, exchange, speed, failures, train_all, time_exchange, time_training, fail)
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=ACTS)
    parser.add_argument("more", nargs="*")
    asked = parser.parse_args()
    ACTS[asked.what](*asked.more)
