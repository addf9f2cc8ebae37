"""Plans of every op on device arrays, call by call: the NumPy runner's numbers, without a transfer or a wait in a step.

`test_every_op_as_kernels.py` has the same in single precision plain and in double simplified, this one the other two.
"""

import numpy as np
import pytest
from on_device import assert_same, cotangents, samples

import tinygrad_lesson as tl
from tinygrad_lesson.engine.graph import Edge, Label, Node, outputs_of
from tinygrad_lesson.engine.op import OPS
from tinygrad_lesson.errors import DeviceError
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.philox import Philox
from tinygrad_lesson.plan import Passes

ON_GPU = [cls for cls in OPS.values() if cls.ours and not cls.host_only and cls.name != "SampleOfOne"]
pytestmark = pytest.mark.strict_arrays


class Draws:
    """A generator with the same draws on every device."""

    def on(self, module):
        return Philox(7).of(module)

    def uniform(self, *given):
        return Philox(7).of(np).uniform(*given)

    def normal(self, *given):
        return Philox(7).of(np).normal(*given)


def executor_of(op, arrays, place, passes):
    """An executor of one op; its inputs lie on `place`."""
    names = op.name_inputs(len(arrays))
    count = len(arrays) - len(op.states)
    given = {n: tl.Tensor(x, device=place).array for n, x in zip(names, arrays, strict=True)}
    wanted = [n for n, x in zip(names[:count], arrays, strict=False) if x.dtype.kind == "f"]
    gradients = {n: tl.Tensor(np.full_like(arrays[names.index(n)], 5), device=place).array for n in wanted}
    heads = outputs_of(Node(op, [Edge(Node(None, label=Label(n))) for n in names]))[: op.visible]
    states = {n: given[n] for n in op.states}
    arguments = {n: x for n, x in given.items() if n not in op.states}
    requests = {n: "write" if n in gradients else "null" for n in arguments}
    return Executor(
        heads, [f"output {i}" for i in range(len(heads))], arguments, gradients, states, requests,
        context=place, passes=passes, runner="numpy" if place == tl.cpu() else None, generator=Draws(),
    )  # fmt: skip


def results(executor, gs, is_train=True):
    """Outputs, gradients and states after one step."""
    executor.run(is_train, {})
    found = [x.copy() for x in executor.outputs_now]
    if executor.gradients:
        executor.backward(gs)
    return found, list(executor.gradients.values()), list(executor.states.values())


@pytest.mark.parametrize(
    ("passes", "kind"),
    [(Passes(), 0), (Passes(rewrite=False, share=False, fold=False), 1)],
    ids=["simplified", "plain"],
)
@pytest.mark.parametrize("cls", ON_GPU, ids=lambda cls: cls.name)
def test_a_plan_gives_the_numbers_of_the_processor(xp, cls, passes, kind):
    for op, arrays in list(samples(cls, 2))[kind::2]:
        host = executor_of(op, [x.copy() for x in arrays], tl.cpu(), passes)
        device = executor_of(op, arrays, tl.gpu(0), passes)
        gs = [np.asarray(g) for g in cotangents(op, host.blank)[: op.visible]]
        there = [xp.asarray(g) for g in gs]
        device.runner(True)  # compiled, and its constants sent
        with xp.no_transfers("in a step"):
            found = results(device, there)
        for part, wanted, what in zip(
            found, results(host, gs), ("outputs", "gradients", "states"), strict=True
        ):
            assert_same(part, wanted, what)


def test_an_op_of_the_processor_is_refused_when_it_is_bound(xp):
    net = tl.sym.linalg.inverse(tl.sym.Variable("x")) if hasattr(tl.sym.linalg, "inverse") else None
    net = tl.sym.linalg.potrf(tl.sym.Variable("x")) if net is None else net
    with pytest.raises(DeviceError, match=r"LAPACK.*gpu\(0\)"):
        net.simple_bind(tl.gpu(0), x=(2, 2)).forward()
