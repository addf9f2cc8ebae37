"""`mx.contrib.autograd`: the first form of `mx.autograd`, which records whenever it trains."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.mx.autograd import backward, mark_variables, pause, record, set_recording, set_training
from tinygrad_lesson.mxnet.ndarray import NDArray


def set_is_training(is_train: bool) -> bool:
    """Record from now on, and let operators act as in training; or neither. What held before."""
    set_recording(is_train)
    return set_training(is_train)


def train_section() -> contextlib.AbstractContextManager[None]:
    """Record inside."""
    return record()


def test_section() -> contextlib.AbstractContextManager[None]:
    """Do not record inside."""
    return pause()


def compute_gradient(outputs: Sequence[NDArray]) -> None:
    """`backward` by its old name."""
    backward(outputs)


def grad_and_loss(func: Callable[..., Any], argnum: int | Sequence[int] | None = None) -> Callable[..., Any]:
    """A function that gives the gradients by its arguments, or by those numbered `argnum`, and what `func` gives.

    Errors
        DTypeError where such an argument is no NDArray.
    """

    @functools.wraps(func)
    def both(*args: Any) -> tuple[list[NDArray], Any]:
        chosen = range(len(args)) if argnum is None else [argnum] if isinstance(argnum, int) else argnum
        variables = [args[i] for i in chosen]
        for i, x in zip(chosen, variables, strict=True):
            if not isinstance(x, NDArray):
                raise DTypeError(f"grad_and_loss: argument {i} is {x!r:.80}, expected an NDArray")
        gradients = [x.zeros_like() for x in variables]
        mark_variables(variables, gradients)
        with record():
            outputs = func(*args)
        backward([outputs] if isinstance(outputs, NDArray) else outputs)
        return gradients, outputs

    return both


def grad(func: Callable[..., Any], argnum: int | Sequence[int] | None = None) -> Callable[..., list[NDArray]]:
    """A function that gives the gradients alone, as `grad_and_loss` does."""
    both = grad_and_loss(func, argnum)
    return functools.wraps(func)(lambda *args: both(*args)[0])


__all__ = [
    "backward", "compute_gradient", "grad", "grad_and_loss", "mark_variables", "set_is_training", "test_section",
    "train_section",
]  # fmt: skip
