"""The comparison with other libraries: its own parts, without any of them installed."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PEERS = Path(__file__).parent / "benchmarks" / "peers.py"
NEEDS_LLVM = pytest.mark.skipif(
    importlib.util.find_spec("llvmlite") is None, reason="llvmlite is not installed"
)
NEEDS_COMPILER = pytest.mark.skipif(
    not (shutil.which("gcc") or shutil.which("clang")), reason="there is no C compiler"
)
# The loss after the first block of steps: PyTorch 2.13's; MXNet 1.9.1's where Adam is the optimizer.
LOSSES = {
    "mlp4": 0.33273, "bn8": 0.178767, "res10": 0.19475, "res25": 0.16706, "dense6": 0.211819, "res1000": 0.686581,
    "mnist-mlp": 0.270744, "lenet": 0.242639, "chain": 686903, "eager": 2293.04, "predict": 0.180883,
}  # fmt: skip


def compare(folder, *options):
    """What the program prints, and its figures."""
    env = os.environ | {"PEERS": str(folder / "none")}
    command = [sys.executable, str(PEERS), "-r", "2", "-s", "0.001", "-o", str(folder / "out.json"), *options]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=True)
    return done.stdout, json.loads((folder / "out.json").read_text())["results"]


def test_absent_peers_are_named_and_the_rest_is_measured(tmp_path):
    printed, results = compare(tmp_path, "-w", "mlp4", "-p", "ours:numpy,torch,jax:scan")
    assert printed.startswith("absent: jax, torch (make bench-peers installs them")
    assert list(results["mlp4"]) == ["ours:numpy"]
    assert "| mlp4 |" in printed


@pytest.mark.parametrize("mode", ["ours:numpy", pytest.param("ours:fit", marks=NEEDS_LLVM)])
def test_our_work_is_that_of_the_peers(mode, tmp_path):
    _, results = compare(tmp_path, "-p", mode, "-w", ",".join(LOSSES))
    found = {w: r[mode]["loss"] for w, r in results.items()}
    assert found == pytest.approx(LOSSES, rel=5e-6)


@NEEDS_LLVM
def test_double_precision_gives_the_same_losses_more_exactly(tmp_path):
    _, results = compare(tmp_path, "-p", "ours:fit64", "-w", "mlp4,res10,dense6,chain")
    found = {w: r["ours:fit64"]["loss"] for w, r in results.items() if r}
    assert found == pytest.approx({w: LOSSES[w] for w in ("mlp4", "res10", "dense6")}, rel=5e-6)


@NEEDS_COMPILER
def test_the_floor_in_c_does_the_same_work(tmp_path):
    _, results = compare(tmp_path, "-p", "C", "-w", "bn8,res10,dense6,chain")
    found = {w: r["C"]["loss"] for w, r in results.items()}
    expected = {w: LOSSES[w] for w in ("res10", "dense6", "chain")} | {"bn8": 0.178923}  # PyTorch's Adam
    assert found == pytest.approx(expected, rel=5e-6)


def test_depth_is_told_per_layer(tmp_path):
    printed, results = compare(tmp_path, "-p", "ours:numpy", "-w", "res10,res100")
    per_layer = results["res100"]["ours:numpy"]["median"] / 100
    assert f"| res100 | {per_layer:.2f} |" in printed


def test_a_peer_that_fails_says_why_and_the_others_go_on(tmp_path):
    broken = tmp_path / "none" / "torch" / "bin"
    broken.mkdir(parents=True)
    (broken / "python").write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    (broken / "python").chmod(0o755)
    printed, results = compare(tmp_path, "-w", "mlp4", "-p", "ours:numpy,torch")
    assert "torch        FAILED: no such module" in printed
    assert list(results["mlp4"]) == ["ours:numpy"]


def test_an_unknown_name_is_refused():
    done = subprocess.run([sys.executable, str(PEERS), "-p", "theano"], capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stderr.startswith("there is no peer 'theano'; known: ours:fit")
