"""The benchmark of a card runs, in small, on the stand-in; its times mean nothing there."""

import importlib
import importlib.util
from pathlib import Path

import pytest

from tinygrad_lesson.run import block, kernels

pytestmark = pytest.mark.strict_arrays
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def test_the_benchmark_prints_its_rows(blocks, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(block, "THREADS", 24)
    monkeypatch.setattr(kernels, "THREADS", 16)
    monkeypatch.setattr(kernels, "WARP", 4)
    on_card = importlib.import_module("on_card")
    monkeypatch.setattr(on_card, "DENSE", {"mlp4": ((4, 10, 3), 5), "wide": ((30, 7000, 5), 4)})
    monkeypatch.setattr(on_card, "STEPS", dict.fromkeys(("mlp4", "wide"), 2))
    on_card.main(["mlp4", "wide", "chain"], 1000)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[1:3]] == [["mlp4", "block"], ["wide", "graph"]]
    assert all(float(row[2]) > 0 for row in rows[1:3])
    assert rows[3][-6:] == ["of", "the", "bandwidth", "of", "a", "copy"]


def test_without_a_card_it_says_so(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    if importlib.util.find_spec("cupy") is not None:
        pytest.skip("CuPy is here")
    importlib.import_module("on_card").main([])
    assert capsys.readouterr().out.startswith(
        "nothing is measured: gpu(0): CuPy is not installed; pip install"
    )
