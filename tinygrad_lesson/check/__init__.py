"""Gradient checks that say what is wrong, where, and why; and samples of ops for tests of every op."""

from tinygrad_lesson.check.gradients import assert_gradients, gradients
from tinygrad_lesson.check.report import CAUSES, VERDICTS, Culprit, Entry, GradientError, Report

__all__ = [
    "CAUSES", "VERDICTS", "Culprit", "Entry", "GradientError", "Report", "assert_gradients", "gradients",
]  # fmt: skip
