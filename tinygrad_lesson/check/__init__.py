"""Gradient checks that say what is wrong, where, and why; and samples of ops for tests of every op."""

from tinygrad_lesson.check.finite import NonFinite, first_nonfinite
from tinygrad_lesson.check.formula import derivation
from tinygrad_lesson.check.gradients import assert_gradients, gradients
from tinygrad_lesson.check.parted import Parting, where_parted
from tinygrad_lesson.check.report import CAUSES, VERDICTS, Culprit, Entry, GradientError, Report

__all__ = [
    "CAUSES", "VERDICTS", "Culprit", "Entry", "GradientError", "NonFinite", "Parting", "Report",
    "assert_gradients", "derivation", "first_nonfinite", "gradients", "where_parted",
]  # fmt: skip
