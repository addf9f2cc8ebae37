"""Gradient checks that say what is wrong, where, and why; and samples of ops for tests of every op."""

from __future__ import annotations

from tinygrad_lesson.check.divergence import Divergence, OpError, where_parted
from tinygrad_lesson.check.finite import NonFinite, first_nonfinite
from tinygrad_lesson.check.gradients import assert_gradients, gradients
from tinygrad_lesson.check.mxnet import (
    check_consistency,
    check_numeric_gradient,
    check_symbolic_backward,
    check_symbolic_forward,
)
from tinygrad_lesson.check.pair import Pair, derivation, pair
from tinygrad_lesson.check.property import assert_op, property_test
from tinygrad_lesson.check.report import CAUSES, VERDICTS, Culprit, Entry, GradientError, Report
from tinygrad_lesson.check.strategies import arrays, attributes, away_from, broadcastable_shapes, samples
from tinygrad_lesson.check.taylor import Taylor, taylor

__all__ = [
    "CAUSES", "VERDICTS", "Culprit", "Divergence", "Entry", "GradientError", "NonFinite", "OpError", "Pair", "Report",
    "Taylor", "arrays", "assert_gradients", "assert_op", "attributes", "away_from", "broadcastable_shapes",
    "check_consistency", "check_numeric_gradient", "check_symbolic_backward", "check_symbolic_forward", "derivation",
    "first_nonfinite", "gradients", "pair", "property_test", "samples", "taylor", "where_parted",
]  # fmt: skip
