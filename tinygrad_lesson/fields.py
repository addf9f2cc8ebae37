"""Values by name that were read from a file: what each must be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tinygrad_lesson.engine.errors import FormatError
from tinygrad_lesson.files import plain


class Kind(NamedTuple):
    """What a value that was read must be: in words, and as a test; for a list also what each `part` must be."""

    words: str
    fits: Callable[[Any], bool]
    part: Kind | None = None


def is_whole(value: Any) -> bool:
    """Whether this is an integer; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether this is a number that a float can hold; NaN and infinity are."""
    return isinstance(value, float) or (is_whole(value) and abs(value) < 2**1023)


def list_of(part: Kind) -> Kind:
    """The kind of a list, each part of which is of kind `part`."""
    return Kind("a list", lambda value: isinstance(value, list | tuple), part)


NUMBER = Kind("a number", is_number)
COUNT = Kind("a whole number from 0 on", lambda value: is_whole(value) and 0 <= value < 2**63)
TEXT = Kind("text", lambda value: isinstance(value, str))
FLAG = Kind("true or false", lambda value: isinstance(value, bool))
PARTS = Kind("values by name", lambda value: isinstance(value, Mapping))


def field(told: Mapping[str, Any], key: str, kind: Kind, where: str) -> Any:
    """What `told`, read from the file that `where` names, holds at `key`.

    Errors
        FormatError naming file and key if it is missing, or not of this kind.
    """
    if key not in told:
        raise FormatError(f"{where}: {key!r} is missing, expected {kind.words}")
    value = told[key]
    if not kind.fits(value):
        raise FormatError(f"{where}: {key!r} is {plain(repr(value), 80)}, expected {kind.words}")
    if kind.part is not None:
        for i, part in enumerate(value):
            if not kind.part.fits(part):
                raise FormatError(
                    f"{where}: {key!r} has {plain(repr(part), 80)} at {i}, expected {kind.part.words}"
                )
    return value
