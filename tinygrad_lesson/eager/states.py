"""The states that a traced function reads and changes: inputs of its plan, whose new values are further results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinygrad_lesson.eager.apply import TENSORS
from tinygrad_lesson.eager.recording import RECORDING
from tinygrad_lesson.eager.tensor import Tensor, wrap
from tinygrad_lesson.engine.graph import Node
from tinygrad_lesson.engine.op import Op


class State:
    """A state of the caller's, or an argument that is one; what stands for it at first, and by now.

    One that was computed inside stands for itself.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.inside = tensor.node is not None and not tensor.node.is_variable
        self.first: Any = tensor if self.inside else wrap(tensor.array, Node(None))
        self.now = self.first

    def has_moved(self) -> bool:
        """Whether it has another value by now."""
        return self.now is not self.first


class States:
    """All states of a function while it is traced. What the caller has stays as it is until the plan has run."""

    def __init__(self) -> None:
        self.known: dict[int, State] = {}  # by the id of the tensor

    def __enter__(self) -> None:
        self.before, RECORDING.states = RECORDING.states, self

    def __exit__(self, *error: object) -> None:
        RECORDING.states = self.before

    def read(self, op: Op, tensors: Sequence[Tensor]) -> Sequence[Tensor]:
        """The inputs of an op, with what stands for states by now."""
        begin = len(tensors) - len(op.states)
        return tuple([self.current(t) if i < begin else self.state(t).now for i, t in enumerate(tensors)])

    def current(self, t: Tensor) -> Tensor:
        """What stands for a tensor, if it is a state; else the tensor."""
        return self.known[id(t)].now if id(t) in self.known else t

    def state(self, t: Tensor) -> State:
        """The state that a tensor is, or one that was made of the same array or stands for it."""
        for state in self.known.values():
            if t is state.tensor or t is state.now or t.array is state.tensor.array:
                return state
        self.known[id(t)] = State(t)
        return self.known[id(t)]

    def move(self, now: Tensor, new: Any, node: Node, index: int) -> None:
        """A state gets a new value, which a node gave."""
        tensor = wrap(new, node, index)
        self.state(now).now = tensor if new.dtype == now.dtype else TENSORS.cast(tensor, dtype=str(now.dtype))

    def used(self) -> list[State]:
        """Those that come from outside."""
        return [state for state in self.known.values() if not state.inside]
