"""How a value shows itself in a notebook.

What draws lives floors above; the package's own `__init__` says what it is, and it is imported when a
notebook first asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar


class Displayed:
    """A value that notebooks show as a picture: `painter` gives its forms by their MIME types."""

    __slots__ = ()
    painter: ClassVar[Callable[[Any], dict[str, str]]]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return Displayed.painter(self)

    def _repr_svg_(self) -> str | None:
        return Displayed.painter(self).get("image/svg+xml")

    def _repr_html_(self) -> str | None:
        return Displayed.painter(self).get("text/html")
