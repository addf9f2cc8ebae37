"""Every op of the package on device arrays: no hidden transfer, the same numbers; or refused in words."""

import re
from pathlib import Path

import pytest
from on_device import check_eager, check_forward, check_out, check_vjp, samples

import tinygrad_lesson as tl
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.engine.op import OPS
from tinygrad_lesson.errors import DeviceError
from tinygrad_lesson.plan.step import takes_out

OURS = [cls for cls in OPS.values() if cls.ours]
ON_GPU = [cls for cls in OURS if not cls.host_only]
DOCUMENT = Path(__file__).parents[2] / "docs" / "gpu.md"
ONE_DISTRIBUTION = {"SampleOfOne"}  # exponential numbers, which are drawn on the processor
pytestmark = pytest.mark.strict_arrays


def each(classes):
    return pytest.mark.parametrize("cls", classes, ids=lambda cls: cls.name)


def on_gpu(cls):
    return [(op, arrays) for op, arrays in samples(cls) if cls.name not in ONE_DISTRIBUTION]


@each(ON_GPU)
def test_forward(xp, cls):
    for op, arrays in on_gpu(cls):
        check_forward(op, arrays)


@each([cls for cls in ON_GPU if takes_out(cls)])
def test_forward_into_an_array(xp, cls):
    for op, arrays in on_gpu(cls):
        check_out(op, arrays)


@each(ON_GPU)
def test_the_rule_of_its_gradient(xp, cls):
    for op, arrays in on_gpu(cls):
        check_vjp(op, arrays)


@each(ON_GPU)
@pytest.mark.parametrize("order", [1, 2])
def test_eager_forward_and_backward(xp, cls, order, monkeypatch):
    with tl.gpu(0):
        for op, arrays in on_gpu(cls)[: 4 if order == 2 else None]:
            check_eager(op, arrays, order, monkeypatch)


@each([cls for cls in OURS if cls.host_only])
def test_an_op_of_the_processor_says_so(xp, cls):
    op, arrays = next(iter(samples(cls)))
    tensors = [tl.Tensor(x, device=tl.gpu(0)) for x in arrays]
    with xp.no_transfers(), pytest.raises(DeviceError, match=rf"{cls.name}\(.*processor.*gpu\(0\)"):
        apply(op, tensors)


def test_the_document_lists_the_ops_of_the_processor():
    text = (
        DOCUMENT.read_text(encoding="utf-8")
        .partition("## What stays on the processor")[2]
        .partition("\n## ")[0]
    )
    listed = set(re.findall(r"`([A-Z]\w*)`(?=[,| ].*\|$)", text, re.M))
    assert listed == {cls.name for cls in OURS if cls.host_only}
