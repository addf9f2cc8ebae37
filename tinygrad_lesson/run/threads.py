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
OTHERS = "OMP_NUM_THREADS"  # what tells BLAS, and most programs that compute, how many threads they may have


def threads() -> int:
    """How many threads may share a loop.

    The environment says it: `TINYGRAD_LESSON_THREADS`, or `OMP_NUM_THREADS` for all libraries; else as many as there
    are cores.

    Errors
        LessonError if the first of them is no number above 0.
    """
    text, others = os.environ.get(THREADS), os.environ.get(OTHERS, "")
    if not text:
        return int(others) if others.isdecimal() and int(others) else cores()
    if not text.isdecimal() or int(text) < 1:
        raise LessonError(f"{THREADS} is {text!r}, expected a number of threads, 1 or more")
    return int(text)


def cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers(effort: float, enough: float) -> int:
    """How many threads are worth waking for an effort, if each is to have `enough` of it."""
    parts = int(effort / enough)
    return 1 if parts < 2 else min(parts, threads())


def shares(count: int, least: int, effort: float, enough: float) -> list[tuple[int, int]]:
    """Begin and end of parts of `count` things for threads, each a multiple of `least`; one if the effort is small."""
    return parted(count, least, workers(effort, enough))


def parted(count: int, least: int, parts: int) -> list[tuple[int, int]]:
    """Begin and end of at most so many parts of `count` things, each a multiple of `least`."""
    each = -(-max(count, 1) // (min(parts, -(-max(count, 1) // least)) * least)) * least
    return [(first, min(count, first + each)) for first in range(0, count, each)]


def helpers() -> int:
    """How many threads beside the one that asks may help it: more than there are cores would be in its way."""
    return min(threads(), cores()) - 1


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
