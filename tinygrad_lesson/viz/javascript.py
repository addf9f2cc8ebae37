"""The runner of plans in JavaScript: how each elementwise call is written there."""

from __future__ import annotations

import re
from pathlib import Path

ASSETS = Path(__file__).with_name("assets")

EXPRESSIONS = {
    "absolute": "Math.abs(a)",
    "add": "a + b",
    "copyto": "a",
    "divide": "a / b",
    "exp": "Math.exp(a)",
    "greater": "a > b ? 1 : 0",
    "less": "a < b ? 1 : 0",
    "log": "Math.log(a)",
    "maximum": "a > b || a !== a ? a : b",
    "multiply": "a * b",
    "negative": "-a",
    "positive": "a",
    "sign": "Math.sign(a)",
    "sqrt": "Math.sqrt(a)",
    "square": "a * a",
    "subtract": "a - b",
    "tanh": "Math.tanh(a)",
    "where": "a !== 0 ? b : c",
}  # of elements a, b, c of the operands, in double precision; what takes the result rounds it to float32


def runner() -> str:
    """The script, with a loop for each elementwise call: a browser makes loops fast that know their function."""
    template = (ASSETS / "runner.js").read_text(encoding="utf-8")
    return template.replace("@@kernels@@", "\n".join(f"  {name}: {loop(name)}," for name in EXPRESSIONS))


def loop(name: str) -> str:
    """A call over rows and columns; each operand has steps of its own."""
    expression = EXPRESSIONS[name]
    used = sorted(set(re.findall(r"\b[abc]\b", expression)))
    moved = [*used, "to"]
    begin = ", ".join(f"at_{x} = {x}s.start + i * {x}s.row" for x in moved)
    read = ", ".join(f"{x} = data_{x}[at_{x}]" for x in used)
    return (
        f"({', '.join(f'{x}s' for x in ['to', *used])}, rows, columns) => {{ "
        f"const {', '.join(f'data_{x} = {x}s.data, step_{x} = {x}s.column' for x in moved)}; "
        f"for (let i = 0; i < rows; i++) {{ let {begin}; for (let j = 0; j < columns; j++) {{ "
        f"const {read}; data_to[at_to] = {expression}; {' '.join(f'at_{x} += step_{x};' for x in moved)} }} }} }}"
    )
