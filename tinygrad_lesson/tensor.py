"""The eager face: see `eager/`."""

from tinygrad_lesson.eager.apply import *  # noqa: F403
from tinygrad_lesson.eager.operators import *  # noqa: F403
from tinygrad_lesson.eager.protocol import *  # noqa: F403
from tinygrad_lesson.eager.recording import *  # noqa: F403
from tinygrad_lesson.eager.tensor import *  # noqa: F403
