"""``python -m tinygrad_lesson.mx script.py [arguments]``: runs a script of MXNet, unchanged."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from tinygrad_lesson.mx.installed import install

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit("usage: python -m tinygrad_lesson.mx script.py [arguments of the script]")
    del sys.argv[0]
    if not Path(sys.argv[0]).is_file():
        sys.exit(f"python -m tinygrad_lesson.mx: there is no file {sys.argv[0]!r}")
    sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
    install()
    runpy.run_path(sys.argv[0], run_name="__main__")
