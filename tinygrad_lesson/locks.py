"""Locks that a child process finds open: a thread that held one when the process forked is not there to leave it."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

LOCKS: weakref.WeakSet[Any] = weakref.WeakSet()


def lock() -> Any:
    """A lock that its thread may take again."""
    made = threading.RLock()
    LOCKS.add(made)
    return made


def open_all() -> None:
    """In a child: open what another thread of the parent held."""
    for held in list(LOCKS):
        if not held._is_owned():
            held._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=open_all)
