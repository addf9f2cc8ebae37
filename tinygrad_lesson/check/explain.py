"""What is known about a wrong gradient, gathered for the search of its cause."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check import numeric
from tinygrad_lesson.check.cause import Case
from tinygrad_lesson.check.compare import DETAIL, Block, Point, Rows, flat, pulled, spread, unit_rows
from tinygrad_lesson.check.mistakes import arrangements
from tinygrad_lesson.check.numeric import EPS
from tinygrad_lesson.check.precision import jitter
from tinygrad_lesson.check.subject import Arrays, Subject
from tinygrad_lesson.eager.apply import AS_TOLD
from tinygrad_lesson.engine.backprop import apply_vjp


def detail(point: Point, block: Block) -> tuple[Point, list[Block], Block] | None:
    """A closer look where directions or mixed results failed: single results, single elements."""
    subject, generator = point.subject, point.generator
    if subject.has_loss(subject.arrays):
        return None
    i, values = block.input, subject.value(subject.arrays)
    total, size = sum(v.size for v in values), subject.arrays[i].size
    results = elements = []
    if total > DETAIL or size > DETAIL:
        elements = wrong_elements(point, block)
        results = telling_results(subject, values, i, elements) if total > DETAIL else []
    chosen = None
    if total > DETAIL:  # those that tell, and others by chance
        others = generator.choice(total, DETAIL, replace=False).tolist()
        chosen = sorted(dict.fromkeys([*results, *others][:DETAIL]))
    rows = unit_rows(values, chosen)
    rule = pulled(subject, subject.arrays, rows)
    sums = np.abs(rule[subject.wanted.index(i)]).sum(axis=0)
    picked = range(size) if size <= DETAIL else sorted({*elements, *np.argsort(sums)[-DETAIL:].tolist()})
    closer = Point(subject, rows, rule, generator, jitter(subject, rows, generator))
    blocks = closer.blocks(lambda k: picked if k == i else range(min(DETAIL, subject.arrays[k].size)))
    worst = next(b for b in blocks if b.input == i)
    return (closer, blocks, worst) if worst.wrong.any() else None


def wrong_elements(point: Point, block: Block) -> list[int]:
    """An element of an input whose derivative is wrong: the worst, or one found by halving, or none."""
    if block.columns is not None:
        gap = np.where(block.wrong, block.gap, 0.0).max(axis=0)
        return [block.columns[int(np.argmax(gap))]]
    rule, generator = point.rule[point.subject.wanted.index(block.input)], point.generator
    step = block.step[block.wrong].max(keepdims=True) * 2.0 ** (numeric.LEVELS - 1)
    every, part = spread(generator, rule.shape[1]), range(rule.shape[1])

    def is_wrong(part: range) -> bool:
        v = np.zeros_like(every)
        v[part.start : part.stop] = every[part.start : part.stop]
        found, expected = rule @ v, np.linalg.norm(rule, axis=1)[:, None]
        lines, here, noise = point.lines(block.input, [v.reshape(block.shape)]), point.at_zero, point.noise
        slope = numeric.table(lines, [0], here[:, None], noise[:, None], step, expected)[0]
        limit = numeric.tolerance(slope.error, slope.numeric, expected)[:, 0]
        return bool(np.any(np.abs(slope.numeric[:, 0] - found) > limit))

    while len(part) > 1:
        halves = part[: len(part) // 2], part[len(part) // 2 :]
        wrong = next(filter(is_wrong, halves), None)
        if wrong is None:
            return []
        part = wrong
    return list(part)


def telling_results(subject: Subject, values: Arrays, i: int, elements: Sequence[int]) -> list[int]:
    """Results that move as an element does: the first, the last, and those that move most."""
    arrays = [x.copy() for x in subject.arrays]
    for c in elements:
        arrays[i].flat[c] += numeric.STEPS[0] * max(1.0, abs(arrays[i].flat[c]))
    far = np.nan_to_num(np.abs(flat(subject.value(arrays)) - flat(values)))
    moving = np.flatnonzero(far)
    return [int(r) for r in (*moving[:1], *moving[-1:], *np.argsort(-far)[: DETAIL // 4])]


def case_of(point: Point, block: Block, blocks: Sequence[Block]) -> Case:
    """All that is known about one wrong input."""
    subject, rows = point.subject, point.rows
    others = [other for other in blocks if other.input != block.input]
    usable = ~((block.kink & ~block.wrong) | block.jump | ~np.isfinite(block.error))
    sides = np.clip(block.analytic, *np.sort([block.left, block.right], axis=0))
    cuts, used = unrecorded(subject, block.input) if subject.op is None else ([], False)
    values = subject.value(subject.arrays)
    picked = np.arange(values[0].size) if rows.weights is None else rows.weights
    single = len(values) == 1 and picked.ndim == 1
    return Case(
        name=block.name, shape=block.shape, analytic=np.where(usable, block.analytic, 0.0),
        numeric=np.where(usable, np.where(block.kink, sides, block.numeric), 0.0),
        error=np.where(usable, block.error, 0.0), wrong=block.wrong,
        columns=None if block.columns is None else np.asarray(block.columns),
        outputs=rows.outputs, picked=picked if single else None, result=values[0].shape, op=subject.op, others=others,
        variants=variants(point, block), cuts=cuts, recorded_use=used, linear=is_linear(subject, rows, block.input),
        arrays={"the result": values[0], **dict(zip(subject.names, subject.arrays, strict=True))},
    )  # fmt: skip


def is_linear(subject: Subject, rows: Rows, i: int) -> bool:
    """Whether the rows are straight lines along some direction of input `i`."""
    x = subject.arrays[i]
    step = 1e-3 * np.random.default_rng(0).uniform(0.5, 1, x.shape)
    arrays = [[*subject.arrays[:i], moved, *subject.arrays[i + 1 :]] for moved in (x - step, x, x + step)]
    low, mid, high = (rows.weigh(subject.value(each)) for each in arrays)
    size = np.max(np.abs([low, mid, high]), initial=0.0)
    return bool(np.all(np.abs(low + high - 2 * mid) <= 64 * EPS * size + 1e-6 * np.abs(high - low)))


def variants(point: Point, block: Block) -> list[tuple[str, str, np.ndarray]]:
    """What an op's rule gives if it is read in another way: the cause that would be, a sentence, the gradient."""
    subject = point.subject
    if subject.op is None or subject.op.results != 1 or block.columns is None:
        return []
    operands = [subject.value(subject.arrays)[0], *subject.arrays]
    names, name = ["the result", *subject.names], block.name
    tried: list[tuple[str, str, Sequence[Any], int, int]] = [
        ("wrong input", f"the rule for {name} is right with {said}", exchanged, 0, 0)
        for said, exchanged in exchanges(operands, names)
    ]
    for p, q in itertools.combinations(range(operands[0].ndim), 2):
        said = f"the rule works along axis {p} as if it were axis {q}, or the reverse"
        tried.append(("transposed", said, [turn(x, p, q) for x in operands], p, q))
    for i, x in enumerate(operands):
        said = f"the rule for {name} is right with {names[i]} in another order"
        there = [moved for moved in arrangements(x, 0) if moved.shape == x.shape]
        tried += [("transposed", said, [*operands[:i], x, *operands[i + 1 :]], 0, 0) for x in there]
    found = []
    for word, said, read_at, p, q in tried:
        with contextlib.suppress(Exception):  # the rule was not made for these
            gs = [turn(c[0], p, q) for c in point.rows.cotangents]
            read = [turn(by_rule(subject, g, read_at, block.input), p, q) for g in gs]
            found.append((word, said, np.stack([g.ravel()[block.columns] for g in read])))
    return found


def turn(x: np.ndarray, p: int, q: int) -> np.ndarray:
    """An array with two axes exchanged, if it has both."""
    return x.swapaxes(p, q) if x.ndim > max(p, q) else x


def exchanges(operands: Sequence[np.ndarray], names: Sequence[str]) -> Iterator[tuple[str, list[np.ndarray]]]:
    """The operands of a rule, with one in the place of another, or with two exchanged."""
    for p, q in itertools.permutations(range(len(operands)), 2):
        a, b = operands[p], operands[q]
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            continue
        replaced = list(operands)
        replaced[p] = b
        yield f"{names[q]} in the place of {names[p]}", replaced
        if p < q:
            swapped = list(replaced)
            swapped[q] = a
            yield f"{names[p]} and {names[q]} exchanged", swapped


def by_rule(subject: Subject, cotangent: np.ndarray, operands: Sequence[Any], i: int) -> np.ndarray:
    """What the rule of an op with one result gives for input `i` at these operands, the result first."""
    assert subject.op is not None
    g = apply_vjp(AS_TOLD, subject.op, (cotangent, *operands))[i]
    return np.zeros(subject.arrays[i].shape) if g is None else np.asarray(g, np.float64)


def unrecorded(subject: Subject, i: int) -> tuple[list[str], bool]:
    """Ops that take a constant which changes with input `i`, and whether the input is recorded elsewhere."""
    moved = [x + 0.01 * (np.abs(x) + 0.1) if k == i else x for k, x in enumerate(subject.arrays)]
    nodes, other, cuts = subject.graph(), subject.graph(moved), []
    for a, b in zip(nodes, other, strict=False):
        if type(a.op) is not type(b.op):
            break
        pairs = [(s, t) for s, t in zip(a.inputs, b.inputs, strict=False) if s.node is t.node is None]
        if a.op != b.op or not all(np.array_equal(s.array, t.array) for s, t in pairs):
            cuts.append(f"{a.op!r}")
    return cuts, bool(nodes)
