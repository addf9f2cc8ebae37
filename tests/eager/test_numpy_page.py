"""docs/numpy.md: which of NumPy's functions there are for tensors, and with the same parameters, read off both.

python tests/eager/test_numpy_page.py     writes the page anew
"""

import inspect
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.eager.functions import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "numpy.md"
MODULES = {"np": np, "np.linalg": np.linalg, "np.fft": np.fft}
MEMORY = {  # parameters that say where and how a result lies, not what it is
    "out", "order", "subok", "casting", "copy", "like", "device", "overwrite_input", "signature", "kwargs",
}  # fmt: skip
WITHOUT = {  # functions that have no derivative, and why
    "makes an array of sizes, types or files": """
        arange array asanyarray asarray asarray_chkfinite ascontiguousarray asfortranarray asmatrix bartlett blackman bmat
        empty empty_like eye frombuffer fromfile fromfunction fromiter fromregex fromstring from_dlpack full genfromtxt
        hamming hanning identity indices load loadtxt ones ones_like tri zeros zeros_like fft.fftfreq fft.rfftfreq""",
    "gives indices, counts, truth values or a type": """
        all allclose any argmax argmin argpartition argsort argwhere array_equal array_equiv broadcast_shapes
        can_cast common_type count_nonzero diag_indices diag_indices_from digitize einsum_path equal flatnonzero greater
        greater_equal histogram histogram2d histogram_bin_edges histogramdd in1d isclose iscomplex iscomplexobj isdtype
        isfinite isfortran isin isinf isnan isnat isneginf isposinf isreal isrealobj isscalar issubdtype iterable ix_ less
        less_equal lexsort logical_and logical_not logical_or logical_xor mask_indices may_share_memory min_scalar_type
        mintypecode nanargmax nanargmin ndim nonzero not_equal promote_types ravel_multi_index result_type searchsorted shape
        shares_memory signbit size tril_indices tril_indices_from triu_indices triu_indices_from typename unravel_index
        linalg.matrix_rank""",
    "is constant between jumps": """
        around ceil fix floor floor_divide heaviside nextafter rint round sign spacing trunc""",
    "is of integers, dates or bits": """
        bitwise_and bitwise_count bitwise_invert bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
        busday_count busday_offset datetime_as_string datetime_data gcd invert is_busday lcm left_shift packbits right_shift
        unpackbits""",
    "works on sets": """
        setxor1d unique_all unique_counts unique_inverse unique_values""",
    "changes an array in place; here `x.at[i].set(value)` gives another": """
        copyto fill_diagonal place put put_along_axis putmask""",
    "writes, prints or sets something": """
        array2string array_repr array_str base_repr binary_repr format_float_positional format_float_scientific
        frompyfunc get_include get_printoptions getbufsize geterr geterrcall info nested_iters printoptions require save savetxt
        savez savez_compressed set_printoptions setbufsize seterr seterrcall show_config show_runtime test linalg.test
        fft.test""",
}
MISSING = {  # functions that have a derivative and are not here
    "kaiser": "a window with a derivative by `beta`: with `n = np.linspace(-1, 1, M)` it is `tl.i0(beta * np.sqrt(1 - n * n)) / tl.i0(beta)`",
    "roots": "roots are complex numbers of real coefficients, and leaves are real",
    "sort_complex": "an order of complex numbers",
    "linalg.eig": "eigenvalues of a real matrix are complex in general; `eigh` is for symmetric ones",
    "linalg.eigvals": "eigenvalues of a real matrix are complex in general; `eigvalsh` is for symmetric ones",
}
HEAD = """# NumPy's functions on tensors

`np.sin(x)` of a tensor and `tl.sin(x)` are the same, so are `np.linalg.inv(x)` and `tl.linalg.inv(x)`. This page says which
functions of NumPy that have a derivative are here, and with which parameters. Parameters that say where a result lies
({memory}) do not count; `out` may only be None. Written by `python tests/eager/test_numpy_page.py`.

{here} of {all} are here, {same} with the same parameters.

Not here:

{missing}

Here with other parameters:

{other}

Left out, for they have no derivative (many of them work all the same):

{without}

Coming from HIPS autograd: `import tinygrad_lesson as tl` and `import tinygrad_lesson.numpy as np`, and for

| autograd | here |
|---|---|
{autograd}

| here | parameters |
|---|---|
"""
AUTOGRAD = {
    "grad(f, argnum)": "tl.grad(f, argnum)",
    "grad_and_aux(f)": "tl.grad(f, has_aux=True)",
    "value_and_grad(f)": "tl.value_and_grad(f)",
    "elementwise_grad(f)(x)": "tl.grad(lambda x: f(x).sum())(x)",
    "deriv(f)(x)": "tl.jvp(f, [x], [np.ones(x.shape)])[1]",
    "jacobian(f)": "tl.jacobian(f)",
    "hessian(f)": "tl.hessian(f)",
    "hessian_vector_product(f)(x, v)": "tl.hvp(f, x, v)",
    "make_vjp(f)(x)": "tl.vjp(f, x)",
    "make_jvp(f)(x)(v)": "tl.jvp(f, [x], [v])",
    "checkpoint(f)": "tl.checkpoint(f)",
    "primitive(f), defvjp(f, rule)": "tl.custom_vjp(f), f.defvjp(forward, backward)",
    "autograd.scipy.special.gammaln(x)": "tl.gammaln(x)",
    "autograd.test_util.check_grads(f)(x)": "tl.check.gradients(f, x)",
}


def functions():
    """NumPy's public functions by name: "sum", "linalg.inv"."""
    found = {}
    for module, members in MODULES.items():
        for name in dir(members):
            f = getattr(members, name)
            if not name.startswith("_") and callable(f) and not isinstance(f, type):
                found[f"{module}.{name}".removeprefix("np.")] = f
    return found


def reason(name):
    """Why a function has no derivative; None if it has one."""
    return next((why for why, names in WITHOUT.items() if name in names.split()), None)


def parameters(f):
    """The parameters that say what a result is, with their defaults; of an elementwise function how many inputs it has."""
    if isinstance(f, np.ufunc):
        return f.nin
    try:
        listed = inspect.signature(f).parameters.values()
    except ValueError:
        return None
    return {p.name: p for p in listed if p.name not in MEMORY and p.kind is not p.VAR_KEYWORD}


def differences(numpys, ours):
    """What another signature lacks, or has in another way, in words; an empty list if nothing."""
    theirs, own = parameters(numpys), parameters(ours)
    if isinstance(theirs, int):
        op = getattr(ours, "op", None)
        count = len(op.inputs) if op else len([p for p in own.values() if p.default is p.empty])
        return [] if count == theirs else [f"{count} inputs instead of {theirs}"]
    if theirs is None:
        return []  # NumPy does not tell; the tests call it in its documented ways
    wrong = []
    order = [n for n, p in own.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    expected = [n for n, p in theirs.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    for name, p in theirs.items():
        if name not in own:
            wrong.append(f"no `{name}`")
        elif name in expected and (name not in order or order.index(name) != expected.index(name)):
            wrong.append(f"`{name}` at another place")
        elif type(p.default).__name__ != "_NoValueType" and not same(p.default, own[name].default):
            wrong.append(f"`{name}` is {own[name].default!r} by default")
    return wrong


def same(a, b):
    return a is b or (type(a) is type(b) and a == b)


def rows():
    """For each function of NumPy with a derivative what is different here; None if it is not here."""
    named = {name: f for name, f in functions().items() if reason(name) is None}
    return {
        name: differences(f, TABLE[f"np.{name}"]) if f"np.{name}" in TABLE else None
        for name, f in named.items()
    }


def named(f):
    """The names of the parameters of ours."""
    return f.op.inputs if hasattr(f, "op") else parameters(f)


def listed(lines):
    return "\n".join(lines) or "none"


def page():
    found = rows()
    here = {name: wrong for name, wrong in found.items() if wrong is not None}
    missing = [f"- `np.{name}`: {MISSING[name]}" for name, wrong in found.items() if wrong is None]
    other = [f"- `np.{name}`: {', '.join(wrong)}" for name, wrong in here.items() if wrong]
    without = [f"- {why}: {' '.join(names.split())}" for why, names in WITHOUT.items()]
    text = HEAD.format(
        memory=", ".join(sorted(MEMORY)), here=len(here), all=len(found), missing=listed(missing), other=listed(other),
        same=len(here) - len(other), without=listed(without),
        autograd=listed([f"| `{theirs}` | `{ours}` |" for theirs, ours in AUTOGRAD.items()]),
    )  # fmt: skip
    lines = [f"| `np.{name}` | {', '.join(named(TABLE[f'np.{name}']))} |" for name in here]
    return text + "\n".join(lines) + "\n"


@pytest.mark.skipif(
    not np.__version__.startswith("2.4."), reason="another NumPy has other functions and parameters"
)
def test_the_page_is_what_the_functions_say():
    assert PAGE.read_text() == page()


def test_of_a_hundred_functions_that_have_a_derivative_97_are_here_with_the_same_parameters():
    found = rows()
    assert sum(wrong == [] for wrong in found.values()) >= 0.97 * len(found)
    assert {name for name, wrong in found.items() if wrong is None} <= set(MISSING)


def test_what_stands_beside_autograds_names_gives_derivatives():
    x, v = np.array([0.3, 1.2]), np.array([1.0, -2.0])
    known = {"tl": tl, "np": np, "argnum": 0, "x": x, "v": v, "f": tl.sin}

    def told(name):
        return eval(AUTOGRAD[name], known)

    np.testing.assert_allclose(told("elementwise_grad(f)(x)").numpy(), np.cos(x))
    np.testing.assert_allclose(told("deriv(f)(x)").numpy(), np.cos(x))
    np.testing.assert_allclose(told("jacobian(f)")(x).numpy(), np.diag(np.cos(x)))
    np.testing.assert_allclose(told("make_jvp(f)(x)(v)")[1].numpy(), np.cos(x) * v)
    np.testing.assert_allclose(told("make_vjp(f)(x)")[1](v)[0].numpy(), np.cos(x) * v)
    np.testing.assert_allclose(told("autograd.scipy.special.gammaln(x)").numpy(), [math.lgamma(a) for a in x])
    known["f"] = lambda x: tl.sin(x).sum()
    np.testing.assert_allclose(told("grad(f, argnum)")(x).numpy(), np.cos(x))
    np.testing.assert_allclose(told("value_and_grad(f)")(x)[1].numpy(), np.cos(x))
    np.testing.assert_allclose(told("hessian(f)")(x).numpy(), -np.diag(np.sin(x)))
    np.testing.assert_allclose(told("hessian_vector_product(f)(x, v)").numpy(), -np.sin(x) * v)
    np.testing.assert_allclose(tl.grad(told("checkpoint(f)"))(x).numpy(), np.cos(x))
    assert told("autograd.test_util.check_grads(f)(x)")
    known["f"] = lambda x: (tl.sin(x).sum(), "more")
    assert told("grad_and_aux(f)")(x)[1] == "more"


def test_a_difference_is_seen():
    assert differences(np.roll, lambda a, shift: a) == ["no `axis`"]
    assert differences(np.roll, lambda a, axis, shift: a) == [
        "`shift` at another place",
        "`axis` at another place",
    ]
    assert differences(np.roll, lambda a, shift, axis=0: a) == ["`axis` is 0 by default"]
    assert differences(np.sin, lambda a, b: a) == ["2 inputs instead of 1"]


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(page().partition("\n|")[0])
