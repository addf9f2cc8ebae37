"""`mx.runtime`: what this MXNet was built with; it is none, so that every feature is off but for large arrays."""

from __future__ import annotations

from typing import NamedTuple

from tinygrad_lesson.engine.errors import LessonError

NAMES = (
    "BLAS_ATLAS BLAS_APPLE BLAS_MKL BLAS_OPEN CAFFE CPU_AVX CPU_AVX2 CPU_SSE CPU_SSE2 CPU_SSE3 CPU_SSE4_1 CPU_SSE4_2 "
    "CPU_SSE4A CUDA CUDA_RTC CUDNN CXX14 DEBUG DIST_KVSTORE F16C INT64_TENSOR_SIZE JEMALLOC LAPACK MKLDNN NCCL OPENCV "
    "OPENMP PROFILER SIGNAL_HANDLER SSE TENSORRT TVM_OP"
)


class Feature(NamedTuple):
    """Something that MXNet may be built with."""

    name: str
    enabled: bool


class Features(dict[str, Feature]):
    """All of them by name."""

    def __init__(self) -> None:
        on = ("INT64_TENSOR_SIZE", "LAPACK")
        super().__init__({name: Feature(name, name in on) for name in NAMES.split()})

    def is_enabled(self, feature_name: str) -> bool:
        """Whether a feature is on.

        Errors
            LessonError, a RuntimeError as in MXNet, for a name that is none.
        """
        found = self.get(feature_name.upper())
        if found is None:
            raise UnknownFeatureError(
                f"Feature '{feature_name}' is unknown, known features are: {list(self)}"
            )
        return found.enabled


class UnknownFeatureError(LessonError, RuntimeError):
    """A name that is no feature."""


def feature_list() -> list[Feature]:
    """All features."""
    return list(Features().values())


__all__ = ["Feature", "Features", "feature_list"]
