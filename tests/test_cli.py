"""The command line as a user types it."""

import json
import os
import subprocess
import sys

import pytest

import tinygrad_lesson as tl
from tinygrad_lesson.cli import main
from tinygrad_lesson.lesson import run
from tinygrad_lesson.lesson.networks import NETWORKS


def test_list_names_every_network(capsys):
    assert main(["list"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()] == list(NETWORKS)


def test_run_prints_the_tables_and_writes_everything(tmp_path, capsys):
    assert main(["run", "mlp4", "leaky3", "--epochs", "6", "--page", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("The gradient neither vanishes nor explodes: it reaches all") == 2
    assert f"the page: {tmp_path / 'index.html'}" in printed
    assert "epoch = 5: loss = 0.3" in printed
    assert "epoch = 6" not in printed
    assert "in the lesson" in printed
    for net in ("mlp4", "leaky3"):
        files = {path.name for path in (tmp_path / net).iterdir()}
        assert files >= {
            "history.json",
            "gradients.png", "loss.png", "heatmap.png", "weights.png", "activations.png", "diagnosis.txt",
            "model-symbol.json", "model-0006.params",
        }  # fmt: skip
        for picture in ("network", "flow", "backward"):
            assert files & {f"{picture}.svg", f"{picture}.gv"}
        assert (tmp_path / net / "diagnosis.txt").read_text() in printed
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert set(summary) == {"mlp4", "leaky3"}
    together = {path.name for path in tmp_path.iterdir() if path.is_file()}
    assert together >= {"depths.png", "losses.png", "index.html"}
    assert together & {"gradient-flow.svg", "gradient-flow.gv"}


def test_what_is_in_history_json_can_be_diagnosed(tmp_path):
    assert main(["run", "mlp8", "--epochs", "4", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "mlp8" / "history.json").read_text())
    assert str(tl.diagnose(told)) == told["diagnosis"]
    assert "vanishes" in told["diagnosis"]
    assert not (tmp_path / "index.html").exists()


def test_seed_and_batch_size_change_the_numbers(tmp_path, monkeypatch):
    for drawing in ("save", "save_figure"):  # which take their time
        monkeypatch.setattr(run, drawing, lambda drawn, path: path)
    losses = []
    for i, options in enumerate(([], ["--seed", "1"], ["--batch-size", "10"], [])):
        assert main(["run", "mlp4", "--epochs", "2", "--out", str(tmp_path / str(i)), *options]) == 0
        losses.append(json.loads((tmp_path / str(i) / "mlp4" / "history.json").read_text())["loss"])
    assert losses[0] == losses[3]
    assert losses[0] != losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "mlp5"], "there is no network 'mlp5'; known: mlp4"),
        (["run", "mlp4", "--device", "gpu:0"], "gpu(0)"),
        (["run", "mlp4", "--device", "tpu"], "device 'tpu' is not known"),
        (["run", "mlp4", "--epochs", "0"], "expected 1 or more"),
        (["run", "mlp4", "--seed", "-1"], "-1"),
        (["paint"], "invalid choice: 'paint'"),
        ([], "COMMAND"),
    ],
)
def test_a_mistake_is_one_clear_line_and_exit_code_2(arguments, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tinygrad_lesson", *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert main(["run", "mlp4", "--out", str(blocked / "out")]) == 2
    assert str(blocked) in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert main(["run", "mlp4", "--out", str(tmp_path / "out")]) == 2
    assert str(tmp_path) in capsys.readouterr().err
