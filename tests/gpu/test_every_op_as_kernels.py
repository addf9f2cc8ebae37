"""Every op by the kernels that are written for its plan, compiled all at once: the numbers of the processor."""

import gc
import re

import numpy as np
import pytest
from nvidia import NVCC, compiled
from on_device import assert_same, cotangents, samples
from test_plans_on_device import ON_GPU, executor_of, results

import tinygrad_lesson as tl
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run import graph, kernels

pytestmark = pytest.mark.strict_arrays
PIECES = 12  # of the list of ops: the stand-in compares all arrays that are there at each launch


class Compiled:
    """In the place of a module of a plan: its kernels are in another with those of many plans."""

    def __init__(self, module, number):
        self.module, self.number = module, number

    def get_function(self, name):
        """One of its kernels."""
        return self.module.get_function(f"{name}_{self.number}")


def joined(texts):
    """All of them as one text."""
    parts = [re.sub(r"void (kernel\d+)\(", rf"void \1_{n}(", text) for n, text in enumerate(texts)]
    return "\n".join(parts)


def modules(xp, texts):
    """One module, as one for each text."""
    module = xp.RawModule(code=joined(texts))
    return {text: Compiled(module, n) for n, text in enumerate(texts)}


def programs(made):
    """What the executors carry out in training."""
    return [p for *_, executor in made for p in executor.runner(True).programs]


def cases(classes):
    """Ops with their inputs, in single precision plain and in double simplified, and an executor on the device."""
    for cls in classes:
        for (op, arrays), simple in zip(samples(cls, 1), (False, True), strict=False):
            passes = Passes() if simple else Passes(rewrite=False, share=False, fold=False)
            yield op, arrays, passes, executor_of(op, arrays, tl.gpu(0), passes)


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Executors hold each other, and the stand-in compares all that is there at each launch."""
    yield
    gc.collect()


@pytest.mark.parametrize("piece", range(PIECES))
def test_every_op_by_its_kernels(blocks, monkeypatch, piece):
    monkeypatch.setattr(kernels, "THREADS", 16)
    monkeypatch.setattr(kernels, "WARP", 4)
    monkeypatch.setattr(graph, "fitting", graph.GraphRunner)
    made = list(cases(ON_GPU[piece::PIECES]))
    known = modules(blocks, list(dict.fromkeys(p.text for p in programs(made))))
    monkeypatch.setattr(graph, "compiled", lambda xp, text, device: known[text])
    for op, arrays, passes, device in made:
        host = executor_of(op, [x.copy() for x in arrays], tl.cpu(), passes)
        gs = [np.asarray(g) for g in cotangents(op, host.blank)[: op.visible]]
        wanted, there = results(host, gs), [blocks.asarray(g) for g in gs]
        for _ in range(1 if op.states or op.random else 2):  # launched, then captured and replayed
            with blocks.no_transfers("in a step"):
                found = results(device, there)
            for part, want, what in zip(found, wanted, ("outputs", "gradients", "states"), strict=True):
                assert_same(part, want, f"{op.label()}: {what}", op.random)


@pytest.mark.skipif(NVCC is None, reason="nvcc, NVIDIA's compiler, is not here")
def test_every_kernel_is_what_nvcc_takes(blocks, monkeypatch):
    monkeypatch.setattr(graph, "fitting", graph.GraphRunner)
    compiled(joined(list(dict.fromkeys(p.text for p in programs(list(cases(ON_GPU)))))))
