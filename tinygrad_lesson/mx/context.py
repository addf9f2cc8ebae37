"""`mx.context`: devices. Plans run on the processor."""

from __future__ import annotations

from tinygrad_lesson.arrays import PLACES, Context, cpu, gpu


def current_context() -> Context:
    """The device that is used where none is named: that of the innermost ``with`` block."""
    return PLACES.stack[-1] if PLACES.stack else cpu()


def cpu_pinned(device_id: int = 0) -> Context:
    """The processor, whose memory a graphics card reads; here as `cpu`."""
    return Context("cpu_pinned", device_id)


def num_gpus() -> int:
    """How many graphics cards plans can run on: none in this version."""
    return 0


__all__ = ["Context", "cpu", "cpu_pinned", "current_context", "gpu", "num_gpus"]
