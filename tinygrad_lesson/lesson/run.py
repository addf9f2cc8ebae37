"""Training a network of the lesson, and writing down what came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.arrays import Context, cpu
from tinygrad_lesson.engine.errors import LessonError
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.lesson.data import Lesson, load
from tinygrad_lesson.lesson.networks import KINDS, NETWORKS, cross_entropy
from tinygrad_lesson.mxnet import NameManager
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.diagnosis import diagnose
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.history import History
from tinygrad_lesson.train.initializer import Uniform
from tinygrad_lesson.train.metric import accuracy, confusion_table
from tinygrad_lesson.viz.axes import save_figure
from tinygrad_lesson.viz.distributions import plot_activations, plot_weights
from tinygrad_lesson.viz.draw import draw
from tinygrad_lesson.viz.flow import gradient_flow
from tinygrad_lesson.viz.network import plot_network
from tinygrad_lesson.viz.page import page
from tinygrad_lesson.viz.plots import (
    plot_depths,
    plot_gradients,
    plot_heatmap,
    plot_loss,
    plot_losses,
)
from tinygrad_lesson.viz.render import put

EPOCHS, BATCH_SIZE = 100, 20
SCALE = (1e-16, 1.0)  # of gradients: a colour means the same in all pictures of a run
KEPT = (2, 3, 5, *range(10, 1000, 10))  # epochs whose parameters are kept, beside the first and the last


class Result(NamedTuple):
    """A trained network, and how it did on the test rows."""

    name: str
    model: FeedForward
    history: History
    confusion: np.ndarray
    probabilities: np.ndarray  # (test rows, kinds)
    accuracy: float
    accuracies: dict[int, float]  # on the test rows, after some epochs

    def as_json(self) -> dict[str, Any]:
        """The numbers, as they are written to `history.json`."""
        return {
            "network": self.name,
            **self.history.as_json(),
            "confusion": self.confusion.tolist(),
            "first_test_row": [float(p) for p in self.probabilities[0]],
            "accuracy": self.accuracy,
            "accuracies": self.accuracies,
            "diagnosis": str(diagnose(self.history)),
        }


def train(
    name: str,
    *,
    epochs: int = EPOCHS,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    device: Context = cpu(),
    rows: Lesson | None = None,
    log: Callable[[str], Any] | None = None,
    progress: bool | None = None,
    parallel: Any = None,
) -> Result:
    """Train one of `NETWORKS` as the lesson does; `seed` draws the first weights, the rows stay.

    With `parallel`, which is `tl.parallel.world()`, all ranks train it together.
    """
    rows = load() if rows is None else rows
    if not 1 <= batch_size <= len(rows.train_data):
        raise LessonError(
            f"batch_size is {batch_size}, expected 1 to {len(rows.train_data)}, the number of rows to learn from"
        )
    network = NETWORKS[name]
    with NameManager():
        prediction = network.build()
        loss = cross_entropy(prediction)
    model = FeedForward(
        loss,
        device,
        prediction=prediction,
        num_epoch=epochs,
        initializer=Uniform(0.01),
        seed=seed,
        **network.training,
    )
    batches = NDArrayIter(rows.train_data, rows.train_label, batch_size, label_name="label")
    history = model.fit(batches, log=log, progress=progress, keep=KEPT, parallel=parallel)
    probabilities = model.predict(rows.test_data)
    table = confusion_table(probabilities, rows.test_label, KINDS)
    right = accuracy(probabilities, rows.test_label)
    return Result(name, model, history, table, probabilities, right, accuracies(model, rows))


def accuracies(model: FeedForward, rows: Lesson) -> dict[int, float]:
    """The accuracy on the test rows after each epoch whose parameters are known."""
    executor = model.prediction.simple_bind(model.ctx, "null", data=rows.test_data.shape)
    found = {}
    for epoch, known in model.history.parameters.items():
        arguments, states = (
            {name: known[name] for name in held if name in known}
            for held in (executor.arguments, executor.states)
        )
        executor.copy_params_from(arguments, states)
        (answers,) = executor.forward(is_train=False, data=rows.test_data)
        if epoch:
            found[epoch] = accuracy(answers.asnumpy(), rows.test_label)
    return found


def write(result: Result, directory: Path) -> Path:
    """Numbers, plots, pictures and checkpoint of a network, below `directory`; the path of its picture."""
    directory.mkdir(parents=True, exist_ok=True)
    told = result.as_json()
    write_whole(directory / "history.json", json.dumps(told, indent=1))
    write_whole(directory / "diagnosis.txt", told["diagnosis"] + "\n")
    history, name, model = result.history, result.name, result.model
    plots = {
        "gradients": plot_gradients(history.mean_abs_grad, title=f"{name}: gradients per weight"),
        "heatmap": plot_heatmap(
            history.mean_abs_grad, low=SCALE[0], high=SCALE[1], title=f"{name}: gradients per weight"
        ),
        "loss": plot_loss(
            history.loss, result.accuracies, title=f"{name}: loss and accuracy on the test rows"
        ),
        "weights": plot_weights(history, title=name),
        "activations": plot_activations(history, title=name),
    }
    for what, drawn in plots.items():
        save_figure(drawn, directory / f"{what}.png")
    model.save(str(directory / "model"), len(history.loss))
    shape = {"data": (BATCH_SIZE, 4)}
    put(gradient_flow({name: model}, shape=shape, scale=SCALE), directory / "flow.svg")
    rows = {"data": (BATCH_SIZE, 4), "label": (BATCH_SIZE, KINDS)}
    put(draw(model.symbol, shape=rows, backward=True), directory / "backward.svg")
    return put(plot_network(model.prediction, title="network", shape=shape), directory / "network.svg")


def write_comparison(results: Sequence[Result], directory: Path) -> None:
    """All networks on one scale: gradient flow, gradient by depth, losses."""
    models = {result.name: result.model for result in results}
    histories = {result.name: result.history for result in results}
    put(gradient_flow(models, shape={"data": (BATCH_SIZE, 4)}, scale=SCALE), directory / "gradient-flow.svg")
    save_figure(plot_depths(histories), directory / "depths.png")
    save_figure(plot_losses(histories), directory / "losses.png")


def write_page(results: Sequence[Result], directory: Path, kit: Mapping[str, Any] | None = None) -> Path:
    """The page of all networks, with the laboratory where its `kit` is given."""
    tables = {
        r.name: {"here": r.confusion.tolist(), "in the lesson": NETWORKS[r.name].confusion or []}
        for r in results
    }
    return page(
        {result.name: result.model for result in results},
        directory / "index.html",
        title="The lesson's networks: their gradients, layer by layer and epoch by epoch",
        tables=tables,
        accuracies={result.name: result.accuracy for result in results},
        notes={result.name: NETWORKS[result.name].told for result in results},
        scale=SCALE,
        kit=kit,
    )


def summary(results: list[Result]) -> str:
    """One JSON text over all networks."""
    keys = ("accuracy", "confusion", "first_test_row", "seconds", "steps_per_second")
    rows = {r.name: {key: r.as_json()[key] for key in keys} for r in results}
    final = {r.name: r.history.loss[-1] for r in results}
    return json.dumps({name: {**row, "final_loss": final[name]} for name, row in rows.items()}, indent=1)
