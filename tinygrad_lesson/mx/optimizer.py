"""`mx.optimizer`: how weights follow their gradients."""

from __future__ import annotations

from tinygrad_lesson.train.adaptive import AdaDelta, AdaGrad, Adamax, Nadam
from tinygrad_lesson.train.descent import DCASGD, LARS, LBSGD, SGLD, Test
from tinygrad_lesson.train.optimizer import SGD, Adam, Optimizer, Updater, create, get_updater
from tinygrad_lesson.train.steps import FTML, LAMB, NAG, Ftrl, RMSProp, Signum

ccSGD = SGD  # its old name  # noqa: N816
register = Optimizer.register


__all__ = [
    "DCASGD", "FTML", "LAMB", "LARS", "LBSGD", "NAG", "SGD", "SGLD", "AdaDelta", "AdaGrad", "Adam", "Adamax", "Ftrl",
    "Nadam", "Optimizer", "RMSProp", "Signum", "Test", "Updater", "ccSGD", "create", "get_updater", "register",
]  # fmt: skip
