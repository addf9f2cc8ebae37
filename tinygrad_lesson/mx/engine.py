"""`mx.engine`: how many operators MXNet carries out in one go; here it says nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

SIZE = [15]  # MXNet's default


def set_bulk_size(size: int) -> int:
    """Say another number; the one before."""
    before, SIZE[0] = SIZE[0], size
    return before


@contextlib.contextmanager
def bulk(size: int) -> Iterator[None]:
    """Another number in this block."""
    before = set_bulk_size(size)
    try:
        yield
    finally:
        set_bulk_size(before)


__all__ = ["bulk", "set_bulk_size"]
