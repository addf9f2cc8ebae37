"""`mx.io`: iterators over batches."""

from tinygrad_lesson.train.batches import CSVIter, DataBatch, DataDesc, DataIter, PrefetchingIter, ResizeIter
from tinygrad_lesson.train.data import NDArrayIter

__all__ = ["CSVIter", "DataBatch", "DataDesc", "DataIter", "NDArrayIter", "PrefetchingIter", "ResizeIter"]
