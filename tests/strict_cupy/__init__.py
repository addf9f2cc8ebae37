"""A strict stand-in for CuPy that runs without a card: NumPy's numbers behind CuPy's face and refusals.

Names and parameters are those of the CuPy release that `surface.json` was read off. Stricter than CuPy in one thing:
a host array is refused by every function that does not exist to send it (CuPy's `sum(a)` is `a.sum()`, which a NumPy
array has too).
"""

from strict_cupy import _cuda, _operators  # noqa: F401  (they add names and operators)
from strict_cupy._names import NAMES

globals().update(NAMES)
