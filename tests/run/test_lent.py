"""Memory that comes back when the last who knew it has let it go, and never earlier."""

import gc

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.run.lent import Lender


class Own(np.ndarray):
    """A subclass of NumPy's arrays."""


WAYS = {
    "itself": lambda a: a,
    "a slice": lambda a: a[1:],
    "a view of a view": lambda a: a[::2].reshape(2, 2).T,
    "a buffer": memoryview,
    "an iterator": lambda a: a.flat,
    "another type": lambda a: a.view(np.uint8),
    "a subclass": lambda a: a.view(Own),
    "DLPack": np.from_dlpack,
}


@pytest.mark.parametrize("way", WAYS)
def test_memory_is_lent_again_only_when_no_view_of_it_is_left(way):
    lender = Lender((7,), np.float32)
    array = lender.array()
    assert type(array) is np.ndarray
    place, held = array.ctypes.data, WAYS[way](array)
    del array
    others = [lender.array() for _ in range(1)]
    assert place not in [other.ctypes.data for other in others]
    del held
    gc.collect()
    assert lender.array().ctypes.data == place


def test_what_a_finalizer_calls_back_to_life_is_not_lent_again():
    saved = []

    class Cycle:
        def __init__(self, array):
            self.array, self.me = array, self

        def __del__(self):
            saved.append(self.array)

    lender = Lender((3,), np.float32)
    gc.disable()
    try:
        cycle = Cycle(lender.array())
        del cycle
        gc.collect()
    finally:
        gc.enable()
    (array,) = saved
    assert lender.array().ctypes.data != array.ctypes.data


@pytest.mark.parametrize("runner", available_runners())
def test_earlier_results_stay_however_they_are_held(runner):
    f = tl.jit(lambda x: (tl.exp(x), x * 2), runner=runner)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    held = [[WAYS["a slice"](y.numpy()) for y in f(x + i)] for i in range(5)]
    kept = [f(x + i) for i in range(5)]
    for i in range(5):
        np.testing.assert_allclose(held[i][0], np.exp(x + i)[1:], rtol=1e-6)
        np.testing.assert_array_equal(kept[i][1].numpy(), (x + i) * 2)
