"""A function of tensors that is carried out on another device, as one op with a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from tinygrad_lesson.arrays import MODULES, Context, on_host, placed_at
from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.eager.differential import vjp as vjp_of
from tinygrad_lesson.eager.tensor import Tensor
from tinygrad_lesson.engine.op import Op, attr, declares


def where_they_lie(run: Callable[..., Any], arrays: Sequence[Any]) -> Callable[..., Any]:
    """`run` of tensors on the processor, carried out on the device that `arrays` lie on."""
    places = {placed_at(x.array if isinstance(x, Tensor) else x) for x in arrays} if MODULES else set()
    if places <= {Context()}:
        return run
    (place,) = places
    shapes = tuple(y.shape for y in as_tuple(run(*[Tensor(x, device=place) for x in arrays])))
    op = There(run=run, place=place, shapes=shapes)
    return lambda *tensors: apply(op, tensors)


def as_tuple(values: Any) -> tuple[Any, ...]:
    """Several results, or one, as a tuple."""
    return values if isinstance(values, tuple) else (values,)


@declares
class There(Op):
    """What `run` makes of tensors on `place`; inputs and results are copied there and back."""

    traceable: ClassVar[bool] = False
    run: Any = attr(doc="the function", shown=False)
    place: Any = attr(doc="the device")
    shapes: Any = attr(doc="shapes of the results", shown=False)

    name, function, family = "There", "there", "device"
    inputs = ("args",)
    variadic = True

    @property
    def outputs(self) -> tuple[str, ...]:
        """One name for each result."""
        return tuple(f"output{i}" for i in range(len(self.shapes)))

    def shape(self, *args: Any) -> Any:
        """As found."""
        return self.shapes if len(self.shapes) > 1 else self.shapes[0]

    def moved(self, args: Sequence[Any]) -> list[Tensor]:
        """Inputs on the device."""
        return [x.to(self.place) if isinstance(x, Tensor) else Tensor(x, device=self.place) for x in args]

    def forward(self, xp: Any, *args: Any) -> Any:
        """Run it there."""
        ys = tuple(y.numpy() for y in as_tuple(self.run(*self.moved(args))))
        return ys if len(ys) > 1 else ys[0]

    def vjp(self, F: Any, g: Any, y: Any, *args: Any) -> Any:
        """The gradients that are taken there."""
        inputs = self.moved(args)
        floats = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]

        def of_floats(*xs: Tensor) -> Any:
            given = dict(enumerate(inputs)) | dict(zip(floats, xs, strict=True))
            return self.run(*[given[i] for i in range(len(given))])

        ys, back = vjp_of(of_floats, *[inputs[i] for i in floats])
        pairs = zip(as_tuple(g), as_tuple(ys), strict=True)
        gs = [z * 0 if part is None else self.moved([part])[0] for part, z in pairs]
        found = dict(zip(floats, back(tuple(gs) if len(gs) > 1 else gs[0]), strict=True))
        recorded = any(isinstance(x, Tensor) for x in (*as_tuple(g), *args))
        there = [found.get(i) for i in range(len(inputs))]
        return tuple([d if d is None else d.to(Context()) if recorded else on_host(d.array) for d in there])
