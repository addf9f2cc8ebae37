"""`mx.mod`: networks with their parameters and optimizer, trained batch by batch or as a whole."""

from __future__ import annotations

from tinygrad_lesson.mx.module.base import BaseModule
from tinygrad_lesson.mx.module.bucketing import BucketingModule
from tinygrad_lesson.mx.module.python_module import PythonLossModule, PythonModule
from tinygrad_lesson.mx.module.sequential import SequentialModule
from tinygrad_lesson.mx.module.single import Module

__all__ = ["BaseModule", "BucketingModule", "Module", "PythonLossModule", "PythonModule", "SequentialModule"]
