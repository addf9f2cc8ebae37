"""Training a network of the lesson, and writing down what came out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.arrays import Context, cpu
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.lesson.data import Lesson, load
from tinygrad_lesson.lesson.networks import KINDS, NETWORKS, cross_entropy
from tinygrad_lesson.symbol import NameManager
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.train.history import History
from tinygrad_lesson.train.initializer import Uniform
from tinygrad_lesson.train.metric import accuracy, confusion_table
from tinygrad_lesson.viz.network import save_network
from tinygrad_lesson.viz.plots import plot_gradients, plot_loss, save_figure

EPOCHS, BATCH_SIZE = 100, 20


class Result(NamedTuple):
    """A trained network, and how it did on the test rows."""

    name: str
    model: FeedForward
    history: History
    confusion: np.ndarray
    probabilities: np.ndarray  # (test rows, kinds)
    accuracy: float

    def as_json(self) -> dict[str, Any]:
        """The numbers, as they are written to `history.json`."""
        return {
            "network": self.name,
            "loss": self.history.loss,
            "mean_abs_grad": self.history.mean_abs_grad,
            "confusion": self.confusion.tolist(),
            "first_test_row": [float(p) for p in self.probabilities[0]],
            "accuracy": self.accuracy,
            "seconds": self.history.seconds,
            "steps_per_second": self.history.steps_per_second,
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
) -> Result:
    """Train one of `NETWORKS` as the lesson does; `seed` draws the first weights, the rows stay."""
    rows = load() if rows is None else rows
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
    history = model.fit(batches, log=log, progress=progress)
    probabilities = model.predict(rows.test_data)
    table = confusion_table(probabilities, rows.test_label, KINDS)
    return Result(name, model, history, table, probabilities, accuracy(probabilities, rows.test_label))


def write(result: Result, directory: Path) -> Path:
    """Numbers, plots, picture and checkpoint of a network, below `directory`; the path of the picture."""
    directory.mkdir(parents=True, exist_ok=True)
    write_whole(directory / "history.json", json.dumps(result.as_json(), indent=1))
    gradients = plot_gradients(result.history.mean_abs_grad, title=f"{result.name}: gradients per weight")
    save_figure(gradients, directory / "gradients.png")
    save_figure(plot_loss(result.history.loss), directory / "loss.png")
    result.model.save(str(directory / "model"), len(result.history.loss))
    return save_network(result.model.prediction, directory, {"data": (BATCH_SIZE, 4)})


def summary(results: list[Result]) -> str:
    """One JSON text over all networks."""
    keys = ("accuracy", "confusion", "first_test_row", "seconds", "steps_per_second")
    rows = {r.name: {key: r.as_json()[key] for key in keys} for r in results}
    final = {r.name: r.history.loss[-1] for r in results}
    return json.dumps({name: {**row, "final_loss": final[name]} for name, row in rows.items()}, indent=1)
