"""`mx.rnn`: recurrent networks written out step by step, batches of sentences, and their checkpoints."""

from __future__ import annotations

from tinygrad_lesson.mx.rnn.cells import (
    BaseRNNCell,
    BidirectionalCell,
    DropoutCell,
    GRUCell,
    LSTMCell,
    ModifierCell,
    ResidualCell,
    RNNCell,
    RNNParams,
    SequentialRNNCell,
    ZoneoutCell,
)
from tinygrad_lesson.mx.rnn.fused import FusedRNNCell
from tinygrad_lesson.mx.rnn.sequences import (
    BucketSentenceIter,
    do_rnn_checkpoint,
    encode_sentences,
    load_rnn_checkpoint,
    save_rnn_checkpoint,
)

__all__ = [
    "BaseRNNCell", "BidirectionalCell", "BucketSentenceIter", "DropoutCell", "FusedRNNCell", "GRUCell", "LSTMCell",
    "ModifierCell", "RNNCell", "RNNParams", "ResidualCell", "SequentialRNNCell", "ZoneoutCell", "do_rnn_checkpoint",
    "encode_sentences", "load_rnn_checkpoint", "save_rnn_checkpoint",
]  # fmt: skip
