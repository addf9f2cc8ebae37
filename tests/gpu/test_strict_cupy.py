"""The stand-in refuses what CuPy refuses, computes what NumPy computes, and counts what moves."""

import numpy as np
import pytest
import strict_cupy as xp

pytestmark = pytest.mark.strict_arrays
A = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("wrong", [
    lambda a: a + np.ones(3), lambda a: np.ones(3) + a, lambda a: np.asarray(a), lambda a: np.array(a),
    lambda a: xp.add(a, 1, where=True), lambda a: xp.add(a, a, order="C"), lambda a: xp.sum(np.ones(3)),
    lambda a: a.__setitem__(..., np.ones((2, 3))), lambda a: xp.where(True, a, a), lambda a: np.copyto(np.ones((2, 3)), a),
    lambda a: xp.sum(a, where=a > 0), lambda a: hash(a), lambda a: xp.maximum.reduce(a), lambda a: xp.errstate,
    lambda a: xp.min(a, out=xp.empty(())), lambda a: a.flags.writeable, lambda a: np.add(a, a, out=np.empty((2, 3))),
    lambda a: xp.clip(1.0, 0, 2), lambda a: xp.concatenate([a, A]), lambda a: range(a[0, 0]), lambda a: memoryview(a),
    lambda a: a.view(np.ndarray), lambda a: xp.add(a, [1, 2, 3]), lambda a: a.ctypes, lambda a: np.dot(a, A.T),
    lambda a: xp.copyto(a, A), lambda a: a.set(A.astype("f")), lambda a: xp.nditer, lambda a: xp.full((2, 3), A),
    lambda a: np.stack([a, A]), lambda a: xp.matmul(a, 2.0), lambda a: xp.max(a, initial=0.0),
])  # fmt: skip
def test_refused(wrong):
    with pytest.raises((TypeError, ValueError, AttributeError, NotImplementedError)):
        wrong(xp.asarray(A))


def test_what_is_done_is_numpys_and_stays_on_the_device():
    a = xp.asarray(A)
    with xp.counts.of() as seen:
        found = [
            a + 1,
            2 * a,
            np.add(a, a),
            a @ a.T,
            a.sum(axis=0),
            xp.mean(a, axis=(0, 1), keepdims=True),
            a[:, ::-1],
            xp.where(a > 2, a, 0),
            xp.reshape(a.T, (3, 2)),
            np.concatenate([a, a], axis=1),
            xp.clip(a, None, 2.0),
        ]
    wanted = [A + 1, 2 * A, A + A, A @ A.T, A.sum(axis=0), A.mean(keepdims=True), A[:, ::-1], np.where(A > 2, A, 0),
              A.T.reshape(3, 2), np.concatenate([A, A], axis=1), np.clip(A, None, 2.0)]  # fmt: skip
    for x, y in zip(found, wanted, strict=True):
        assert type(x) is xp.ndarray
        np.testing.assert_array_equal(x.get(), y)
    assert (seen.h2d, seen.d2h, seen.synchronizations) == (0, 0, 0)
    assert isinstance(a.sum(), xp.ndarray)  # and no scalar


def test_counts_and_refuses_transfers():
    a = xp.asarray(A)
    with xp.counts.of() as seen:
        float(a[0, 0]), bool(a[0, 0]), a.get(), xp.asarray(A), a[a > 2]
    assert (seen.h2d, seen.d2h, seen.synchronizations) == (1, 3, 4)
    with xp.no_transfers(), pytest.raises(xp.TransferError):
        float(a.sum())


def test_graph():
    a, x, y = xp.asarray(A), xp.asarray(np.arange(3.0)), xp.zeros(3)
    stream = xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        t = x * 2
        xp.add(t, 1, out=y)
        y[0] = 7.0
        with pytest.raises(NotImplementedError, match="cuBLAS"):
            xp.matmul(a, a.T)
        with pytest.raises(RuntimeError, match="capturing"):
            float(t[0])
        graph = stream.end_capture()
    np.testing.assert_array_equal(y.get(), 0)  # nothing has been carried out
    graph.launch()
    np.testing.assert_array_equal(y.get(), [7, 3, 5])
    x[...] = 5
    graph.launch()
    np.testing.assert_array_equal(y.get(), [7, 11, 11])
