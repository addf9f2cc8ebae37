"""Class numbers: a label that names none of the classes would be learnt from, or counted, without a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.train.data import is_plain


def refuse_classes(labels: np.ndarray, kinds: int, what: str, ignored: float | None = None) -> None:
    """Refuse labels that are neither whole numbers from 0 to `kinds - 1` nor `ignored`; `what` begins the message.

    Errors
        AttributeValueError telling what the labels are, and how to get to what is expected.
    """
    values = labels.reshape(-1)
    if ignored is not None:
        values = values[values != ignored]
    fractional = values[np.trunc(values) != values]
    if fractional.size:
        raise AttributeValueError(
            f"{what}: labels hold {fractional[0]}, expected whole numbers 0 to {kinds - 1}, one for each class"
        )
    if values.size and not (values.min() >= 0 and values.max() < kinds):
        low, high = (f"{value:.17g}" for value in (values.min(), values.max()))
        raise AttributeValueError(
            f"{what}: labels are {low} to {high}, expected 0 to {kinds - 1}; {way_to_classes(values, kinds)}"
        )


def way_to_classes(values: np.ndarray, kinds: int) -> str:
    """What to do about labels that are not 0 to `kinds - 1`."""
    found = np.unique(values)
    if found[0] == -1 and found[-1] < kinds:
        return "rows with label -1 are left out with use_ignore=True, ignore_label=-1"
    if found.size > kinds:
        return f"they name {found.size} classes, and the network has an output for {kinds}"
    if found[-1] - found[0] < kinds:
        return f"classes are counted from 0: pass label {'-' if found[0] > 0 else '+'} {abs(found[0]):.17g}"
    return "classes are counted from 0: pass np.unique(label, return_inverse=True)[1]"


class ClassNumbers(NamedTuple):
    """Labels that an op of a network reads as class numbers: an argument, or what `executor` makes of arguments."""

    where: str
    argument: str
    kinds: int
    ignored: float | None
    executor: Executor | None

    def refuse(self, caller: str, batches: Mapping[str, np.ndarray]) -> None:
        """Refuse labels among `batches`, arrays with one more leading axis, that name no class.

        Errors
            AttributeValueError naming the argument and the op.
        """
        labels = batches[self.argument]
        if self.executor is not None:
            names = self.executor.arguments
            each = [{name: batches[name][i] for name in names} for i in range(len(labels))]
            labels = np.stack([self.executor.forward(**batch)[0].asnumpy() for batch in each])
        refuse_classes(labels, self.kinds, f"{caller}: {self.argument}, read by {self.where}", self.ignored)


def class_numbers(executor: Executor, names: Iterable[str]) -> list[ClassNumbers]:
    """What ops in the graph of `executor` read as class numbers, where it follows from the arguments `names`."""
    found, names = [], set(names)
    for node in executor.order:
        shapes: list[Any] = [executor.shapes[edge] for edge in node.inputs]
        read = None if node.op is None else node.op.classes(*shapes)
        if node.op is None or read is None:
            continue
        symbol = Symbol([node.inputs[read.input]])
        arguments = symbol.list_arguments()
        if not arguments or not names.issuperset(arguments):
            continue
        known: dict[str, Any] = {name: executor.arguments[name].shape for name in arguments}
        made = None if symbol.heads[0].node.is_variable else symbol.simple_bind(grad_req="null", **known)
        where, kinds = f"{node.name} ({node.op.name})", shapes[0][read.axis]
        found.append(ClassNumbers(where, arguments[0], kinds, read.ignored, made))
    return found


def check_labels(
    executor: Executor, iterator: Any, batch: Mapping[str, np.ndarray], evaluation: Any
) -> list[ClassNumbers]:
    """Refuse labels that name no class where class numbers are read; what is left to be checked in each batch.

    Errors
        AttributeValueError naming the argument and the op.
    """
    found = class_numbers(executor, batch)
    given = [check for check in found if not check.executor]
    for check in given:
        held = dict(evaluation.label) if is_plain(evaluation) else {}
        labels = evaluation[1] if isinstance(evaluation, tuple) else held.get(check.argument)
        if labels is not None and labels.shape[1:] in ((), (1,), batch[check.argument].shape[1:]):
            check.refuse("fit: eval_data", {check.argument: labels})
    if not is_plain(iterator):
        return found
    for check in given:
        check.refuse("fit", dict(iterator.data + iterator.label))
    return [check for check in found if check.executor]


def per_label(symbol: Symbol, predicted: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels with a row for each label, where `symbol` ends in a loss that reads class numbers.

    Labels that the loss ignores are left out.
    """
    op = symbol.heads[0].node.op
    read = None if op is None or predicted.ndim < 2 else op.classes(predicted.shape, labels.shape)
    if read is None or labels.size * predicted.shape[read.axis] != predicted.size:
        return predicted, labels
    rows = np.moveaxis(predicted, read.axis, -1).reshape(-1, predicted.shape[read.axis])
    flat = labels.reshape(-1)
    kept = slice(None) if read.ignored is None else flat != read.ignored
    return rows[kept], flat[kept]
