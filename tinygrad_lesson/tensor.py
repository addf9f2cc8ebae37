"""The eager face: see `eager/`."""

from __future__ import annotations

import sys
import types
from typing import Any

from tinygrad_lesson.eager.apply import *  # noqa: F403
from tinygrad_lesson.eager.operators import *  # noqa: F403
from tinygrad_lesson.eager.protocol import *  # noqa: F403
from tinygrad_lesson.eager.recording import *  # noqa: F403
from tinygrad_lesson.eager.tensor import *  # noqa: F403
from tinygrad_lesson.eager.tensor import Tensor


class Callable(types.ModuleType):
    """This module, which is a function too, as PyTorch's users type it: ``tl.tensor([1.0, 2.0])``."""

    def __call__(
        self, data: Any, *, dtype: Any = None, requires_grad: bool = False, device: Any = None
    ) -> Tensor:
        """`Tensor(data)`."""
        return Tensor(data, requires_grad, dtype=dtype, device=device)


sys.modules[__name__].__class__ = Callable
