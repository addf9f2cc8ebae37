"""What is done with files of models from the shell: tell, draw, predict, convert; files of MXNet 1.9.1."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from golden import load_cases

from tinygrad_lesson import sym
from tinygrad_lesson.cli import main
from tinygrad_lesson.interop import safetensors, stored
from tinygrad_lesson.symbol.params import load_checkpoint, load_params, save_checkpoint, save_params

DATA = Path(__file__).parents[1] / "data"
NETS, PARAMS = DATA / "nets", DATA / "params"


def checkpoint(name, folder):
    """A copy of a checkpoint that MXNet wrote, as a path of its arrays."""
    for file in (f"{name}-symbol.json", f"{name}-0000.params"):
        (folder / file).write_bytes((NETS / file).read_bytes())
    return folder / f"{name}-0000.params"


def lines_of(capsys, *arguments):
    """What the command line prints for these arguments."""
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().out.splitlines()


def test_arrays_are_told_one_a_line(capsys):
    first, *lines = lines_of(capsys, "inspect", NETS / "mlp4-0000.params")
    assert first.endswith("mlp4-0000.params: arrays 8, numbers 303, bytes 1212")
    weight = load_params(NETS / "mlp4-0000.params")["arg:fc1_weight"].astype(np.float64)
    assert lines[0] == (
        f"arg:fc1_weight  float32  (10, 4)   from {weight.min():.6g} to {weight.max():.6g}, mean {weight.mean():.6g}"
    )
    assert len(lines) == 8


def test_what_is_no_number_is_counted(tmp_path):
    save_params(tmp_path / "x", {"w": np.array([1, np.nan, np.inf, 4], np.float32), "v": np.full(2, np.nan)})
    assert stored.told(tmp_path / "x").splitlines()[1:] == [
        "w  float32  (4,)  from 1 to 4, mean 2.5, 2 not finite",
        "v  float64  (2,)  no finite number, 2 not finite",
    ]


def test_arrays_without_names_are_numbered_and_safetensors_are_told_alike():
    assert stored.told(PARAMS / "list.params").splitlines()[1] == "0  float32  (2,)  from 1 to 1, mean 1"
    assert "int16    int16    (1, 2)           from -3 to 16384" in stored.told(PARAMS / "dtypes.safetensors")


def test_a_graph_is_told_by_its_names_and_layers(capsys):
    lines = lines_of(
        capsys, "inspect", NETS / "bn8-symbol.json", "--shape", "data=20,4", "--shape", "label=20,3"
    )
    facts = load_cases("golden_nets")["bn8"]
    assert lines[1] == "arguments  " + ", ".join(facts["arguments"])
    assert lines[2] == "states     " + ", ".join(facts["auxiliary_states"])
    assert lines[3] == "outputs    loss_output"
    learnt = [math.prod(shape) for name, shape in facts["shapes"].items() if name not in ("data", "label")]
    assert f"Total params: {sum(learnt)}" in lines
    assert any(
        line.startswith("fc1(FullyConnected) ") and " 10 " in line and " 50 " in line for line in lines
    )
    hint = "For sizes, tell shapes of inputs: --shape data=20,4"
    assert hint not in lines
    assert lines_of(capsys, "inspect", NETS / "bn8-symbol.json")[-1] == hint


@pytest.mark.parametrize("name", ["mlp4", "bn8"])
def test_answers_are_those_of_mxnet(name, tmp_path, capsys):
    path, arrays = checkpoint(name, tmp_path), load_cases("golden_nets")[name]["arrays"]
    rows = load_cases("golden_nets")["mlp4"]["arrays"]["data"][0]
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",")
    np.save(tmp_path / "rows.npy", rows)
    printed = lines_of(capsys, "predict", path, tmp_path / "rows.csv", "--output", "softmax_output")
    answers = np.array([[float(x) for x in line.split(",")] for line in printed])
    np.testing.assert_allclose(answers, arrays["predict_initial"], rtol=1e-5, atol=1e-7)
    stored.convert(path, tmp_path / f"{name}.safetensors")
    for ending in ("npy", "csv"):
        out = tmp_path / f"answers.{ending}"
        asked = [
            tmp_path / f"{name}.safetensors",
            tmp_path / "rows.npy",
            "--output",
            "softmax_output",
            "--out",
            out,
        ]
        assert lines_of(capsys, "predict", *asked) == []
        np.testing.assert_array_equal(stored.read_rows(out), answers.astype(np.float32))


@pytest.mark.parametrize(
    "path", [NETS / "bn8-0000.params", PARAMS / "dtypes-v2.params"], ids=lambda path: path.stem
)
def test_to_safetensors_and_back_are_the_same_bytes(path, tmp_path, capsys):
    there, back = tmp_path / "x.safetensors", tmp_path / "x.params"
    assert lines_of(capsys, "convert", path, there) == lines_of(capsys, "convert", there, back) == []
    assert back.read_bytes() == path.read_bytes()
    assert list(safetensors.load(there)[0]) == list(load_params(path))


def test_arrays_still_belong_to_their_graph_when_they_come_back(tmp_path):
    symbol, arguments, states = load_checkpoint(str(NETS / "bn8"), 0)
    save_checkpoint(str(tmp_path / "net"), 3, symbol, arguments, states)
    stored.convert(tmp_path / "net-0003.params", tmp_path / "net.safetensors")
    stored.convert(tmp_path / "net.safetensors", tmp_path / "net-0004.params")
    assert (tmp_path / "net-0004.params").read_bytes() == (tmp_path / "net-0003.params").read_bytes()
    (tmp_path / "net-symbol.json").write_bytes((NETS / "mlp4-symbol.json").read_bytes())
    for name in ("net-0004.params", "net.safetensors"):
        with pytest.raises(
            ValueError, match=rf"{name} was not saved with the network that .*net-symbol\.json holds"
        ):
            stored.predict(tmp_path / name, np.ones((2, 4)), "softmax_output")


def test_a_graph_of_mxnet_0_8_becomes_one_of_1_9(tmp_path, capsys):
    old = tmp_path / "old-symbol.json"
    old.write_text(
        '{"nodes": [{"op": "null", "param": {}, "name": "x", "inputs": [], "backward_source_id": -1},'
        ' {"op": "Activation", "param": {"act_type": "relu"}, "name": "a", "inputs": [[0, 0]],'
        ' "backward_source_id": -1}], "arg_nodes": [0], "heads": [[1, 0]]}'
    )
    assert lines_of(capsys, "convert", old, tmp_path / "new-symbol.json") == []
    expected = sym.Activation(sym.Variable("x"), act_type="relu", name="a").tojson()
    assert (tmp_path / "new-symbol.json").read_text() == expected


def test_the_graph_beside_the_arrays_is_drawn(tmp_path, capsys):
    picture = tmp_path / "net.gv"
    said = lines_of(capsys, "draw", checkpoint("mlp4", tmp_path), "--out", picture, "--shape", "data=20,4")
    assert said == [f"the picture: {picture}"]
    assert "FullyConnected" in picture.read_text()
    assert re.search(r"20.{1,3}10", picture.read_text())


WRONG = [
    (["inspect", "none.params"], "cannot read none.params: No such file"),
    (["inspect", "rows.csv"], "rows.csv: byte 0: the magic number is 0x"),
    (["inspect", "sparse.params"], "sparse.params: byte 24: the storage of array 0 is row_sparse"),
    (["inspect", "mlp4-symbol.json", "--shape", "20,4"], "--shape is '20,4', expected a name and sizes"),
    (["inspect", "mlp4-symbol.json", "--shape", "datum=20,4"], "datum"),
    (["inspect", "mxnet.states"], "mxnet.states is a pickle, as MXNet's optimizer states are, which is never read"),
    (["draw", "rows.csv"], "cannot read rows-symbol.json"),
    (["draw", "mlp4-symbol.json", "--out", "x.txt"], "x.txt ends in '.txt', expected .svg"),
    (["convert", "mlp4-0000.params", "x.json"], "cannot become x.json: one is a graph, the other holds arrays"),
    (["convert", "mlp4-symbol.json", "x.params"], "cannot become x.params: one is a graph"),
    (["convert", "dtypes.safetensors", "x.params"], "uint64 is uint64, expected one of float32"),
    (["convert", "digest.safetensors", "x.params"], "digest.safetensors: 'graph_digest' is 'x', expected 64 bits"),
    (["predict", "mlp4-0000.params", "rows.csv"], "'loss_output' needs label too; ask for an inner output instead: --output softmax_output or"),
    (["predict", "mlp4-0000.params", "rows.csv", "--output", "soft"], "mlp4-symbol.json has no output 'soft'; it has data, fc1_weight"),
    (["predict", "mlp4-0000.params", "words.csv"], "words.csv: could not convert string 'two'"),
    (["predict", "mlp4-0000.params", "none.csv"], "cannot read none.csv: No such file"),
    (["predict", "mlp4-0000.params", "words.npy"], "words.npy: "),
    (["predict", "mlp4-0000.params", "short.csv", "--output", "softmax_output"], "'fc1_weight' is (10, 4), expected (10, 2)"),
    (["predict", "empty.params", "rows.csv", "--output", "fc1_output"], "but data, fc1_weight, fc1_bias; expected one"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[f"{i}-{w[0][0]}" for i, w in enumerate(WRONG)])
def test_what_is_wrong_is_one_line_that_names_the_file(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    checkpoint("mlp4", tmp_path)
    for path in (PARAMS / "sparse.params", PARAMS / "dtypes.safetensors"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "rows.csv").write_text("1,2,3,4\n5,6,7,8\n")
    (tmp_path / "short.csv").write_text("1,2\n")
    (tmp_path / "words.csv").write_text("1,two,3,4\n")
    (tmp_path / "words.npy").write_text("words")
    (tmp_path / "mxnet.states").write_bytes(b"\x80\x04\x95")
    safetensors.save("digest.safetensors", {"w": np.ones(2)}, {"graph_digest": "x"})
    save_params("empty.params", {"arg:other": np.ones(2)})
    (tmp_path / "empty-symbol.json").write_bytes((NETS / "mlp4-symbol.json").read_bytes())
    before = sorted(tmp_path.iterdir())
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before
