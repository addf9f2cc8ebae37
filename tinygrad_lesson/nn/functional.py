"""Functions under PyTorch's names, as `torch.nn.functional` has them: see `eager/functional.py`."""

from __future__ import annotations

from typing import Any

from tinygrad_lesson.eager import functional
from tinygrad_lesson.eager.functional import *  # noqa: F403


def __getattr__(name: str) -> Any:
    return getattr(functional, name)
