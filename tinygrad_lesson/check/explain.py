"""What is known about a wrong gradient, gathered for the search of its cause."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check.cause import Case, Cause
from tinygrad_lesson.check.compare import DETAIL, Block, Rows, compare, noise, pulled, unit_rows
from tinygrad_lesson.check.conduct import recorded_nodes
from tinygrad_lesson.check.numeric import EPS
from tinygrad_lesson.check.subject import Subject
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.op import array_namespace

Variants = Callable[[], Iterator[tuple[Cause, np.ndarray]]]


def detail(
    subject: Subject, block: Block, generator: np.random.Generator
) -> tuple[Rows, list[Block], Block] | None:
    """A closer look where directions or mixed results failed: single results, single elements."""
    if subject.has_loss(subject.arrays):
        return None
    values = subject.value(subject.arrays)
    total, size = sum(v.size for v in values), subject.arrays[block.input].size
    few = total <= DETAIL
    rows = unit_rows(values, None if few else sorted(generator.choice(total, DETAIL, replace=False).tolist()))
    rule = pulled(subject, subject.arrays, rows)
    sums = np.abs(rule[subject.wanted.index(block.input)]).sum(axis=0)
    picked = range(size) if size <= DETAIL else sorted(np.argsort(sums)[-DETAIL:].tolist())
    blocks = compare(
        subject, rows, rule, noise(subject, rows, generator), generator,
        lambda i: picked if i == block.input else range(min(DETAIL, subject.arrays[i].size)),
    )  # fmt: skip
    worst = next(b for b in blocks if b.input == block.input)
    return (rows, blocks, worst) if worst.wrong.any() else None


def case_of(subject: Subject, rows: Rows, block: Block, blocks: Sequence[Block]) -> Case:
    """All that is known about one wrong input."""
    x = subject.arrays[block.input]
    others = [
        (subject.names[b.input], subject.arrays[b.input].shape, b.numeric)
        for b in blocks
        if b.input != block.input
    ]
    usable = ~(block.kink | block.jump | ~np.isfinite(block.error))
    cuts, used = unrecorded(subject, block.input) if subject.op is None else ([], False)
    values = subject.value(subject.arrays)
    return Case(
        name=subject.names[block.input], shape=x.shape,
        analytic=np.where(usable, block.analytic, 0.0), numeric=np.where(usable, block.numeric, 0.0),
        error=np.where(usable, block.error, 0.0), wrong=block.wrong,
        columns=None if block.columns is None else np.asarray(block.columns),
        outputs=rows.outputs, result=values[0].shape, op=subject.op, others=others,
        variants=variants(subject, rows, block), cuts=cuts, recorded_use=used,
        linear=is_linear(subject, rows, block.input),
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


def variants(subject: Subject, rows: Rows, block: Block) -> Variants | None:
    """What an op's rule gives if it is read in another way, with the cause that would be."""
    if subject.op is None or subject.op.results != 1 or block.columns is None:
        return None
    operands = [subject.value(subject.arrays)[0], *subject.arrays]
    names = ["y", *subject.names]

    def found() -> Iterator[tuple[Cause, np.ndarray]]:
        for said, exchanged in exchanges(operands, names):
            gradients = [by_rule(subject, c[0], exchanged, block.input) for c in rows.cotangents]
            if all(g.size == subject.arrays[block.input].size for g in gradients):
                cause = Cause(
                    "wrong input", f"the rule for {subject.names[block.input]} is right with {said}"
                )
                yield cause, np.stack([g.ravel()[block.columns] for g in gradients])
        for p, q in itertools.combinations(range(operands[0].ndim), 2):
            turned = [turn(x, p, q) for x in operands]
            try:
                gradients = [by_rule(subject, turn(c[0], p, q), turned, block.input) for c in rows.cotangents]
                back = [turn(g, p, q) for g in gradients]
                whole = np.stack([g.ravel()[block.columns] for g in back])
            except (ValueError, IndexError, LessonError):
                continue
            yield (
                Cause("transposed", f"the rule works along axis {p} as if it were axis {q}, or the reverse"),
                whole,
            )

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
    with np.errstate(all="ignore"):
        g = subject.op.vjp(array_namespace(np), cotangent, *operands)[i]
        g = g() if callable(g) else g
    return np.zeros(subject.arrays[i].shape) if g is None else np.asarray(g, np.float64)


def unrecorded(subject: Subject, i: int) -> tuple[list[str], bool]:
    """Ops that take a constant which changes with input `i`, and whether the input is recorded elsewhere."""
    nodes = recorded_nodes(subject.recorded(subject.arrays)[1])
    moved = [x + 0.01 * (np.abs(x) + 0.1) if k == i else x for k, x in enumerate(subject.arrays)]
    other = recorded_nodes(subject.recorded(moved)[1])
    cuts = []
    for a, b in zip(nodes, other, strict=False):
        if a.op != b.op:
            break
        for s, t in zip(a.inputs, b.inputs, strict=True):
            if s.node is None and t.node is None and not np.array_equal(s.value, t.value):
                cuts.append(f"{a.op!r}")
    return cuts, bool(nodes)
