"""A function of tensors as a plan: traced once per shape and type, then run without its Python."""

from __future__ import annotations

import types
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from tinygrad_lesson.eager.apply import apply
from tinygrad_lesson.eager.captured import Captured
from tinygrad_lesson.eager.compiled import Compiled, Program
from tinygrad_lesson.eager.nested import is_tree, put_together, take_apart
from tinygrad_lesson.eager.parted import PartedRunner
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.eager.tensor import Tensor, wrap
from tinygrad_lesson.engine.errors import DTypeError
from tinygrad_lesson.engine.op import REPLACED
from tinygrad_lesson.locks import lock
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.run import runner as find_runner

TRACES = 64  # how many combinations of shapes and types a function remembers


def jit(f: Callable[..., Any], *, runner: str | None = None, passes: Passes = Passes()) -> Jitted:
    """`f` as a plan. It is traced anew for other shapes or types, and for other integers, truth values and texts.

    Python's floats are arguments like arrays, of the element type that they meet. Where `f` looks at one, or another
    transformation goes around the plan, it is traced anew for other floats too.

    Arrays may be nested in tuples, lists, dicts and dataclasses, among the arguments and in the result; of a layer the
    parameters are arguments. Gradients may be taken inside and outside of it. Several threads may call it.

    What `f` sees without being given it, in a closure, a global, a default, an attribute of an object, is compared
    before each call with what it was; where it differs, `f` is traced anew. So pass as an argument what changes often.
    What Python does not see, such as a file, a clock or NumPy's random numbers, stays as it was at the trace.
    States, as the moving statistics of a batch normalization, are read at each call, and move.

    Errors
        GraphError where `f` looks at a value, as `if x.sum() > 0` does, or writes into an array from outside;
        DTypeError for complex and masked arrays; LessonError for a runner that does not exist.

    Example
        >>> square = jit(lambda x: (x * x).sum())
        >>> float(square(Tensor([1.0, 2.0])))
        5.0
    """
    return JittedLayer(f, runner, passes) if is_tree(f) else Jitted(f, runner, passes)


class Jitted:
    """A function with the plans that were made of it."""

    def __init__(self, f: Callable[..., Any], runner: str | None, passes: Passes) -> None:
        if not callable(f):
            raise DTypeError(f"jit: expected a function, not {f!r}")
        find_runner(runner)  # which refuses an unknown one
        self.__wrapped__, self.runner, self.passes = f, runner, passes
        self.__name__, self.__doc__ = getattr(f, "__name__", "jitted"), f.__doc__
        self.programs: OrderedDict[Any, Program] = OrderedDict()
        self.lock = lock()  # of the table, never held while something is traced or run
        self.replaced = len(REPLACED)
        self.floats = True  # whether Python's floats are arguments: until the function looks at one

    def __reduce__(self) -> Any:  # for copy and pickle
        return type(self), (self.__wrapped__, self.runner, self.passes)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        """A method of an object, whose attributes are seen as those of any other."""
        return self if owner is None else types.MethodType(self, owner)

    def __call__(self, *arguments: Any, **named: Any) -> Any:  # noqa: D102
        plain = self.floats and not (RECORDING.tracing or RECORDING.levels)
        inputs, key, floats = self.inputs(arguments, named, plain)
        recorded = RECORDING.on and any([t.node is not None for t in inputs])  # noqa: C419
        if recorded and floats:
            inputs, key, floats = self.inputs(arguments, named, False)
        program = self.program(key, inputs, (arguments, named), floats)
        if program is None:  # it looks at a float
            return Jitted.__call__(self, *arguments, **named)
        if program.states:
            inputs += [inputs[s] if isinstance(s, int) else s for s in program.states]
        inside = RECORDING.tracing or RECORDING.levels
        if inside and isinstance(program.runner, PartedRunner):  # no one op, on no one device
            return self.__wrapped__(*arguments, **named)
        if (recorded and len(program.cut) < program.shown) or program.moving or inside:
            results = apply(Compiled(program=program), inputs)
            results = list(results) if isinstance(results, tuple) else [results]
            for i in () if inside else program.cut:  # no gradient reaches through what is cut off inside
                results[i] = results[i].detach()
            return program.packed(results)
        return program.packed([wrap(y) for y in program.run([t.array for t in inputs])])

    def inputs(self, arguments: Any, named: Any, plain: bool) -> tuple[list[Tensor], Any, list[int]]:
        """The arrays among the arguments, all else, and which of the arrays are floats of Python's."""
        inputs: list[Tensor] = []
        key: list[Any] = []
        floats: list[int] | None = [] if plain else None
        for x in arguments:
            take_apart(x, inputs, key, None, floats)
        if named:
            key.append(tuple(named))
            take_apart(tuple(named.values()), inputs, key, None, floats)
        return inputs, tuple(key), floats or []

    def program(
        self, key: Any, inputs: Sequence[Tensor], given: Any, floats: Sequence[int]
    ) -> Program | None:
        """The plan for these arguments, made when first needed, and again where what `f` sees has changed.

        None where that fails with `floats` that are arguments: from now on they are fixed.
        """
        if self.replaced != len(REPLACED):  # an op was declared again, perhaps one that was traced
            with self.lock:
                self.programs.clear()
                self.replaced = len(REPLACED)
        try:
            with self.lock:
                known = self.programs.get(key)
                if known is not None:
                    self.programs.move_to_end(key)
        except TypeError:
            raise DTypeError(
                f"jit: {self.__name__} takes arrays, also in tuples, lists and dicts, and values that can be hashed; "
                f"not {given[0]!r}"
            ) from None
        if known is not None and not known.captured.changed():
            return known
        objects: list[Any] = [self.__wrapped__]
        take_apart(given, [], [], objects)

        def function(*tensors: Tensor) -> Any:
            arguments, named = put_together(given, iter(tensors), bool(floats))
            return self.__wrapped__(*arguments, **named)

        try:
            known = Program(function, inputs, self, Captured(objects), floats)
        except Exception:
            if not floats:
                raise
            self.floats = False
            return None
        with self.lock:
            self.programs[key] = known
            self.programs.move_to_end(key)
            while len(self.programs) > TRACES:
                self.programs.popitem(last=False)
        return known


class JittedLayer(Jitted):
    """A layer, a dataclass that can be called: its parameters are arguments."""

    def __init__(self, layer: Any, runner: str | None, passes: Passes) -> None:
        super().__init__(call_layer, runner, passes)
        self.layer, self.__name__ = layer, type(layer).__name__

    def __reduce__(self) -> Any:
        return JittedLayer, (self.layer, self.runner, self.passes)

    def __call__(self, *arguments: Any, **named: Any) -> Any:  # noqa: D102
        return super().__call__(self.layer, *arguments, **named)


def call_layer(layer: Any, *arguments: Any, **named: Any) -> Any:
    """What a layer gives."""
    return layer(*arguments, **named)
