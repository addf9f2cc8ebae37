"""Sentences as numbers, batches of sentences of like length, and checkpoints of recurrent networks."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import AttributeValueError
from tinygrad_lesson.mx.model import load_checkpoint, save_checkpoint
from tinygrad_lesson.mx.ndarray import array
from tinygrad_lesson.mx.rnn.cells import BaseRNNCell
from tinygrad_lesson.random import default_generator
from tinygrad_lesson.train.batches import DataBatch, DataDesc, DataIter


def encode_sentences(
    sentences: Sequence[Sequence[Any]],
    vocab: dict[Any, int] | None = None,
    invalid_label: int = -1,
    invalid_key: Any = "\n",
    start_label: int = 0,
    unknown_token: Any = None,
) -> tuple[list[list[int]], dict[Any, int]]:
    """Sentences as lists of numbers, and the number of each word.

    Without `vocab` it is made, from `start_label` on, `invalid_label` left out.

    Errors
        AttributeValueError for a word that is not in the `vocab`, unless `unknown_token` is.
    """
    grows = vocab is None
    words = {invalid_key: invalid_label} if vocab is None else vocab
    number, coded = start_label, []
    for sentence in sentences:
        row = []
        for word in sentence:
            if word not in words:
                if not grows and unknown_token is None:
                    raise AttributeValueError(
                        f"unknown token {word!r:.80}, expected a word of the vocabulary"
                    )
                number += number == invalid_label
                word = word if grows else unknown_token
                if word not in words:
                    words[word] = number
                    number += 1
            row.append(words[word])
        coded.append(row)
    return coded, words


class BucketSentenceIter(DataIter):
    """Batches of sentences of like length, for a `BucketingModule`; the label of each word is the next word.

    A sentence goes into the shortest of `buckets` that holds it, filled with `invalid_label`; those that are longer
    than all are left out. Without `buckets` each length is one of which there are enough sentences for a batch.
    """

    def __init__(
        self, sentences: Sequence[Sequence[int]], batch_size: int, buckets: Sequence[int] | None = None,
        invalid_label: int = -1, data_name: str = "data", label_name: str = "softmax_label", dtype: str = "float32",
        layout: str = "NT",
    ) -> None:  # fmt: skip
        super().__init__(batch_size)
        if layout not in ("NT", "TN"):
            raise AttributeValueError(f"layout is {layout!r}, expected NT or TN")
        lengths = np.bincount([len(s) for s in sentences])
        self.buckets = sorted(buckets or [int(n) for n, count in enumerate(lengths) if count >= batch_size])
        if not self.buckets:
            raise AttributeValueError(
                f"no length has {batch_size} sentences, the size of a batch; expected buckets"
            )
        rows: list[list[np.ndarray]] = [[] for _ in self.buckets]
        for sentence in sentences:
            place = bisect.bisect_left(self.buckets, len(sentence))
            if place < len(self.buckets):
                row = np.full(self.buckets[place], invalid_label, dtype)
                row[: len(sentence)] = sentence
                rows[place].append(row)
        self.data = [
            np.array(part, dtype).reshape(len(part), n) for part, n in zip(rows, self.buckets, strict=True)
        ]
        self.invalid_label, self.dtype, self.layout = invalid_label, dtype, layout
        self.data_name, self.label_name = data_name, label_name
        self.default_bucket_key = max(self.buckets)
        self.provide_data, self.provide_label = self.described(self.default_bucket_key)
        self.idx = [
            (i, j)
            for i, part in enumerate(self.data)
            for j in range(0, len(part) - batch_size + 1, batch_size)
        ]
        self.reset()

    def described(self, length: int) -> tuple[list[DataDesc], list[DataDesc]]:
        """Data and labels of batches of this length."""
        shape = (self.batch_size, length) if self.layout == "NT" else (length, self.batch_size)
        data, label = (DataDesc(n, shape, layout=self.layout) for n in (self.data_name, self.label_name))
        return [data], [label]

    def reset(self) -> None:
        """Go to the start of an epoch, which has an order of its own."""
        generator = default_generator()
        self.curr_idx = 0
        self.idx = [self.idx[i] for i in generator.permutation(len(self.idx))]
        self.data = [part[generator.permutation(len(part))] for part in self.data]

    def next(self) -> DataBatch:
        """The next batch."""
        if self.curr_idx == len(self.idx):
            raise StopIteration
        bucket, start = self.idx[self.curr_idx]
        self.curr_idx += 1
        data = self.data[bucket][start : start + self.batch_size]
        label = np.full_like(data, self.invalid_label)
        label[:, :-1] = data[:, 1:]
        arrays = [array(x if self.layout == "NT" else x.T, dtype=self.dtype) for x in (data, label)]
        described = self.described(self.buckets[bucket])
        return DataBatch(
            arrays[:1],
            arrays[1:],
            0,
            None,
            self.buckets[bucket],
            provide_data=described[0],
            provide_label=described[1],
        )


def cells_of(cells: Any) -> Sequence[BaseRNNCell]:
    """One cell, or several, as a list."""
    return [cells] if isinstance(cells, BaseRNNCell) else list(cells)


def save_rnn_checkpoint(
    cells: Any, prefix: str, epoch: int, symbol: Any, arg_params: Any, aux_params: Any
) -> None:
    """Save a checkpoint in which each gate of the `cells` has an array of its own."""
    for cell in cells_of(cells):
        arg_params = cell.unpack_weights(arg_params)
    save_checkpoint(prefix, epoch, symbol, arg_params, aux_params)


def load_rnn_checkpoint(cells: Any, prefix: str, epoch: int) -> tuple[Any, Any, Any]:
    """Symbol, arguments and states of a checkpoint that `save_rnn_checkpoint` has saved."""
    symbol, arguments, states = load_checkpoint(prefix, epoch)
    for cell in cells_of(cells):
        arguments = cell.pack_weights(arguments)
    return symbol, arguments, states


def do_rnn_checkpoint(cells: Any, prefix: str, period: int = 1) -> Callable[..., None]:
    """What saves such a checkpoint after every `period` epochs, as a callback."""
    period = max(1, int(period))

    def callback(epoch: int, symbol: Any = None, arg: Any = None, aux: Any = None) -> None:
        if (epoch + 1) % period == 0:
            save_rnn_checkpoint(cells, prefix, epoch + 1, symbol, arg, aux)

    return callback
