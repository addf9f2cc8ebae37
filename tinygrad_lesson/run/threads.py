"""How many threads large loops are shared among, and the threads that wait for their parts."""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

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
    parts = min(threads(), -(-count // least), max(1, int(effort / enough)))
    each = -(-count // (parts * least)) * least
    return [(first, min(count, first + each)) for first in range(0, count, each)]


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


class Turn:
    """Parts of one piece of work, given to other threads.

    A signal, as Ctrl-C sends it, may raise between any two lines of the thread that asks, so that it does not know what
    it has given away. But whoever takes a part says so before and after: once nothing waits and all who began are done,
    no part runs, and none ever will.
    """

    def __init__(self, parts: Sequence[Callable[[], Any]]) -> None:
        self.waiting = list(parts)
        self.begun: list[None] = []
        self.done: list[None] = []
        self.failed: list[BaseException] = []
        self.news: queue.SimpleQueue[None] = queue.SimpleQueue()

    def begin(self) -> None:
        """Give the parts to the pool."""
        count = len(self.waiting)
        for _ in range(count):
            pool(count).put(self.work)

    def work(self) -> None:
        """Carry out a part, if one still waits."""
        self.begun.append(None)
        try:
            self.finish(once=True)
        except BaseException as error:
            self.failed.append(error)
        finally:
            self.done.append(None)
            self.news.put(None)

    def finish(self, once: bool = False) -> None:
        """Carry out the parts that no thread has taken yet, or one of them."""
        while self.waiting:
            try:
                part = self.waiting.pop()
            except IndexError:  # another thread was faster
                return
            part()
            if once:
                return

    def close(self) -> None:
        """Wait until nobody works; what waits is dropped. What comes in between is raised when all is still."""
        while True:
            try:
                self.waiting.clear()
                while len(self.done) < len(self.begun):
                    self.news.get()
                break
            except BaseException as error:
                self.failed.append(error)
        if self.failed:
            raise self.failed[-1]
