"""NumPy's functions of tensors without elements, without axes, of one element, of integers, half precision, NaN."""

import warnings

import numpy as np
import pytest
from scipy import signal

import tinygrad_lesson as tl
from tinygrad_lesson.errors import LessonError
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
np.cumprod(x,axis=-1) | np.cumsum(x,axis=0) | np.squeeze(x,axis=0) | np.sort(x,axis=0) | np.polydiv(x,x)
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


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_gradients_of_unusual_arrays_have_their_shape(expression):
    for name in (name for name, x in INPUTS.items() if x.dtype.kind == "f"):
        x = Tensor(INPUTS[name], requires_grad=True)
        results = [y for y in given(expression, x) if isinstance(y, Tensor) and y.requires_grad]
        if results and not any(isinstance(y, Exception) for y in results):
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of means of nothing
                sum(tl.sum(tl.real(y)) for y in results).backward()
            assert x.grad is None or x.grad.shape == x.shape, name


def test_what_is_said_to_be_different_is():
    alike = (
        {"cross"} if np.lib.NumpyVersion(np.__version__) >= "2.5.0" else set()
    )  # there NumPy has given them up
    for function, (_, *names) in DIFFERENT.items():
        if function in alike:
            continue
        calls = [e for e in EXPRESSIONS if e.startswith(f"np.{function}(")]
        assert all(any(differs(call, name) for call in calls) for name in names), function


@pytest.mark.parametrize("y", [[np.inf, 1, 2], [1, 2, -np.inf], [np.inf, np.inf], [1, np.inf, 2], [3.0]])
def test_the_area_under_an_infinite_side_is_infinite(y):
    np.testing.assert_equal(tl.trapezoid(y, axis=0).numpy(), np.trapezoid(y, axis=0))
    long = np.repeat(np.array(y, float), 20_000)  # in machine code
    np.testing.assert_equal(tl.trapezoid(long).numpy(), np.trapezoid(long))


def test_an_array_is_split_at_the_places_in_a_tensor():
    x = np.arange(6.0)
    for y, z in zip(np.array_split(Tensor(x), Tensor([1, 4])), np.array_split(x, [1, 4]), strict=True):
        assert y.numpy().tolist() == z.tolist()


def test_a_batch_without_rows_is_normalized_in_groups():
    x = Tensor(np.zeros((0, 4, 3)), requires_grad=True)
    y = tl.group_norm(x, np.ones(2), np.ones(2), num_groups=2)
    y.sum().backward()
    assert y.shape == x.grad.shape == x.shape


METHODS = {  # of NumPy's functions of two numbers, with a function of the same meaning
    "add.reduce": (lambda x: np.add.reduce(x), lambda x: tl.sum(x, axis=0)),
    "add.reduce, kept": (lambda x: np.add.reduce(x, 1, keepdims=True), lambda x: tl.sum(x, axis=1, keepdims=True)),
    "add.reduce, all": (lambda x: np.add.reduce(x, axis=None), lambda x: tl.sum(x)),
    "multiply.reduce": (lambda x: np.multiply.reduce(x, axis=1), lambda x: tl.prod(x, axis=1)),
    "maximum.reduce": (lambda x: np.maximum.reduce(x), lambda x: tl.max(x, axis=0)),
    "minimum.reduce": (lambda x: np.minimum.reduce(x, (0, 1)), lambda x: tl.min(x)),
    "add.accumulate": (lambda x: np.add.accumulate(x, axis=1), lambda x: tl.cumsum(x, axis=1)),
    "multiply.accumulate": (lambda x: np.multiply.accumulate(x), lambda x: tl.cumprod(x, axis=0)),
    "multiply.outer": (lambda x: np.multiply.outer(W, x), lambda x: W[:, None, None] * x),
    "subtract.outer": (lambda x: np.subtract.outer(x, x), lambda x: x[:, :, None, None] - x),
    "power.outer": (lambda x: np.power.outer(x, [1.0, 2.0]), lambda x: tl.stack([x, x * x], axis=-1)),
}  # fmt: skip
W = np.array([0.5, -1.0])


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_numpys_functions_are_functions_of_tensors(name):
    f, same = METHODS[name]
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.5, 7.0]])
    leaf = tl.Tensor(x, requires_grad=True)
    found = f(leaf)
    np.testing.assert_allclose(found.numpy(), f(x), rtol=1e-15)
    g = np.arange(1.0, found.size + 1).reshape(found.shape)
    gradients = [tl.grad(lambda x, h=h: tl.sum(h(x) * g))(leaf).numpy() for h in (f, same)]
    np.testing.assert_allclose(*gradients, rtol=1e-13)


POINTS = np.array([0.4, 0.9]), np.array([0.7, 0.3])
MIXED = np.array([[2.0, 1j], [0.5 - 1j, 1.0]])
OF_COMPLEX = {  # of z = a + bi, whose parts are real leaves; each off the cuts
    name: getattr(tl, name)
    for name in (
        "exp", "log", "sin", "cos", "tan", "sqrt", "sinh", "cosh", "tanh", "log2", "log10", "log1p", "expm1", "exp2",
        "reciprocal", "abs", "conj", "real", "imag", "angle", "arcsin", "arccos", "arctan", "arccosh", "arctanh",
    )
} | {
    "z**2": lambda z: z**2, "z**(1 - 2i)": lambda z: z ** (1 - 2j), "2**z": lambda z: 2.0**z, "z**z": lambda z: z**z,
    "z/conj(z)": lambda z: z / tl.conj(z), "z*(1 + i)": lambda z: z * (1 + 1j),
    "prod": tl.prod, "var": tl.var, "std": lambda z: tl.std(z, ddof=1), "diag": lambda z: tl.diag(z, 1)[:2, 1:],
    "inv": lambda z: tl.linalg.inv(tl.diag(z) + MIXED), "det": lambda z: tl.linalg.det(tl.diag(z) + MIXED),
    "solve": lambda z: tl.linalg.solve(tl.diag(z) + MIXED, z * z),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_COMPLEX)
def test_gradients_of_complex_numbers_agree_with_differences_through_real_leaves(name):
    def f(a, b):
        y = OF_COMPLEX[name](a + 1j * b)
        return tl.sum(tl.real(y) * POINTS[0] - tl.imag(y) * POINTS[1])

    leaves = [tl.Tensor(x, requires_grad=True) for x in POINTS]
    found = tl.grad(f(*leaves), leaves)
    for i, g in enumerate(found):
        for k in range(2):
            step = np.zeros((2, 2))
            step[i, k] = 1e-6
            high, low = (f(*map(tl.Tensor, np.add(POINTS, s))).item() for s in (step, -step))
            assert g.numpy()[k] == pytest.approx((high - low) / 2e-6, rel=1e-7, abs=1e-8)


def test_the_sign_of_complex_numbers_is_refused_since_it_is_not_flat():
    with pytest.raises(TypeError, match=r"write x / abs\(x\), which has a gradient"):
        tl.sign(tl.Tensor(POINTS[0]) * 1j)


A, C = (np.random.default_rng(i).normal(size=(2, 3, 3)) for i in (1, 2))
KERNEL, PLACES = np.arange(6.0).reshape(2, 3), np.array([1.0, 2.0, 5.0])
INSTEAD = {  # what is refused, what its message says to write, and NumPy's or SciPy's numbers
    "Eigh.*np.linalg.eigvalsh of np.block": (
        lambda a, b: np.linalg.eigvalsh(a + a.T + 1j * (b - b.T)),
        lambda a, b: np.linalg.eigvalsh(np.block([[a + a.T, b.T - b], [b - b.T, a + a.T]]))[::2],
    ),
    "Svd.*np.linalg.svd of np.block": (
        lambda a, b: np.linalg.svd(a + 1j * b, full_matrices=False)[1],
        lambda a, b: np.linalg.svd(np.block([[a, -b], [b, a]]), compute_uv=False)[::2],
    ),
    "Sort.*np.argsort": (
        lambda a, b: np.sort(a[0] + 1j * b[0]).real,
        lambda a, b: (a[0] + 1j * b[0])[np.argsort(np.array(a[0].detach()))].real,
    ),
    "eigvals.*np.linalg.eigvalsh, if": (
        lambda a, b: np.linalg.eigvals((a + b) @ (a + b).T),
        lambda a, b: np.linalg.eigvalsh((a + b) @ (a + b).T),
    ),
    "convolve.*tl.convolution": (
        lambda a, b: tl.convolve(a + b, KERNEL),
        lambda a, b: tl.convolution((a + b)[None, None], KERNEL[None, None, ::-1, ::-1], pad=(1, 2))[
            0, 0, 1:4, 2
        ],
    ),
}


@pytest.mark.parametrize("told", INSTEAD)
def test_what_a_refusal_says_to_write_has_the_derivative(told):
    refused, instead = INSTEAD[told]

    def number(f, a, b):
        return (f(a, b) * PLACES).sum()

    with pytest.raises(LessonError, match=told):
        tl.grad(lambda a: number(refused, a, A[1]))(A[0])
    if "convolve" in told:
        plain = lambda a, b: signal.convolve2d(a + b, KERNEL)[1:4, 2]  # noqa: E731
    else:
        plain = lambda a, b: np.sort(refused(a, b))[:: -1 if "Svd" in told else 1]  # noqa: E731
    ends = [number(plain, *(A + h * C)) for h in (1e-5, -1e-5)]
    with np.errstate(all="ignore"):  # each value is there twice, and only vectors would notice
        slopes = tl.grad(lambda a, b: number(instead, a, b), (0, 1))(*A)
    assert sum((g.numpy() * c).sum() for g, c in zip(slopes, C, strict=True)) == pytest.approx(
        (ends[0] - ends[1]) / 2e-5, rel=1e-6
    )
