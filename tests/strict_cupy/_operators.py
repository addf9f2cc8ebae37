"""Python's operators of a device array, handed to NumPy's functions as CuPy's are."""

from typing import Any

import numpy as np

from strict_cupy._array import ndarray


def defers(x: Any, y: Any) -> bool:
    """Whether the operation is left to the other operand: NEP 13, with priorities."""
    missing = object()
    theirs = getattr(y, "__array_ufunc__", missing)
    if theirs is not missing:
        return theirs is None
    return getattr(x, "__array_priority__", 0) < getattr(y, "__array_priority__", 0)  # type: ignore[no-any-return]


def operator(ufunc: Any, swapped: bool = False) -> Any:
    """A binary operator."""

    def operate(self: ndarray, other: Any) -> Any:
        if not isinstance(other, ndarray) and defers(self, other):
            return NotImplemented
        return ufunc(other, self) if swapped else ufunc(self, other)

    return operate


def in_place(ufunc: Any) -> Any:
    """An operator that writes into its left operand."""
    return lambda self, other: ufunc(self, other, out=self)


BINARY = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift,
}  # fmt: skip
COMPARISONS = {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}  # fmt: skip
for _name, _ufunc in BINARY.items():
    setattr(ndarray, f"__{_name}__", operator(_ufunc))
    setattr(ndarray, f"__r{_name}__", operator(_ufunc, swapped=True))
    if _name != "matmul":
        setattr(ndarray, f"__i{_name}__", in_place(_ufunc))
for _name, _ufunc in COMPARISONS.items():
    setattr(ndarray, f"__{_name}__", operator(_ufunc))
