"""Fail when a run of mlp4, res6 and dense6 does not give the numbers that the lesson prints.

python .ci/check_lesson.py DIR
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TABLES = {
    "mlp4": [[18, 0, 0], [0, 1, 0], [0, 14, 17]],
    "res6": [[18, 0, 0], [0, 13, 0], [0, 2, 17]],
    "dense6": [[18, 0, 0], [0, 13, 0], [0, 2, 17]],
}
FIRST_ROWS = {
    "res6": [(0.936310470, 1e-3), (0.061589610, 1e-3), (0.002099835, 1e-3)],
    "dense6": [(0.9988134, 1e-3), (0.001186645, 1e-3), (1.607887e-16, 1e-2)],
}


def wrong(directory: Path) -> list[str]:
    """Everything that differs."""
    found = []
    for name, table in TABLES.items():
        told = json.loads((directory / name / "history.json").read_text())
        if told["confusion"] != table:
            found.append(f"{name}: confusion table {told['confusion']}, the lesson prints {table}")
        for i, (printed, bar) in enumerate(FIRST_ROWS.get(name, [])):
            computed = told["first_test_row"][i]
            if not abs(computed / printed - 1) <= bar:  # a NaN is wrong too
                found.append(f"{name}: probability {i} is {computed}, the lesson prints {printed}")
    return found


if __name__ == "__main__":
    mistakes = wrong(Path(sys.argv[1]))
    print("\n".join(mistakes) or "the lesson's numbers hold")
    sys.exit(bool(mistakes))
