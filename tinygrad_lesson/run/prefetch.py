"""Large plans: what an instruction needs from far away is fetched some instructions earlier.

The processor guesses well where a forward part will read on. Of a backward part, which goes through the layers from the
last to the first but through each of their arrays from the front, it guesses wrong.
"""

import math
from collections.abc import Sequence

from tinygrad_lesson.run.interpreter import AHEAD
from tinygrad_lesson.run.operands import Noted, Operand, Row
from tinygrad_lesson.run.simd import LINE

FAR = 256  # instructions; what was not touched in so many has left the first cache
LARGE = 1 << 17  # elements; plans that touch less stay in the second cache
EARLY, LATE = 8, 2  # instructions in advance; earlier than this it has left the cache again
MOST = 15  # lines


def fetch_ahead(rows: Sequence[Row]) -> None:
    """Write into instructions what to fetch for later ones."""
    far = [(r, x.offset, math.prod(x.shape)) for r, x in far_operands(rows)]
    if sum(size for _, _, size in far) < LARGE:
        return
    fetched = range(0)
    for r, offset, size in far:
        if offset in fetched and offset + size <= fetched.stop:
            continue  # a bias, say, right behind its weight
        at = next((i for i in range(max(r - EARLY, 0), r - LATE) if len(rows[i]) <= AHEAD), None)
        if at is not None:
            lines = min(-(-size // LINE) + 1, MOST)
            fetched = range(offset, offset + lines * LINE)
            rows[at] += [0] * (AHEAD - len(rows[at])) + [offset % (1 << 48) | lines << 48]


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
