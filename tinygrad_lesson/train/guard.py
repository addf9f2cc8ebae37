"""What a training makes sure of before it goes on: batches that fit, data and losses that are numbers."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import (
    AttributeValueError,
    BindError,
    DTypeError,
    NonFiniteError,
    ShapeError,
)
from tinygrad_lesson.engine.graph import Edge
from tinygrad_lesson.engine.infer import infer_shapes
from tinygrad_lesson.engine.shapes import is_complete, show
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.train.data import as_batches, is_plain, is_rows
from tinygrad_lesson.train.rows import as_size

SEEN = 256  # rows that a look into the network takes


def first_batches(iterator: Any) -> list[dict[str, np.ndarray]]:
    """The first batch, from which the shapes are read, and where epochs repeat some more, to be looked at.

    Errors
        ShapeError if there is none.
    """
    found: list[dict[str, np.ndarray]] = []
    for batch, _ in as_batches(iterator):
        found.append({name: np.array(array) for name, array in batch.items()})
        if not (is_plain(iterator) and iterator.repeats) or len(found) * iterator.batch_size >= SEEN:
            break
    if not found:
        raise ShapeError("fit: the iterator gave no batch")
    return found


def span(begin_epoch: Any, num_epoch: Any) -> tuple[int, int]:
    """The first epoch, counted from 0, and the one to end before; none where `num_epoch` is 0.

    Errors
        AttributeValueError for one below 0; BindError where a model that has been trained that far would do nothing.
    """
    begin = as_size(begin_epoch, "fit: begin_epoch")
    last = begin + 1 if num_epoch is None else as_size(num_epoch, "fit: num_epoch")
    for what, number in (("num_epoch", last), ("begin_epoch", begin)):
        if number < 0:
            raise AttributeValueError(f"fit: {what} is {number}, expected 0 or more")
    if last <= begin and begin:
        raise BindError(
            f"fit: num_epoch is {last}, but begin_epoch is {begin}, so that no epoch is left; "
            f"num_epoch counts from the first epoch of all: {begin + 1} trains one more"
        )
    return begin, last


def kept_epochs(keep: Iterable[int], epochs: int) -> list[int]:
    """The epochs, counted from 1, after which parameters are kept: the first and those of `keep`, not the last.

    Errors
        DTypeError if `keep` holds anything but whole numbers.
    """
    try:
        wanted = {1, *map(operator.index, keep)}
    except TypeError:
        raise DTypeError(f"fit: keep is {keep!r}, expected epochs, such as (10, 20)") from None
    return sorted(epoch for epoch in wanted if 0 < epoch < epochs)


def undecided(symbol: Symbol, shapes: Mapping[str, Any]) -> list[str]:
    """Arguments whose shapes do not follow from those given."""
    found = infer_shapes(symbol.nodes, symbol.given_shapes((), shapes))
    return [node.name for node in symbol.nodes if node.is_variable and not is_complete(found[Edge(node)])]


def label_shape(symbol: Symbol, label: str, **shapes: Any) -> Any:
    """The shape of the argument `label` that follows from those of others; None where it is not known."""
    names = symbol.list_arguments()
    if label not in names or not set(names).issuperset(shapes):
        return None
    found = infer_shapes(symbol.nodes, symbol.given_shapes((), shapes), "fit")
    return next(found[Edge(node)] for node in symbol.nodes if node.is_variable and node.name == label)


def whole_epoch(iterator: Any) -> dict[str, np.ndarray]:
    """All batches of an epoch, one after the other along a new first axis."""
    if is_rows(iterator):
        iterator.reset()
        return iterator.epoch()  # type: ignore[no-any-return]
    batches = [batch for batch, _ in as_batches(iterator)]
    for number, batch in enumerate(batches, 1):
        for name, array in batches[0].items():
            if name not in batch or batch[name].shape != array.shape:
                found = show(batch[name].shape) if name in batch else "missing"
                raise ShapeError(
                    f"fit: {name} is {found} in batch {number}, expected {show(array.shape)} as in the first; "
                    "fill the last batch, or leave it out"
                )
    return {name: np.stack([batch[name] for batch in batches]) for name in (batches[0] if batches else {})}


def refuse_non_finite(batches: Mapping[str, np.ndarray], first: int = 1) -> None:
    """Refuse data with NaN or infinity, naming where it is."""
    for name, array in batches.items():
        finite = np.isfinite(array)
        if not finite.all():
            batch, *where = (int(i) for i in np.argwhere(~finite)[0])
            value = array[(batch, *where)]
            raise NonFiniteError(
                f"fit: {name} has {value} at {tuple(where)} of batch {batch + first}; expected finite numbers"
            )


def refuse_loss(executor: Executor, losses: np.ndarray, steps: int, epoch: int, first: int) -> None:
    """Stop at a loss that is no number, saying where and what else is not.

    `steps` make an epoch; the losses are those of steps from number `first` after the start of `epoch` on.
    """
    finite = np.isfinite(losses)
    if finite.all():
        return
    at = int(np.argmin(finite))
    where = first + at
    bad = [name for name, array in executor.arguments.items() if not np.isfinite(array).all()]
    cause = f"{bad[0]} is not finite any more" if bad else "all parameters are finite still"
    raise NonFiniteError(
        f"fit: the loss is {losses[at]} in epoch {epoch + where // steps + 1}, "
        f"batch {where % steps + 1}; {cause}. A smaller learning_rate may help"
    )
