"""Ctrl-C while a network learns: it comes between two steps, where parameters, optimizer and history agree."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

AT_ONCE = 0.1  # seconds that steps may be taken for before Ctrl-C is looked for


class Whole:
    """``with whole:`` holds Ctrl-C back until the end of the block, while `watching`.

    A second Ctrl-C is not held back, so that nothing can hang. `broken` then says that a block did not come to its end.
    `steps` is how many training steps one block may take; that follows from how long others `took`.
    """

    def __init__(self) -> None:
        self.inside = self.asked = self.broken = False
        self.before: Any = None  # what would have been called
        self.steps = 1

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Hear Ctrl-C inside. Only the main thread ever does."""
        self.inside = self.asked = self.broken = False
        self.steps = 1
        before = signal.getsignal(signal.SIGINT)
        if not callable(before) or threading.current_thread() is not threading.main_thread():
            yield
            return
        self.before = before
        signal.signal(signal.SIGINT, self.hear)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def hear(self, number: int, frame: Any) -> None:
        """Called at a Ctrl-C."""
        if self.inside and not self.asked:
            self.asked = True
        else:
            self.before(number, frame)

    def __enter__(self) -> None:
        self.inside = True

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.inside = False
        if kind is not None:
            self.broken = True
        elif self.asked:
            self.asked = False
            self.before(signal.SIGINT, None)

    def took(self, steps: int, seconds: float) -> None:
        """Note how long some steps took."""
        self.steps = max(1, int(steps * AT_ONCE / max(seconds, 1e-9)))
