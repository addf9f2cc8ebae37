"""Large plans: what an instruction needs from far away is fetched some instructions earlier.

The processor guesses well where a forward part will read on. Of a backward part, which goes through the layers from the
last to the first but through each of their arrays from the front, it guesses wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_lesson.run.operands import Noted, Operand, Row
from tinygrad_lesson.run.tape import loops
from tinygrad_lesson.run.tape.machine import address

FAR = 256  # instructions; what was not touched in so many has left the first cache
LARGE = 1 << 19  # bytes; plans that touch less stay in the second cache
EARLY, LATE = 8, 2  # instructions in advance; earlier than this it has left the cache again
LINE, MOST = 64, 15  # bytes of a cache line; lines


def fetch_ahead(rows: Sequence[Row]) -> list[Row]:
    """Instructions with others between them that fetch what later ones need."""
    far = [(r, x.offset, x.size * x.itemsize) for r, x in far_operands(rows)]
    if sum(size for _, _, size in far) < LARGE:
        return list(rows)
    kernel = address(loops.fetched)
    fetches: dict[int, Row] = {}
    fetched = range(0)
    for r, offset, size in far:
        if offset in fetched and offset + size <= fetched.stop:
            continue  # a bias, say, right behind its weight
        at = next((i for i in range(max(r - EARLY, 0), r - LATE) if i not in fetches), None)
        if at is not None:
            lines = min(-(-size // LINE) + 1, MOST)
            fetched = range(offset, offset + lines * LINE)
            fetches[at] = [kernel, offset, lines]
    return [row for r, own in enumerate(rows) for row in (*([fetches[r]] if r in fetches else []), own)]


def far_operands(rows: Sequence[Row]) -> list[tuple[int, Operand]]:
    """The operands that were not touched for long, each with the number of its instruction."""
    seen: dict[int, int] = {}
    far = []
    for r, row in enumerate(rows):
        for x in row.touched if isinstance(row, Noted) else ():
            if r - seen.get(x.offset, -FAR) >= FAR:
                far.append((r, x))
            seen[x.offset] = r
    return far
