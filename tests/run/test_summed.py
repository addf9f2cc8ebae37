"""Products that are added up are one instruction, and wait for the last of them; nothing is read too late."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.run.operands import Operand
from tinygrad_lesson.run.summed import Read, Summed

X = np.random.default_rng(0).normal(size=(6, 40, 48))
W = np.random.default_rng(1).normal(scale=0.1, size=(6, 48, 208))


def sums_of_products(seed):
    """A random function that adds up products in many ways, some of which are read twice, shown, or changed before."""
    draw = np.random.default_rng(seed)
    choices = draw.integers(0, 6, 12)
    factors = draw.integers(0, 6, (12, 2))

    def f(x, w):
        total, shown = None, []
        for choice, (i, j) in zip(choices, factors, strict=True):
            made = x[int(i)] @ w[int(j)]
            if choice == 0:
                shown.append(made)
            elif choice == 1:
                made = tl.tanh(made)
            elif choice == 2:
                made = made + x[int(j)] @ w[int(i)]
            elif choice == 3:
                made = made + (x[int(j)] * 0.5) @ w[0]
            total = made if total is None else total + made if choice % 2 else made + total
            if choice == 4:
                shown.append(total)
        return [total, *shown]

    return f


def outcome(f, runner, kind):
    """The results, the gradients of the first, and how they were found."""
    given = X.astype(kind), W.astype(kind)
    one = tl.jit(f, runner=runner)
    slope = tl.jit(tl.grad(lambda x, w: tl.sum(tl.square(f(x, w)[0])), argnums=(0, 1)), runner=runner)
    found = [y.numpy() for y in (*one(*given), *slope(*given))]
    return found, [str(program.runner) for g in (one, slope) for program in g.programs.values()]


@pytest.mark.parametrize(
    ("seed", "kind"), [*[(seed, "float32") for seed in range(8)], (8, "float64"), (9, "float64")]
)
def test_sums_of_products_give_the_numbers_of_numpy(seed, kind):
    f = sums_of_products(seed)
    found, told = outcome(f, "vm", kind)
    wanted, _ = outcome(f, "numpy", kind)
    assert any("pattern summed_products" in text for text in told)
    near = 2e-6 if kind == "float32" else 1e-14
    for y, exact in zip(found, wanted, strict=True):
        np.testing.assert_allclose(y, exact, rtol=near, atol=near * np.abs(exact).max())


def test_what_is_overwritten_before_the_last_product_is_not_waited_for():
    def matrix(offset):
        return Operand(offset, (4, 4), (16, 4))

    pairs = [Read(2, (matrix(0), matrix(64))), Read(5, (matrix(128), matrix(192)))]
    starts = (Read(6, (matrix(256),)),)
    one = Summed(tuple(pairs), starts, matrix(320), (), (2, 5, 6))
    own = [[2, 0, 64], [5, 128, 192]]  # products themselves, which are not stored
    for number, offset, lasts in (
        (3, 0, False),
        (3, 64, False),
        (1, 0, True),
        (3, 128, True),
        (7, 0, True),
        (3, 256, True),
    ):
        written = np.array([*own, [number, offset + 60, offset + 64]])
        assert one.lasts(written) == lasts, (number, offset)
    nothing = np.zeros((0, 3), np.int64)
    assert one._replace(target=matrix(256)).lasts(nothing)
    assert not one._replace(target=matrix(260)).lasts(nothing)
    assert not one._replace(target=matrix(192)).lasts(nothing)


def test_a_network_written_out_step_by_step_takes_both_products_of_a_step_at_once():
    h, names = None, ("w", "a", "v", "b")
    w, a, v, b = map(sym.Variable, names)
    for x in sym.SliceChannel(sym.Variable("data"), num_outputs=6, axis=1, squeeze_axis=True):
        gates = sym.FullyConnected(x, w, a, num_hidden=96)
        gates = gates if h is None else gates + sym.FullyConnected(h, v, b, num_hidden=96)
        h = sym.sigmoid(gates) * sym.tanh(gates)
    net, found = sym.MakeLoss(sym.sum(sym.square(h))), []
    for runner in ("vm", "numpy"):
        executor = net.simple_bind(tl.cpu(), runner=runner, data=(32, 6, 96))
        draw = np.random.default_rng(0)
        for array in executor.arg_dict.values():
            array[:] = draw.normal(scale=0.3, size=array.shape)
        executor.forward(is_train=True)
        executor.backward()
        found.append([np.array(executor.grad_dict[name]) for name in names])
        told = [line for line in str(executor.runner(True)).splitlines() if "summed_products" in line]
        assert sum("FullyConnected" in line for line in told) == (10 if runner == "vm" else 0)
        assert any("MatMul" in line for line in told) == (runner == "vm")
    for y, exact in zip(*found, strict=True):
        np.testing.assert_allclose(y, exact, rtol=2e-5, atol=2e-5 * np.abs(exact).max())
