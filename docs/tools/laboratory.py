"""The laboratory as a page of the site, where the package has one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def write(target: Path) -> bool:
    """Write it by `tinygrad-lesson lab`; whether there is such a command."""
    target.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tinygrad_lesson.cli", "lab", "--out", str(target)]
    return subprocess.run(command, capture_output=True).returncode == 0
