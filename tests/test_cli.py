"""The command line as a user types it."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

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
    assert printed.count("The network has learnt nothing: the loss went from 0.3") == 2  # in 6 epochs
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


def test_lab_writes_one_file(tmp_path, capsys):
    path = tmp_path / "lab.html"
    assert main(["lab", "--out", str(path)]) == 0
    assert capsys.readouterr().out == f"the laboratory: {path}\n"
    assert [file.name for file in tmp_path.iterdir()] == ["lab.html"]
    assert 'id="lab-play"' in path.read_text(encoding="utf-8")
    assert main(["lab", "--out", str(tmp_path / "absent" / "lab.html")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_what_is_in_history_json_can_be_diagnosed(tmp_path):
    assert main(["run", "mlp8", "--epochs", "4", "--out", str(tmp_path)]) == 0
    told = json.loads((tmp_path / "mlp8" / "history.json").read_text())
    assert str(tl.diagnose(told)) == told["diagnosis"]
    assert "vanishes" in told["diagnosis"]
    assert not (tmp_path / "index.html").exists()


def test_seed_and_batch_size_change_the_numbers(tmp_path, monkeypatch):
    for drawing in ("put", "save_figure"):  # which take their time
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
        (["run", "mlp4", "--epochs", "9" * 5000], "has 5000 digits, expected 18 at most"),
        (["run", "mlp4", "--seed", "x\x1b[31m\n"], r"'x\x1b[31m\n' is no whole number"),
        (["run", "mlp4", "--out", ""], "argument --out: it is empty, expected a folder"),
        (["run", "mlp\x1b[31m"], r"there is no network 'mlp\x1b[31m'"),
        (["run", "mlp4", "--colour\x1b[31m"], r"unrecognized arguments: --colour\x1b[31m"),
        (["check", "m:f", "--high", "inf"], "argument --high: 'inf' is no finite number"),
        (["check", "m:f", "--low", "nan"], "argument --low: 'nan' is no finite number"),
        (["check", "m:f", "--low", "x"], "argument --low: 'x' is no finite number"),
        (["check", "m:f", "--order", "0"], "0 is too small"),
        (["check", "m:f", "--seed", "-1"], "'-1' is no whole number from 0 on"),
        (["check"], "required: MODULE"),
        (["list", "more"], "unrecognized arguments: more"),
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
    assert said in done.stderr
    assert done.stderr.startswith("tinygrad-lesson")
    assert done.stderr.count("\n") == 1
    assert done.stderr[:-1].isprintable()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert main(["run", "mlp4", "--out", str(blocked / "out")]) == 2
    assert str(blocked) in capsys.readouterr().err


@pytest.mark.parametrize("size", ["101", "1000000000000"])
def test_a_batch_that_the_rows_do_not_fill_is_refused(size, tmp_path, capsys):
    assert main(["run", "mlp4", "--batch-size", size, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"batch_size is {size}, expected 1 to 100, the number of rows to learn from" in said


@pytest.mark.parametrize("out", ["file", "/dev/null", "/proc/nowhere", "a" * 300, "loop/x"])
def test_what_is_no_folder_is_named_on_one_line(out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    assert main(["run", "mlp4", "--out", out]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"tinygrad-lesson: cannot write to {out}"[:60])
    assert said.count("\n") == 1


def test_a_full_disk_is_one_line_and_leaves_whole_files_only(tmp_path, capsys):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**14, limits[1]))
    try:
        assert main(["run", "mlp4", "--epochs", "1", "--out", str(tmp_path)]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert said == f"tinygrad-lesson: cannot write {tmp_path}/mlp4/gradients.png: File too large\n"
    assert {path.name for path in (tmp_path / "mlp4").iterdir()} == {"history.json", "diagnosis.txt"}


def shell(command, folder):
    """What a shell says of a command, in which `lesson` is ours."""
    program = f"{sys.executable} -m tinygrad_lesson"
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", command.replace("lesson", program)],
        capture_output=True, text=True, cwd=folder, check=False, timeout=120, env=buffered,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("lesson list | true; exit ${PIPESTATUS[0]}", (0, 141), ""),
        ("lesson list > /dev/full", (2,), "tinygrad-lesson: cannot write the output: No space left on device\n"),
        ("lesson run --help > /dev/full", (2,), "tinygrad-lesson: cannot write the output: No space left on device\n"),
        ("lesson list >&-", (0,), ""),
        ("set -o pipefail; lesson run mlp4 --epochs 100000000 | head -1 > /dev/null", (141,), ""),
    ],
)  # fmt: skip
def test_an_output_that_nobody_takes_is_no_traceback(command, code, said, tmp_path):
    done = shell(command, tmp_path)
    assert (done.returncode in code, done.stderr) == (True, said)


def test_ctrl_c_is_one_line_and_exit_code_130(tmp_path):
    command = [sys.executable, "-m", "tinygrad_lesson", "run", "mlp4", "--epochs", "100000000"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": tmp_path}
    with subprocess.Popen(command, **options) as running:
        running.stdout.readline()
        running.stdout.readline()
        time.sleep(1)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    assert (running.returncode, said) == (130, "tinygrad-lesson: stopped\n")


def test_control_characters_of_a_folder_are_shown_not_sent(tmp_path, capsys, monkeypatch):
    for drawing in ("put", "save_figure"):
        monkeypatch.setattr(run, drawing, lambda drawn, path: path)
    assert main(["run", "mlp4", "--epochs", "1", "--out", str(tmp_path / "a\x1b[31m")]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert main(["run", "mlp4", "--out", str(tmp_path / "out")]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"tinygrad-lesson {tl.__version__}\n"


def test_list_says_what_each_network_is(capsys):
    assert main(["list"]) == 0
    told = [line.split("  ")[-1].strip() for line in capsys.readouterr().out.splitlines()]
    assert len(set(told)) == len(NETWORKS)
    assert all(len(words.split()) > 2 for words in told)


@pytest.mark.parametrize("epochs", [2, 100])
def test_another_training_than_the_lessons_is_told_beside_its_table(epochs, tmp_path, monkeypatch, capsys):
    for drawing in ("put", "save_figure"):  # which take their time
        monkeypatch.setattr(run, drawing, lambda drawn, path: path)
    assert main(["run", "mlp4", "--epochs", str(epochs), "--out", str(tmp_path)]) == 0
    said = "the lesson's table is of another training; here: epochs 2, not 100" in capsys.readouterr().out
    assert said == (epochs == 2)
