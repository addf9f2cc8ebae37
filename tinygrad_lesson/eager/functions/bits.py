"""Logic of truth values and of the bits of integers: `a & b`, `~a`. Nothing here has a gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions.table import known, like, tensor
from tinygrad_lesson.eager.tensor import Tensor, wrap
from tinygrad_lesson.engine.errors import DTypeError


def of_bits(ufunc: Callable[..., Any], logical: str, sign: str) -> Callable[..., Any]:
    """A function of bits, which of truth values is one that plans know."""

    def function(*inputs: Any) -> Tensor:
        tensors = [tensor(x) for x in inputs]
        kinds = {x.dtype.kind for x in tensors}
        if kinds == {"b"}:
            return getattr(F, logical)(*tensors)  # type: ignore[no-any-return]
        if not kinds <= set("biu"):
            told = ", ".join(str(x.dtype) for x in tensors)
            raise DTypeError(
                f"{ufunc.__name__}: `{sign}` of {told}, expected truth values or integers; "
                f"compare first, as in (x > 1) {sign} (x < 4), with brackets"
            )
        return wrap(ufunc(*[known(x) for x in inputs]))

    function.__name__ = ufunc.__name__
    function.__doc__ = f"`{sign}` of truth values, or of the bits of integers."
    return function


bitwise_and = like("bitwise_and")(of_bits(np.bitwise_and, "logical_and", "&"))
bitwise_or = like("bitwise_or")(of_bits(np.bitwise_or, "logical_or", "|"))
bitwise_xor = like("bitwise_xor")(of_bits(np.bitwise_xor, "logical_xor", "^"))
invert = like("invert", "bitwise_not", "bitwise_invert")(of_bits(np.invert, "logical_not", "~"))
