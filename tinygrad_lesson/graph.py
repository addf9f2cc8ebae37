"""The graph: see `engine/graph.py`."""

from tinygrad_lesson.engine.graph import *  # noqa: F403
