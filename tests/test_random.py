"""The random streams, against MXNet 1.9.1, R, and the C library they come from.

`initializers.npz` and `streams.npz` were drawn by MXNet 1.9.1 on a CPU.
"""

import ctypes
import ctypes.util
import json
import math
import platform
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tinygrad_lesson import random
from tinygrad_lesson.errors import AttributeValueError, ShapeError
from tinygrad_lesson.random import MXNetGenerator, RGenerator

DATA = Path(__file__).parent / "data"
DRAWS = np.load(DATA / "initializers.npz")


@pytest.mark.parametrize("key", DRAWS.files)
def test_a_tensor_has_the_bits_that_mxnet_draws(key):
    _, distribution, seed, shape = key.split("_")
    generator = MXNetGenerator(int(seed.removeprefix("seed")))
    shape = tuple(map(int, shape.split("x")))
    drawn = (
        generator.uniform(-0.07, 0.07, shape) if distribution == "uniform" else generator.normal(0, 1, shape)
    )
    np.testing.assert_array_equal(drawn, DRAWS[key])
    assert drawn.dtype == np.float32


def test_each_stream_goes_on_where_the_tensor_before_left_it():
    theirs = np.load(DATA / "streams.npz")
    generator = MXNetGenerator(5)
    np.testing.assert_array_equal(generator.uniform(0, 1, 300), theirs["uniform_300"])
    np.testing.assert_array_equal(generator.normal(2, 3, (7, 9)), theirs["normal_7x9"])
    # more elements than 64 for each of 1024 streams, and not the same number for each
    np.testing.assert_array_equal(generator.uniform(-1, 2, 70000)[::997], theirs["uniform_70000_every_997"])
    np.testing.assert_array_equal(generator.normal(0, 1, 70000)[::997], theirs["normal_70000_every_997"])
    np.testing.assert_array_equal(generator.uniform(0, 1, 3), theirs["uniform_3"])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the logarithm is that of glibc")
def test_the_logarithm_is_that_of_the_c_library():
    logf = ctypes.CDLL(ctypes.util.find_library("m")).logf
    logf.restype, logf.argtypes = ctypes.c_float, [ctypes.c_float]
    x = np.random.default_rng(0).uniform(0, 1, 50000).astype(np.float32)
    x = np.concatenate([x, x**3, np.float32([1, 2**-48])])
    expected = np.array([logf(value) for value in x.tolist()], np.float32)
    np.testing.assert_array_equal(random._logf(x), expected)


def test_the_centre_of_the_circle_is_drawn_again(monkeypatch):
    generator = MXNetGenerator()
    centre, point = np.array([[2, 2], [2, 3]], np.uint64) << np.uint64(30)  # the points (0, 0) and (0, 1/2)
    words = iter([centre, point])
    monkeypatch.setattr(generator, "_words", lambda counts: next(words))
    np.testing.assert_allclose(generator.normal(), 0.5 * math.sqrt(-2 * math.log(0.25) / 0.25), rtol=1e-6)


def test_normal_numbers_are_normal():
    drawn = MXNetGenerator(1).normal(3, 2, 100_000)
    assert stats.kstest(drawn, stats.norm(3, 2).cdf).pvalue > 0.001


def test_uniform_numbers_stay_below_the_upper_end():
    largest = np.array([0, 2**32 - 1], np.uint64)
    np.testing.assert_array_equal(random._canonical(largest), [0, np.nextafter(np.float32(1), np.float32(0))])


def test_another_precision_holds_the_same_numbers():
    for draw in (MXNetGenerator.uniform, MXNetGenerator.normal):
        wide = draw(MXNetGenerator(3), shape=(2, 5), dtype=np.float64)
        assert wide.dtype == np.float64
        np.testing.assert_array_equal(wide, draw(MXNetGenerator(3), shape=(2, 5)))


@given(st.integers(0, 300), st.integers(-5, 5))
def test_a_permutation_has_every_number_once(n, seed):
    assert sorted(MXNetGenerator(seed).permutation(n).tolist()) == list(range(n))


def test_all_permutations_are_equally_likely():
    generator = MXNetGenerator(2)
    drawn = [tuple(generator.permutation(3).tolist()) for _ in range(3000)]
    counts = np.unique(drawn, axis=0, return_counts=True)[1]
    assert counts.size == 6
    assert stats.chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("shape", [(0,), (3, 0), ()])
def test_an_empty_tensor_draws_nothing_and_a_number_has_no_axes(shape):
    assert MXNetGenerator().uniform(shape=shape).shape == shape
    assert MXNetGenerator().normal(shape=shape).shape == shape


def test_a_negative_dimension_is_refused():
    with pytest.raises(ShapeError, match=r"\(2, -1\)"):
        MXNetGenerator().uniform(shape=(2, -1))


def test_a_seed_starts_the_default_generator_again():
    random.seed(0)
    first = random.default_generator().uniform(-0.07, 0.07, (10, 4))
    np.testing.assert_array_equal(first, DRAWS["draw_uniform_seed0_10x4"])
    random.default_generator().uniform(shape=9)
    random.seed(0)
    np.testing.assert_array_equal(random.default_generator().uniform(-0.07, 0.07, (10, 4)), first)


@pytest.mark.parametrize(
    ("seed", "numbers"),
    [
        (0, [0.8966972, 0.2655087, 0.3721239]),
        (42, [0.9148060, 0.9370754, 0.2861395]),
        (123, [0.2875775, 0.7883051, 0.4089769]),
    ],
)
def test_r_prints_these_numbers(seed, numbers):
    generator = RGenerator(seed)  # set.seed(seed); runif(3)
    np.testing.assert_allclose([generator.unif_rand() for _ in numbers], numbers, atol=5e-8)


def test_a_word_of_zeros_is_no_zero_in_r(monkeypatch):
    generator = RGenerator(0)
    monkeypatch.setattr(generator, "_twister", SimpleNamespace(random_raw=lambda: 0))
    assert generator.unif_rand() == pytest.approx(0.5 / (2**32 - 1), rel=1e-12)  # R 3.5, `fixup` in RNG.c


def test_r_before_3_6_draws_these_rows():
    reference = json.loads((DATA / "mxnet_reference.json").read_text())
    assert (RGenerator(0).sample(150, 100) + 1).tolist() == reference["train_rows_1based"]
    # set.seed(42); sample(1:10), as R 3.5 prints it
    assert (RGenerator(42).sample(10, 10) + 1).tolist() == [10, 9, 3, 6, 4, 8, 5, 1, 2, 7]


def test_a_sample_larger_than_the_whole_is_refused():
    with pytest.raises(AttributeValueError, match="k is 4, expected 0 to 3"):
        RGenerator(0).sample(3, 4)


def test_threads_that_draw_at_once_get_every_stream_once(monkeypatch):
    def slowly(seed, real=random._twister):
        time.sleep(1e-3)  # another thread may go on here
        return real(seed)

    many, one = MXNetGenerator(3), MXNetGenerator(3)
    monkeypatch.setattr(random, "_twister", slowly)
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: many.uniform(shape=64 * 5), range(20)))
    expected = [one.uniform(shape=64 * 5) for _ in range(20)]
    np.testing.assert_array_equal(sorted(map(tuple, drawn)), sorted(map(tuple, expected)))
