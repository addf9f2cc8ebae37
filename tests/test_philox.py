"""The counting generator gives the words of its paper's test vectors, on NumPy's arrays and on those of a device."""

import numpy as np
import pytest
import strict_cupy
from scipy import stats

from tinygrad_lesson.philox import Philox, philox

VECTORS = [  # Random123 1.09, tests/kat_vectors: philox4x32 10; counter, key, words
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
@pytest.mark.parametrize("xp", [np, strict_cupy])
def test_words_are_those_of_the_paper(xp, counter, key, expected):
    found = philox(xp, [xp.full(2, np.uint64(c)) for c in words(counter)], tuple(words(key)))
    for x, word in zip(found, words(expected), strict=True):
        x = x.get() if xp is strict_cupy else x
        np.testing.assert_array_equal(x, np.full(2, word, np.uint64))


def test_a_seed_gives_the_same_numbers_on_every_device():
    for draw in (lambda r: r.uniform(-2, 3, (7, 9)), lambda r: r.normal(1.0, 2.0, (7, 9))):
        host, device = draw(Philox(11).of(np)), draw(Philox(11).of(strict_cupy))
        assert host.dtype == device.dtype == np.float32
        np.testing.assert_array_equal(host, device.get())
        assert (draw(Philox(12).of(np)) != host).any()
    generator = Philox(11)
    first, second = (generator.of(np).unit(50) for _ in range(2))
    assert (first != second).mean() > 0.9


def test_numbers_have_their_distributions():
    generator = Philox(4).of(np)
    u, z = generator.uniform(2, 5, (20000,)), generator.normal(-1, 3, (20000,))
    assert u.min() >= 2
    assert u.max() < 5
    assert stats.kstest((u - 2) / 3, "uniform").pvalue > 0.01
    assert stats.kstest((z + 1) / 3, "norm").pvalue > 0.01
    assert abs(np.corrcoef(u, z)[0, 1]) < 0.02
