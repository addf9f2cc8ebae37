"""The second witness: nothing is called wrong, or a kink, on the word of one set of differences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache as cached
from typing import Any

import numpy as np

from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.compare import DETAIL, WITNESSED, Around, Block, Rows, block_of, pulled
from tinygrad_lesson.check.subject import Subject

OTHER = 0.61  # times the steps: those of a second witness


def longer(subject: Subject) -> list[np.ndarray]:
    """The inputs in numbers longer than double precision."""
    return [x.astype(np.longdouble) if k in subject.wanted else x for k, x in enumerate(subject.arrays)]


def precise_rule(subject: Subject, rows: Rows) -> list[np.ndarray] | None:
    """What the rules give in such numbers, op by op; None where they cannot compute with them."""
    try:
        with np.errstate(all="ignore"):
            return pulled(subject, longer(subject), rows)
    except Exception:  # a rule is code of the user's, and may know two types
        return None


def precise_line(subject: Subject, rows: Rows, i: int, move: int | np.ndarray) -> numeric.Along:
    """As one of `lines`, in numbers longer than double precision; computed op by op."""
    long = longer(subject)

    def along(t: Any) -> np.ndarray:
        moved = long[i].copy()
        if isinstance(move, int):
            moved.reshape(-1)[move] += t
        else:
            moved += t * move
        try:
            return rows.weigh(Subject.value(subject, [*long[:i], moved, *long[i + 1 :]]))
        except Exception:  # such as NumPy's linear algebra, which has no such numbers
            return np.zeros(len(rows.names))

    return along


def confirm(
    subject: Subject, rows: Rows, blocks: Sequence[Block], gradients: Sequence[np.ndarray], here: Around
) -> None:
    """Ask a second witness about what seems wrong or bent, until it agrees: more digits, or else other steps.

    What it sees more sharply stands from then on; where the two contradict each other, nothing is known. Where the rule
    agrees with it in more digits, what it lost in double precision is rounding.
    """
    exact = cached(lambda: precise_rule(subject, rows))
    other = here._replace(stretch=OTHER * here.stretch)
    for mark in ("wrong", "kink", "jump"):
        places = [
            (
                -float(np.max(np.where(getattr(b, mark)[:, k], np.abs(b.analytic - b.numeric)[:, k], 0))),
                n,
                int(k),
            )
            for n, b in enumerate(blocks)
            for k in np.flatnonzero(getattr(b, mark).any(axis=0))
        ]
        for _, n, k in sorted(places)[:DETAIL]:
            block, move = blocks[n], blocks[n].moves[k]
            doubted = block.wrong[:, k] | block.kink[:, k] | block.jump[:, k]
            along = precise_line(subject, rows, block.input, move)
            found = numeric.precise(along, here.jitter, block.sizes[k], block.analytic[:, [k]], block.scale)
            if found is None:
                again = block_of(subject, rows, block.input, gradients[n], [move], other)
                told = {name: getattr(again, name)[:, 0] for name in WITNESSED}
            else:
                told = {name: getattr(found, name)[:, 0] for name in WITNESSED[1:5]}
                told["numeric"] = found.value[:, 0]
                bars = numeric.tolerance(told["sides_error"], told["left"], told["right"], block.scale[:, 0])
                told["kink"] = np.abs(told["right"] - told["left"]) > bars
                told["jump"] = numeric.leaps(found, here.jitter[:, None])[1][:, 0]
            block.hear(k, told, doubted)
            if found is not None and block.wrong[:, k].any() and (rule := exact()) is not None:
                block.forgive(k, rule[n][:, move] if isinstance(move, int) else rule[n] @ move.ravel())
            if getattr(block, mark)[:, k].any():
                break
