"""First values of parameters: a rule for the weights; names tell what is a weight.

As in MXNet 1.9: ``Xavier()("fc1_weight", (10, 4), generator)`` draws, and the same initializer gives
zeros for ``fc1_bias`` and ones for ``bn1_gamma``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.random import MXNetGenerator, default_generator

Array = npt.NDArray[Any]

INITIALIZERS: dict[str, type[Initializer]] = {}

BY_ATTRIBUTE = (
    "moving_mean",
    "moving_var",
    "moving_avg",
)  # MXNet's variables of these names say it themselves
# What a name that ends so begins with, whatever the rule for weights.
_BY_SUFFIX = {
    "bias": 0.0,
    "beta": 0.0,
    "min": 0.0,
    "moving_mean": 0.0,
    "moving_avg": 0.0,
    "gamma": 1.0,
    "max": 1.0,
    "moving_var": 1.0,
}


def register(*names: str) -> Callable[[type[Initializer]], type[Initializer]]:
    """Make an initializer known to `create` under these names."""

    def add(cls: type[Initializer]) -> type[Initializer]:
        INITIALIZERS.update(dict.fromkeys(names, cls))
        return cls

    return add


class InitDesc(str):
    """A name with what is known of it: `attrs` of its variable, and the initializer that serves all others."""

    attrs: Mapping[str, str]
    global_init: Any

    def __new__(cls, name: str, attrs: Mapping[str, str] | None = None, global_init: Any = None) -> Self:
        """The name, which is a string as before."""
        self = super().__new__(cls, name)
        self.attrs, self.global_init = attrs or {}, global_init
        return self


class Initializer:
    """A rule for weights, and the dispatch by name that all rules share.

    ``initializer(name, shape)`` gives an array; ``initializer(InitDesc(name), array)`` fills one, as in MXNet. One of
    your own is a subclass with ``_init_weight(name, array)``, which fills it; ``_init_bias``, ``_init_gamma``,
    ``_init_beta`` and ``_init_default`` may say something else for other names.

    Source
        MXNet 1.9, ``python/mxnet/initializer.py``. There the moving averages of ``BatchNorm`` get their
        values by an attribute of the variable; here by their names, as in MXNet's older way.
    """

    _kwargs: ClassVar[Mapping[str, Any]]  # the settings of each

    def __init__(self, **settings: Any) -> None:
        self.__dict__["_kwargs"] = settings

    def __post_init__(self) -> None:
        """Refuse what is not a number where one is needed."""
        self.__dict__["_kwargs"] = asdict(self)  # type: ignore[call-overload]
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            is_number = isinstance(value, int | float) and math.isfinite(value)
            if isinstance(field.default, float) and not is_number:
                self._refuse(field.name, "a finite number")

    def __call__(
        self,
        name: str,
        shape: Any,
        generator: MXNetGenerator | None = None,
        dtype: npt.DTypeLike = np.float32,
        attribute: str | None = None,
    ) -> Any:
        """First value of the parameter `name`, of a shape; or nothing, and an array in the place of it is filled.

        `attribute` is what the variable says itself (``__init__``): its rule is then used, whatever the name.

        Errors
            AttributeValueError if the name tells nothing, or the attribute is not an initializer.
        """
        filled = not isinstance(shape, Sequence)
        array: Any = shape if filled else np.zeros(shape, dtype)
        if filled and isinstance(name, InitDesc):
            name.global_init = name.global_init or self
            attribute = name.attrs.get("__init__") or None
        if attribute:
            described = name if isinstance(name, InitDesc) else InitDesc(name, global_init=self)
            from_attribute(attribute)._fill(described, array, generator)
        elif filled and not isinstance(name, InitDesc) and (old := by_old_name(name)):
            old(name, array)
        elif name.endswith("weight"):
            self._fill(name, array, generator)
        elif name.endswith(BY_ATTRIBUTE) and isinstance(name, InitDesc):
            self._init_default(name, array)
        else:
            suffix = next((suffix for suffix in _BY_SUFFIX if name.endswith(suffix)), "default")
            getattr(self, f"_init_{suffix}", self._init_known)(name, array)
        return None if filled else array

    def _fill(self, name: str, array: Any, generator: MXNetGenerator | None) -> None:
        """Fill a weight: with numbers of a generator, where one is given and the rule is ours."""
        if generator is not None and type(self)._init_weight is Initializer._init_weight:
            array[:] = self._weight(name, array.shape, generator)
        else:
            self._init_weight(name, array)

    def _init_weight(self, name: str, array: Any) -> None:
        array[:] = self._weight(name, array.shape, default_generator())

    def _init_known(self, name: str, array: Any) -> None:
        array[:] = next(value for suffix, value in _BY_SUFFIX.items() if name.endswith(suffix))

    _init_bias = _init_gamma = _init_beta = _init_known

    def _init_zero(self, name: str, array: Any) -> None:
        array[:] = 0.0

    def _init_one(self, name: str, array: Any) -> None:
        array[:] = 1.0

    def _init_default(self, name: str, array: Any) -> None:
        """Refuse a name that tells nothing."""
        raise AttributeValueError(
            f"{name}: no first value for a parameter of this name; expected a name that ends in weight, "
            f"{', '.join(_BY_SUFFIX)}, or a variable with an initializer of its own (attribute __init__)"
        )

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        """First value of a weight, in float32."""
        raise NotImplementedError

    def dumps(self) -> str:
        """This initializer as text, for a variable's attribute ``__init__``."""
        return json.dumps([type(self).__name__.lower(), self._kwargs])

    def __eq__(self, other: object) -> bool:
        """Whether it is of the same kind, with the same settings."""
        return type(self) is type(other) and self._kwargs == other._kwargs  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash(self.dumps())

    def set_verbosity(self, verbose: bool = False, print_func: Any = None) -> Self:
        """Itself: there is nothing to say while arrays are filled."""
        return self

    def _refuse(self, field: str, expected: str) -> None:
        """Say that the value of a field is not as expected."""
        kind = type(self).__name__
        raise AttributeValueError(f"{kind}: {field} is {getattr(self, field)!r}, expected {expected}")


def by_old_name(name: str) -> Callable[[str, Any], None] | None:
    """What fills a parameter that MXNet knows by the beginning of a plain name; None for others."""
    if name.startswith("upsampling"):
        return from_attribute('["bilinear", {}]')._init_weight
    if name.startswith("stn_loc") and name.endswith("bias"):
        return Constant([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])._init_weight  # the affine map that changes nothing
    return Zero()._init_weight if name.startswith("stn_loc") and name.endswith("weight") else None


@register("zero", "zeros")
@dataclass(frozen=True, eq=False)
class Zero(Initializer):
    """All weights 0."""

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        return np.zeros(shape, np.float32)


@register("one", "ones")
@dataclass(frozen=True, eq=False)
class One(Initializer):
    """All weights 1."""

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        return np.ones(shape, np.float32)


@register("constant")
@dataclass(frozen=True, eq=False)
class Constant(Initializer):
    """All weights `value`, or those of an array."""

    value: Any = 0.0

    def __post_init__(self) -> None:
        """Keep an array as lists, which text can hold."""
        if not np.ndim(self.value):
            return super().__post_init__()
        self.__dict__["value"] = np.asarray(self.value).tolist()
        self.__dict__["_kwargs"] = {"value": self.value}
        return None

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        if np.ndim(self.value) and np.shape(self.value) != tuple(shape):
            raise ShapeError(f"Constant: value is {np.shape(self.value)}, expected {tuple(shape)} for {name}")
        return np.full(shape, self.value, np.float32)


@register("uniform")
@dataclass(frozen=True, eq=False)
class Uniform(Initializer):
    """Weights spread evenly over [-`scale`, `scale`)."""

    scale: float = 0.07

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        return generator.uniform(-self.scale, self.scale, shape)


@register("normal")
@dataclass(frozen=True, eq=False)
class Normal(Initializer):
    """Normal weights with mean 0 and standard deviation `sigma`."""

    sigma: float = 0.01

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        return generator.normal(0.0, self.sigma, shape)


@register("xavier")
@dataclass(frozen=True, eq=False)
class Xavier(Initializer):
    """Weights of size ``s = sqrt(magnitude / fan)``, so that layers neither amplify nor damp.

    `fan` counts the numbers that go ``"in"`` to one unit, those it goes ``"out"`` to, or their average
    (``"avg"``). The weights lie evenly in [-s, s) (``"uniform"``), or are normal with standard deviation
    s (``"gaussian"``).

    Shapes
        (fan_out, fan_in, ...): the axes after the second are a filter's extent and multiply both fans.
    Source
        Glorot and Bengio 2010, equation 16, as in MXNet 1.9.
    """

    rnd_type: str = "uniform"
    factor_type: str = "avg"
    magnitude: float = 3.0

    def __post_init__(self) -> None:
        """Refuse an argument that is not one of those above."""
        super().__post_init__()
        if self.rnd_type not in ("uniform", "gaussian"):
            self._refuse("rnd_type", "uniform or gaussian")
        if self.factor_type not in ("avg", "in", "out"):
            self._refuse("factor_type", "avg, in or out")
        if self.magnitude < 0:
            self._refuse("magnitude", "0 or more")

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        if len(shape) < 2 or 0 in shape:
            expected = "at least two axes, none of them empty"
            raise ShapeError(f"{name} ({type(self).__name__}): shape is {tuple(shape)}, expected {expected}")
        extent = math.prod(shape[2:])
        fan_out, fan_in = shape[0] * extent, shape[1] * extent
        fan = {"in": fan_in, "out": fan_out, "avg": (fan_in + fan_out) / 2}[self.factor_type]
        scale = math.sqrt(self.magnitude / fan)
        if self.rnd_type == "uniform":
            return generator.uniform(-scale, scale, shape)
        return generator.normal(0.0, scale, shape)


@register("msraprelu")
@dataclass(frozen=True, eq=False)
class MSRAPrelu(Initializer):
    """Normal weights for layers before a leaky ReLU: `Xavier` with ``magnitude = 2 / (1 + slope**2)``.

    Source
        He et al. 2015, section 2.2, as in MXNet 1.9.
    """

    factor_type: str = "avg"
    slope: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what `Xavier` refuses."""
        super().__post_init__()
        self._xavier()

    def _weight(self, name: str, shape: Sequence[int], generator: MXNetGenerator) -> Array:
        return self._xavier()._weight(name, shape, generator)

    def _xavier(self) -> Xavier:
        return Xavier("gaussian", self.factor_type, 2 / (1 + self.slope**2))


def create(name: Any, **arguments: Any) -> Initializer:
    """The initializer of this name, in any case: ``create("xavier", magnitude=2)``; text that `dumps` gave is read too.

    Errors
        AttributeValueError if there is no such initializer, or it has no such argument.
    """
    if not isinstance(name, str):
        return name  # type: ignore[no-any-return]
    if name.startswith("["):
        return from_attribute(name)
    if name.lower() not in INITIALIZERS:
        raise AttributeValueError(f"unknown initializer {name!r}; known: {', '.join(sorted(INITIALIZERS))}")
    cls = INITIALIZERS[name.lower()]
    known = [field.name for field in fields(cls)] if is_dataclass(cls) else list(arguments)  # type: ignore[arg-type]
    for argument in arguments:
        if argument not in known:
            what = f"expected {', '.join(known)}" if known else "it takes none"
            raise AttributeValueError(f"{cls.__name__}: unknown argument {argument!r}; {what}")
    return cls(**arguments)


def from_attribute(text: str) -> Initializer:
    """The initializer that a variable's attribute ``__init__`` describes.

    The text is a name, or a name and arguments as JSON: ``["uniform", {"scale": 0.1}]``.

    Errors
        AttributeValueError if the text is neither.
    """
    if not text.startswith("["):
        return create(text)
    try:
        name, arguments = json.loads(text)
        if not (isinstance(name, str) and isinstance(arguments, dict)):
            raise ValueError("not a name and arguments")
    except (ValueError, TypeError, RecursionError) as error:
        raise AttributeValueError(
            f'__init__ is {text[:80]!r}, expected a name or ["name", {{"argument": value}}]'
        ) from error
    return create(name, **arguments)
