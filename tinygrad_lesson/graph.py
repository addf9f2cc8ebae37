"""The graph: see `engine/graph.py`."""

from __future__ import annotations

from tinygrad_lesson.engine.graph import *  # noqa: F403
from tinygrad_lesson.engine.interpret import substitute  # noqa: F401
