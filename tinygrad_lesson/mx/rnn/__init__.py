"""`mx.rnn`: recurrent networks written out step by step, batches of sentences, and their checkpoints."""

from __future__ import annotations

from tinygrad_lesson.mx.rnn.cells import BaseRNNCell, GRUCell, LSTMCell, RNNCell, RNNParams
from tinygrad_lesson.mx.rnn.fused import FusedRNNCell
from tinygrad_lesson.mx.rnn.sequences import (
    BucketSentenceIter,
    do_rnn_checkpoint,
    encode_sentences,
    load_rnn_checkpoint,
    save_rnn_checkpoint,
)
from tinygrad_lesson.mx.rnn.stacked import (
    BidirectionalCell,
    DropoutCell,
    ModifierCell,
    ResidualCell,
    SequentialRNNCell,
    ZoneoutCell,
)

__all__ = [
    "BaseRNNCell", "BidirectionalCell", "BucketSentenceIter", "DropoutCell", "FusedRNNCell", "GRUCell", "LSTMCell",
    "ModifierCell", "RNNCell", "RNNParams", "ResidualCell", "SequentialRNNCell", "ZoneoutCell", "do_rnn_checkpoint",
    "encode_sentences", "load_rnn_checkpoint", "save_rnn_checkpoint",
]  # fmt: skip
