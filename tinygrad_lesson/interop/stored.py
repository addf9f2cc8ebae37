"""What a file of a model holds, whatever its format: told, drawn, asked for answers, written as another format.

The ending says the format: `.json` is a graph, `.safetensors` are arrays, and all else is MXNet's `.params`, which may
have any name.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygrad_lesson.engine.errors import BindError, FormatError, listed, near
from tinygrad_lesson.engine.shapes import show
from tinygrad_lesson.files import as_path, plain, read_text, refused, write_whole
from tinygrad_lesson.interop import safetensors
from tinygrad_lesson.mxnet.functions import load, load_json
from tinygrad_lesson.mxnet.params import digest_of_graph, is_pickle, read_listed, write_arrays
from tinygrad_lesson.mxnet.symbol import Symbol
from tinygrad_lesson.train.data import NDArrayIter
from tinygrad_lesson.train.feedforward import FeedForward
from tinygrad_lesson.viz.network import plot_network
from tinygrad_lesson.viz.render import put
from tinygrad_lesson.viz.summary import print_summary

GRAPH = "graph_digest"  # MXNet's reserved word as our checkpoints use it, among safetensors' texts
NUMBERED = re.compile(r"(-\d{4,})?\.[^.]*$")  # what follows the prefix of a checkpoint
ROWS = 128  # that are answered at a time


class Stored(NamedTuple):
    """Arrays by name, and the digest of the graph they belong to, 0 if there is none."""

    arrays: dict[str, np.ndarray]
    belongs_to: int = 0

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Stored:
        """The arrays in a file; those of a list, which have no names, are called by their numbers.

        Errors
            FormatError naming the file and the place in it that is wrong.
        """
        if ending(path) != ".safetensors":
            if is_pickle(as_path(path)):
                raise FormatError(
                    f"{plain(path)} is a pickle, as MXNet's optimizer states are, which is never read"
                )
            names, arrays, belongs_to = read_listed(path)
            return cls(dict(zip(names or map(str, range(len(arrays))), arrays, strict=True)), belongs_to)
        found, told = safetensors.load(path)
        digest = told.get(GRAPH, "0")
        if not re.fullmatch("[0-9a-f]{1,16}", digest):
            raise FormatError(
                f"{plain(path)}: {GRAPH!r} is {plain(digest, 80)!r}, expected 64 bits in hexadecimal"
            )
        return cls(found, int(digest, 16))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the arrays in the format that the ending of `path` says.

        Errors
            DTypeError or ShapeError for an array that the format cannot hold.
        """
        if ending(path) == ".safetensors":
            safetensors.save(path, self.arrays, {GRAPH: f"{self.belongs_to:x}"} if self.belongs_to else {})
        else:
            write_arrays(path, self.arrays, self.belongs_to)


def ending(path: str | os.PathLike[str]) -> str:
    """The ending of a file's name, which says its format."""
    return Path(as_path(path)).suffix.lower()


def told(path: str | os.PathLike[str], shapes: Mapping[str, Any] | None = None) -> str:
    """What is in a file, for a reader: a graph layer by layer, with the `shapes` of its inputs if given, or arrays.

    Errors
        FormatError naming the file and the place in it that is wrong.
    """
    if ending(path) == ".json":
        return told_graph(load(path), plain(path), shapes)
    arrays = Stored.read(path).arrays
    numbers, size = sum(x.size for x in arrays.values()), sum(x.nbytes for x in arrays.values())
    lines = [f"{plain(path)}: arrays {len(arrays)}, numbers {numbers}, bytes {size}"]
    rows = [(plain(name, 80), x.dtype.name, show(x.shape), told_numbers(x)) for name, x in arrays.items()]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for *parts, numbers_told in rows:
        fields = (part.ljust(width) for part, width in zip(parts, widths, strict=True))
        lines.append("  ".join([*fields, numbers_told]))
    return "\n".join(lines)


def told_graph(symbol: Symbol, where: str, shapes: Mapping[str, Any] | None) -> str:
    """A graph: how much of what, and MXNet's table of layers."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        print_summary(symbol, shapes)
    operators = sum(node.op is not None for node in symbol.nodes)
    arguments = symbol.list_arguments()
    hint = (
        [] if shapes or not arguments else [f"For sizes, tell shapes of inputs: --shape {arguments[0]}=20,4"]
    )
    return "\n".join(
        [
            f"{where}: {operators} operators",
            f"arguments  {listed(arguments)}",
            f"states     {listed(symbol.list_auxiliary_states()) or 'none'}",
            f"outputs    {listed(symbol.list_outputs())}",
            printed.getvalue().rstrip(),
            *hint,
        ]
    )


def told_numbers(x: np.ndarray) -> str:
    """The least, the mean and the largest of an array, and how many of it are not finite."""
    finite = x[np.isfinite(x)].astype(np.float64)
    strange = f", {x.size - finite.size} not finite" if finite.size < x.size else ""
    if not finite.size:
        return f"no finite number{strange}"
    with np.errstate(over="ignore"):  # of numbers that are near the largest
        return f"from {finite.min():.6g} to {finite.max():.6g}, mean {finite.mean():.6g}{strange}"


def graph_beside(path: str | os.PathLike[str]) -> str:
    """The graph that lies beside the arrays of a checkpoint: `net-symbol.json` for `net-0100.params`."""
    return NUMBERED.sub("", as_path(path)) + "-symbol.json"


def draw(
    path: str | os.PathLike[str], picture: str | os.PathLike[str], shapes: Mapping[str, Any] | None
) -> Path:
    """Draw a graph, or the one beside the arrays of a checkpoint. The path written, `.gv` where nothing can draw.

    Errors
        FormatError naming the file and the place in it that is wrong.
    """
    graph = path if ending(path) == ".json" else graph_beside(path)
    return put(plot_network(load(graph), Path(as_path(graph)).stem, shape=shapes), picture)


def predict(path: str | os.PathLike[str], rows: np.ndarray, output: str | None = None) -> np.ndarray:
    """Answers of a checkpoint, whose arrays are at `path`, for rows; of an inner `output` if one is named.

    Errors
        FormatError where the arrays were saved with another graph; BindError where there is not one input to
        give the rows to, and for an output that is not there or needs more than rows.
    """
    graph = graph_beside(path)
    stored, text = Stored.read(path), read_text(graph)
    symbol = load_json(text, plain(graph))
    if stored.belongs_to not in (0, digest_of_graph(text)):
        raise FormatError(f"{plain(path)} was not saved with the network that {plain(graph)} holds now")
    if output is not None:
        inner = symbol.get_internals()
        if output not in inner.list_outputs():
            meant = near(output, inner.list_outputs()).replace("it takes", "it has")
            raise BindError(f"{plain(graph)} has no output {plain(output, 80)!r}; {meant}")
        symbol = inner[output]
    named = {name.removeprefix("arg:").removeprefix("aux:"): x for name, x in stored.arrays.items()}
    open_ = [name for name in symbol.list_arguments() if name not in named and not name.endswith("label")]
    if len(open_) != 1:
        raise BindError(
            f"{plain(path)} has values for all arguments of {plain(graph)} but {listed(open_) or 'none'}; "
            "expected one that is left, for the rows"
        )
    refuse_labels(symbol, {open_[0]: rows.shape}, named)
    parts = [
        {n: named[n] for n in names if n in named}
        for names in (symbol.list_arguments(), symbol.list_auxiliary_states())
    ]
    model = FeedForward(symbol, prediction=symbol, arg_params=parts[0], aux_params=parts[1])
    return model.predict(NDArrayIter({open_[0]: rows}, batch_size=min(ROWS, max(1, len(rows)))))


def refuse_labels(symbol: Symbol, shapes: Mapping[str, Any], named: Mapping[str, Any]) -> None:
    """Refuse an output for which rows are not enough, as a loss that compares them with labels.

    Errors
        BindError naming the inner outputs that can be asked for.
    """
    found = zip(symbol.list_arguments(), symbol.infer_shape_partial(**shapes)[0], strict=True)
    labels = [name for name, shape in found if name not in named and name not in shapes and not shape]
    if labels:
        inner = symbol.get_internals()
        ready = [
            name
            for name in inner.list_outputs()
            if name.endswith("_output") and not {*inner[name].list_arguments()} & {*labels}
        ]
        raise BindError(
            f"{symbol.list_outputs()[0]!r} needs {listed(labels)} too; ask for an inner output instead: "
            f"{' or '.join(f'--output {name}' for name in ready[-3:])}"
        )


def read_rows(path: str | os.PathLike[str]) -> np.ndarray:
    """Rows of numbers: an array of NumPy's (`.npy`), or text with commas between numbers.

    Errors
        FormatError for anything else.
    """
    try:
        if ending(path) == ".npy":
            return np.load(as_path(path), allow_pickle=False)  # type: ignore[no-any-return]
        return np.loadtxt(io.StringIO(read_text(path)), np.float32, delimiter=",", ndmin=2)
    except FormatError:
        raise
    except OSError as error:
        raise refused(path, error, "read") from None
    except (ValueError, EOFError) as error:
        raise FormatError(f"{plain(path)}: {plain(error)}") from None


def write_rows(path: str | os.PathLike[str], rows: np.ndarray) -> None:
    """Write rows as `read_rows` reads them."""
    if ending(path) == ".npy":
        data = io.BytesIO()
        np.save(data, rows, allow_pickle=False)
        write_whole(path, data.getvalue())
    else:
        write_whole(path, as_text(rows) + "\n")


def as_text(rows: np.ndarray) -> str:
    """Rows of numbers with commas between them, one row a line."""
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    return "\n".join(",".join(f"{number:.9g}" for number in row) for row in flat)


def convert(path: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write what is in one file to another, in the format of its ending; a graph as MXNet 1.9 writes it.

    Errors
        FormatError naming the file and the place in it that is wrong, or where one file is a graph and the other
        holds arrays; DTypeError or ShapeError for an array that the new format cannot hold.
    """
    if (ending(path) == ".json") != (ending(target) == ".json"):
        raise FormatError(
            f"{plain(path)} cannot become {plain(target)}: one is a graph, the other holds arrays"
        )
    if ending(path) == ".json":
        load(path).save(as_path(target))
    else:
        Stored.read(path).write(target)
