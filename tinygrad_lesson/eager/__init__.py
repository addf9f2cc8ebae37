"""The eager face: tensors, derivatives of functions, `jit`.

Whoever imports a part of it gets a `Tensor` that has all its methods, which are declared in several files.
"""

from __future__ import annotations

from tinygrad_lesson.eager import apply, custom, functions, methods, operators

__all__ = ["apply", "custom", "functions", "methods", "operators"]
