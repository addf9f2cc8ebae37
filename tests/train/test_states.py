"""A training that is broken off, saved and loaded goes on as if there had been no break, to the last bit."""

import json
import re

import numpy as np
import pytest
from damage import damaged_bytes, damaged_json, seeds
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_lesson as tl
from tinygrad_lesson import sym
from tinygrad_lesson.errors import BindError, DTypeError, FormatError, LessonError, ShapeError
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.random import MXNetGenerator
from tinygrad_lesson.run import available_runners
from tinygrad_lesson.symbol.params import load_params, save_params
from tinygrad_lesson.train import optimizer
from tinygrad_lesson.train.states import States

ROWS = np.random.RandomState(0).randn(43, 3).astype(np.float32)
LABELS = np.eye(2, dtype=np.float32)[(ROWS[:, 0] > 0).astype(int)]


def network(dropout=0.4, batch_norm=True):
    x = sym.FullyConnected(sym.Variable("data"), num_hidden=7, name="fc1")
    x = sym.BatchNorm(x, name="bn1") if batch_norm else x
    x = sym.Activation(x, act_type="tanh", name="tanh1")
    x = sym.Dropout(x, p=dropout, name="drop1") if dropout else x
    return sym.softmax(sym.FullyConnected(x, num_hidden=2, name="fc2"), axis=1, name="out")


def loss_of(prediction):
    return sym.MakeLoss(0 - sym.mean(sym.broadcast_mul(sym.log(prediction + 1e-8), sym.Variable("label"))))


def model(epochs, dropout=0.4, **more):
    prediction = network(dropout)
    settings = {"seed": 1, "numpy_batch_size": 10, **more}
    return tl.FeedForward(loss_of(prediction), prediction=prediction, num_epoch=epochs, **settings)


def schedule(number):
    return 0.1 / number


def iterator(data, seed=4, **more):
    generator = None if data == "default generator" else MXNetGenerator(seed)
    handle = "roll_over" if data == "roll over" else "pad"
    return tl.NDArrayIter(
        ROWS,
        LABELS,
        10,
        shuffle=True,
        last_batch_handle=handle,
        label_name="label",
        generator=generator,
        **more,
    )


def fit(m, data, **more):
    if data in ("arrays", "shuffled arrays"):
        return m.fit(ROWS, LABELS, shuffle=data == "shuffled arrays", **more)
    return m.fit(iterator(data), **more)


def assert_same(one, other):
    for own, others in ((one.arg_params, other.arg_params), (one.aux_params, other.aux_params)):
        assert own.keys() == others.keys()
        for name in own:
            np.testing.assert_array_equal(own[name], others[name], err_msg=name, strict=True)
    np.testing.assert_array_equal(one.predict(ROWS), other.predict(ROWS))


OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "wd": 1e-3},
    "adam": {"optimizer": "adam", "learning_rate": np.float32(0.05), "clip_gradient": 0.01, "lr_mult": {"fc1_weight": 0.5}},
    "schedule": {"optimizer": "adam", "lr_scheduler": schedule},
}  # fmt: skip
DATA = ("arrays", "shuffled arrays", "own generator", "default generator", "roll over")


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("dropout", [0, 0.4])
@pytest.mark.parametrize("runner", available_runners())
def test_three_epochs_and_three_more_from_a_file_are_six(runner, dropout, kind, data, tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_LESSON_RUNNER", runner)
    own = {"seed": None} if data == "default generator" else {}
    models = []
    for epochs in (6, 3):
        tl.random.seed(3)
        models.append(model(epochs, dropout, **OPTIMIZERS[kind], **own))
        fit(models[-1], data)
    whole, broken = models
    broken.save(str(tmp_path / "m"), states=True)
    tl.random.seed(77)
    given = {"lr_scheduler": schedule} if kind == "schedule" else {}
    later = tl.FeedForward.load(str(tmp_path / "m"), 3, num_epoch=6, **given)
    fit(later, data)
    assert_same(later, whole)
    assert later.history.loss == whole.history.loss[3:]


@settings(deadline=None, max_examples=10)
@given(st.data())
def test_a_training_can_be_broken_off_anywhere_and_often(tmp_path_factory, data):
    prefix = str(tmp_path_factory.mktemp("m") / "m")
    ends = sorted(data.draw(st.sets(st.integers(1, 6), min_size=1)))
    kind = data.draw(st.sampled_from([key for key in OPTIMIZERS if key != "schedule"]))
    rows = data.draw(st.sampled_from([kind for kind in DATA if kind != "default generator"]))
    whole = model(ends[-1] + 1, **OPTIMIZERS[kind])
    fit(whole, rows)
    part = model(ends[0], **OPTIMIZERS[kind])
    for begin, end in zip(ends, [*ends[1:], ends[-1] + 1], strict=True):
        fit(part, rows)
        part.save(prefix, states=True)
        part = tl.FeedForward.load(prefix, begin, num_epoch=end, **OPTIMIZERS[kind], seed=5)
    fit(part, rows)
    assert_same(part, whole)


def test_a_checkpoint_from_within_a_training_goes_on_too(tmp_path):
    m = model(5, optimizer="adam")

    def keep(epoch, *_):
        m.save(str(tmp_path / "m"), epoch + 1, states=True)

    fit(m, "shuffled arrays", epoch_end_callback=keep)
    for epoch in range(1, 5):
        later = tl.FeedForward.load(str(tmp_path / "m"), epoch, num_epoch=5)
        fit(later, "shuffled arrays", epoch_end_callback=lambda *_: None)
        assert_same(later, m)


def test_a_model_that_is_its_own_loss_goes_on_too(tmp_path):
    def classifier(epochs):
        net = sym.SoftmaxOutput(network(), name="softmax")
        return tl.FeedForward(
            net, num_epoch=epochs, numpy_batch_size=10, seed=1, momentum=0.9, learning_rate=0.3
        )

    whole, broken = classifier(4), classifier(2)
    kinds = LABELS.argmax(axis=1)
    whole.fit(ROWS, kinds, shuffle=True)
    broken.fit(ROWS, kinds, shuffle=True)
    broken.save(str(tmp_path / "m"), states=True)
    later = tl.FeedForward.load(str(tmp_path / "m"), 2, num_epoch=4)
    assert later.averages
    later.fit(ROWS, kinds, shuffle=True)
    assert_same(later, whole)


def test_an_iterator_of_ones_own_is_saved_with_what_it_says(tmp_path):
    class Own:
        """Its batches change from epoch to epoch."""

        batch_size = 10

        def __init__(self):
            self.round, self.at = 0, 4

        def reset(self):
            self.round, self.at = self.round + (self.at > 3), 0

        def iter_next(self):
            self.at += 1
            return self.at <= 4

        def value(self):
            start = (self.round * 7 + self.at * 5) % 30
            return {"data": ROWS[start : start + 10], "label": LABELS[start : start + 10]}

        def get_state(self):
            return {"round": np.array([self.round])}

        def set_state(self, state):
            self.round, self.at = int(state["round"][0]), 4

    whole, broken = model(4), model(2)
    whole.fit(Own())
    broken.fit(Own())
    broken.save(str(tmp_path / "m"), states=True)
    later = tl.FeedForward.load(str(tmp_path / "m"), 2, num_epoch=4)
    with pytest.raises(BindError, match="tell how the rows go on, but Plain has no set_state"):
        later.fit(type("Plain", (Own,), {"set_state": property()})())
    later.fit(Own())
    assert_same(later, whole)


def test_an_optimizer_with_a_rate_that_was_changed_goes_on_with_that(tmp_path):
    adam = optimizer.create("adam", learning_rate=0.1)
    m = model(2, optimizer=adam)
    fit(m, "arrays", epoch_end_callback=lambda epoch, *_: adam.set_learning_rate(0.01))
    m.save(str(tmp_path / "m"), states=True)
    later = tl.FeedForward.load(str(tmp_path / "m"), 2)
    assert (later.optimizer.learning_rate, later.averages) == (0.01, False)
    assert tl.FeedForward.load(str(tmp_path / "m"), 2, learning_rate=0.3).optimizer.learning_rate == 0.3


@pytest.fixture
def saved(tmp_path):
    """The prefix of a training with Adam and a schedule after two epochs."""
    m = model(2, optimizer="adam", lr_scheduler=schedule)
    fit(m, "shuffled arrays")
    m.save(str(tmp_path / "m"), states=True)
    return str(tmp_path / "m")


def test_a_loaded_model_answers_without_what_only_its_training_needs(saved):
    assert tl.FeedForward.load(saved, 2).predict(ROWS).shape == (43, 2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, r"followed a lr_scheduler, .* it goes on at update 11"),
        ({"optimizer": "sgd"}, "the states are those of Adam, the optimizer is SGD"),
        ({"optimizer": optimizer.create("sgd", momentum=0.9)}, "the states are those of Adam"),
    ],
)
def test_a_training_that_cannot_go_on_says_what_to_give(more, said, saved):
    later = tl.FeedForward.load(saved, 2, num_epoch=3, **more)
    for _ in range(2):  # a fit that was refused does not make the next one start anew
        with pytest.raises(BindError, match=said):
            fit(later, "shuffled arrays")
    later = tl.FeedForward.load(saved, 2, num_epoch=3, states=False)
    with pytest.raises(BindError):
        fit(later, "arrays")  # the loss is not there
    assert tl.FeedForward.load(saved, 2, states=False).predict(ROWS).shape == (43, 2)


def test_no_epoch_left_to_train_is_said_with_the_number_that_is_meant(saved):
    for epochs in (2, 1):
        later = tl.FeedForward.load(saved, 2, num_epoch=epochs, lr_scheduler=schedule)
        with pytest.raises(
            BindError, match=rf"num_epoch is {epochs}, but begin_epoch is 2.*3 trains one more"
        ):
            fit(later, "shuffled arrays")
    assert fit(tl.FeedForward.load(saved, 2, lr_scheduler=schedule), "shuffled arrays").steps == 5


def test_states_of_other_parameters_are_not_taken(saved, tmp_path):
    other = model(2, optimizer="adam")
    fit(other, "arrays")
    states = (tmp_path / "m-0002.states").read_bytes()
    other.save(saved, states=True)
    write_whole(tmp_path / "m-0002.states", states)
    with pytest.raises(FormatError, match=r"m-0002\.states was not saved with .*m-0002\.params as it is now"):
        tl.FeedForward.load(saved, 2)
    other.save(saved)
    assert not (tmp_path / "m-0002.states").exists()
    assert tl.FeedForward.load(saved, 2).states is None
    with pytest.raises(FileNotFoundError, match=r"m-0002\.states"):
        tl.FeedForward.load(saved, 2, states=True)


def test_states_that_mxnet_pickled_are_left_alone(saved, tmp_path):
    path = tmp_path / "m-0002.states"
    path.write_bytes(b"\x80\x03}q\x00.")
    assert tl.FeedForward.load(saved, 2).states is None
    with pytest.raises(FormatError, match="is a pickle, which is never read"):
        tl.FeedForward.load(saved, 2, states=True)
    model_ = tl.FeedForward.load(saved, 2)
    model_.save(saved, 2)
    assert path.exists()


def test_there_are_no_states_where_the_steps_went_beyond_the_parameters(tmp_path):
    m = model(2)
    fit(m, "arrays")
    m.save(str(tmp_path / "m"), states=True)

    def fails(param):
        if param.nbatch == 3:
            raise KeyError("mine")

    for one in (m, tl.FeedForward.load(str(tmp_path / "m"), 2)):
        before = one.arg_params
        with pytest.raises(KeyError, match="mine"):
            fit(one, "arrays", batch_end_callback=fails)
        if one.arg_params is before and one is m:
            with pytest.raises(BindError, match="no states beside these parameters"):
                one.save(str(tmp_path / "x"), states=True)
    fresh = model(2, arg_params=m.arg_params)
    with pytest.raises(BindError, match="no states beside these parameters; call fit first"):
        fresh.save(str(tmp_path / "x"), states=True)


def test_what_is_saved_is_numbers_by_name_and_json(saved):
    arrays = load_params(f"{saved}-0002.states")
    assert {"json", "generator:model", "moment0:fc1_weight", "moment1:fc2_bias"} <= set(arrays)
    told = json.loads(arrays["json"].tobytes())
    assert (told["optimizer"], told["num_update"], told["scheduled"]) == ("Adam", 10, True)
    assert sym.load_json(told["loss"]).list_arguments()[-1] == "label"


def readable(prefix):
    """Whether a model is read and can go on, or is refused as it should be."""
    try:
        later = tl.FeedForward.load(prefix, 2, num_epoch=3, lr_scheduler=schedule)
        fit(later, "shuffled arrays")
    except LessonError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("seed", seeds(60))
def test_damaged_states_are_read_or_refused_with_file_and_place(seed, tmp_path_factory):
    folder = tmp_path_factory.mktemp("m")
    prefix = str(folder / "m")
    m = model(2, optimizer="adam", lr_scheduler=schedule)
    fit(m, "shuffled arrays")
    m.save(prefix, states=True)
    path = folder / "m-0002.states"
    whole = path.read_bytes()
    if seed % 2:
        path.write_bytes(damaged_bytes(whole, seed))
    else:
        arrays = load_params(path)
        text = damaged_json(arrays["json"].tobytes().decode(), seed)
        arrays["json"] = np.frombuffer(text or b"x", np.uint8)
        save_params(path, arrays)
        path.write_bytes(whole[:16] + path.read_bytes()[16:])
    with np.errstate(all="ignore"):
        said = readable(prefix)
    assert said == "read" or re.search(
        r"m-0002\.states|^fit: |no first value for a parameter of this name", said
    ), said


ONE = {"optimizer": "SGD", "settings": {}, "averages": True, "num_update": 1, "numpy_batch_size": 1, "loss": None,
       "seed": 0, "iterator": {}}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_update": -1}, "'num_update' is -1, expected a whole number from 0 on"),
        ({"optimizer": 3}, "'optimizer' is 3, expected text"),
        ({"numpy_batch_size": 0}, "'numpy_batch_size' is 0, expected 1 or more"),
        ({"settings": {"learning_rate": None}}, "'learning_rate' is None, expected a number"),
        ({"settings": {"learning_rate": -1}}, "SGD: learning_rate is -1, expected a positive number"),
        ({"settings": {"speed": 1}}, "'speed' is no setting of SGD"),
        ({"settings": {"lr_mult": [[1]]}}, "'lr_mult' has [1] at 0, expected a pair"),
        ({"settings": {"lr_mult": [["a", "b"]]}}, "'lr_mult' is 'b', expected a number"),
        ({"settings": {"multi_precision": 1}}, "'multi_precision' is 1, expected true or false"),
        ({"iterator": {"seed": "x"}}, "'seed' is 'x', expected a whole number"),
        ({"iterator": {"seed": 1}}, "the state of a generator is (0,)"),
        ({"loss": 3}, "'loss' is 3, expected text or null"),
    ],
)
def test_a_wrong_key_is_named(change, said):
    arrays = {
        "generator:model": np.zeros((0, 625), np.int32),
        "json": np.frombuffer(json.dumps({**ONE, **change}).encode(), np.uint8),
    }
    with pytest.raises(FormatError, match=f"^x: {re.escape(said)}"):
        States.read(arrays, "x")


def test_an_epoch_is_a_number_and_parameters_are_those_of_the_states(saved, tmp_path):
    with pytest.raises(DTypeError, match="the epoch of a checkpoint"):
        tl.FeedForward.load(saved, "2")
    later = tl.FeedForward.load(saved, 2, num_epoch=3, lr_scheduler=schedule)
    del later.states.arrays["moment1:fc2_bias"]
    with pytest.raises(BindError, match="'moment1:fc2_bias' is missing"):
        fit(later, "shuffled arrays")


# What is saved of a generator and of an iterator.


@given(st.integers(0, 2**40), st.lists(st.integers(0, 3000), max_size=4))
@settings(max_examples=20, deadline=None)
def test_a_generator_goes_on_where_its_state_was_taken(seed, sizes):
    one, other = MXNetGenerator(seed), MXNetGenerator()
    for size in sizes:
        one.normal(shape=size)
    other.set_state(one.seed, one.get_state())
    np.testing.assert_array_equal(one.uniform(shape=700), other.uniform(shape=700))
    np.testing.assert_array_equal(one.permutation(70), other.permutation(70))


@pytest.mark.parametrize(
    "rows", [np.zeros(625), np.zeros((1, 624)), np.zeros((1025, 625)), np.full((1, 625), 700)]
)
def test_a_state_that_no_generator_has_is_refused(rows):
    with pytest.raises(ShapeError, match="the state of a generator"):
        MXNetGenerator().set_state(0, rows)


@pytest.mark.parametrize("left", [[43], [-1], [0.5], [[1]], list(range(10)), None])
def test_rows_that_cannot_roll_over_are_refused(left):
    with pytest.raises(ShapeError, match="roll over, expected 9 at most, below 43"):
        iterator("roll over").set_state({"left": left})


def test_a_training_is_written_as_text_only_when_it_is_saved(tmp_path, monkeypatch):
    prediction = sym.softmax(sym.FullyConnected(sym.Variable("data"), num_hidden=3, name="fc"), name="out")
    loss = sym.MakeLoss(0 - sym.mean(sym.log(prediction + 1e-8) * sym.Variable("label")))
    written = []
    write = sym.Symbol.tojson
    monkeypatch.setattr(sym.Symbol, "tojson", lambda self: (written.append(self), write(self))[1])
    model = tl.FeedForward(loss, prediction=prediction, num_epoch=2, numpy_batch_size=4, seed=0)
    x, y = np.random.default_rng(0).normal(size=(8, 4)), np.eye(3)[np.arange(8) % 3]
    model.fit(x, y)
    assert not written
    model.save(str(tmp_path / "m"), states=True)
    assert loss in written
    again = tl.FeedForward.load(str(tmp_path / "m"), 2, num_epoch=3)
    assert again.symbol.tojson() == write(loss)
    again.fit(x, y)
    longer = tl.FeedForward(loss, prediction=prediction, num_epoch=3, numpy_batch_size=4, seed=0)
    longer.fit(x, y)
    np.testing.assert_array_equal(again.arg_params["fc_weight"], longer.arg_params["fc_weight"])
