"""`mx.context`: devices. Plans run on the processor."""

from __future__ import annotations

from tinygrad_lesson.arrays import Context, cpu, gpu


def current_context() -> Context:
    """The device that is used where none is named."""
    return cpu()


def num_gpus() -> int:
    """How many graphics cards plans can run on: none in this version."""
    return 0


__all__ = ["Context", "cpu", "current_context", "gpu", "num_gpus"]
