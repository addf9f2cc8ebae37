"""The examples: each runs as its docstring says, and prints what stands there."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SPEED = re.compile(r"Speed: \d+\.\d\d")


def printed_as_told(path):
    """The indented lines of the docstring; `...` stands for any number of lines."""
    told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return [line.removeprefix("    ") for line in told.splitlines() if line.startswith("    ")]


def pattern(told):
    """What the output must match: the lines as they are, but for speeds and left-out lines."""
    lines = ["(?:.*\n)*" if line == "..." else re.escape(line) + "\n" for line in told]
    return re.sub(r"Speed:\\ \d+\\\.\d\d", lambda _: SPEED.pattern, "".join(lines))


OLD = [f"-Wignore::DeprecationWarning:matplotlib.{name}" for name in ("_fontconfig_pattern", "_mathtext")]


def run(path, folder):
    """The output of an example, in which a warning is an error, but for how an old matplotlib calls a new pyparsing."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *OLD, str(path)],
        capture_output=True, text=True, cwd=folder, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_prints_what_its_docstring_tells(path, tmp_path):
    told = printed_as_told(path)
    assert told
    printed = run(path, tmp_path)
    assert re.fullmatch(pattern(told), printed), printed


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_tells_how_to_run_it(path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= (100 if path.stem == "plan_runner" else 59)  # a whole runner, and its use
    assert f"\npython examples/{path.name}" in text


def test_the_drawn_graph_is_a_picture_of_the_network(tmp_path):
    run(ROOT / "examples" / "drawn_graph.py", tmp_path)
    (picture,) = tmp_path.iterdir()
    text = picture.read_text(encoding="utf-8")
    for shown in ("fc_final", "FullyConnected(num_hidden=10)", "plus3", "(20, 4)", "(20, 10)"):
        assert shown in text
    assert "fc1_weight" not in text
