"""The errors of the house: each names the operation, what is, what was expected and why."""

from __future__ import annotations

from collections.abc import Iterable


def shown(text: str) -> str:
    """A text as a terminal may have it: what controls it, or turns text around, is written as an escape."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class LessonError(Exception):
    """Base of every error that this package raises on purpose; whatever a message quotes is safe to print."""

    def __str__(self) -> str:
        return "\n".join(map(shown, super().__str__().split("\n")))


class ShapeError(LessonError, ValueError):
    """Shapes that do not fit together."""


class PlaceError(ShapeError, IndexError):
    """An index that names no place of an array."""


class DTypeError(LessonError, TypeError):
    """Element types that do not fit together, or a value of a kind that cannot be used here."""


class AttributeValueError(LessonError, ValueError):
    """An attribute of an operation that is unknown, missing, or out of its range."""


class GraphError(LessonError, ValueError):
    """A graph that is not one: a missing argument, a name used twice, a use of what was freed."""


class BindError(LessonError, ValueError):
    """Arrays, requests or names given to an executor that do not match its symbol."""


class ArgumentError(BindError, TypeError):
    """An argument by a name that a call does not take."""


class UndeclaredError(LessonError, NotImplementedError):
    """A method that a user's class has to have, and has not."""


class DeviceError(LessonError, RuntimeError):
    """A device that is not there, or that cannot do what was asked."""


class FormatError(LessonError, ValueError):
    """A file that is not what it says; the message names the place in it."""


class FileError(FormatError, OSError):
    """A file that cannot be read or written at all: of a wrong kind, empty, too large, or the system refuses."""


class MissingFileError(FileError, FileNotFoundError):
    """A file that is not there."""


class OptimizerError(LessonError, ValueError):
    """An optimizer setting out of its range, or one that does not exist."""


class NonFiniteError(LessonError, ArithmeticError):
    """A NaN or an infinity where a finite number is needed."""


def kind_for(error: BaseException) -> type[LessonError]:
    """The error of ours that stands for one that NumPy, a rule or a user's function raised."""
    kinds = {
        IndexError: PlaceError, TypeError: DTypeError, OverflowError: DTypeError, ValueError: ShapeError,
        NotImplementedError: UndeclaredError,
    }  # fmt: skip
    return next((ours for theirs, ours in kinds.items() if isinstance(error, theirs)), LessonError)


def listed(names: Iterable[object]) -> str:
    """Names for a message, one after the other."""
    return ", ".join(shown(str(name)) for name in names)


def near(name: str, known: Iterable[str]) -> str:
    """For the end of a message about an unknown name: the one that was perhaps meant, and those there are."""
    import difflib

    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    more = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return f"{hint}it takes {listed(names[:30]) or 'none'}{more}"
