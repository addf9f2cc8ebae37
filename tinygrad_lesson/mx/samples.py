"""What tests of MXNet are made of: arrays, batches, and random numbers with what is expected of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import Context, cpu
from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.mx.ndarray import array
from tinygrad_lesson.mxnet.ndarray import NDArray
from tinygrad_lesson.train.batches import DataIter


def default_context() -> Context:
    """The device to test on."""
    return cpu()


def default_dtype() -> type[Any]:
    """The element type to test with."""
    return np.float32


# Arrays.


def random_arrays(*shapes: Sequence[int]) -> Any:
    """Normal numbers of float32: an array for one shape, a list for several."""
    made = [np.asarray(np.random.randn(*shape), default_dtype()) for shape in shapes]
    return made[0] if len(made) == 1 else made


def random_uniform_arrays(
    *shapes: Sequence[int], low: float = 0.0, high: float = 1.0, dtype: Any = np.float32
) -> list[np.ndarray]:
    """Uniform numbers."""
    return [np.random.uniform(low, high, size=shape).astype(dtype) for shape in shapes]


def random_sample(population: Sequence[Any], k: int) -> list[Any]:
    """`k` elements in random order."""
    assert 0 <= k <= len(population)
    copied = list(population)
    np.random.shuffle(copied)
    return copied[:k]


def rand_ndarray(
    shape: Sequence[int], stype: str = "default", density: Any = None, dtype: Any = None,
    modifier_func: Any = None, shuffle_csr_indices: bool = False, distribution: Any = None, ctx: Any = None,
) -> NDArray:  # fmt: skip
    """An array of normal numbers.

    Errors
        DTypeError for sparse storage, which is not here.
    """
    if stype != "default":
        raise DTypeError(f"storage {stype!r} is not here: arrays hold all of their elements")
    return array(random_arrays(shape), dtype=dtype, ctx=ctx or default_context())


def rand_shape_2d(dim0: int = 10, dim1: int = 10, allow_zero_size: bool = False) -> tuple[int, ...]:
    """Two sizes, of at most these."""
    return sizes(dim0, dim1, least=0 if allow_zero_size else 1)


def rand_shape_3d(
    dim0: int = 10, dim1: int = 10, dim2: int = 10, allow_zero_size: bool = False
) -> tuple[int, ...]:
    """Three sizes, of at most these."""
    return sizes(dim0, dim1, dim2, least=0 if allow_zero_size else 1)


def rand_shape_nd(num_dim: int, dim: int = 10, allow_zero_size: bool = False) -> tuple[int, ...]:
    """So many sizes, of at most `dim`."""
    return sizes(*[dim] * num_dim, least=0 if allow_zero_size else 1)


def sizes(*largest: int, least: int) -> tuple[int, ...]:
    """Random sizes."""
    return tuple(int(np.random.randint(least, most + 1)) for most in largest)


def rand_coord_2d(x_low: int, x_high: int, y_low: int, y_high: int) -> tuple[Any, Any]:
    """A place in a plane."""
    return np.random.randint(x_low, x_high, dtype=np.int64), np.random.randint(y_low, y_high, dtype=np.int64)


def create_2d_tensor(rows: int, columns: int, dtype: Any = np.int64) -> NDArray:
    """A matrix whose rows hold their numbers."""
    return array(np.arange(rows).reshape(rows, 1).repeat(columns, axis=1), dtype=dtype)


def create_vector(size: int, dtype: Any = np.int64) -> NDArray:
    """0, 1, 2, ..."""
    return array(np.arange(size), dtype=dtype)


def np_reduce(dat: np.ndarray, axis: Any, keepdims: bool, numpy_reduce_func: Callable[..., Any]) -> Any:
    """A function of NumPy such as ``np.sum`` along some axes, one by one."""
    axes = range(dat.ndim) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    reduced: Any = dat
    for one in sorted((a % dat.ndim for a in axes), reverse=True):
        reduced = numpy_reduce_func(reduced, axis=one)
    if keepdims:
        reduced = reduced.reshape(
            [1 if a in {b % dat.ndim for b in axes} else n for a, n in enumerate(dat.shape)]
        )
    return reduced


def collapse_sum_like(a: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The sum of an array over the axes along which one of `shape` was repeated to its shape."""
    lead = a.ndim - len(shape)
    axes = [*range(lead), *[lead + i for i, n in enumerate(shape) if n == 1 and a.shape[lead + i] != 1]]
    return np.asarray(a.sum(axis=tuple(axes), keepdims=True).reshape(shape))


def assign_each(input: np.ndarray, function: Callable[[Any], Any] | None) -> np.ndarray:
    """A function of each element; a copy without one."""
    if function is None:
        return np.array(input)
    made: np.ndarray = np.vectorize(function, otypes=[input.dtype])(input)
    return made


def assign_each2(
    input1: np.ndarray, input2: np.ndarray, function: Callable[[Any, Any], Any] | None
) -> np.ndarray:
    """A function of each two elements; a copy of the first without one."""
    if function is None:
        return np.array(input1)
    assert input1.shape == input2.shape
    made: np.ndarray = np.vectorize(function, otypes=[input1.dtype])(input1, input2)
    return made


class DummyIter(DataIter):
    """The first batch of another iterator, again and again: so only the network takes time."""

    def __init__(self, real_iter: Any) -> None:
        super().__init__(real_iter.batch_size)
        self.real_iter, self.the_batch = real_iter, next(real_iter)
        self.provide_data, self.provide_label = real_iter.provide_data, real_iter.provide_label

    def __iter__(self) -> Any:
        return self

    def next(self) -> Any:
        """The batch."""
        return self.the_batch


# Random numbers.


def gen_buckets_probs_with_ppf(ppf: Callable[[float], float], nbuckets: int) -> tuple[list[Any], list[float]]:
    """Intervals that a distribution hits equally often, from its quantile function, and how often."""
    edges = [ppf(i / nbuckets) for i in range(nbuckets + 1)]
    return list(itertools.pairwise(edges)), [1.0 / nbuckets] * nbuckets


def numbers_of(generator: Callable[[int], Any], nsamples: int) -> np.ndarray:
    """So many numbers of a generator."""
    return np.asarray(generator(nsamples)).reshape(nsamples)


def mean_check(
    generator: Callable[[int], Any], mu: float, sigma: float, alpha: float = 0.05, nsamples: int = 1000000
) -> bool:
    """Whether the mean of many numbers lies where it does in all but `alpha` of the cases."""
    from scipy import stats

    error = sigma / np.sqrt(nsamples)
    mean = numbers_of(generator, nsamples).mean()
    return bool(mu + stats.norm.ppf(alpha / 2) * error < mean < mu + stats.norm.ppf(1 - alpha / 2) * error)


def var_check(
    generator: Callable[[int], Any], sigma: float, alpha: float = 0.05, nsamples: int = 1000000
) -> bool:
    """Whether the variance of many normal numbers lies where it does in all but `alpha` of the cases."""
    from scipy import stats

    ratio = numbers_of(generator, nsamples).var(ddof=1) / sigma**2 * (nsamples - 1)
    low, high = (stats.chi2.ppf(q, nsamples - 1) for q in (alpha / 2, 1 - alpha / 2))
    return bool(low < ratio < high)


def chi_square_check(
    generator: Callable[[int], Any], buckets: Sequence[Any], probs: Sequence[float], nsamples: int = 1000000
) -> tuple[float, np.ndarray, np.ndarray]:
    """How probable it is to hit buckets as often as a generator does, the numbers of hits, and those expected.

    A bucket is an interval (low, high), or for whole numbers one of them.

    Source
        Pearson's chi-squared test, as SciPy has it.
    """
    from scipy import stats

    drawn, expected = numbers_of(generator, nsamples), nsamples * np.asarray(probs)
    if isinstance(buckets[0], list | tuple):
        edges = np.array([buckets[0][0], *[high for _, high in buckets]])
        places = np.searchsorted(edges, drawn, side="right") - 1
        hits = np.bincount(places[(places >= 0) & (places < len(buckets))], minlength=len(buckets))
    else:
        hits = np.array([(drawn == bucket).sum() for bucket in buckets])
    # What lies outside of all buckets would make the two sums differ, which SciPy refuses.
    scaled = expected * hits.sum() / expected.sum()
    return float(stats.chisquare(f_obs=hits, f_exp=scaled).pvalue), hits, expected


def verify_generator(
    generator: Callable[[int], Any], buckets: Sequence[Any], probs: Sequence[float], nsamples: int = 1000000,
    nrepeat: int = 5, success_rate: float = 0.2, alpha: float = 0.05,
) -> list[float]:  # fmt: skip
    """What `chi_square_check` says `nrepeat` times; a share of `success_rate` must be more probable than `alpha`.

    Errors
        AssertionError with the numbers if it is not.
    """
    found = [chi_square_check(generator, buckets, probs, nsamples) for _ in range(nrepeat)]
    passed = sum(p > alpha for p, _, _ in found)
    if passed < nrepeat * success_rate:
        raise AssertionError(
            f"{passed} of {nrepeat} times p > {alpha}: p {[p for p, _, _ in found]}, hits {found[0][1]}, "
            f"expected {found[0][2]}; buckets {buckets}, probabilities {probs}"
        )
    return [p for p, _, _ in found]
