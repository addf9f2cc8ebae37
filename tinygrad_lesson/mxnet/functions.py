"""Functions of symbols that are no single operator."""

from __future__ import annotations

import importlib
import inspect
import math
import operator
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tinygrad_lesson.engine.errors import AttributeValueError, DTypeError, GraphError, near
from tinygrad_lesson.engine.graph import Edge, Label, Node
from tinygrad_lesson.files import as_path, plain, read_text
from tinygrad_lesson.mxnet import serial
from tinygrad_lesson.mxnet.asked import as_dtype, as_sizes
from tinygrad_lesson.mxnet.creating import DRAWN
from tinygrad_lesson.mxnet.naming import NameManager, is_wrapped, scoped
from tinygrad_lesson.mxnet.register import DTYPE_CODES, OPERATORS, as_factor, as_text, offered, offered_names
from tinygrad_lesson.mxnet.spelled import is_number
from tinygrad_lesson.mxnet.symbol import Symbol, apply, binary


def variable(
    name: str,
    attr: Mapping[str, str] | None = None,
    shape: Any = None,
    lr_mult: float | None = None,
    wd_mult: float | None = None,
    dtype: Any = None,
    init: Any = None,
    stype: str | None = None,
    **more: str,
) -> Symbol:
    """A named leaf, to be given a value when bound.

    `attr` and further keywords of the form `__name__` are texts that stay with it, in files too. Optimizers heed
    `lr_mult` and `wd_mult`, initializers `init`, shape and type inference `shape` and `dtype`. `stype` may be
    ``"default"`` alone: arrays hold all of their elements here.

    Errors
        AttributeValueError for a keyword of another form, ShapeError, DTypeError for values that say nothing.
    """
    if not isinstance(name, str):
        raise DTypeError(f"Variable: the name must be a string, not {name!r}")
    if not name:
        raise AttributeValueError("Variable: the name must not be empty")
    where = f"Variable {name!r}"
    for key in more:
        if not is_wrapped(key):
            known = ("attr", "shape", "lr_mult", "wd_mult", "dtype", "init", "stype")
            own = f"own ones look like __{key.strip('_')}__"
            raise AttributeValueError(f"{where}: unknown attribute {key!r}; {own}; {near(key, known)}")
    attributes = scoped(attr, {key: as_text(value) for key, value in more.items()}, where)
    values: dict[str, Any] = {"lr_mult": lr_mult, "wd_mult": wd_mult}
    if shape is not None:
        values["shape"] = as_sizes(shape, f"{where}: shape")
    if dtype is not None:
        code = as_dtype(dtype, f"{where}: dtype").name
        if code not in DTYPE_CODES:
            raise DTypeError(f"{where}: dtype is {code}, expected one of {', '.join(DTYPE_CODES)}")
        values["dtype"] = DTYPE_CODES.index(code)
    if stype not in (None, "default"):
        raise DTypeError(f"{where}: storage {stype!r} is not here: arrays hold all of their elements")
    values["storage_type"] = None if stype is None else 0
    if not isinstance(init, str | None) and not callable(getattr(init, "dumps", None)):
        raise DTypeError(f"{where}: init is {init!r}, expected an initializer or its name")
    values["init"] = init if isinstance(init, str | None) else init.dumps()
    attributes.update({f"__{key}__": str(value) for key, value in values.items() if value is not None})
    for key in ("lr_mult", "wd_mult"):
        as_factor(attributes.get(f"__{key}__", "1"), f"{where}: {key}")
    return Symbol([Edge(Node(None, label=Label(name, attributes=attributes)))])


Variable = var = variable


def group(symbols: Sequence[Symbol]) -> Symbol:
    """One symbol with the outputs of several.

    Errors
        GraphError for an empty list; DTypeError for what is no symbol.
    """
    if isinstance(symbols, Symbol | str) or not isinstance(symbols, Iterable):
        raise DTypeError(f"Group: {symbols!r} is no list of symbols")
    symbols = list(symbols)
    if not symbols:
        raise GraphError("Group: the list of symbols is empty")
    for symbol in symbols:
        if not isinstance(symbol, Symbol):
            raise DTypeError(f"Group: {symbol!r} is no Symbol")
    return Symbol([edge for symbol in symbols for edge in symbol.heads])


Group = group


def load_json(json_str: str, where: str = "the JSON text") -> Symbol:
    """The symbol that `Symbol.tojson` or MXNet wrote.

    Errors
        FormatError naming the node that is wrong, and `where` it is.
    """
    return Symbol(serial.from_json(json_str, where))


def load(fname: str | os.PathLike[str]) -> Symbol:
    """The symbol in a JSON file.

    Errors
        FileError if the file cannot be read; FormatError naming the node that is wrong.
    """
    return load_json(read_text(fname), plain(as_path(fname)))


def of_two(mxnet_op: str, a: Any, b: Any) -> Any:
    """An operator of two symbols, of a symbol and a number, or of two numbers, which gives a number."""
    return OF_NUMBERS[mxnet_op](a, b) if is_number(a) and is_number(b) else binary(mxnet_op, a, b)


OF_NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "_Maximum": max, "_Minimum": min, "_Power": operator.pow, "_Hypot": math.hypot,
}  # fmt: skip


def maximum(left: Any, right: Any) -> Any:
    """The larger of two symbols, or of a symbol and a number."""
    return of_two("_Maximum", left, right)


def minimum(left: Any, right: Any) -> Any:
    """The smaller of two symbols, or of a symbol and a number."""
    return of_two("_Minimum", left, right)


def pow(base: Any, exp: Any) -> Any:
    """`base` to the power `exp`; one of them may be a number."""
    return of_two("_Power", base, exp)


power = pow


def hypot(left: Any, right: Any) -> Any:
    """The length of vectors of two components; one of them may be a number."""
    return of_two("_Hypot", left, right)


def zeros(shape: Any, dtype: str | None = None, **more: Any) -> Symbol:
    """An array of zeros."""
    return apply("_zeros", shape=as_shape(shape), dtype=dtype or "float32", **more)


def ones(shape: Any, dtype: str | None = None, **more: Any) -> Symbol:
    """An array of ones."""
    return apply("_ones", shape=as_shape(shape), dtype=dtype or "float32", **more)


def full(shape: Any, val: float, dtype: str | None = None, **more: Any) -> Symbol:
    """An array of one number."""
    return apply("_full", shape=as_shape(shape), value=float(val), dtype=dtype or "float32", **more)


def eye(N: int, M: int = 0, k: int = 0, dtype: str | None = None, **more: Any) -> Symbol:
    """A matrix of zeros with ones on diagonal `k`."""
    return apply("_eye", N=N, M=M, k=k, dtype=dtype or "float32", **more)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1.0,
    repeat: int = 1,
    infer_range: bool = False,
    name: str | None = None,
    dtype: str | None = None,
    **more: Any,
) -> Symbol:
    """Numbers from `start` up to `stop`, `step` apart, each `repeat` times; `infer_range`: as many as are asked for."""
    found: dict[str, Any] = {"start": start, "stop": stop, "step": step, "repeat": repeat}
    return apply("_arange", **found, infer_range=infer_range, name=name, dtype=dtype or "float32", **more)


def linspace(
    start: float,
    stop: float,
    num: int,
    endpoint: bool = True,
    name: str | None = None,
    dtype: str | None = None,
    **more: Any,
) -> Symbol:
    """`num` numbers from `start` to `stop`."""
    found: dict[str, Any] = {"start": start, "stop": stop, "num": num, "endpoint": endpoint}
    return apply("_linspace", **found, name=name, dtype=dtype or "float32", **more)


def cuts(indices_or_sections: Any) -> dict[str, Any]:
    """How `_split_v2` is told where to cut: so many equal parts, or at these places, of which MXNet's first is 0."""
    if isinstance(indices_or_sections, int):
        return {"indices": (), "sections": indices_or_sections}
    return {"indices": (0, *map(int, indices_or_sections))}


def split_v2(ary: Symbol, indices_or_sections: Any, axis: int = 0, squeeze_axis: bool = False) -> Symbol:
    """Parts along an axis: so many equal ones, or those between the given places."""
    return apply("_split_v2", ary, axis=axis, squeeze_axis=squeeze_axis, **cuts(indices_or_sections))


def histogram(a: Symbol, bins: Any = 10, range: Any = None) -> Symbol:
    """How many elements fall between the edges, and these: given as `bins`, or that many equal parts of a range."""
    if isinstance(bins, Symbol):
        return apply("_histogram", a, bins)
    return apply("_histogram", a, bin_cnt=bins, range=range)


def as_shape(shape: Any) -> tuple[int, ...]:
    """A shape from a tuple or one size.

    Errors
        DTypeError for anything else.
    """
    if isinstance(shape, Sequence) and all(isinstance(n, int) for n in shape):
        return tuple(shape)
    if isinstance(shape, int):
        return (shape,)
    raise DTypeError(f"shape is {shape!r}, expected a tuple of sizes")


def operator_function(mxnet_op: str, hint: str = "") -> Callable[..., Symbol]:
    """The operator called `mxnet_op` as a function of symbols, whose nodes without a name are called after `hint`.

    Errors
        AttributeError if there is none.
    """
    known = offered(mxnet_op)
    if known is None:
        raise AttributeError(f"there is no operator {mxnet_op!r}; {near(mxnet_op, sorted(offered_names()))}")

    def function(*inputs: Any, name: str | None = None, attr: Any = None, **named: Any) -> Symbol:
        name = NameManager.current().get(name, hint) if hint else name
        return apply(mxnet_op, *inputs, name=name, attr=attr, **named)

    function.__name__ = hint or mxnet_op
    told = importlib.import_module(
        "tinygrad_lesson.mxnet.documented"
    )  # only now, so that the import pays nothing
    function.__doc__ = told.documented(known)
    function.__signature__ = told.signature(known)  # type: ignore[attr-defined]
    return function


class Prefixed:
    """The operators whose names begin alike, without that beginning: `sym.contrib.quadratic`, `sym.linalg.gemm2`."""

    def __init__(self, prefix: str, function: Callable[..., Any] = operator_function) -> None:
        self.prefix, self.function = prefix, function

    def __getattr__(self, name: str) -> Callable[..., Any]:
        made: Callable[..., Any] = self.function(self.prefix + name, name.lower())
        vars(self)[name] = made  # so that it is the same function each time
        return made

    def __dir__(self) -> list[str]:
        return sorted(name.removeprefix(self.prefix) for name in OPERATORS if name.startswith(self.prefix))


class Sampling(Prefixed):
    """What `sym.contrib` and `nd.contrib` have in Python alike."""

    def rand_zipfian(
        self, true_classes: Any, num_sampled: int, range_max: int, ctx: Any = None
    ) -> tuple[Any, Any, Any]:
        """Classes from 0 to below `range_max`, the rare ones last, and how often each class may be expected.

        Class k is drawn with the probability ``log((k + 2) / (k + 1)) / log(range_max + 1)``, `num_sampled` times.

        Shapes
            true_classes any -> (num_sampled,), as true_classes, (num_sampled,)
        """
        whole = math.log(range_max + 1)
        uniform = self.function("_random_uniform", "uniform")
        drawn = (uniform(low=0.0, high=whole, shape=(num_sampled,), dtype="float64").exp() - 1).astype(
            "int64"
        )
        drawn = drawn % range_max

        def expected(classes: Any) -> Any:
            number = classes.astype("float64")
            return ((number + 2) / (number + 1)).log() / whole * num_sampled

        return drawn, expected(true_classes), expected(drawn)


class Random:
    """MXNet's `sym.random` and `nd.random`: a distribution of numbers is drawn once, one of symbols or arrays (`kind`)
    for each of their elements."""

    def __init__(
        self,
        function: Callable[..., Any] = operator_function,
        kind: type[Any] = Symbol,
        get_prob: bool = True,
    ) -> None:
        self.function, self.kind, self.get_prob = function, kind, get_prob

    def __getattr__(self, name: str) -> Callable[..., Any]:
        named = {"randint": "_random_randint", "shuffle": "_shuffle"}
        plain: Callable[..., Any] = self.function(named.get(name, f"_random_{name}"), f"random_{name}")
        if name not in DRAWN and name != "randint":
            return plain
        parameters = tuple(DRAWN.get(name, ("low", "high")))
        known = (*parameters, "shape", "dtype", "ctx", "out")

        def draw(*given: Any, **more: Any) -> Any:
            told = {
                key: v
                for key, v in {**dict(zip(known, given, strict=False)), **more}.items()
                if v is not None
            }
            if any(isinstance(told.get(key), self.kind) for key in parameters):
                inputs = [told.pop(key) for key in parameters]
                return self.function(f"_sample_{name}", f"sample_{name}")(*inputs, **told)
            if told.get("out") is not None:
                told.setdefault("shape", told["out"].shape)
            return plain(**told)

        draw.__name__, draw.__doc__ = name, plain.__doc__
        shown, of_call = inspect.signature(plain).parameters, inspect.Parameter.POSITIONAL_OR_KEYWORD
        draw.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [shown.get(key, inspect.Parameter(key, of_call, default=None)) for key in known]
        )
        return draw

    def exponential(self, scale: Any = 1.0, *given: Any, **more: Any) -> Any:
        """Numbers of the exponential distribution with mean `scale`; or with `lam`, which is 1 over it."""
        draw = self.__getattr__("exponential")
        return draw(*given, **more) if "lam" in more else draw(1 / scale, *given, **more)

    def randn(self, *shape: int, loc: float = 0.0, scale: float = 1.0, **more: Any) -> Any:
        """Normal numbers, in an array whose sizes are given one by one."""
        return self.normal(loc, scale, shape=shape, **more)

    def multinomial(self, data: Any, shape: Any = (), get_prob: bool | None = None, **more: Any) -> Any:
        """Class numbers for each vector of probabilities, and with `get_prob` their logarithms.

        Those come by default from a symbol, not from an array.
        """
        sampled = self.function("_sample_multinomial", "sample_multinomial")
        return sampled(data, shape=shape, get_prob=self.get_prob if get_prob is None else get_prob, **more)

    def __dir__(self) -> list[str]:
        names = [*DRAWN, *(f"{name}_like" for name in DRAWN), "multinomial", "randint", "randn", "shuffle"]
        return sorted({*names, "exponential"})


random = Random()
linalg, image = Prefixed("_linalg_"), Prefixed("_image_")
op = _internal = sparse = Prefixed("")  # all arrays hold all of their elements

__all__ = [
    "Group", "Variable", "arange", "eye", "full", "group", "histogram", "hypot", "image", "linalg",
    "linspace", "load", "load_json", "maximum", "minimum", "ones", "pow", "power", "random", "sparse", "split_v2",
    "var", "variable", "zeros",
]  # fmt: skip
