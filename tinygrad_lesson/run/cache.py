"""What numba has compiled, kept on disk: a file for each function and kind of processor, checked before it is loaded.

numba looks for a folder that can be written: that of `NUMBA_CACHE_DIR`, `__pycache__` beside the source, the user's. It
would load its own files whatever is in them: half a file is an error of its reader, or machine code that is wrong.
"""

import contextlib
import functools
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import serialize
from numba.core.caching import FunctionCache, NullCache

from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.files import write_whole

DIGEST = 32  # bytes of a SHA-256; a file begins with that of what it was made from and that of what it holds
TIME = "10 to 30 s"


def kept(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """As `numba.njit` with these options; what it compiles is kept for later processes, wherever that can be."""

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = numba.njit(**options)(function)
        try:
            dispatcher._cache = Kept(function)
        except (RuntimeError, OSError):  # numba found no folder
            dispatcher._cache = Unkept()
        return dispatcher

    return compiled


@functools.cache
def announce(what: str) -> None:
    """Say once what takes so long."""
    print(f"tinygrad_lesson: {what}", file=sys.stderr)


class DamagedError(LessonError):
    """A file that is not as it was written."""


class Kept(FunctionCache):
    """The compiled forms of one function, on disk."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The form for these types of arguments; None, and a word to the user, where it has to be compiled."""
        target_context.refresh()
        path, source = self.place(sig, target_context.codegen())
        try:
            content = self.read(path, source)
            if content is not None:
                return self._impl.rebuild(target_context, serialize.loads(content))
        except Exception as error:
            why = getattr(error, "strerror", None) or error
            announce(f"{path} cannot be used ({why}); compiling the interpreter again ({TIME})")
            return None
        announce(f"compiling the interpreter, once on this machine ({TIME}); kept in {self.cache_path}")
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled; where that fails, it is compiled again next time."""
        path, source = self.place(sig, data.codegen)
        content = serialize.dumps(self._impl.reduce(data))
        with contextlib.suppress(OSError, LessonError):  # the next process will say that it compiles
            write_whole(path, source + hashlib.sha256(content).digest() + content)

    def place(self, sig: Any, codegen: Any) -> tuple[Path, bytes]:
        """The file for these types and this processor, and the digest of all that its code depends on."""
        kinds, processor, code = self._index_key(sig, codegen)
        machine = kinds, processor, sys.flags.optimize
        name = hashlib.sha256(repr(machine).encode()).hexdigest()[:16]
        source = repr((numba.__version__, self._impl.locator.get_source_stamp(), code, kinds, processor))
        path = Path(self.cache_path) / f"{self._impl.filename_base}-{name}.nbc"
        return path, hashlib.sha256(source.encode()).digest()

    @staticmethod
    def read(path: Path, source: bytes) -> bytes | None:
        """What the file holds; None where there is none, or one made from other sources."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        if len(content) > DIGEST and content[:DIGEST] != source:
            return None
        if hashlib.sha256(content[2 * DIGEST :]).digest() != content[DIGEST : 2 * DIGEST]:
            raise DamagedError("it is damaged")
        return content[2 * DIGEST :]


class Unkept(NullCache):
    """No folder to keep anything in."""

    def load_overload(self, sig: Any, target_context: Any) -> None:
        """Nothing; a word to the user."""
        announce(
            f"compiling the interpreter for this process alone ({TIME}): neither the package's folder nor the user's "
            "cache can be written; NUMBA_CACHE_DIR names another"
        )
