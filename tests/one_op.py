"""One op carried out every way there is: by its rules alone, eagerly, and as a compiled plan."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_lesson import random
from tinygrad_lesson.engine.backprop import apply_vjp
from tinygrad_lesson.engine.draw import MARGIN
from tinygrad_lesson.engine.world import Arrays
from tinygrad_lesson.graph import Edge, Label, Node, outputs_of
from tinygrad_lesson.mxnet.executor import Executor
from tinygrad_lesson.op import Op
from tinygrad_lesson.plan import Passes
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.tensor import Tensor, apply, recorded_sweep, sweep

SIMPLIFYING = Passes()
SEED = 7  # of every random op, so that it can be repeated


def inner(a, b):
    """Sum of products over lists of arrays; None counts as zero."""
    return sum(float(np.sum(x * y)) for x, y in zip(a, b, strict=True) if x is not None and y is not None)


def forward(op: Op, arrays, **named) -> tuple[np.ndarray, ...]:
    """All results of `forward`, new states among them."""
    extra = {"generator": MXNetGenerator(SEED)} if op.random else {}
    y = op.forward(np, *arrays, **extra, **named)
    return tuple(map(np.asarray, y if isinstance(y, tuple) else (y,)))


def pull(op: Op, arrays, cotangents) -> list[Any]:
    """The gradients of all inputs by `vjp` on bare arrays, None where there is none."""
    y = forward(op, arrays)
    g = (*cotangents, *[None] * (op.results - len(cotangents)))
    single = op.results == 1
    return apply_vjp(Arrays(), op, (g[0] if single else g, y[0] if single else y, *arrays))


def learnable(op: Op, arrays) -> list[int]:
    """Numbers of the inputs that a gradient may reach: floats that are no states."""
    count = len(arrays) - len(op.states)
    return [i for i, x in enumerate(arrays[:count]) if x.dtype.kind == "f"]


def cotangents_for(op: Op, arrays, generator) -> list[np.ndarray]:
    """Random cotangents of the visible results."""
    return [
        np.asarray(generator.normal(size=y.shape)).astype(y.dtype) for y in forward(op, arrays)[: op.visible]
    ]


def derivative(f: Callable[[float], float], step: float = MARGIN / 40) -> float:
    """Of `f` at 0, by central differences at three steps and Richardson's extrapolation.

    Samples may be as near as `MARGIN` to a pole; what is left of 1/x there is (step / MARGIN)**6 / 64, below 1e-11.
    """
    coarse, middle, fine = ((f(h) - f(-h)) / (2 * h) for h in (step, step / 2, step / 4))
    rough, smooth = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * smooth - rough) / 15


def along_some_direction(f, arrays, i, generator) -> tuple[np.ndarray, float]:
    """A direction in which number `i` of `arrays` may move, and the derivative of `f` along it."""
    v = generator.uniform(-1, 1, arrays[i].shape)
    return v, derivative(lambda t: f([*arrays[:i], arrays[i] + t * v, *arrays[i + 1 :]]))


def dtypes_of(op: Op, arrays) -> list[Any]:
    """What the rule says of the element type of each result; None for a number, which adapts."""
    dtypes = op.dtype(*[x.dtype for x in arrays])
    return list(dtypes) if isinstance(dtypes, tuple) else [dtypes] * op.results


# The eager face.


def eager(op: Op, arrays, cotangents) -> tuple[list[np.ndarray], list[Any]]:
    """Visible results and gradients of the learnable inputs."""
    tensors, y = recorded(op, arrays)
    heads = [(out, g) for out, g in zip(y, cotangents, strict=True) if out.requires_grad]
    return [out.numpy() for out in y], sweep(heads, [tensors[i] for i in learnable(op, arrays)])


def recorded(op: Op, arrays) -> tuple[list[Tensor], tuple[Tensor, ...]]:
    """Inputs as tensors, and the visible results of `op`."""
    random.seed(SEED)
    wanted = learnable(op, arrays)
    tensors = [Tensor(x, requires_grad=i in wanted) for i, x in enumerate(arrays)]
    y = apply(op, tensors)
    return tensors, y if isinstance(y, tuple) else (y,)


def pull_twice(op: Op, arrays, cotangents, weights) -> dict[int, Any]:
    """Gradients of ``<vjp(g), weights>`` by number of the input; the cotangents g count on from there."""
    tensors, y = recorded(op, arrays)
    g = [Tensor(c, requires_grad=c.dtype.kind == "f") for c in cotangents]
    gradients = recorded_sweep(
        [pair for pair in zip(y, g, strict=True) if pair[0].requires_grad],
        [tensors[i] for i in learnable(op, arrays)],
    )
    heads = [(d, w) for d, w in zip(gradients, weights, strict=True) if d is not None and d.requires_grad]
    wrt = {i: x for i, x in enumerate([*tensors, *g]) if x.requires_grad}
    return dict(zip(wrt, sweep(heads, list(wrt.values())), strict=True))


# The compiled plan.


class Compiled:
    """One op and its gradient as an executor's plans, bound to arrays of its own."""

    def __init__(self, op: Op, arrays, passes: Passes = SIMPLIFYING, runner="numpy", strided=False) -> None:
        place = spread_out if strided else np.zeros
        self.names = op.name_inputs(len(arrays))
        self.inputs = {name: place(x.shape, x.dtype) for name, x in zip(self.names, arrays, strict=True)}
        self.gradients = {
            name: np.full_like(self.inputs[name], 5)
            for name in map(self.names.__getitem__, learnable(op, arrays))
        }
        edges = [Edge(Node(None, label=Label(name))) for name in self.names]
        heads = outputs_of(Node(op, edges))[: op.visible]
        self.states = {name: self.inputs[name] for name in op.states}
        arguments = {name: x for name, x in self.inputs.items() if name not in op.states}
        requests = {name: "write" if name in self.gradients else "null" for name in arguments}
        self.generator = MXNetGenerator(SEED)
        self.executor = Executor(
            heads, [f"output {i}" for i in range(len(heads))], arguments, self.gradients, self.states, requests,
            passes=passes, runner=runner, generator=self.generator,
        )  # fmt: skip

    def forward(self, arrays, is_train: bool) -> list[np.ndarray]:
        """The visible results for these inputs."""
        for name, given in zip(self.names, arrays, strict=True):
            self.inputs[name][...] = given
        self.generator.reseed(SEED)
        return [np.array(y) for y in self.executor.forward(is_train=is_train)]

    def backward(self, cotangents) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The gradients of the learnable inputs, and the new states."""
        self.executor.backward(list(cotangents))
        return [np.array(g) for g in self.gradients.values()], [np.array(s) for s in self.states.values()]


def spread_out(shape, dtype) -> np.ndarray:
    """Zeros that do not lie side by side: every second element, the last first."""
    return np.zeros((*shape, 2), dtype)[::-1, ..., 0] if shape else np.zeros((), dtype)
