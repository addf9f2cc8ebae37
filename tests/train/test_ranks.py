"""Several ranks train what one process trains: the scenarios of `rank_scenarios.py`, run by two ranks and alone."""

import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rank_scenarios
from rank_scenarios import SCENARIOS

import tinygrad_lesson as tl
from tinygrad_lesson import parallel
from tinygrad_lesson.engine.errors import AttributeValueError, DeviceError, DTypeError, ShapeError
from tinygrad_lesson.train.batches import part_of
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.ranks import Parts, SharedMonitor

HERE = Path(__file__).parent
beside = Path(sys.executable).parent / "mpiexec"
MPIEXEC = str(beside) if beside.exists() else shutil.which("mpiexec")
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None,
    reason="ranks need mpi4py and mpiexec: pip install mpi4py mpich",
)


def mpiexec(*command, ranks=2, seconds=240, **environment):
    """What `mpiexec` gives."""
    own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPIR_CVAR_POLLS_BEFORE_YIELD": "1"}
    told = {**os.environ, **own, **environment}
    return subprocess.run(
        [MPIEXEC, "-n", str(ranks), sys.executable, *command], capture_output=True, text=True, timeout=seconds, env=told
    )  # fmt: skip


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process finds, and its folder."""
    folder = tmp_path_factory.mktemp("ranks")
    late = {"resumed"}  # which needs the checkpoint of the ranks
    return folder, {name: f(None, folder) for name, f in SCENARIOS.items() if name not in late}


@pytest.fixture(scope="module")
def together(alone):
    """What each of two ranks finds."""
    folder, _ = alone
    done = mpiexec(str(HERE / "rank_scenarios.py"), str(folder))
    assert done.returncode == 0, done.stderr
    found = []
    for rank in range(2):
        named = {}
        for key, array in np.load(folder / f"rank{rank}.npz").items():
            scenario, _, name = key.partition("|")
            named.setdefault(scenario, {})[name] = array
        found.append(named)
    return found


def without_drift(name, found):
    """All but what has no gradient at all, and is moved by its rounding errors: biases before a normalization."""
    drifts = ("_bias", "moving_mean") if name == "bn8" else ()
    return {key: x for key, x in found.items() if not key.endswith(drifts) or key == "fc8_bias"}


@needs_mpi
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ("saved", "resumed")])
def test_two_ranks_find_what_one_process_finds(name, alone, together):
    """In double precision within 1e-12, in single within 1e-5."""
    expected = without_drift(name, alone[1][name])
    found = without_drift(name, together[0][name])
    assert found.keys() == expected.keys()
    for key, x in expected.items():
        bound = (
            1e-5
            if np.asarray(x).dtype == np.float32 or name in ("single", "shuffled", "unseeded", "own_rows")
            else 1e-12
        )
        np.testing.assert_allclose(found[key], x, rtol=0, atol=bound, err_msg=key)


@needs_mpi
def test_all_ranks_have_the_same_bits(together):
    first, second = together
    for name in SCENARIOS:
        for key, x in first[name].items():
            assert name == "saved" or x.tobytes() == second[name][key].tobytes(), (name, key)


@needs_mpi
def test_a_training_goes_on_with_another_number_of_ranks(alone, together):
    """From two ranks to one process, and from one process to two ranks; rank 0 alone has called back."""
    straight = rank_scenarios.model("mlp4", num_epoch=4)
    history = straight.fit(rank_scenarios.rows(shuffle=True, generator=straight.generator))
    expected = rank_scenarios.learnt(straight, history)
    expected["loss"] = expected["loss"][2:]
    folder, _ = alone
    for found in (together[0]["resumed"], rank_scenarios.resumed(None, folder)):
        for key, x in expected.items():
            np.testing.assert_allclose(found[key], x, rtol=0, atol=1e-12, err_msg=key)
    assert together[0]["saved"]["told"].tolist() == [0, 1]
    assert together[1]["saved"]["told"].tolist() == []


@needs_mpi
def test_the_code_of_the_page_trains_the_same_network_in_all_ranks(together):
    first, second = (rank["page"] for rank in together)
    assert len(first) == 3
    assert all(x.tobytes() == second[name].tobytes() for name, x in first.items())


@needs_mpi
def test_random_numbers_are_drawn_from_a_stream_per_rank(together):
    shared, own = (together[0]["streams"][name] for name in ("shared", "own"))
    assert (shared[0] == shared[1]).all()  # the order of rows, first weights
    assert (own[0] != own[1]).all()  # dropout


@needs_mpi
@pytest.mark.parametrize(
    ("what", "told"),
    [("shapes", "network"), ("seed", "seed is 4, and 3 on"), ("rate", "learning_rate is 1.1, and 0.1 on")],
)
def test_another_training_in_a_rank_is_refused_by_all(what, told, together):
    first, second = (rank["refusals"][what].tobytes().decode() for rank in together)
    assert first == second
    assert "rank 1 has another training than rank 0: fingerprints " in first
    assert told in first


@needs_mpi
def test_an_error_in_one_rank_ends_all_and_is_named(tmp_path):
    began = time.monotonic()
    done = mpiexec(str(HERE / "rank_scenarios.py"), str(tmp_path), seconds=60, RANK_SCENARIO="raise")
    assert done.returncode != 0
    assert "rank 1: RuntimeError: something broke here" in done.stderr
    assert time.monotonic() - began < 30


@needs_mpi
def test_the_command_trains_with_ranks(tmp_path):
    """Rank 0 prints and writes; the networks are those of one process."""
    done = mpiexec("-m", "tinygrad_lesson", "run", "leaky3", "--epochs", "4", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("leaky3: training for 4 epochs") == 1
    assert (tmp_path / "leaky3" / "model-0004.params").exists()
    bad = mpiexec("-m", "tinygrad_lesson", "run", "leaky3", "--batch-size", "1", "--out", str(tmp_path))
    assert bad.returncode != 0
    assert "a batch has 1 rows, expected one for each of 2 ranks" in bad.stderr


def test_the_command_says_that_mpi4py_is_missing(tmp_path):
    """A module of this name that cannot be imported stands before it."""
    (tmp_path / "mpi4py.py").write_text("raise ImportError('No module named mpi4py')")
    told = {
        **os.environ,
        "PMI_SIZE": "2",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    command = [sys.executable, "-m", "tinygrad_lesson", "run", "mlp4", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=told)
    assert done.returncode == 2
    assert "ranks need mpi4py and an MPI, pip install" in done.stderr


def test_parts_have_each_row_once():
    for rows, parts in ((10, 3), (7, 7), (100, 2)):
        found = [np.arange(rows)[part_of(rows, i, parts)] for i in range(parts)]
        assert len({len(part) for part in found}) == 1
        together_ = np.concatenate(found)
        assert len(set(together_)) == len(together_) == rows // parts * parts
    with pytest.raises(AttributeValueError, match="part_index is 2, expected 0 to 1"):
        NDArrayIter(np.zeros((4, 1)), num_parts=2, part_index=2)
    with pytest.raises(ShapeError, match="num_parts is 5, but there are 4 rows"):
        NDArrayIter(np.zeros((4, 1)), num_parts=5)


class Alone:
    """A stand-in for MPI's communicator in the place of rank 1 of 3: it hears only itself."""

    rank, size = 1, 3


def test_a_rank_takes_its_rows_of_each_batch():
    rows = NDArrayIter(np.arange(20.0), np.arange(20), 10)
    parts = Parts(parallel.World(Alone()), rows)
    parts.reset()
    assert parts.iter_next()
    assert parts.value()["data"].tolist() == [3.0, 4.0, 5.0]
    assert (parts.batch_size, parts.share) == (10, 0.3)
    with pytest.raises(ShapeError, match="a batch has 2 rows, expected one for each of 3 ranks"):
        Parts(parallel.World(Alone()), NDArrayIter(np.arange(20.0), batch_size=2))


class Twice:
    """A stand-in for the communicator of two ranks that have the same numbers."""

    rank, size = 0, 2

    def Allreduce(self, in_place, array):  # noqa: N802
        """Sum up, as MPI does, what lies in the processor's memory."""
        assert type(array) is np.ndarray
        array *= 2

    def Bcast(self, array, root):  # noqa: N802
        """All have the same already."""

    def Allgather(self, own, both):  # noqa: N802
        """The other one has the same."""
        both[:] = own


def test_arrays_of_a_device_are_summed_on_the_host(xp):
    world, there = parallel.World(Twice()), xp.asarray(np.arange(3.0))
    assert world.sum(there) is there
    assert there.get().tolist() == [0.0, 2.0, 4.0]
    assert world.mean(there).get().tolist() == [0.0, 2.0, 4.0]


def test_ranks_train_on_a_device_too(xp):
    """Two that have the same rows: the gradient is that of both halves, as in a batch that holds each row twice."""
    net, X, y = rank_scenarios.classes()
    halves = [np.concatenate([x[:5], x[:5], x[5:10], x[5:10]]) for x in (X, y)]
    found = []
    for world, ctx in ((parallel.World(Twice()), tl.gpu(0)), (None, tl.cpu())):
        made = tl.FeedForward(net, ctx, num_epoch=1, seed=1, numpy_batch_size=10, learning_rate=0.1)
        history = made.fit(*halves, parallel=world)
        found.append((made.arg_params, history.loss))
    for name, x in found[1][0].items():
        np.testing.assert_allclose(found[0][0][name], x, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)


def test_three_ranks_see_the_magnitudes_that_one_sees():
    """Each looks at its third of the elements; the borders lie inside of parameters, and one is longer than a block."""
    sizes = {"fc1_weight": 200_001, "fc1_bias": 7, "fc2_weight": 30, "fc3_weight": 60_000}
    ends = np.cumsum([0, *sizes.values()]).tolist()
    segments = {name: slice(*pair) for name, pair in zip(sizes, itertools.pairwise(ends), strict=True)}
    gradients = np.random.default_rng(0).normal(size=ends[-1])
    expected = [np.abs(gradients[part]).mean() for name, part in segments.items() if "weight" in name]
    found = np.zeros(3)
    for rank in range(3):
        world = parallel.World(Alone())
        world.rank = rank
        monitor = SharedMonitor(world, gradients, segments)
        monitor.batch()
        found += monitor.batches[0][0]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_is_no_world_is_refused():
    with pytest.raises(DTypeError, match="parallel is 4, expected tl.parallel.world()"):
        rank_scenarios.model("mlp4").fit(rank_scenarios.rows(), parallel=4)
    with pytest.raises(AttributeValueError, match="fit: kvstore: 'dist_async' is not here"):
        rank_scenarios.model("mlp4").fit(rank_scenarios.rows(), kvstore="dist_async")


def test_a_world_needs_mpi4py(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    with pytest.raises(DeviceError, match="ranks need mpi4py and an MPI"):
        parallel.world()
