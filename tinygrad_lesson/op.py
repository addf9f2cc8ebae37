"""What an op is, and how one is declared: see `engine/op.py` and `engine/declare.py`."""

from __future__ import annotations

from tinygrad_lesson.engine.composite import Composite  # noqa: F401
from tinygrad_lesson.engine.declare import *  # noqa: F403
from tinygrad_lesson.engine.dtypes import *  # noqa: F403
from tinygrad_lesson.engine.kinds import *  # noqa: F403
from tinygrad_lesson.engine.namespace import *  # noqa: F403
from tinygrad_lesson.engine.op import *  # noqa: F403
