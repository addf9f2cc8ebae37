"""`check.gradients`: is the gradient of a function, an op or a symbol right, and if not, why?"""

import inspect
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.check import cause as causes
from tinygrad_lesson.check.compare import (
    DETAIL,
    Block,
    Rows,
    WrongShapeError,
    chooser,
    compare,
    entries,
    loose,
    noise,
    pulled,
    rows_for,
    sharpness,
    unit_rows,
)  # fmt: skip
from tinygrad_lesson.check.draw import Draw
from tinygrad_lesson.check.numeric import EPS
from tinygrad_lesson.check.precision import compiled_part, sensitivity, short_part
from tinygrad_lesson.check.report import Culprit, Entry, GradientError, Report, as_code
from tinygrad_lesson.check.subject import (
    Subject,
    is_loss,
    name_of,
    of_op,
    pull_back,
    sample_of,
    second,
    subject_of,
)
from tinygrad_lesson.errors import LessonError
from tinygrad_lesson.graph import Node, ancestors
from tinygrad_lesson.op import Op, array_namespace

SAMPLES = 5  # of an op class that is given without inputs
FEW = 200  # elements of such a sample up to which each is moved on its own


def gradients(
    f: Any,
    *inputs: Any,
    order: int = 1,
    seed: int = 0,
    full: bool | None = None,
    float32: bool = True,
    culprit: bool = True,
) -> Report:
    """Check the gradient of `f` at `inputs`: reverse mode against differences in double precision.

    `f` is a function of Tensors, an op, a class of ops (without inputs, samples are drawn) or a Symbol
    (arrays in the order of its arguments, or one dict by name; those left out are drawn). `order` 2
    checks the gradient of the gradient too. `full` asks for every element, or for random directions
    only; without it the size decides. `float32` compares single precision with double, `culprit`
    looks for the recorded op that is to blame.

    Errors
        LessonError or whatever `f` raises, where there is nothing to be checked.

    Example
        >>> import tinygrad_lesson as tl
        >>> gradients(lambda x: tl.sum(tl.tanh(x)), [0.5, -1.0]).verdict
        'ok'
    """
    if isinstance(f, type) and issubclass(f, Op):
        return of_class(f, inputs, order, seed, full, float32)
    generator = np.random.default_rng(seed)
    subject = subject_of(f, inputs, generator)
    options = Options(generator, full, float32, culprit)
    report = check(subject, options)
    if report.ok and order > 1 and differentiable(subject):
        again = check(second(subject, generator), options)
        again.order, again.title = 2, subject.title
        again.compared += report.compared
        if culprit and again.verdict in ("wrong", "kink") and again.culprit is None:
            blame(subject, again, options, order=2)
        report = again
    report.reproduce = again_line(f, subject, order, seed)
    return report


def assert_gradients(f: Any, *inputs: Any, allow: Collection[str] = (), **options: Any) -> Report:
    """As `gradients`, but a check that fails raises; verdicts in `allow` pass.

    Errors
        GradientError that carries the report.
    """
    report = gradients(f, *inputs, **options)
    if not report.ok and report.verdict not in allow:
        raise GradientError(report)
    return report


class Options:
    """How a check is made."""

    def __init__(
        self, generator: np.random.Generator, full: bool | None, float32: bool, culprit: bool
    ) -> None:
        self.generator, self.full, self.float32, self.culprit = generator, full, float32, culprit


def of_class(
    cls: type[Op], inputs: Sequence[Any], order: int, seed: int, full: bool | None, float32: bool
) -> Report:
    """Check an op by samples of its own; the first that fails is reported."""
    if inputs:
        return gradients(cls(), *inputs, order=order, seed=seed, full=full, float32=float32)
    compared, report = 0, Report(cls.name)
    for n in range(seed, seed + SAMPLES):
        op, sample = sample_of(cls, Draw(n))
        arrays = list(sample.values())
        if not any(x.dtype.kind == "f" and x.size for x in arrays):
            continue
        each = sum(x.size for x in arrays) <= FEW if full is None else full
        report = gradients(op, *arrays, order=order, seed=n, full=each, float32=float32)
        compared += report.compared
        if not report.ok:
            return report
    report.compared = compared
    report.title = cls.name
    return report


def again_line(f: Any, subject: Subject, order: int, seed: int) -> str:
    """A line of Python that makes this check again."""
    arrays = ", ".join(map(as_code, subject.arrays))
    name = repr(f) if isinstance(f, Op) else name_of(f)
    more = f", order={order}" if order > 1 else ""
    return f"check.gradients({name}, {arrays}{more}, seed={seed})"


def differentiable(subject: Subject) -> bool:
    """Whether there is a second order: an op that stops gradients has none."""
    return subject.op is None or (subject.op.differentiable and not subject.op.is_loss)


# One order.


def check(subject: Subject, options: Options) -> Report:
    """Check the gradient of a subject once."""
    report = Report(subject.title)
    if subject.op is not None and not subject.op.differentiable:
        report.notes.append(f"{subject.op.name} declares that it has no gradient")
        return report
    values = subject.value(subject.arrays)
    if disturbed(subject, values, report):
        return report
    if not sum(v.size for v in values):
        report.notes.append("the result is empty")
        return report
    rows = rows_for(subject, values, options.generator)
    try:
        rule = pulled(subject, subject.arrays, rows)
        repeated = pulled(subject, subject.arrays, rows)
    except WrongShapeError as error:
        return wrong_shape(subject, report, options, *error.args)
    except (ValueError, TypeError, IndexError, LessonError):
        blame(subject, report, options)
        if report.ok:
            raise
        return report
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(rule, repeated, strict=True)):
        undetermined(report, "gradient")
        return report
    if not all(np.isfinite(a).all() for a in (*values, *rule)):
        non_finite(subject, report, values, rule)
        return report
    if subject.op is not None and subject.op.is_loss:
        report.notes.append(f"{subject.op.name} is a loss: its gradient is what it says, not a derivative")
        return report
    jitter = noise(subject, rows, options.generator)
    blocks = compare(subject, rows, rule, jitter, options.generator, chooser(subject, options.full))
    report.compared = sum(b.numeric.size for b in blocks)
    judge(subject, report, rows, blocks, np.abs(rows.weigh(values)), options)
    if report.ok and options.float32:
        short_part(subject, report, rows, rule, options.generator)
    if report.ok:
        compiled_part(subject, report, rows, rule)
    return report


def disturbed(subject: Subject, values: Sequence[np.ndarray], report: Report) -> bool:
    """Whether a second run gives other numbers, or a run writes into what it was given."""
    again = subject.value(subject.arrays)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(values, again, strict=True)):
        undetermined(report, "result")
        return True
    tensors, results = subject.recorded(subject.arrays)
    nodes = subject_nodes(results)
    before = [np.array(v) for node in nodes for v in arrays_of(node)]
    cotangents = [np.linspace(0.5, 1.5, y.size).reshape(y.shape) for y in results if not is_loss(y)]
    kept = [c.copy() for c in cotangents]
    what = written(subject, [t.value for t in tensors], "forward")
    if not what:
        try:
            pull_back([tensors[i] for i in subject.wanted], results, cotangents)
        except Exception:
            return False
        what = written(subject, [t.value for t in tensors], "vjp")
        after = [v for node in nodes for v in arrays_of(node)]
        if not what and not all(
            np.array_equal(a, b, equal_nan=True) for a, b in zip(before, after, strict=True)
        ):
            what = "a rule (vjp) writes into a result that others still read"
        if not what and not all(np.array_equal(a, b) for a, b in zip(kept, cotangents, strict=True)):
            what = "the rule (vjp) writes into the incoming gradient, which belongs to others too"
    if what:
        report.verdict, report.cause, report.sentence = "wrong", "in place", what
    return bool(what)


def subject_nodes(results: Sequence[Any]) -> list[Node]:
    """The recorded nodes behind results."""
    return [
        node for node in ancestors([y.node for y in results if y.node is not None]) if node.op is not None
    ]


def arrays_of(node: Node) -> tuple[Any, ...]:
    """What a recorded node computed, without new states."""
    values = node.values if isinstance(node.values, tuple) else (node.values,)
    assert node.op is not None
    return values[: len(values) - len(node.op.states)]


def written(subject: Subject, now: Sequence[Any], where: str) -> str:
    """Which input was written to, in words; empty if none was."""
    for i, (x, y) in enumerate(zip(subject.arrays, now, strict=True)):
        if i not in subject.states and not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
            return f"{where} writes into its input {subject.names[i]!r}"
    return ""


def undetermined(report: Report, what: str) -> None:
    """Two runs on the same numbers differ."""
    report.verdict = report.cause = "non-deterministic"
    report.sentence = f"the {what} differs from run to run on the same input"


def non_finite(
    subject: Subject, report: Report, values: Sequence[np.ndarray], rule: Sequence[np.ndarray]
) -> None:
    """A NaN or an infinity in the result, or in the gradient alone."""
    report.verdict = "non-finite"
    if not all(np.isfinite(v).all() for v in values):
        bad = next(v for v in values if not np.isfinite(v).all())
        at = tuple(int(a) for a in np.argwhere(~np.isfinite(bad))[0])
        report.sentence = f"the result holds {bad[at]} at {list(at)}"
        return
    for i, part in zip(subject.wanted, rule, strict=True):
        if not np.isfinite(part).all():
            r, c = np.argwhere(~np.isfinite(part))[0]
            element = tuple(int(a) for a in np.unravel_index(c, subject.arrays[i].shape))
            report.worst = [Entry(subject.names[i], element, "result", float(part[r, c]), np.nan, np.nan)]
            report.sentence = "the result is finite, but not the gradient by the rule"
            return


def wrong_shape(subject: Subject, report: Report, options: Options, i: int, shape: tuple[int, ...]) -> Report:
    """A gradient of another shape than its input."""
    found = causes.of_shape(subject.names[i], shape, subject.arrays[i].shape)
    report.verdict, report.cause, report.sentence = "wrong", found.word, found.sentence
    report.worst = [Entry(subject.names[i], None, "result", np.nan, np.nan, np.nan)]
    blame(subject, report, options)
    return report


def judge(
    subject: Subject,
    report: Report,
    rows: Rows,
    blocks: Sequence[Block],
    values: np.ndarray,
    options: Options,
) -> None:
    """A verdict from the blocks."""
    report.sharpest = sharpness(blocks)
    if any(b.wrong.any() for b in blocks):
        widen(subject, rows, blocks, options)
    near = [(b.near, subject.names[b.input]) for b in blocks if b.near]
    wrong = [b for b in blocks if b.wrong.any()]
    kinked = [b for b in blocks if (b.kink | b.jump).any()]
    vague = [b for b in blocks if loose(b, values).any()]
    if wrong:
        report.verdict = "wrong"
        explain(subject, report, rows, wrong, blocks, options)
    elif kinked:
        report.verdict = "kink"
        report.worst = entries(subject, rows, kinked, "jump") or entries(subject, rows, kinked, "kink")
        describe_kink(report, kinked)
    elif vague:
        noisy = any((b.noisy & loose(b, values)).any() for b in vague)
        report.verdict = "float noise" if noisy else "cannot tell"
        report.cause = "float noise" if noisy else ""
        report.sentence = (
            "rounding noise of the function hides its slope" if noisy else "differences do not settle here"
        )
        report.worst = entries(subject, rows, vague, "blunt")
    elif near:
        report.notes.append(
            f"the function bends sharply within {max(near)[0]:.1e} of {max(near)[1]}; shorter steps were used"
        )


def widen(subject: Subject, rows: Rows, blocks: Sequence[Block], options: Options) -> None:
    """Lengthen the error bars by how far the rule's own value moves as its inputs move by some roundings."""
    exact = pulled(subject, subject.arrays, rows)
    moved = sensitivity(subject, subject.arrays, rows, exact, 4 * EPS, options.generator)
    for block, m in zip(blocks, moved, strict=True):
        whole = block.columns is None
        block.error += np.linalg.norm(m, axis=1)[:, None] if whole else m[:, block.columns]


def describe_kink(report: Report, blocks: Sequence[Block]) -> None:
    """One-sided slopes in words."""
    if any(b.jump.any() for b in blocks):
        report.cause, report.sentence = "discontinuity", "the function jumps here: it has no derivative"
        return
    b = next(b for b in blocks if b.kink.any())
    r, c = np.argwhere(b.kink)[0]
    report.cause = "kink"
    report.sentence = f"the slope is {b.left[r, c]:.6g} on one side and {b.right[r, c]:.6g} on the other; move the point away"  # noqa: E501


def explain(
    subject: Subject,
    report: Report,
    rows: Rows,
    wrong: Sequence[Block],
    blocks: Sequence[Block],
    options: Options,
) -> None:
    """Which derivatives are wrong, why, and by whose fault."""
    report.worst = entries(subject, rows, wrong, "wrong")
    if options.culprit:
        blame(subject, report, options)
        if report.culprit:
            return
    worst = max(wrong, key=lambda b: float(np.max(np.where(b.wrong, np.abs(b.analytic - b.numeric), 0))))
    if rows.weights is not None or worst.columns is None:
        detailed = detail(subject, worst, options)
        if detailed is not None:
            rows, blocks, worst = detailed
            report.worst = entries(subject, rows, [worst], "wrong") or report.worst
    found = causes.likely(case_of(subject, rows, worst, blocks))
    report.cause, report.sentence, report.factor = found.word, found.sentence, found.factor


def detail(subject: Subject, block: Block, options: Options) -> tuple[Rows, list[Block], Block] | None:
    """A closer look where directions or mixed results failed: single results, single elements."""
    if subject.has_loss(subject.arrays):
        return None
    values = subject.value(subject.arrays)
    total, size = sum(v.size for v in values), subject.arrays[block.input].size
    chosen = (
        range(total)
        if total <= DETAIL
        else sorted(options.generator.choice(total, DETAIL, replace=False).tolist())
    )
    rows = unit_rows(values, None if total <= DETAIL else chosen)
    rule = pulled(subject, subject.arrays, rows)
    sums = np.abs(rule[subject.wanted.index(block.input)]).sum(axis=0)
    picked = range(size) if size <= DETAIL else sorted(np.argsort(sums)[-DETAIL:].tolist())
    jitter = noise(subject, rows, options.generator)
    blocks = compare(
        subject, rows, rule, jitter, options.generator,
        lambda i: picked if i == block.input else range(min(DETAIL, subject.arrays[i].size)),
    )  # fmt: skip
    worst = next(b for b in blocks if b.input == block.input)
    return (rows, blocks, worst) if worst.wrong.any() else None


def case_of(subject: Subject, rows: Rows, block: Block, blocks: Sequence[Block]) -> causes.Case:
    """All that is known about one wrong input."""
    shape = subject.arrays[block.input].shape
    whole = block.columns is not None and len(block.columns) == subject.arrays[block.input].size
    others = [
        (subject.names[b.input], subject.arrays[b.input].shape, b.numeric)
        for b in blocks
        if b.input != block.input
    ]
    usable = ~(block.kink | block.jump | ~np.isfinite(block.error))
    cuts, used = (unrecorded(subject, block.input)) if subject.op is None else ([], False)
    return causes.Case(
        subject.names[block.input], shape,
        np.where(usable, block.analytic, 0.0), np.where(usable, block.numeric, 0.0), np.where(usable, block.error, 0.0),  # noqa: E501
        rows.outputs, whole, subject.value(subject.arrays)[0].shape, subject.op, others,
        exchanged_arguments(subject, rows, block), cuts, used,
    )  # fmt: skip


def exchanged_arguments(
    subject: Subject, rows: Rows, block: Block
) -> Callable[[], Iterator[tuple[str, np.ndarray]]] | None:
    """What an op's rule gives if two of its arguments, the result among them, change places."""
    op = subject.op
    if op is None or op.results != 1 or block.columns is None:
        return None
    chosen = block.columns

    def tries() -> Iterator[tuple[str, np.ndarray]]:
        F = array_namespace(np)
        operands = ["y", *subject.names]
        values = [subject.value(subject.arrays)[0], *subject.arrays]
        for p in range(len(values)):
            for q in range(len(values)):
                if p == q or values[p].shape != values[q].shape or values[p].dtype != values[q].dtype:
                    continue
                for swap in (False, True):
                    if swap and q < p:
                        continue
                    mixed = list(values)
                    mixed[p], mixed[q] = values[q], values[p] if swap else values[q]
                    found = [take(op.vjp(F, *c, *mixed), block.input, subject) for c in rows.cotangents]
                    if all(g.size == subject.arrays[block.input].size for g in found):
                        said = f"{operands[q]} in the place of {operands[p]}"
                        whole = np.stack([g.ravel()[chosen] for g in found])
                        yield (f"{operands[p]} and {operands[q]} exchanged" if swap else said), whole

    return tries


def take(gradients: Sequence[Any], i: int, subject: Subject) -> np.ndarray:
    """One of the gradients that a rule gives, as an array."""
    g = gradients[i]
    g = g() if callable(g) else g
    return np.zeros(subject.arrays[i].shape) if g is None else np.asarray(g, np.float64)


def unrecorded(subject: Subject, i: int) -> tuple[list[str], bool]:
    """Ops that take a constant which changes with input `i`, and whether the input is recorded elsewhere."""
    nodes = [node for node in subject.graph() if node.op is not None]
    moved = [x + 0.01 * (np.abs(x) + 0.1) if k == i else x for k, x in enumerate(subject.arrays)]
    other = subject_nodes(subject.recorded(moved)[1])
    cuts = []
    for a, b in zip(nodes, other, strict=False):
        if a.op != b.op:
            break
        for s, t in zip(a.inputs, b.inputs, strict=True):
            if s.node is None and t.node is None and not np.array_equal(s.value, t.value):
                cuts.append(f"{a.op!r}")
    return cuts, bool(nodes)


def blame(subject: Subject, report: Report, options: Options, order: int = 1) -> None:
    """Name the first recorded op whose own rule fails at the inputs it had."""
    if subject.op is not None and order == 1:
        return
    nodes = [node for node in subject.graph() if node.op is not None]
    quick = Options(options.generator, None, False, False)
    for position, node in enumerate(nodes, 1):
        assert node.op is not None
        arrays = [t.value for t in node.inputs]
        if not any(np.asarray(x).dtype.kind == "f" and np.size(x) for x in arrays):
            continue
        alone = of_op(node.op, arrays)
        found = check(alone, quick)
        if found.ok and order > 1 and differentiable(alone):
            found = check(second(alone, options.generator), quick)
        if found.verdict == "ok":
            continue
        if found.verdict != "wrong" and report.verdict == "wrong":
            report.notes.append(f"op {position}, {node.op!r}: {found.verdict}")
            continue
        report.culprit = Culprit(
            repr(node.op), node.name, place_of(type(node.op)), position, len(nodes), found
        )
        report.verdict, report.cause, report.factor = found.verdict, found.cause, found.factor
        report.sentence = found.sentence
        report.worst = report.worst or found.worst
        return


def place_of(cls: type[Op]) -> str:
    """File and line of an op's declaration."""
    try:
        file, line = inspect.getsourcefile(cls), inspect.getsourcelines(cls)[1]
    except (OSError, TypeError):
        return f"{cls.__module__}.{cls.__qualname__}"
    return f"{file}, line {line}"
