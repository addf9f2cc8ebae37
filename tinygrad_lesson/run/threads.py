"""How many threads large loops are shared among, and the threads that wait to be asked."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import threading
from collections.abc import Callable

from tinygrad_lesson.engine.errors import LessonError

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


def shares(count: int, least: int, effort: float, enough: float) -> list[tuple[int, int]]:
    """Begin and end of parts of `count` things for threads, each a multiple of `least`; one if the effort is small."""
    parts = min(-(-count // least), int(effort / enough))
    parts = 1 if parts < 2 else min(parts, threads())
    each = max(-(-count // (parts * least)), 1) * least
    return [(first, min(count, first + each)) for first in range(0, count, each)]


def helpers() -> int:
    """How many threads beside the one that asks may help it: more than there are cores would be in its way."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(threads(), cores) - 1


def ask(help_out: Callable[[], None], count: int) -> None:
    """Let so many other threads do something as soon as they have time; whoever asks does not wait for it."""
    given = pool(count)
    for _ in range(count - given.qsize()):
        given.put(help_out)


@functools.cache
def pool(workers: int) -> queue.SimpleQueue[Callable[[], None]]:
    """Where threads wait for work.

    It takes work in one step, which Ctrl-C cannot cut in two. Python's ThreadPoolExecutor counts the threads that wait
    under a lock, and Ctrl-C may come between: then all wait for it for ever.
    """
    given: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def wait() -> None:
        while True:
            given.get()()

    with contextlib.suppress(RuntimeError):  # no more threads: who asks does it all
        for _ in range(workers):
            threading.Thread(target=wait, name="tinygrad_lesson", daemon=True).start()
    return given


if hasattr(os, "register_at_fork"):  # a child has none of its parent's threads
    os.register_at_fork(after_in_child=pool.cache_clear)
