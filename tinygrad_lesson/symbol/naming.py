"""Names and attributes that nodes get when the user gives none, as in MXNet 1.x."""

import itertools
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from tinygrad_lesson.errors import AttributeValueError


class Scope:
    """Something that holds while its `with` block runs, one stack per thread."""

    stacks: ClassVar[threading.local] = threading.local()

    @classmethod
    def stack(cls) -> list[Any]:
        """The scopes of this kind that this thread has entered, the outermost first."""
        kind = next(c.__name__ for c in cls.__mro__ if Scope in c.__bases__)
        stacks = cls.stacks.__dict__
        return stacks.setdefault(kind, [])  # type: ignore[no-any-return]

    @classmethod
    def current(cls) -> Any:
        """The innermost scope."""
        stack = cls.stack()
        if not stack:
            stack.append(next(c for c in cls.__mro__ if Scope in c.__bases__)())
        return stack[-1]

    def __enter__(self) -> Any:
        self.current()
        self.stack().append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.stack().pop()


class NameManager(Scope):
    """Counts the unnamed nodes of each kind: `fullyconnected0`, `fullyconnected1`."""

    def __init__(self) -> None:
        self.counters: dict[str, Iterator[int]] = {}

    def get(self, name: str | None, hint: str) -> str:
        """`name` if there is one, else the next of its kind."""
        if name:
            return name
        return f"{hint}{next(self.counters.setdefault(hint, itertools.count()))}"


class Prefix(NameManager):
    """Puts a prefix before every name, given or counted."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix

    def get(self, name: str | None, hint: str) -> str:
        """The name with the prefix."""
        return self.prefix + super().get(name, hint)


class AttrScope(Scope):
    """Attributes that all nodes made inside get, as `__name__`-like texts."""

    def __init__(self, **attributes: str) -> None:
        for key, value in attributes.items():
            if not isinstance(value, str):
                raise AttributeValueError(f"AttrScope: {key} is {value!r}, expected a string")
        self.attributes = attributes

    def __enter__(self) -> Any:
        self.attributes = {**self.current().attributes, **self.attributes}
        return super().__enter__()
