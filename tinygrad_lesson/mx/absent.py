"""What scripts of MXNet import and is not here: it says so when it is used."""

from __future__ import annotations

import re
from typing import Any

from tinygrad_lesson.engine.errors import LessonError


class AbsentError(LessonError, NotImplementedError):
    """Something of MXNet that has no meaning here."""


class Absent:
    """A class or function that is only a name."""

    told = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise AbsentError(self.told)


def absent(name: str, instead: str) -> type[Absent]:
    """A name to import, call or derive from, whose use is an AbsentError that says what to write `instead`.

    Errors
        AttributeError for a name with an underscore before it, and for what pytest looks for in every module.
    """
    last = name.rpartition(".")[2]
    if re.match("_|pytest|set_?[uU]p|tear_?[dD]own", last):
        raise AttributeError(f"there is no {name!r}")
    told = f"{name} is not here: {instead}"
    return type(last, (Absent,), {"told": told, "__doc__": told})
