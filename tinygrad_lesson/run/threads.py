"""How many threads the interpreter's large loops are shared among."""

import os

from tinygrad_lesson.errors import LessonError

THREADS = "TINYGRAD_LESSON_THREADS"  # environment variable


def threads() -> int:
    """How many threads may share a loop: 1 unless the environment says otherwise.

    Errors
        LessonError if it says what is no number above 0.
    """
    text = os.environ.get(THREADS) or "1"
    if not text.isdecimal() or int(text) < 1:
        raise LessonError(f"{THREADS} is {text!r}, expected a number of threads, 1 or more")
    return int(text)
