"""NumPy's functions of tensors without elements, without axes, of one element, of integers, half precision, NaN."""

import warnings

import numpy as np
import pytest

from tinygrad_lesson.tensor import Tensor

INPUTS = {
    "0-d": np.array(1.5), "empty": np.zeros(0), "one": np.array([2.5]), "no rows": np.zeros((0, 3)),
    "no columns": np.zeros((2, 0)), "int": np.array([[1, 2], [3, 4]]), "half": np.array([[1, 2.5], [3, 4]], np.float16),
    "column-major": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "backwards": np.arange(6.0)[::-1],
    "bool": np.array([True, False, True]), "nan": np.array([1, np.nan, np.inf]), "uint8": np.array([250, 10], np.uint8),
}  # fmt: skip
OF_ONE = """
sum prod mean max min ptp var std average nansum nanprod nanmean nanvar nanstd nanmax nanmin median nanmedian cumsum cumprod nancumsum nancumprod diff ediff1d trapezoid ravel transpose squeeze atleast_1d atleast_2d atleast_3d flip sort diag diagflat trace tril triu unique_values count_nonzero all any nonzero argmax argmin argsort copy sin exp abs sqrt sign floor rint square negative reciprocal isnan nan_to_num conj real imag angle modf frexp sinc degrees fabs positive corrcoef cov gradient vander unwrap poly trim_zeros
"""
CALLS = """
np.quantile(x,.3) | np.quantile(x,[.3,.5],axis=0) | np.sum(x,axis=0) | np.max(x,axis=-1) | np.std(x,axis=0,ddof=1)
np.reshape(x,-1) | np.tile(x,2) | np.repeat(x,2) | np.roll(x,1) | np.pad(x,1)
np.pad(x,1,"edge") | np.concatenate([x,x]) | np.stack([x,x],axis=-1) | np.hstack([x,x]) | np.vstack([x,x])
np.append(x,x) | np.dot(x,x) | np.inner(x,x) | np.outer(x,x) | np.kron(x,x)
np.einsum("...->...",x) | np.einsum("...,...",x,x) | np.vdot(x,x) | np.tensordot(x,x,0) | np.convolve(x,x)
np.clip(x,1,2) | np.where(x>1,x,0) | np.take(x,[0,0]) | np.moveaxis(x,0,-1) | np.expand_dims(x,0)
np.rot90(x) | np.split(x,1) | np.array_split(x,3) | np.delete(x,0) | np.insert(x,0,9)
np.round(x,1) | np.max(x,initial=3) | np.broadcast_to(x,(2,)+np.shape(x)) | np.maximum(x,1) | np.power(x,2)
np.interp(x,[0.,1.],[1.,3.]) | np.linalg.norm(x) | np.fft.fft(x) | np.fft.rfft(x) | np.linalg.det(x)
np.linalg.inv(x) | np.linalg.svd(x,full_matrices=False) | np.linalg.qr(x) | x[np.asarray(x)>1] | x[[0]]
np.cross(x,x) | np.linspace(x,3,4) | np.searchsorted(x,1) | np.bincount(x) | np.select([x>1],[x],0)
np.meshgrid(x,x) | np.polyval(x,2) | np.nanquantile(x,.3) | np.mean(x,where=np.asarray(x)>1) | np.linalg.matrix_power(x,2)
np.cumulative_sum(x,include_initial=True) | np.sort(x,axis=None) | np.partition(x,0) | np.resize(x,(3,)) | np.block([x,x])
"""
EXPRESSIONS = [f"np.{name}(x)" for name in OF_ONE.split()]
EXPRESSIONS += [call.strip() for line in CALLS.strip().splitlines() for call in line.split(" | ")]
HALF, SHORT = (
    "half precision stays, and is computed in single",
    "what is no float becomes float64, not float16",
)
NUMBERS = "truth values are numbers here, which NumPy refuses"
DIFFERENT = {  # what is different here, at which inputs, and why
    "angle": (SHORT, "bool"), "modf": (SHORT, "bool", "uint8"), "frexp": (SHORT, "bool", "uint8"), "fabs": (SHORT, "bool", "uint8"),
    "ediff1d": (NUMBERS, "bool"), "positive": (NUMBERS, "bool"), "gradient": (NUMBERS, "bool"), "round": (NUMBERS, "bool"),
    "reciprocal": ("a fraction is a float", "int", "bool", "uint8"), "unique_values": ("they are in order", "int"),
    "corrcoef": (HALF, "half"), "cov": (HALF, "half"), "poly": (HALF, "half"), "linalg.det": (HALF, "half"),
    "linalg.inv": (HALF, "half"), "linalg.svd": (HALF, "half"), "linalg.qr": (HALF, "half"),
    "quantile": ("of nothing it is NaN, as the median; axis 0 of a number is itself; " + HALF,
                 "empty", "no rows", "no columns", "0-d", "half"),
    "std": ("axis 0 of a number is itself, as for sums", "0-d"), "vander": ("the type stays", "bool", "uint8"),
    "nanmedian": ("the type of an element stays", "bool"), "max": ("a number beside truth values is none", "bool"),
    "cross": ("NumPy gives up vectors of two numbers", "int", "half", "uint8"),
    "polyval": ("a number as `x` takes the type of the coefficients", "empty", "no rows", "half", "uint8"),
    "resize": ("of nothing nothing can be repeated", "empty", "no rows", "no columns"),
}  # fmt: skip


def given(expression, x):
    """The results of an expression as a list, or the error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            y = eval(expression, {"np": np, "x": x})
        except Exception as error:
            y = error
    return list(y) if isinstance(y, tuple | list) else [y]


def differs(expression, name):
    """Whether a tensor gives something else than an array, but for the words of an error."""
    expected, found = (given(expression, make(INPUTS[name])) for make in (np.asarray, Tensor))
    refused = [any(isinstance(y, Exception) for y in results) for results in (expected, found)]
    if any(refused):
        return not all(refused)
    pairs = [(np.asarray(y), np.asarray(z)) for y, z in zip(found, expected, strict=False)]
    return len(found) != len(expected) or any(
        (y.shape, y.dtype) != (z.shape, z.dtype)
        or not np.allclose(y, z, rtol=1e-2 if name == "half" else 1e-9, atol=0, equal_nan=True)
        for y, z in pairs
    )


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_unusual_arrays_give_what_numpy_gives_or_an_error_as_there(expression):
    function = expression.removeprefix("np.").partition("(")[0]
    listed = set(DIFFERENT.get(function, ())[1:])
    found = {name for name in INPUTS if differs(expression, name)}
    assert found <= listed


def test_what_is_said_to_be_different_is():
    alike = (
        {"cross"} if np.lib.NumpyVersion(np.__version__) >= "2.5.0" else set()
    )  # there NumPy has given them up
    for function, (_, *names) in DIFFERENT.items():
        if function in alike:
            continue
        calls = [e for e in EXPRESSIONS if e.startswith(f"np.{function}(")]
        assert all(any(differs(call, name) for call in calls) for name in names), function
