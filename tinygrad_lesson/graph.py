"""The graph: see `engine/graph.py`."""

from tinygrad_lesson.engine.graph import *  # noqa: F403
from tinygrad_lesson.engine.interpret import substitute  # noqa: F401
