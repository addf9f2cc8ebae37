"""One compiled function that runs any tape: a row per step, first its operation, then offsets and sizes."""

import contextlib
import sys
import zlib
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import njit

from tinygrad_lesson.run import kernels as k

U = np.uint64
WIDTH = 17

# The order is that of the codes below; the first seven take two operands, the next thirteen one.
NAMES = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "maximum",
    "minimum",
    "pass_sign",
    "negative",
    "square",
    "sqrt",
    "rsqrt",
    "abs",
    "sign",
    "relu",
    "exp",
    "log",
    "tanh",
    "sigmoid",
    "log1p",
    "copy",
    "product",
    "transposed",
    "filled",
    "leaky",
    "row_sums",
    "softmax",
    "batch_norm",
    "gather",
]
CODES = {name: i for i, name in enumerate(NAMES)}


def fingerprint() -> int:
    """A number that changes with the code of the kernels; numba's cache looks at this file alone."""
    here = Path(__file__).parent
    texts = [(here / name).read_bytes() for name in ("simd.py", "transcendental.py", "kernels.py")]
    return zlib.crc32(b"".join(texts))


def build_interpret(version: Any) -> Any:
    """The interpreter, cached under `version`, over which it closes."""

    @njit(**{**k.OPTIONS, "cache": True})
    def interpret(tape: Any, A: Any, step: Any) -> None:
        """Carry out a tape once; `step` is the number of the batch, for `gather`."""
        version  # noqa: B018
        for at in range(tape.shape[0]):
            t = tape[at]
            code = t[0]
            if code == U(0):
                k.add(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10])
            elif code == U(1):
                k.subtract(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10])
            elif code == U(2):
                k.multiply(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10])
            elif code == U(3):
                k.divide(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10])
            elif code == U(4):
                k.maximum(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10])
            elif code == U(5):
                k.minimum(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10])
            elif code == U(6):
                k.pass_sign(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10])
            elif code == U(7):
                k.negative(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(8):
                k.square(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(9):
                k.root(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(10):
                k.inverse_root(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(11):
                k.absolute(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(12):
                k.sign(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(13):
                k.relu(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(14):
                k.exponential(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(15):
                k.logarithm(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(16):
                k.hyperbolic_tangent(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(17):
                k.logistic(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(18):
                k.log_1_plus(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(19):
                k.copied(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7])
            elif code == U(20):
                k.product(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11], t[12], t[13])
            elif code == U(21):
                k.transposed(A, t[1], t[2], t[3], t[4], t[5])
            elif code == U(22):
                k.filled(A, t[1], t[2], t[3])
            elif code == U(23):
                k.leaky(A, t[1], t[2], t[3], t[4], t[5], t[6], t[7], t[8], t[9], t[10], t[11])
            elif code == U(24):
                k.row_sums(A, t[1], t[2], t[3], t[4], t[5], t[6])
            elif code == U(25):
                k.softmax(A, t[1], t[2], t[3], t[4], t[5])
            elif code == U(26):
                k.batch_norm(
                    A,
                    t[1],
                    t[2],
                    t[3],
                    t[4],
                    t[5],
                    t[6],
                    t[7],
                    t[8],
                    t[9],
                    t[10],
                    t[11],
                    t[12],
                    t[13],
                    t[14],
                    t[15],
                )
            elif code == U(27):
                k.copied(A, t[1], U(0), t[2] + step % t[4] * t[3], U(0), U(1), U(1), t[3])

    return interpret


interpret = build_interpret(fingerprint())


def build_train(version: Any) -> Any:
    """The training loop, likewise."""

    @njit(**{**k.OPTIONS, "cache": True})
    def train(
        tape: Any,
        A: Any,
        steps: Any,
        optimizer: Any,
        rates: Any,
        losses: Any,
        loss: Any,
        magnitudes: Any,
        segments: Any,
    ) -> None:
        """`steps` batches in a row: the tape, the optimizer, and what the monitor wants to know.

        `optimizer` holds 0 (none), 1 (SGD) or 2 (Adam), and the offsets of its arrays and settings; `rates`,
        `losses` and `magnitudes` are offsets of one number, or one row, per step.
        """
        version  # noqa: B018
        count = U(segments.shape[0])
        for step in range(steps):
            interpret(tape, A, step)
            total = A[loss[0]]
            for i in range(U(1), loss[1]):
                total += A[loss[0] + i]
            A[losses + step] = total / np.float32(loss[1])
            if optimizer[0] == U(1):
                k.sgd(A, optimizer[1], optimizer[2], optimizer[3], optimizer[5], optimizer[6], rates + step)
            elif optimizer[0] == U(2):
                k.adam(
                    A,
                    optimizer[1],
                    optimizer[2],
                    optimizer[3],
                    optimizer[4],
                    optimizer[5],
                    optimizer[6],
                    rates + step,
                )
            if count != U(0):
                k.mean_magnitudes(A, optimizer[2], segments, count, magnitudes + step * count)

    return train


train = build_train(fingerprint())


def announce() -> None:
    """Say that the first call compiles, unless an earlier process has done so and left it in the cache."""
    cache = Path(interpret.stats.cache_path)
    mark = cache / f"compiled-{fingerprint():08x}-numba-{numba.__version__}"
    if mark.exists():
        return
    print(
        f"tinygrad_lesson: compiling the interpreter, once on this machine (10 to 30 s); kept in {cache}",
        file=sys.stderr,
    )
    with contextlib.suppress(OSError):  # then it is said again
        cache.mkdir(parents=True, exist_ok=True)
        mark.touch()


announce()
