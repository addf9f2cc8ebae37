"""What `import tinygrad_lesson` brings along: NumPy, and nothing that draws, compiles or tests."""

import subprocess
import sys

HEAVY = (
    "matplotlib", "graphviz", "hypothesis", "numba", "scipy", "cupy", "pytest", "tqdm", "importlib.metadata", "email",
)  # fmt: skip


def test_import_brings_nothing_heavy():
    code = f"import sys, tinygrad_lesson; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
