"""Methods and names that users of NumPy and PyTorch type, each a line over what there is."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.arrays import MODULES, Context, cpu, gpu, held, module_of, on_host, require_device
from tinygrad_lesson.eager.apply import TENSORS as F
from tinygrad_lesson.eager.functions import NAMES, TABLE
from tinygrad_lesson.eager.functions.table import known, known_if_shared
from tinygrad_lesson.eager.given import devices
from tinygrad_lesson.eager.operators import in_place
from tinygrad_lesson.eager.pytorch import DATA, PYTORCH, RANDOM, UNLIKE, norm, size
from tinygrad_lesson.eager.tensor import Spellings, Tensor, wrap
from tinygrad_lesson.engine.shapes import normalize_axis, size_of

METHODS: dict[str, Callable[..., Any]] = {  # PyTorch's name, and NumPy's where it has one: what it does
    "clone": lambda x: F.identity(x),
    "copy": lambda x, order="C": F.identity(x),
    "contiguous": lambda x: x,
    "cpu": lambda x: x,
    "cuda": lambda x, device=0: to(x, gpu(device)),
    "pin_memory": lambda x: x,
    "detach_": lambda x: x.requires_grad_(False),
    "type": lambda x, dtype=None: str(x.dtype) if dtype is None else x.astype(dtype),
    "view": lambda x, *shape: x.reshape(*shape),
    "unsqueeze": lambda x, dim: F.expand_dims(x, dim),
    "permute": lambda x, *dims: x.transpose(*dims),
    "expand": lambda x, *sizes: expanded(x, listed(sizes)),
    "unbind": lambda x, dim=0: tuple(NAMES["moveaxis"](x, dim, 0)),
    "chunk": lambda x, chunks, dim=0: tuple(NAMES["split"](x, chunked(x.shape[dim], chunks), dim)),
    "narrow": lambda x, dim, start, length: NAMES["take"](x, np.arange(start, start + length), dim),
    "index_select": lambda x, dim, index: NAMES["take"](x, known(index), dim),
    "gather": lambda x, dim, index: NAMES["take_along_axis"](x, known_if_shared(index), dim),
    "masked_fill": lambda x, mask, value: F.where(mask, value, x),
    "masked_select": lambda x, mask: x[mask],
    "roll": lambda x, shifts, dims=None: NAMES["roll"](x, shifts, dims),
    "ptp": lambda x, axis=None, keepdims=False: NAMES["ptp"](x, axis, keepdims=keepdims),
    "clamp": lambda x, min=None, max=None: NAMES["clip"](x, min, max),
    "clamp_max": lambda x, max: NAMES["clip"](x, None, max),
    "clamp_min": lambda x, min: NAMES["clip"](x, min, None),
    "pow": lambda x, exponent: x**exponent,
    "neg": lambda x: -x,
    "sub": lambda x, other, *, alpha=1: x - (other if alpha == 1 else alpha * other),
    "mul": lambda x, other: x * other,
    "mm": lambda x, other: x @ other,
    "bmm": lambda x, other: x @ other,
    "mv": lambda x, vector: x @ vector,
    "ger": lambda x, other: NAMES["outer"](x, other),
    "adjoint": lambda x: NAMES["conj"](F.swapaxes(x, -1, -2)),
    "inverse": lambda x: TABLE["np.linalg.inv"](x),
    "pinverse": lambda x: TABLE["np.linalg.pinv"](x),
    "logdet": lambda x: F.log(TABLE["np.linalg.det"](x)),
    "matrix_power": lambda x, n: TABLE["np.linalg.matrix_power"](x, n),
    "matrix_exp": lambda x: NAMES["expm"](x),
    "lgamma": lambda x: F.gammaln(x),
    "lerp": lambda x, end, weight: x + weight * (end - x),
    "frac": lambda x: x - F.trunc(x),
    "sgn": lambda x: F.sign(x),
    "expand_as": lambda x, other: F.broadcast_to(x, shape=other.shape),
    "view_as": lambda x, other: x.reshape(other.shape),
    "reshape_as": lambda x, other: x.reshape(other.shape),
    "type_as": lambda x, other: x.astype(other.dtype),
    "select": lambda x, dim, index: NAMES["take"](x, index, dim),
    "movedim": lambda x, source, destination: NAMES["moveaxis"](x, source, destination),
    "swapdims": lambda x, dim0, dim1: F.swapaxes(x, dim0, dim1),
    "repeat_interleave": lambda x, repeats, dim=None: NAMES["repeat"](x, repeats, dim),
    "take_along_dim": lambda x, indices, dim=None: NAMES["take_along_axis"](x, known_if_shared(indices), dim),
    "tensor_split": lambda x, sections, dim=0: tuple(NAMES["array_split"](x, sections, dim)),
    "unflatten": lambda x, dim, sizes: x.reshape((*x.shape[:dim], *sizes, *(x.shape[dim:][1:]))),
    "new_zeros": lambda x, *size: NAMES["zeros"](listed(size), x.dtype),
    "new_ones": lambda x, *size: NAMES["ones"](listed(size), x.dtype),
    "new_full": lambda x, size, fill_value: NAMES["full"](size, fill_value, x.dtype),
    "new_tensor": lambda x, data: NAMES["array"](data, x.dtype),
    "topk": lambda x, k, dim=-1, largest=True: F.top_k(x, k=k, axis=dim, ascending=not largest),
    "dist": lambda x, other, p=2: TABLE["np.linalg.norm"]((x - other).ravel(), p),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0: NAMES["clip"](x, min_val, max_val),
    "t": lambda x: x.T,
    "eq": lambda x, other: F.equal(x, other),
    "ne": lambda x, other: F.not_equal(x, other),
    "gt": lambda x, other: F.greater(x, other),
    "ge": lambda x, other: F.greater_equal(x, other),
    "lt": lambda x, other: F.less(x, other),
    "le": lambda x, other: F.less_equal(x, other),
    "dim": lambda x: x.ndim,
    "ndimension": lambda x: x.ndim,
    "numel": lambda x: x.size,
    "element_size": lambda x: x.itemsize,
    "is_contiguous": lambda x: bool(held(x.array).flags.c_contiguous),
    "is_floating_point": lambda x: x.dtype.kind == "f",
    "is_complex": lambda x: x.dtype.kind == "c",
    "is_signed": lambda x: x.dtype.kind not in "bu",
    "nelement": lambda x: x.size,
    "tobytes": lambda x, order="C": on_host(x.seen("x.tobytes()")).tobytes(order),
    "allclose": lambda x, other, rtol=1e-05, atol=1e-08, equal_nan=False: np.allclose(
        x, other, rtol, atol, equal_nan
    ),
    "isclose": lambda x, other, rtol=1e-05, atol=1e-08, equal_nan=False: np.isclose(
        x, other, rtol, atol, equal_nan
    ),
    "argwhere": lambda x: np.argwhere(x),
    "count_nonzero": lambda x, axis=None: np.count_nonzero(x, axis),
    "unique": lambda x, **named: np.unique(x, **named),
    "__trunc__": lambda x: int(x.one("int(x)")),
    "__complex__": lambda x: complex(x.one("float(x) or complex(x)")),
    "__rdivmod__": lambda x, other: (other // x, other % x),
    "__lshift__": lambda x, bits: wrap(np.left_shift(known(x), known(bits))),
    "__rshift__": lambda x, bits: wrap(np.right_shift(known(x), known(bits))),
    "__rlshift__": lambda x, other: wrap(np.left_shift(known(other), known(x))),
    "__rrshift__": lambda x, other: wrap(np.right_shift(known(other), known(x))),
    "tolist": lambda x: on_host(x.seen("x.tolist()")).tolist(),
    "__bytes__": lambda x: x.tobytes(),
    "__round__": lambda x, digits=0: NAMES["round"](x, digits),
    "__and__": lambda x, other: NAMES["bitwise_and"](x, other),
    "__or__": lambda x, other: NAMES["bitwise_or"](x, other),
    "__xor__": lambda x, other: NAMES["bitwise_xor"](x, other),
    "__rand__": lambda x, other: NAMES["bitwise_and"](other, x),
    "__ror__": lambda x, other: NAMES["bitwise_or"](other, x),
    "__rxor__": lambda x, other: NAMES["bitwise_xor"](other, x),
    "__invert__": lambda x: NAMES["invert"](x),
    "__contains__": lambda x, item: bool(np.any(held(x.array) == known(item))),
}
TYPES = {
    "float": "float32", "double": "float64", "half": "float16", "int": "int32", "long": "int64",
    "short": "int16", "bool": "bool", "byte": "uint8", "char": "int8", "cfloat": "complex64", "cdouble": "complex128",
}  # fmt: skip
FIELDS: dict[str, Callable[[Any], Any]] = {  # what an array tells of itself
    "nbytes": lambda x: held(x.array).nbytes,
    "itemsize": lambda x: x.dtype.itemsize,
    "strides": lambda x: held(x.array).strides,
    "device": lambda x: devices().device_of(x.array) if MODULES else cpu(),
    "is_leaf": lambda x: x.node is None or x.node.is_variable,
    "H": lambda x: NAMES["conj"](x.T),
    "mH": lambda x: x.adjoint(),
    "flat": lambda x: NAMES["ravel"](x),
    "flags": lambda x: held(x.array).flags,
    "grad_fn": lambda x: None if x.node is None or x.node.is_variable else x.node.op,
    "retains_grad": lambda x: x.node is not None and x.node.is_variable,
}
TOO = """
    absolute acos acosh amax amin angle array_split asin asinh atan atan2 atanh bincount bitwise_and bitwise_not
    bitwise_or bitwise_xor corrcoef cov deg2rad diagflat diff dsplit fix fliplr flipud float_power frexp hsplit inner
    kron ldexp moveaxis nanmean nanquantile nansum outer positive quantile rad2deg rot90 sinc tril triu true_divide
    vdot vsplit
"""  # functions that PyTorch has as methods
IN_PLACE = """
    abs_ add_ ceil_ clamp_ clip_ cos_ div_ exp_ floor_ index_add_ index_put_ lerp_ log_ masked_fill_ mul_ neg_ pow_
    reciprocal_ relu_ round_ rsqrt_ scatter_ scatter_add_ sigmoid_ sign_ sin_ sqrt_ square_ sub_ tanh_
"""  # of PyTorch's; with all of them Python would suggest no name for a misspelt one, which it does among 750
FILLED: dict[str, Callable[..., Any]] = {
    "zero_": lambda x: NAMES["zeros_like"](x),
    "fill_": lambda x, value: NAMES["full_like"](x, value),
    "copy_": lambda x, other: F.broadcast_to(other, shape=x.shape),
    **RANDOM,
}
NEVER = "is_cuda is_meta is_mkldnn is_mps is_quantized is_sparse is_xpu"  # what no tensor is
WORDS = {"dim": "axis", "dims": "axis", "keepdim": "keepdims", "p": "ord", "steps": "num"}
ITS_OWN = {"dim", "keepdim", "unbiased", "correction"}  # words that NumPy's functions do not have
ALIKE = (
    "all", "any", "argmax", "argmin", "argsort", "cumprod", "cumsum", "flip", "log_softmax", "logsumexp", "mean",
    "norm", "prod", "softmax", "squeeze", "sum", "amax", "amin", "diff", "nanmean", "nansum", "quantile",
    "nanquantile",
)  # fmt: skip
ELSEWHERE = {  # what other libraries have and is not done here: what to write
    "itemset": "x.at[i].set(y), which gives a new tensor",
    "numpy_": "x.numpy()",
    "partition": "tl.partition(x, k)",
}
ELSEWHERE |= {
    name: instead
    for instead, names in {
        "np.median(x, axis), the mean of the two in the middle, where PyTorch takes the lower one": "median nanmedian",
        "x.sort(dim=-1), which gives values and places": "kthvalue",
        "tl.cummax(x, axis) for the values": "cummax cummin",
        "np.unique(x.detach(), return_counts=True)": "mode",
        "x + (a @ b).sum(0)": "addbmm",
        "f(x), or tl.vmap(f)(x) for a function of its parts": "apply_ map_ map2_",
        "x.reshape(shape), which may not change": "squeeze_ t_ transpose_ unsqueeze_ swapaxes_",
        "x.at[i].add(y), x.at[i].set(y) or np.put_along_axis of arrays": """
            scatter_reduce index_copy index_copy_ index_fill_ masked_scatter_ select_scatter slice_scatter
            diagonal_scatter put_""",
        "tl.random, as in tl.random.uniform(0, 1, size=x.shape)": """
            random_ multinomial cauchy_ geometric_ log_normal_""",
        "x.numpy(), an array of NumPy's that has it": """
            base byteswap ctypes dump dumps getfield setfield setflags tofile storage untyped_storage data_ptr
            storage_offset storage_type histc histogram unique_consecutive""",
        "np.resize(x, shape), or x.reshape(shape)": "resize resize_ resize_as_",
        "tl.log(tl.cumsum(tl.exp(x), axis)), less x.max() inside": "logcumsumexp",
        "x.to(device)": "to_device get_device share_memory_",
        "x itself: all tensors are dense": "layout to_sparse to_dense coalesce indices values sparse_mask",
        "np.split(x, places, axis), with the places where parts begin": "split_with_sizes unsafe_split",
        "x[..., i : i + n] for each i, and tl.stack": "as_strided",
        "np.cross(x, y, axis=-1)": "cross",
    }.items()
    for name in names.split()
}


class Elsewhere:
    """A name that other libraries have: whoever looks for it is told what there is here."""

    __slots__ = ("instead", "what")

    def __init__(self, what: str, instead: str) -> None:
        self.what, self.instead = what, instead

    def __get__(self, tensor: Any, owner: Any) -> Any:
        raise AttributeError(f"a Tensor has no {self.what}; try {self.instead}")


def listed(sizes: Sequence[Any]) -> Sequence[Any]:
    """Sizes that were given one by one, or as one sequence."""
    return sizes[0] if len(sizes) == 1 and isinstance(sizes[0], list | tuple) else sizes


def expanded(x: Tensor, sizes: Sequence[int]) -> Any:
    """`x` repeated along axes of size 1; -1 keeps a size."""
    own = (1,) * (len(sizes) - x.ndim) + x.shape
    return F.broadcast_to(x, shape=tuple(m if n == -1 else n for n, m in zip(sizes, own, strict=True)))


def chunked(size: int, chunks: int) -> list[int]:
    """Where `chunks` equal parts end, of which the last may be shorter."""
    part = -(-size // chunks)
    return list(range(part, size, part))


def flatten(x: Tensor, start_dim: Any = 0, end_dim: int = -1, *, order: str = "C") -> Any:
    """The elements as one vector, row by row; with order "F", as NumPy has it, column by column.

    As in PyTorch, with axes named only those from `start_dim` to `end_dim` become one.
    """
    if isinstance(start_dim, str):
        start_dim, order = 0, start_dim
    if order != "C" or not x.ndim:
        return NAMES["ravel"](x, order)
    first, last = normalize_axis(start_dim, x.ndim), normalize_axis(end_dim, x.ndim) + 1
    return F.reshape(x, shape=(*x.shape[:first], size_of(x.shape[first:last]), *x.shape[last:]))


def to(x: Tensor, target: Any = None, *, dtype: Any = None, device: Any = None) -> Any:
    """The same elements on a device, or in another element type, whichever `target` names.

    Errors
        DeviceError for a device that is not there.
    """
    if isinstance(target, Tensor):
        target = target.dtype
    if isinstance(target, str) and target.partition(":")[0] in ("cpu", "gpu", "cuda"):
        target = Context.parse(target.replace("cuda", "gpu"))
    place = target if isinstance(target, Context) else device
    if place is not None:
        require_device(place)
        if MODULES:
            x = importlib.import_module("tinygrad_lesson.eager.moving").to_device(x, place)
        target = None if target is place else target
    wanted = target if dtype is None else dtype
    return x if wanted is None else x.astype(wanted)


def zero_grad(x: Tensor, set_to_none: bool = True) -> None:
    """Forget the gradient, so that the next `backward` does not add to it."""
    x.grad = None if set_to_none or x.grad is None else wrap(module_of(x.grad.array).zeros_like(x.grad.array))


def in_words_of_torch(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method that takes `dim` and `keepdim` for `axis` and `keepdims`, and is PyTorch's where that differs."""

    @functools.wraps(method)
    def spelled(x: Any, *inputs: Any, **named: Any) -> Any:
        if name in UNLIKE and not ITS_OWN.isdisjoint(named):
            return UNLIKE[name](x, *inputs, **named)
        if not WORDS.keys().isdisjoint(named):
            named = {WORDS.get(key, key): value for key, value in named.items()}
        return method(x, *inputs, **named)

    return spelled


def dlpack(x: Tensor, **named: Any) -> Any:
    """The elements for another library, in the same memory: DLPack's protocol."""
    return held(x.seen("x.__dlpack__(), which from_dlpack calls")).__dlpack__(**named)


METHODS |= PYTORCH
METHODS |= {name: lambda x, dtype=dtype: x.astype(dtype) for name, dtype in TYPES.items()}
METHODS |= {
    "to": to,
    "zero_grad": zero_grad,
    "__dlpack__": dlpack,
    "__dlpack_device__": lambda x: held(x.array).__dlpack_device__(),
}
for _name, _method in METHODS.items():
    setattr(Spellings, _name, _method)
for _name, _field in FIELDS.items():
    setattr(Spellings, _name, property(_field))
setattr(Spellings, "data", DATA)  # noqa: B010
for _name in TOO.split():
    setattr(Spellings, _name, NAMES[_name])
for _name in NEVER.split():
    setattr(Spellings, _name, False)
Tensor.qr = TABLE["np.linalg.qr"]  # type: ignore[attr-defined]  # of wide matrices, too
Tensor.norm, Tensor.size = norm, property(size, doc=size.__doc__)  # type: ignore[attr-defined,assignment]
Tensor.add = lambda x, other, *, alpha=1: x + (other if alpha == 1 else alpha * other)  # type: ignore[attr-defined]
for _name in IN_PLACE.split():
    setattr(Spellings, _name, in_place(_name, getattr(Tensor, _name.removesuffix("_"))))
for _name, _method in FILLED.items():
    setattr(Spellings, _name, in_place(_name, _method, "x = x.at[...].set(y)"))
for _name, _instead in ELSEWHERE.items():
    if _name not in METHODS:
        setattr(Spellings, _name, Elsewhere(repr(_name), _instead))
for _name in (*ALIKE, *UNLIKE):
    setattr(Tensor, _name, in_words_of_torch(_name, getattr(Tensor, _name)))

Tensor.flatten = flatten  # type: ignore[attr-defined]

CONSTANTS: dict[str, Any] = {  # NumPy's element types and numbers, under its names
    name: getattr(np, name)
    for name in (
        "bool_", "complex128", "complex64", "e", "euler_gamma", "finfo", "float16", "float32", "float64", "iinfo",
        "inf", "int16", "int32", "int64", "int8", "nan", "newaxis", "pi", "uint16", "uint32", "uint64", "uint8",
    )
}  # fmt: skip
