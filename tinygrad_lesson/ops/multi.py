"""MXNet's update operators for several weights at once: one step of gradient descent for each.

MXNet's order is weight by weight, what is remembered of it among them; here all that is remembered comes last, as in
every op with states. Symbols and files have MXNet's order.

Source
    MXNet 1.9.1, ``optimizer_op-inl.h`` and ``contrib/preloaded_multi_sgd-inl.h``.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, ClassVar

from tinygrad_lesson.engine.declare import op
from tinygrad_lesson.engine.dtypes import floating
from tinygrad_lesson.engine.errors import AttributeValueError, ShapeError
from tinygrad_lesson.engine.op import attr, declares
from tinygrad_lesson.engine.shapes import merge
from tinygrad_lesson.ops.updates import (
    MpSgdMomUpdate,
    MpSgdUpdate,
    Precise,
    SgdMomUpdate,
    SgdUpdate,
    Step,
    Update,
)


@dataclasses.dataclass(frozen=True)
class Rates:
    """What the rule of one weight reads: numbers, or arrays without axes."""

    lr: Any
    wd: Any
    momentum: float
    rescale_grad: float
    clip_gradient: float

    clipped = Update.clipped
    scaled = Update.scaled
    precisely = Precise.precisely


@declares
class MultiUpdate(Step):
    """A step for each of several weights."""

    mixes_dtypes = True
    rule: ClassVar[Any] = None  # the op for one weight
    rescale_grad: float = attr(1.0, doc="multiplies the gradients first")
    clip_gradient: float = attr(
        -1.0, doc="the largest size of an element of a gradient; below 0 there is none"
    )
    num_weights: int = attr(1, minimum=1, doc="how many weights there are")
    shared: ClassVar[int] = 0  # inputs behind weights and gradients that are for all

    @property
    def outputs(self):
        """One name for each weight."""
        return tuple(f"output{i}" for i in range(self.num_weights))

    @property
    def states(self):
        """What is remembered: the last inputs, weight by weight."""
        first = 2 * self.num_weights + self.shared
        return tuple(f"data{first + i}" for i in range(self.num_weights * len(self.rule.states)))

    def parts(self, given):
        """For each weight what belongs to it, of all inputs; and what is for all.

        Errors
            ShapeError for another number of inputs.
        """
        n, each = self.num_weights, len(self.rule.states)
        expected = n * (2 + each) + self.shared
        if len(given) != expected:
            raise ShapeError(f"{len(given)} inputs given, expected {expected} for num_weights {n}")
        pairs, remembered = given[: 2 * n], given[2 * n + self.shared :]
        of_one = [(*pairs[2 * i : 2 * i + 2], *remembered[i * each : (i + 1) * each]) for i in range(n)]
        return of_one, given[2 * n : 2 * n + self.shared]

    def arranged(self, count):
        """For each input its place in MXNet's order.

        Errors
            ShapeError for another number of inputs.
        """
        each = 2 + len(self.rule.states)
        groups = [range(i * each, (i + 1) * each) for i in range(self.num_weights)]
        pairs = itertools.chain.from_iterable(group[:2] for group in groups)
        remembered = itertools.chain.from_iterable(group[2:] for group in groups)
        found = [*pairs, *range(self.num_weights * each, self.num_weights * each + self.shared), *remembered]
        self.parts(range(count))
        return found

    def rates(self, F, shared):
        """For each weight its rate and its decay."""
        raise NotImplementedError

    def compose(self, F, *data):
        of_one, shared = self.parts(data)
        weights: list[Any] = []
        remembered: list[Any] = []
        for (weight, *rest), (lr, wd) in zip(of_one, self.rates(F, shared), strict=True):
            given = Rates(lr, wd, getattr(self, "momentum", 0.0), self.rescale_grad, self.clip_gradient)
            found = self.rule.compose(given, F, weight, *rest)
            new, *moments = found if self.rule.states else (found,)
            weights.append(new)
            remembered += moments
        found = (*weights, *remembered)
        found = tuple([self.kept(F, y, x) for y, x in zip(found, self.changing(data), strict=True)])
        return found if len(found) > 1 else found[0]

    def changing(self, data):
        """The inputs that the results are new values of."""
        return (*data[: 2 * self.num_weights : 2], *data[2 * self.num_weights + self.shared :])

    def kept(self, F, y, x):
        """A result in the type of what it is a new value of; arrays of rates may have another."""
        return F.cast(y, dtype=str(F.dtype(x))) if self.shared and F.dtype(x) is not None else y

    def dtype(self, *data):
        found = tuple(map(floating, self.changing(data)))
        return found if len(found) > 1 else found[0]

    def input_dtype(self, i, first):
        """What is shared or remembered is in single precision."""
        return first if i < 2 * self.num_weights else "float32"

    def complete(self, shapes, results):
        """Gradients and what is remembered have the shape of their weight."""
        shapes = list(shapes)
        of_one, shared = self.parts(range(len(shapes)))
        for i, group in enumerate(of_one):
            known = results[i]
            for place in group:
                known = merge(known, shapes[place])
            for place in group:
                shapes[place] = known
        for place in shared:
            shapes[place] = merge(shapes[place], (self.num_weights,))
        return super().complete(shapes, results)

    @classmethod
    def sample(cls, draw):
        made = cls(**cls.settings(draw), num_weights=2)
        shapes = [draw.shape(), draw.shape()]
        arrays = [draw.array(shape) for shape in shapes for _ in range(2)]
        arrays += [draw.array((2,), low=0.1, high=0.5) for _ in range(cls.shared)]
        arrays += [draw.array(shape) for shape in shapes for _ in range(len(cls.rule.states))]
        return made, dict(zip(made.name_inputs(len(arrays)), arrays, strict=True))

    @classmethod
    def settings(cls, draw):
        return {"rescale_grad": draw.choice((1.0, 0.5))}


@declares
class Listed(MultiUpdate):
    """A step for each of several weights, with rates among the attributes."""

    lrs: tuple[float, ...] = attr(doc="the rate of each weight")
    wds: tuple[float, ...] = attr(doc="the decay of each")

    def __post_init__(self):
        super().__post_init__()
        for name in ("lrs", "wds"):
            count = len(getattr(self, name))
            if count != self.num_weights:
                raise AttributeValueError(
                    f"{name} has {count} numbers, expected num_weights, {self.num_weights}"
                )

    def rates(self, F, shared):
        return zip(self.lrs, self.wds, strict=True)

    @classmethod
    def settings(cls, draw):
        return super().settings(draw) | {"lrs": (0.5, 0.1), "wds": (0.0, 0.1)}


@declares
class Preloaded(MultiUpdate):
    """A step for each of several weights, with rates in arrays behind weights and gradients."""

    shared = 2

    def rates(self, F, shared):
        """One rate and one decay after the other."""
        rows = [[F.slice(x, key=(i,)) for i in range(self.num_weights)] for x in shared]
        return zip(*rows, strict=True)


@declares
class Moving(MultiUpdate):
    """A step for each of several weights that remembers the last one."""

    momentum: float = attr(0.0, doc="the share of the last step that is taken again")

    @classmethod
    def settings(cls, draw):
        return super().settings(draw) | {"momentum": draw.choice((0.0, 0.9))}


@op
class MultiSgdUpdate(Listed):
    """`SgdUpdate` of several weights, which are given each with its gradient behind it."""

    rule: ClassVar[Any] = SgdUpdate


@op
class MultiSgdMomUpdate(Moving, Listed):
    """`SgdMomUpdate` of several weights, each with its gradient behind it; the last steps come after all of them."""

    rule: ClassVar[Any] = SgdMomUpdate


@op
class MultiMpSgdUpdate(Listed):
    """`MpSgdUpdate` of several weights, each with its gradient behind it; the copies come after all of them."""

    rule: ClassVar[Any] = MpSgdUpdate


@op
class MultiMpSgdMomUpdate(Moving, Listed):
    """`MpSgdMomUpdate` of several weights, each with its gradient behind it.

    After all of them come the last step and the copy of the first weight, then those of the next.
    """

    rule: ClassVar[Any] = MpSgdMomUpdate


@op
class PreloadedMultiSgdUpdate(Preloaded):
    """`MultiSgdUpdate` whose rates and decays are two arrays behind weights and gradients."""

    rule: ClassVar[Any] = SgdUpdate


@op
class PreloadedMultiSgdMomUpdate(Moving, Preloaded):
    """`MultiSgdMomUpdate` whose rates and decays are two arrays behind weights and gradients."""

    rule: ClassVar[Any] = SgdMomUpdate


@op
class PreloadedMultiMpSgdUpdate(Preloaded):
    """`MultiMpSgdUpdate` whose rates and decays are two arrays behind weights and gradients."""

    rule: ClassVar[Any] = MpSgdUpdate


@op
class PreloadedMultiMpSgdMomUpdate(Moving, Preloaded):
    """`MultiMpSgdMomUpdate` whose rates and decays are two arrays behind weights and gradients."""

    rule: ClassVar[Any] = MpSgdMomUpdate
