"""`mx.io`: iterators over batches."""

from __future__ import annotations

from tinygrad_lesson.train.batches import CSVIter, DataBatch, DataDesc, DataIter, PrefetchingIter, ResizeIter
from tinygrad_lesson.train.data import NDArrayIter

__all__ = ["CSVIter", "DataBatch", "DataDesc", "DataIter", "NDArrayIter", "PrefetchingIter", "ResizeIter"]
