"""One compiled function that runs any tape: a row per step, first its operation, then offsets and sizes."""

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_lesson.run import kernels as k
from tinygrad_lesson.run.cache import kept
from tinygrad_lesson.run.simd import call_loop, prefetch

U = np.uint64
WIDTH = 16

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
    "row_sums",
    "softmax",
    "batch_norm",
    "gather",
    "loop",
]
CODES = {name: i for i, name in enumerate(NAMES)}
LOOP = U(CODES["loop"])
AHEAD = 15  # the word that tells what to fetch for a later row: an offset of 48 bits, above it the lines


def fingerprint() -> int:
    """A number that changes with the code of the kernels; numba's cache looks at this file alone."""
    here = Path(__file__).parent
    texts = [
        (here / name).read_bytes()
        for name in ("simd.py", "transcendental.py", "expressions.py", "microkernels.py", "kernels.py")
    ]
    return zlib.crc32(b"".join(texts))


def build_interpret(version: Any) -> Any:
    """The interpreter, cached under `version`, over which it closes."""

    @kept(**k.OPTIONS)
    def interpret(T: Any, A: Any, step: Any) -> None:
        """Carry out a tape once; `step` is the number of the batch, for `gather`."""
        version  # noqa: B018
        rows = U(T.shape[0])
        r = U(0)
        while r < rows:
            code = T[r, 0]
            if T[r, AHEAD] != U(0) and code != LOOP:
                at = np.int64(T[r, AHEAD] << U(16)) >> 16
                prefetch(A, U(at), T[r, AHEAD] >> U(48))  # type: ignore[call-arg]
            # fmt: off
            if code == U(0):
                k.add(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8], T[r, 9], T[r, 10])
            elif code == U(1):
                k.subtract(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8],
                           T[r, 9], T[r, 10])
            elif code == U(2):
                k.multiply(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8],
                           T[r, 9], T[r, 10])
            elif code == U(3):
                k.divide(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8], T[r, 9], T[r, 10])
            elif code == U(4):
                k.maximum(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8], T[r, 9],
                          T[r, 10])
            elif code == U(5):
                k.minimum(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8], T[r, 9],
                          T[r, 10])
            elif code == U(6):
                k.pass_sign(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8],
                            T[r, 9], T[r, 10])
            elif code == U(7):
                k.negative(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(8):
                k.square(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(9):
                k.root(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(10):
                k.inverse_root(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(11):
                k.absolute(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(12):
                k.sign(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(13):
                k.relu(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(14):
                k.exponential(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(15):
                k.logarithm(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(16):
                k.hyperbolic_tangent(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(17):
                k.logistic(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(18):
                k.log_1_plus(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(19):
                k.copied(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7])
            elif code == U(20):
                k.product(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8], T[r, 9],
                          T[r, 10], T[r, 11], T[r, 12], T[r, 13])
            elif code == U(21):
                k.transposed(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5])
            elif code == U(22):
                k.filled(A, T[r, 1], T[r, 2], T[r, 3])
            elif code == U(23):
                k.row_sums(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6])
            elif code == U(24):
                k.softmax(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5])
            elif code == U(25):
                k.batch_norm(A, T[r, 1], T[r, 2], T[r, 3], T[r, 4], T[r, 5], T[r, 6], T[r, 7], T[r, 8],
                             T[r, 9], T[r, 10], T[r, 11], T[r, 12], T[r, 13], T[r, 14])
            elif code == U(26):
                k.copied(A, T[r, 1], U(0), T[r, 2] + step % T[r, 4] * T[r, 3], U(0), U(1), U(1), T[r, 3])
            elif code == U(27):
                call_loop(A, T, r, T[r, 1])  # type: ignore[call-arg]
                r += T[r, 2]
            # fmt: on
            r += U(1)

    return interpret


interpret = build_interpret(fingerprint())


def build_train(version: Any) -> Any:
    """The training loop, likewise."""

    @kept(**k.OPTIONS)
    def train(
        gather: Any,
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
        """`steps` batches in a row: the tapes, the optimizer, and what the monitor wants to know.

        `optimizer` holds 0 (none), 1 (SGD) or 2 (Adam), and the offsets of its arrays and settings; `rates`,
        `losses` and `magnitudes` are offsets of one number, or one row, per step.
        """
        version  # noqa: B018
        count = U(segments.shape[0])
        for step in range(steps):
            interpret(gather, A, step)
            interpret(tape, A, step)
            A[losses + step] = k.long_sum(A, loss[0], U(1), loss[1]) / np.float32(loss[1])
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
