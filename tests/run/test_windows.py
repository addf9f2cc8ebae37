"""Convolutions and large products: panels, tiles and their remainders, whatever the sizes, strides and places in memory."""

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

from tinygrad_lesson.ops.conv import SlidingProduct, SlidingProductData, SlidingProductWeight
from tinygrad_lesson.run import panels, products, windows
from tinygrad_lesson.run.operands import Memory
from tinygrad_lesson.run.segment import as_tape, segments, told
from tinygrad_lesson.run.tape import sharing
from tinygrad_lesson.run.tape.machine import address
from tinygrad_lesson.run.threads import THREADS

CLOSE = {"float32": 4e-6, "float64": 1e-14}


def laid(x, how):
    """An array of these numbers, dense, or one byte off its alignment, or with its axes in another order in memory."""
    if how == "unaligned":
        place = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
        assert x.size == 0 or not place.flags.aligned
    elif how == "turned":
        place = np.zeros(x.shape[::-1], x.dtype).T
    elif how == "apart":
        place = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)[..., ::2]
    else:
        place = np.zeros_like(x)
    place[...] = x
    return place


def carried_out(encode, *arrays):
    """What instructions leave in the last of the arrays; all else must stay."""
    memory = Memory()
    before = [x.copy() for x in arrays[:-1]]
    rows = encode(memory, [memory.operand(x) for x in arrays])
    assert rows is not None
    for call in segments(rows, memory):
        call()
    for x, y in zip(arrays, before, strict=False):
        np.testing.assert_array_equal(x, y)
    return arrays[-1]


def places(op, shape):
    """For each place of the window, the elements that meet it inside of the padding, and its number."""
    return zip(itertools.product(*map(range, op.kernel)), op.places(shape), strict=True)


def padded(op, x):
    y = np.zeros(op.reached(x.shape))
    y[op.inner(x.shape)] = x
    return y


def exactly(op, x, weight, g):
    """The products, and the gradients by image and weight, in double precision, place after place."""
    groups, seen, back = op.num_group, padded(op, x), np.zeros(op.reached(x.shape))
    y, by_weight = np.zeros(g.shape), np.zeros(weight.shape)
    k, c = len(weight) // groups, weight.shape[1]
    for number, index in places(op, x.shape):
        for group in range(groups):
            filters, channels = slice(group * k, (group + 1) * k), slice(group * c, (group + 1) * c)
            w = weight[(filters, slice(None), *number)].astype(float)
            here = seen[index][channels]
            y[filters] += np.tensordot(w, here, 1)
            back[index][channels] += np.tensordot(w, g[filters].astype(float), (0, 0))
            axes = tuple(range(1, g.ndim))
            by_weight[(filters, slice(None), *number)] = np.tensordot(
                g[filters].astype(float), here, (axes, axes)
            )
    return y, back[op.inner(x.shape)], by_weight


@st.composite
def convolutions(draw):
    """A window, and the sizes of what it slides over and of its filters."""
    rank, groups = draw(st.sampled_from((1, 2, 2, 3))), draw(st.sampled_from((1, 1, 2, 3)))

    def each(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, stride, dilate, pad = each(1, 3), each(1, 3), each(1, 2), each(0, 3)
    space = [d * (k - 1) + 1 + n for d, k, n in zip(dilate, kernel, each(0, 5), strict=True)]
    window = {"kernel": kernel, "stride": stride, "dilate": dilate, "pad": pad, "num_group": groups}
    channels, filters = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 19))
    batch = draw(st.sampled_from((1, 2, 5, 16, 20, 33)))
    return window, (channels, *space, batch), filters


def data(window, image, filters, kind, seed=0):
    """The ops of a convolution and arrays for them."""
    draw = np.random.default_rng(seed).standard_normal
    op = SlidingProduct(**window, no_bias=True)
    weight = draw((filters, image[0] // window["num_group"], *window["kernel"])).astype(kind)
    x, g = draw(image).astype(kind), draw(op.shape(image, weight.shape)).astype(kind)
    return op, x, weight, g


LAYOUTS = ("dense", "unaligned", "turned")
WIDE = {"kernel": (3, 3), "stride": (1, 1), "dilate": (1, 1), "pad": (1, 1), "num_group": 1}


@settings(deadline=None, max_examples=150)
@given(convolutions(), st.sampled_from(list(CLOSE)), st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS))
@example((WIDE, (61, 9, 9, 3), 17), "float32", "dense", "dense")  # more channels than are packed at a time
@example((WIDE, (40, 3, 70, 40), 9), "float32", "dense", "dense")  # a row in several parts
@example((WIDE, (20, 4, 5, 16), 10), "float64", "dense", "dense")  # tiles with a quarter more rows
def test_products_of_windows_and_both_gradients(case, kind, given_as, wanted_as):
    op, x, weight, g = data(*case, kind)
    settled = dict(op.window)
    ops = op, SlidingProductData(**settled, to=x.shape), SlidingProductWeight(**settled)
    encoders = windows.sliding_product, windows.sliding_product_data, windows.sliding_product_weight
    for one, encode, (a, b), exact in zip(
        ops, encoders, ((x, weight), (g, weight), (x, g)), exactly(op, x, weight, g), strict=True
    ):
        o = laid(np.full(exact.shape, np.nan, kind), wanted_as)
        found = carried_out(
            lambda memory, operands, one=one, encode=encode: encode(memory, one, operands[:-1], operands[-1]),
            laid(a, given_as), laid(b, given_as), o,
        )  # fmt: skip
        scale = max(1, np.abs(exact).max())
        np.testing.assert_allclose(found, exact, rtol=0, atol=CLOSE[kind] * scale)


@pytest.mark.parametrize("kind", CLOSE)
def test_products_begin_with_a_bias(kind):
    op, x, weight, g = data({**WIDE, "num_group": 2}, (66 * 2, 5, 6, 7), 22, kind)
    bias = np.random.default_rng(1).standard_normal(22).astype(kind)
    exact = exactly(op, x, weight, g)[0] + bias.reshape(-1, 1, 1, 1)
    found = carried_out(
        lambda memory, operands: windows.sliding_product(memory, op, operands[:3], operands[3]),
        x, weight, bias, np.full(g.shape, np.nan, kind),
    )  # fmt: skip
    np.testing.assert_allclose(found, exact, rtol=0, atol=CLOSE[kind] * np.abs(exact).max())


@pytest.mark.parametrize("kind", CLOSE)
@pytest.mark.parametrize("special", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pad", [(2, 1), (1, 2)])
def test_padding_is_absent_from_a_gradient_where_a_weight_is_infinite(kind, special, stride, pad):
    window = {**WIDE, "stride": (stride, stride), "pad": pad}
    op, x, weight, g = data(window, (3, 6, 7, 19), 5, kind)
    weight[2, 1, 0, 2] = special
    back = SlidingProductData(**op.window, to=x.shape)
    with np.errstate(all="ignore"):
        exact = back.forward(np, g.astype(float), weight.astype(float))
    found = carried_out(
        lambda memory, operands: windows.sliding_product_data(memory, back, operands[:2], operands[2]),
        g, weight, np.zeros(x.shape, kind),
    )  # fmt: skip
    assert 0 < np.isfinite(exact).sum() < exact.size
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


@settings(deadline=None, max_examples=150)
@given(
    st.tuples(
        st.integers(4, 45), st.sampled_from((1, 3, 30, 300, 700)), st.sampled_from((4, 15, 16, 33, 64, 300))
    ),
    st.sampled_from(list(CLOSE)),
    st.lists(st.sampled_from((*LAYOUTS, "apart")), min_size=3, max_size=3),
    st.lists(st.sampled_from(("row", "matrix", "result")), max_size=3, unique=True),
)
@example((9, 700, 3000), "float32", ["dense"] * 3, [])  # several panels
@example((300, 40, 4), "float32", ["dense"] * 3, ["row", "matrix"])  # the product of both turned around
@example((45, 1100, 33), "float64", ["dense"] * 3, ["row", "result", "matrix"])  # several parts of a sum
@example((128, 300, 300), "float32", ["dense", "turned", "dense"], ["row"])  # read where it lies
@example((16, 700, 301), "float64", ["dense", "turned", "unaligned"], ["result"])
@example((15, 700, 301), "float32", ["apart", "turned", "apart"], ["matrix", "row"])
def test_large_products(sizes, kind, ways, starts):
    m, k, n = sizes
    draw = np.random.default_rng(0).standard_normal
    x, w, o = (laid(draw(s).astype(kind), how) for s, how in zip(((m, k), (k, n), (m, n)), ways, strict=True))
    given = [draw(n if start == "row" else (m, n)).astype(kind) for start in starts if start != "result"]
    exact = x.astype(float) @ w.astype(float) + sum(
        [*given, *([o.astype(float)] if "result" in starts else [])]
    )

    def encode(memory, operands):
        x, w, *others, o = operands
        return panels.large_product(memory, x, w, o, others + [o] * ("result" in starts))

    found = carried_out(encode, x, w, *given, o)
    np.testing.assert_allclose(found, exact, rtol=0, atol=CLOSE[kind] * max(1, np.abs(exact).max()))


@pytest.mark.parametrize(
    ("rows", "kernels"), [(63, ["window_sums", "turned_matrix"]), (299, ["packed_matrix", "window_sums"])]
)
def test_a_large_matrix_whose_columns_are_dense_is_not_packed_for_few_rows(monkeypatch, rows, kernels):
    monkeypatch.setenv(THREADS, "1")
    draw, around = np.random.default_rng(0).standard_normal, np.full((rows + 20, 320), 7, np.float32)
    x, w, o = draw((rows, 301), "f"), draw((301, 301), "f").T, around[:rows, :301]

    def encode(memory, operands):
        made = panels.large_product(memory, *operands, [])
        assert [name.split()[0] for name in told(as_tape(made))] == kernels
        return made

    np.testing.assert_allclose(carried_out(encode, x, w, o), x.astype(float) @ w, rtol=0, atol=1e-4)
    assert (around[rows:] == 7).all()
    assert (around[:, 301:] == 7).all()


def test_numbers_do_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(panels, "ENOUGH", 100)
    monkeypatch.setattr(windows, "ENOUGH", 100)
    op, x, weight, g = data(WIDE, (7, 9, 8, 20), 11, "float32")
    back, by_weight = SlidingProductData(**op.window, to=x.shape), SlidingProductWeight(**op.window)
    draw = np.random.default_rng(0).standard_normal
    a, b = draw((40, 90), "float32"), draw((90, 130), "float32")
    lying = draw((64, 90), "float32"), draw((790, 90), "float32").T, draw(790, "float32")
    kinds = (
        (windows.sliding_product, op, (x, weight), g.shape),
        (windows.sliding_product_data, back, (g, weight), x.shape),
        (windows.sliding_product_weight, by_weight, (x, g), weight.shape),
        (lambda memory, op, given, o: products.product(memory, *given, o), None, (a, b), (40, 130)),
        (
            lambda memory, op, given, o: products.product(memory, *given[:2], o, given[2:]),
            None,
            lying,
            (64, 790),
        ),
    )
    shared = set()
    for encoder, one, arrays, shape in kinds:

        def encode(memory, operands, encoder=encoder, one=one):
            rows = encoder(memory, one, operands[:-1], operands[-1])
            shared.update(row[2] for row in rows if row[0] == address(sharing.shared))
            return rows

        found = []
        for threads in (1, 2, 3):
            monkeypatch.setenv(THREADS, str(threads))
            found.append(carried_out(encode, *arrays, np.zeros(shape, np.float32)))
        np.testing.assert_array_equal(found[0], found[1])
        np.testing.assert_array_equal(found[0], found[2])
    assert shared == {2, 3}
