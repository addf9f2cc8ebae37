"""Kernels for processors with less than this one, as far as it can play them: the same numbers, other registers."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.run import windows
from tinygrad_lesson.run.segment import Segment
from tinygrad_lesson.run.tape import machine
from tinygrad_lesson.run.tape import panels as packing
from tinygrad_lesson.run.tape import windows as kernels

PROCESSORS = {  # by the name of their tile: what LLVM calls such a processor, its features, a register in its code
    "avx512f": ("x86-64-v4", "+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl,+avx2,+fma", "zmm"),
    "avx2": ("x86-64-v3", "+avx2,+fma", "ymm"),
    "": ("x86-64", "", "xmm"),
}
ENGINES = []  # whose code may still be called
CACHED = (machine.engine, machine.address, machine.sources, machine.runner, packing.tile, windows.tables)


def forget():
    """As in a new process."""
    ENGINES.append(machine.engine())
    for cached in CACHED:
        cached.cache_clear()


@pytest.fixture
def processor(request, monkeypatch):
    """The name of a tile, for whose processor kernels are compiled."""
    name, (triple, _, features) = request.param, machine.target()
    if name == "neon":
        monkeypatch.setattr(packing, "tile", lambda: packing.TILES["neon"])
        windows.tables.cache_clear()
        yield name
        windows.tables.cache_clear()
        return
    if not triple.startswith("x86_64") or (name and f"+{name}" not in features.split(",")):
        pytest.skip(f"this processor has no {name or 'SSE2'}")
    monkeypatch.setattr(machine, "target", lambda: (triple, *PROCESSORS[name][:2]))
    forget()
    yield name
    forget()


def network():
    """Convolutions, their normalization, pooling and what follows: most kernels have a part in it."""
    shape = {"kernel": (3, 3), "stride": (1, 2), "pad": (1, 1), "num_filter": 13}
    x = sym.Convolution(sym.Variable("data"), **shape, no_bias=True, name="a")
    x = sym.relu(sym.BatchNorm(x, fix_gamma=False, name="b"))
    x = sym.Convolution(x, kernel=(2, 2), num_filter=5, num_group=1, name="c")
    x = sym.tanh(sym.Pooling(x, kernel=(2, 2), stride=(2, 2), pool_type="max"))
    x = sym.FullyConnected(sym.Flatten(x), num_hidden=70, no_bias=True, name="d")
    x = sym.relu(sym.BatchNorm(x, fix_gamma=False, name="e"))
    x = sym.sigmoid(sym.FullyConnected(x, num_hidden=70, name="f"))
    x = sym.softmax(sym.FullyConnected(x, num_hidden=3, name="g"))
    return sym.MakeLoss(sym.sum(sym.square(x - sym.Variable("label")) + sym.log(x + 1)))


@pytest.mark.parametrize(
    ("processor", "kind"),
    [*[(name, "float32") for name in packing.TILES], ("avx2", "float64")],
    indirect=["processor"],
)
def test_a_network_gives_the_numbers_of_numpy(processor, kind):
    symbol, seen = network(), []
    for runner in ("vm", "numpy"):
        executor = symbol.simple_bind(
            tl.cpu(), runner=runner, data=(70, 3, 7, 9), label=(70, 3),
            type_dict=dict.fromkeys(symbol.list_arguments(), kind),
        )  # fmt: skip
        generator = np.random.default_rng(0)
        for array in [*executor.arg_dict.values(), *executor.aux_dict.values()]:
            array[:] = generator.uniform(-0.5, 1, array.shape)
        executor.forward(is_train=True)
        executor.backward()
        seen.append(executor)
    one, other = seen
    assert all(isinstance(call, Segment) for part in one.runner(True).calls for call in part)
    near = 2e-5 if kind == "float32" else 1e-13
    np.testing.assert_allclose(np.asarray(one.outputs[0]), np.asarray(other.outputs[0]), rtol=near)
    scale = max(np.abs(np.asarray(gradient)).max() for gradient in other.grad_dict.values())
    for name, gradient in other.grad_dict.items():
        found, exact = np.asarray(one.grad_dict[name]), np.asarray(gradient)
        np.testing.assert_allclose(found, exact, rtol=0, atol=near * scale, err_msg=name)


@pytest.mark.parametrize("processor", PROCESSORS, indirect=True)
def test_its_code_has_the_registers_of_the_processor_and_no_wider_ones(processor):
    tile = packing.tile()
    assert tile == packing.TILES[processor]
    made = machine.text_of("sums", kernels.window_sums, ("float32", tile, (), False, False, False, False))
    code = machine.target_machine().emit_assembly(machine.llvm.parse_assembly(made))
    widest = PROCESSORS[processor][2]
    names = ["xmm", "ymm", "zmm"]
    assert [name for name in names if name in code][-1] == widest
    assert ("vfmadd" in code) == bool(processor)
