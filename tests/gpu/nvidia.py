"""NVIDIA's compiler, where it is at hand."""

import shutil
import subprocess

NVCC = shutil.which("nvcc")


def compiled(text):
    """Refuse what the compiler refuses; nothing is done where it is not here."""
    if NVCC is not None:
        arguments = [NVCC, "-x", "cu", "-w", "-std=c++17", "-arch=sm_90", "-ptx", "-o", "/dev/null", "-"]
        done = subprocess.run(arguments, input=text, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr[:2000]
