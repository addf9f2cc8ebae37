"""What MXNet has in Python among the operators of `nd.contrib` and `nd._internal`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.mxnet.functions import Prefixed, Sampling
from tinygrad_lesson.mxnet.invoked import NDArray, as_ndarray, invoke


class Contrib(Sampling):
    """The operators of `nd.contrib`, and what MXNet has there in Python."""

    def isnan(self, data: NDArray) -> NDArray:
        """1 where an element is NaN."""
        return told(np.isnan(np.asarray(data)), data)

    def isinf(self, data: NDArray) -> NDArray:
        """1 where an element is infinite."""
        return told(np.isinf(np.asarray(data)), data)

    def isfinite(self, data: NDArray) -> NDArray:
        """1 where an element is a number."""
        return told(np.isfinite(np.asarray(data)), data)

    def boolean_mask(self, data: NDArray, index: NDArray, axis: int = 0) -> NDArray:
        """The rows of `data`, along an axis, for which `index` is not 0."""
        places = as_ndarray(np.flatnonzero(np.asarray(index)).astype(np.float32))
        return invoke("take", data, places, axis=axis)  # type: ignore[no-any-return]

    def foreach(self, body: Callable[..., Any], data: Any, init_states: Any) -> tuple[Any, Any]:
        """``output, states = body(row, states)`` for each row of the data; the outputs are stacked."""
        single, states, rows = isinstance(data, NDArray), init_states, []
        for i in range(len(data if single else data[0])):
            output, states = body(data[i] if single else [x[i] for x in data], states)
            rows.append(output)
        if isinstance(rows[0], NDArray):
            return invoke("stack", *rows), states
        return [invoke("stack", *part) for part in zip(*rows, strict=True)], states

    def while_loop(
        self,
        cond: Callable[..., Any],
        func: Callable[..., Any],
        loop_vars: Any,
        max_iterations: int | None = None,
    ) -> tuple[Any, Any]:
        """``output, loop_vars = func(*loop_vars)`` as long as `cond` says; outputs are stacked, then zeros."""
        single, rows = isinstance(loop_vars, NDArray), list[list[NDArray]]()
        loop_vars = [loop_vars] if single else list(loop_vars)
        if max_iterations is None:
            raise DTypeError("while_loop: max_iterations is missing")
        while len(rows) < max_iterations and bool(cond(*loop_vars)):
            output, loop_vars = func(*loop_vars)
            loop_vars = [loop_vars] if isinstance(loop_vars, NDArray) else list(loop_vars)
            rows.append([] if output is None else [output] if isinstance(output, NDArray) else list(output))
        outputs = [filled(part, max_iterations) for part in zip(*rows, strict=True)]
        return outputs[0] if len(outputs) == 1 else outputs, loop_vars[0] if single else loop_vars

    def cond(self, pred: Any, then_func: Callable[[], Any], else_func: Callable[[], Any]) -> Any:
        """What one function gives, or the other."""
        return then_func() if bool(pred) else else_func()

    def adamw_update(
        self, weight: NDArray, grad: NDArray, mean: NDArray, var: NDArray, rescale_grad: Any, lr: float,
        eta: float, *given: float, out: NDArray | None = None, **named: Any,
    ) -> NDArray:  # fmt: skip
        """AdamW's step of a weight; `rescale_grad` is a number, or an array that holds one.

        `given` are beta1, beta2, epsilon, wd and clip_gradient.
        """
        return self.decoupled(
            "_adamw_update", (weight, grad, mean, var), rescale_grad, lr, eta, given, out, named
        )

    def mp_adamw_update(
        self, weight: NDArray, grad: NDArray, mean: NDArray, var: NDArray, weight32: NDArray, rescale_grad: Any,
        lr: float, eta: float, *given: float, out: NDArray | None = None, **named: Any,
    ) -> NDArray:  # fmt: skip
        """`adamw_update` of a weight in half precision, of which `weight32` is the copy in single."""
        arrays = (weight, grad, mean, var, weight32)
        return self.decoupled("_mp_adamw_update", arrays, rescale_grad, lr, eta, given, out, named)

    def decoupled(
        self, name: str, arrays: Sequence[NDArray], rescale_grad: Any, lr: float, eta: float,
        given: Sequence[float], out: Any, named: Mapping[str, Any],
    ) -> NDArray:  # fmt: skip
        """A step of AdamW by the operator of this name."""
        if not isinstance(rescale_grad, NDArray):
            rescale_grad = as_ndarray(np.full(1, rescale_grad, np.float32))
        told = dict(zip(("beta1", "beta2", "epsilon", "wd", "clip_gradient"), given, strict=False))
        attributes = {"lr": lr, "eta": eta, **told, **named}
        return invoke(name, *arrays, rescale_grad, out=out, **attributes)  # type: ignore[no-any-return]

    def multi_adamw_update(
        self, weights: Any, grads: Any, mean: Any, var: Any, rescale_grad: Any, lrs: Any, wds: Any, etas: Any,
        out: Any = None, size: int = 0, **named: Any,
    ) -> list[NDArray]:  # fmt: skip
        """`adamw_update` of several weights, each with rates of its own."""
        rows = zip(weights, grads, mean, var, lrs, wds, etas, out or [None] * len(weights), strict=False)
        return [
            self.adamw_update(w, g, m, v, rescale_grad, lr, eta, wd=wd, out=y, **named)
            for w, g, m, v, lr, wd, eta, y in rows
        ]

    def multi_mp_adamw_update(
        self, weights: Any, grads: Any, mean: Any, var: Any, weights32: Any, rescale_grad: Any, lrs: Any,
        wds: Any, etas: Any, out: Any = None, size: int = 0, **named: Any,
    ) -> list[NDArray]:  # fmt: skip
        """`mp_adamw_update` of several weights, each with rates of its own."""
        rows = zip(
            weights, grads, mean, var, weights32, lrs, wds, etas, out or [None] * len(weights), strict=False
        )
        return [
            self.mp_adamw_update(w, g, m, v, copy, rescale_grad, lr, eta, wd=wd, out=y, **named)
            for w, g, m, v, copy, lr, wd, eta, y in rows
        ]


class Internal(Prefixed):
    """The operators of `nd._internal`, and those that write into a part."""

    def _slice_assign(
        self, lhs: NDArray, rhs: Any, begin: Any, end: Any, step: Any = None, out: NDArray | None = None
    ) -> NDArray:
        """`lhs` with another array in the part from `begin` to `end`."""
        made = lhs.copy().slice_assign(rhs, begin, end, step)
        return made if out is None else made.copyto(out)  # type: ignore[return-value]

    def _slice_assign_scalar(
        self, data: NDArray, scalar: float = 0, begin: Any = (), end: Any = (), step: Any = None,
        out: NDArray | None = None,
    ) -> NDArray:  # fmt: skip
        """`data` with a number in the part from `begin` to `end`."""
        return self._slice_assign(data, scalar, begin, end, step, out)

    _crop_assign, _crop_assign_scalar = _slice_assign, _slice_assign_scalar


def told(answers: np.ndarray, data: NDArray) -> NDArray:
    """Truth values as numbers of the type of an array."""
    return as_ndarray(answers.astype(data.dtype))


def filled(rows: Sequence[NDArray], count: int) -> NDArray:
    """Arrays, stacked, and zeros behind them."""
    more = [invoke("zeros_like", rows[0]) for _ in range(count - len(rows))]
    return invoke("stack", *rows, *more)  # type: ignore[no-any-return]
