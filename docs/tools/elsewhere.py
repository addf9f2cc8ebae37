"""What MXNet, NumPy and PyTorch call the functions of this package."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np

from tinygrad_lesson.mxnet.documented import example
from tinygrad_lesson.mxnet.register import offered, offered_names


def table() -> dict[str, dict[str, str]]:
    """The parts of `torch_names.txt`: our name -> PyTorch's."""
    parts = re.split(
        r"^\[(.*)\]\n", Path(__file__).with_name("torch_names.txt").read_text("utf-8"), flags=re.MULTILINE
    )
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    otherwise = dict(line.split(": ", 1) for line in found.pop("otherwise").splitlines())
    return {home: {name: home + name for name in names.split()} for home, names in found.items()} | {
        "otherwise": otherwise
    }


TORCH = table()


@functools.cache
def operators_by_op() -> dict[str, list[str]]:
    """For each op the operators of the symbolic face that make it."""
    known: dict[str, list[str]] = {}
    for name in sorted(offered_names()):
        made = None if name.startswith("_") else example(offered(name))
        if made is not None:
            known.setdefault(type(made).name, []).append(name)
    return known


def torchs(name: str) -> str:
    """PyTorch's name for a function of `tl`; empty if it has none."""
    home, _, last = name.rpartition(".")
    if home:
        known = {"fft": {last: f"torch.fft.{last}"}, "linalg": TORCH["torch.linalg."]}.get(home, {})
        return known.get(last, "")
    return (
        TORCH["otherwise"].get(last)
        or TORCH["torch."].get(last)
        or TORCH["torch.nn.functional."].get(last, "")
    )


def numpys(name: str) -> str:
    """NumPy's name for a function of `tl`; empty if it has none."""
    home, _, last = name.rpartition(".")
    module = getattr(np, home, None) if home else np
    return f"np.{name}" if module is not None and callable(getattr(module, last, None)) else ""


def elsewhere(name: str, cls: type | None) -> list[str]:
    """One piece of text per library that has the function `tl.NAME`."""
    symbols = operators_by_op().get(getattr(cls, "name", ""), [])
    shown = ", ".join(f"`{symbol}`" for symbol in symbols[:6]) + (", ..." if len(symbols) > 6 else "")
    told = {"MXNet": shown, "NumPy": numpys(name), "PyTorch": torchs(name)}
    return [f"{library}: {text if '`' in text else f'`{text}`'}" for library, text in told.items() if text]
