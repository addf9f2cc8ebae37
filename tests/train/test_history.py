"""A history in a file: read whole, or refused by file and key."""

import json
import re

import numpy as np
import pytest
from damage import damaged_json, seeds

import tinygrad_lesson as tl
from tinygrad_lesson.errors import DTypeError, FormatError
from tinygrad_lesson.lesson import run
from tinygrad_lesson.train.history import History


@pytest.fixture(scope="module")
def texts():
    """What the lesson writes of a network that learns, and of one that does not."""
    return [json.dumps(run.train(name, epochs=5, progress=False).as_json()) for name in ("mlp8", "leaky3")]


def test_a_file_and_what_it_holds_get_the_same_answer(texts, tmp_path):
    path = tmp_path / "history.json"
    path.write_text(texts[0])
    for given in (path, str(path)):
        assert str(tl.diagnose(given)) == json.loads(texts[0])["diagnosis"]
        assert History.read(given) == History.read(json.loads(texts[0]))
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        tl.diagnose(tmp_path / "nowhere.json")
    with pytest.raises(DTypeError, match="expected a History"):
        tl.diagnose("nowhere.json")
    with pytest.raises(DTypeError, match=r"not 'nowhere\.json', and there is no file of this name"):
        History.read("nowhere.json")


@pytest.mark.parametrize("seed", seeds(300))
def test_a_damaged_history_is_diagnosed_or_refused_by_file_and_key(seed, texts, tmp_path):
    path = tmp_path / "history.json"
    path.write_bytes(damaged_json(texts[seed % 2], seed))
    said = ""
    try:
        assert str(tl.diagnose(path)).startswith(("The gradient", "The network has learnt nothing"))
    except FormatError as error:
        said = str(error)
    assert re.match(r"$|.*history\.json(: .*'\w+'|: layer \d+|.* is no JSON|: byte \d+)", said), said
    assert said.isprintable()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.update(loss=[1, "x"]), "'loss' has 'x' at 1, expected a number or null"),
        (lambda told: told.update(loss=3), "'loss' is 3, expected a list"),
        (lambda told: told.update(mean_abs_grad=[]), "'mean_abs_grad' is [], expected values by name"),
        (lambda told: told["mean_abs_grad"].update(a=[-1.0]), "'mean_abs_grad': 'a' has -1.0 at 0, expected a number from 0 on"),
        (lambda told: told.update(seconds="long"), "'seconds' is 'long', expected a number"),
        (lambda told: told.update(optimizer=None), "'optimizer' is None, expected text"),
        (lambda told: told.update(layers=3), "'layers' is 3, expected values by name"),
        (lambda told: told["layers"].update(first={}), "'layers': 'first' is {}, expected a list of layers"),
        (lambda told: told["layers"]["last"].append(7), "in 'last' is 7, expected what a layer says of itself"),
        (lambda told: told["layers"]["last"][0].pop("units"), "layer 0 in 'last': 'units' is missing"),
        (lambda told: told["layers"]["last"][1].update(dead=[99]), "layer 1 in 'last': 'dead' names units that"),
        (lambda told: told["layers"]["first"][0]["weights"].pop("low"), "layer 0 in 'first': 'weights': 'low' is missing"),
    ],
)  # fmt: skip
def test_a_wrong_key_is_named(change, said, texts):
    told = json.loads(texts[0])
    change(told)
    with pytest.raises(FormatError, match=f"^the history: .*{re.escape(said)}"):
        tl.diagnose(told)


def test_numbers_at_the_ends_of_their_range_are_told_without_a_warning():
    values = [1e308, 1.7e308, 0.0, 5e-324, np.inf, None]
    told = tl.diagnose(
        {"loss": np.array([1.0, 2.0]), "mean_abs_grad": {"a": values, "b": values[::-1], "c": [2**1000]}}
    )
    assert str(told).startswith(("The gradient", "The network has learnt nothing"))
