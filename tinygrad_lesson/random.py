"""Random numbers: MXNet's CPU streams and R's generator, draw for draw.

Both are Mersenne twisters, which NumPy has; what differs is how they are seeded, how the work is dealt
out, and how words of 32 bits become numbers. With these two a run of MXNet or of R can be made again.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.locks import lock

if TYPE_CHECKING:
    import numpy.typing as npt

Array: TypeAlias = "npt.NDArray[Any]"
Shape = int | Sequence[int]

_STREAMS = 1024  # generators that one seed starts
_DRAWS_PER_STREAM = 64  # what a stream draws at most, as long as there are streams left
_WORDS = 624  # of the state of a stream
_SEED_STEP = 127  # distance between the first streams of neighbouring seeds
_TURN = lock()  # a generator serves one thread at a time
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


class MXNetGenerator:
    """The random numbers that MXNet draws on the CPU after ``mx.random.seed(seed)``.

    Stream ``i`` is a Mersenne twister seeded with ``127 * seed + i``. A tensor is dealt out in equal runs,
    one stream for each 64 elements or part of them, but at most 1024 streams; each goes on from where the
    tensor before left it. The numbers are float32; another `dtype` holds the same ones, so that a network
    may change its precision and keep its first weights (MXNet draws others for float64).

    Source
        MXNet 1.9.1, ``include/mxnet/random_generator.h``, ``src/operator/random/sampler.h``; the
        distributions are those of GCC's libstdc++ (``bits/random.tcc``).
    """

    def __init__(self, seed: int = 0) -> None:
        """Start the streams of this seed."""
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        """Start again, as a new generator with this seed would."""
        self.seed = int(seed)
        self._streams: list[np.random.MT19937] = []
        self._counting: Any = None

    def on(self, xp: Any) -> Any:
        """The generator for arrays of `xp`: this one for NumPy; on a GPU one that draws there, begun by this seed."""
        if xp is np:
            return self
        if self._counting is None:
            self.count_from(0)
        return self._counting.of(xp)

    def count_from(self, draw: int) -> None:
        """Go on with this draw on devices, where each has a number."""
        self._counting = importlib.import_module("tinygrad_lesson.philox").Philox(self.seed, draw)

    @property
    def draws_on_devices(self) -> int:
        """How many there were, of arrays."""
        return 0 if self._counting is None else self._counting.number  # type: ignore[no-any-return]

    def get_state(self) -> npt.NDArray[np.int32]:
        """Where the streams are: for each its 624 words and its position in them.

        Shapes
            (streams, 625); streams that have not drawn yet are left out
        """
        rows = np.empty((len(self._streams), _WORDS + 1), np.uint32)
        for row, stream in zip(rows, self._streams, strict=True):
            state: Any = stream.state["state"]
            row[:_WORDS], row[_WORDS] = state["key"], state["pos"]
        return rows.view(np.int32)

    def set_state(self, seed: int, rows: npt.ArrayLike) -> None:
        """Go on where a generator of this seed was when `get_state` gave these rows.

        Errors
            ShapeError if they are no rows of 624 words and a position.
        """
        words = np.ascontiguousarray(rows, np.int32).view(np.uint32)
        if words.ndim != 2 or words.shape[1] != _WORDS + 1 or len(words) > _STREAMS:
            raise ShapeError(
                f"the state of a generator is {words.shape}, expected ({_STREAMS} or fewer, {_WORDS + 1})"
            )
        if (words[:, _WORDS] > _WORDS).any():
            raise ShapeError(f"a position in the state of a generator is above {_WORDS}")
        self.reseed(seed)
        for row in words:
            stream = np.random.MT19937()
            state: Any = {"key": row[:_WORDS].copy(), "pos": int(row[_WORDS])}
            stream.state = {"bit_generator": "MT19937", "state": state}
            self._streams.append(stream)

    @contextlib.contextmanager
    def again(self, rows: npt.ArrayLike) -> Iterator[None]:
        """Draw inside what was drawn on the processor since `get_state` gave these rows; afterwards go on from here."""
        seed, now, counting = self.seed, self.get_state(), self._counting
        self.set_state(seed, rows)
        self._counting = counting
        try:
            yield
        finally:
            self.set_state(seed, now)
            self._counting = counting

    def uniform(
        self, low: float = 0.0, high: float = 1.0, shape: Shape = (), dtype: npt.DTypeLike = np.float32
    ) -> Array:
        """Numbers from `low` up to, but not including, `high`: ``low + (high - low) * u``."""
        u = _canonical(self._words(_dealt(_size(shape))))
        low32, high32 = np.float32(low), np.float32(high)
        return (low32 + (high32 - low32) * u).reshape(shape).astype(dtype, copy=False)

    def normal(
        self, loc: float = 0.0, scale: float = 1.0, shape: Shape = (), dtype: npt.DTypeLike = np.float32
    ) -> Array:
        """Numbers with mean `loc` and standard deviation `scale`.

        Source
            Marsaglia's polar method: a point inside the unit circle gives two normal numbers, of which
            MXNet keeps one. A point outside is drawn again from the same stream.
        """
        counts = _dealt(_size(shape))
        stream = np.repeat(np.arange(counts.size), counts)  # from which each element is drawn
        y, r2 = np.empty((2, stream.size), np.float32)
        missing = np.arange(stream.size)
        while missing.size:
            points = _canonical(self._words(2 * np.bincount(stream[missing]))).reshape(-1, 2)
            points = np.float32(2) * points - np.float32(1)
            distance = points[:, 0] * points[:, 0] + points[:, 1] * points[:, 1]
            outside = (distance > 1) | (distance == 0)
            order = np.lexsort((outside, stream[missing]))  # a stream's good points before its others
            y[missing], r2[missing] = points[order, 1], distance[order]
            missing = missing[outside[order]]
        z: Array = y * np.sqrt(np.float32(-2) * _logf(r2) / r2)
        return (z * np.float32(scale) + np.float32(loc)).reshape(shape).astype(dtype, copy=False)

    def split(self, count: int) -> list[MXNetGenerator]:
        """`count` generators of their own, which begin where this one is; it goes on."""
        seeds = self._words(_dealt(count)) >> np.uint64(1)
        return [MXNetGenerator(int(seed)) for seed in seeds]

    def permutation(self, n: int) -> npt.NDArray[np.intp]:
        """The numbers 0 to ``n - 1`` in random order: that of `n` random words."""
        return np.argsort(self._words(_dealt(n)), kind="stable")

    def _words(self, counts: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
        """The next ``counts[i]`` words of 32 bits from stream ``i``, one stream after the other."""
        with _TURN:
            for i in range(len(self._streams), counts.size):
                self._streams.append(_twister(_SEED_STEP * self.seed + i))
            draws = [stream.random_raw(n) for stream, n in zip(self._streams, counts.tolist(), strict=False)]
        return np.concatenate(draws) if draws else np.empty(0, np.uint64)


class RGenerator:
    """The random numbers of R before 3.6 after ``set.seed(seed)``.

    Source
        R 3.5, ``src/main/RNG.c`` (Mersenne-Twister) and ``do_sample`` in ``src/main/random.c`` (rounding).
    """

    def __init__(self, seed: int) -> None:
        """Make the state of this seed."""
        words, word = [], int(seed)
        for _ in range(50 + 625):
            word = (69069 * word + 1) % 2**32
            words.append(word)
        self._twister = np.random.MT19937()
        key = np.array(words[51:], np.uint32)  # 50 to scramble the seed, one for the position
        self._twister.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": 624}}

    def unif_rand(self) -> float:
        """A number between 0 and 1, both excluded."""
        u: float = self._twister.random_raw() * 2.3283064365386963e-10
        return max(u, 0.5 * 2.328306437080797e-10)

    def sample(self, n: int, k: int) -> npt.NDArray[np.intp]:
        """`k` different numbers out of 0 to ``n - 1``: R's ``sample(1:n, k) - 1``.

        Errors
            AttributeValueError if `k` is more than `n`.
        """
        if not 0 <= k <= n:
            raise AttributeValueError(f"sample: k is {k}, expected 0 to {n}, for no number is drawn twice")
        left = np.arange(n)
        drawn = np.empty(k, np.intp)
        for i in range(k):
            j = int((n - i) * self.unif_rand())
            drawn[i] = left[j]
            left[j] = left[n - i - 1]
        return drawn


_default = MXNetGenerator()


def default_generator() -> MXNetGenerator:
    """The generator used where none is given."""
    return _default


def seed(n: int) -> None:
    """Start the default generator again, as ``mx.random.seed(n)`` does.

    Example
        >>> import tinygrad_lesson as tl
        >>> tl.manual_seed(1)
        >>> first = tl.rand(2).tolist()
        >>> tl.manual_seed(1)
        >>> tl.rand(2).tolist() == first
        True
    """
    _default.reseed(n)


def _size(shape: Shape) -> int:
    """How many elements an array of this shape has."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(n < 0 for n in shape):
        raise ShapeError(f"random numbers of shape {shape}: every dimension must be 0 or more")
    return prod(shape)


def _dealt(n: int) -> npt.NDArray[np.intp]:
    """How many of `n` elements each stream draws; streams that draw nothing are left out."""
    streams = min(-(-n // _DRAWS_PER_STREAM), _STREAMS)
    run = -(-n // streams) if streams else 1
    return np.diff(np.append(np.arange(0, n, run), n))


def _twister(seed: int) -> np.random.MT19937:
    """MT19937 seeded by Knuth's recurrence, as ``std::mt19937(seed)`` is."""
    twister = np.random.MT19937()
    np.random.RandomState(twister).seed(seed % 2**32)
    return twister


def _canonical(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.float32]:
    """Words of 32 bits as float32 in [0, 1): libstdc++'s ``generate_canonical<float>``."""
    u: npt.NDArray[np.float32] = words.astype(np.float32) * np.float32(2**-32)
    return np.minimum(u, _BELOW_ONE, out=u)


# Per sixteenth of [0.7, 1.4): 1/c for a c near its middle, and log(c).
_LOG_TABLE = np.array(
    [
        [float.fromhex(number) for number in row.split()]
        for row in (
            "0x1.661ec79f8f3bep+0 -0x1.57bf7808caadep-2",
            "0x1.571ed4aaf883dp+0 -0x1.2bef0a7c06ddbp-2",
            "0x1.49539f0f010bp+0  -0x1.01eae7f513a67p-2",
            "0x1.3c995b0b80385p+0 -0x1.b31d8a68224e9p-3",
            "0x1.30d190c8864a5p+0 -0x1.6574f0ac07758p-3",
            "0x1.25e227b0b8eap+0  -0x1.1aa2bc79c81p-3",
            "0x1.1bb4a4a1a343fp+0 -0x1.a4e76ce8c0e5ep-4",
            "0x1.12358f08ae5bap+0 -0x1.1973c5a611cccp-4",
            "0x1.0953f419900a7p+0 -0x1.252f438e10c1ep-5",
            "0x1p+0               0x0p+0",
            "0x1.e608cfd9a47acp-1 0x1.aa5aa5df25984p-5",
            "0x1.ca4b31f026aap-1  0x1.c5e53aa362eb4p-4",
            "0x1.b2036576afce6p-1 0x1.526e57720db08p-3",
            "0x1.9c2d163a1aa2dp-1 0x1.bc2860d22477p-3",
            "0x1.886e6037841edp-1 0x1.1058bc8a07ee1p-2",
            "0x1.767dcf5534862p-1 0x1.4043057b6ee09p-2",
        )
    ]
)
_LOG_POLYNOMIAL = [
    float.fromhex(number)
    for number in ("-0x1.00ea348b88334p-2", "0x1.5575b0be00b6ap-2", "-0x1.ffffef20a4123p-2")
]
_LN2 = float.fromhex("0x1.62e42fefa39efp-1")


def _logf(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logarithm of positive normal float32, with the rounding of the C library.

    One result in 1,400 differs from the correctly rounded one, and normal numbers are made of it.

    Source
        ``logf`` of glibc 2.27 and later (Arm Optimized Routines, Szabolcs Nagy, 2017).
    """
    bits = x.view(np.int32)
    offset = bits - 0x3F330000  # x = 2^k z, with z in [0.7, 1.4)
    sixteenth, k = (offset >> 19) % 16, offset >> 23
    z = (bits - (k << 23)).view(np.float32).astype(np.float64)
    a, b, c = _LOG_POLYNOMIAL
    r = z * _LOG_TABLE[sixteenth, 0] - 1
    r2 = r * r
    y: npt.NDArray[np.float64] = (a * r2 + (b * r + c)) * r2 + (_LOG_TABLE[sixteenth, 1] + k * _LN2 + r)
    return y.astype(np.float32)


def _tensors() -> dict[str, Any]:
    """Functions of tensors, as `normal`: declared floors above, and so imported when one is asked for."""
    found: dict[str, Any] = importlib.import_module("tinygrad_lesson.eager.functions.drawing").RANDOM
    return found


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and name in _tensors():
        return _tensors()[name]
    raise AttributeError(f"tinygrad_lesson.random has no {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_tensors()})
