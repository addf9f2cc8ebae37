"""The command line: `tinygrad-lesson list`, `run`, `lab`, `check`, and what is done with files of models."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from tinygrad_lesson import __version__, parallel
from tinygrad_lesson.arrays import Context, require_device
from tinygrad_lesson.check.target import ops_of
from tinygrad_lesson.engine.errors import DeviceError, LessonError
from tinygrad_lesson.files import plain, refused, write_whole
from tinygrad_lesson.interop import stored
from tinygrad_lesson.lesson import lab, remedies, run
from tinygrad_lesson.lesson.networks import NETWORKS
from tinygrad_lesson.subjects import check_at, named
from tinygrad_lesson.train.diagnosis import diagnose
from tinygrad_lesson.train.metric import format_confusion
from tinygrad_lesson.viz.axes import save_figure
from tinygrad_lesson.viz.page import laboratory
from tinygrad_lesson.viz.plots import plot_remedies
from tinygrad_lesson.viz.render import MISSING

DIGITS = 18  # of a number that is asked for; more would never end, or never begin


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code is 0, 1 where a check fails, 2 for a mistake in what was asked."""
    with contextlib.suppress(AttributeError):  # there is none, or it is another one
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            asked = parser().parse_args(arguments)
            return int(asked.command(asked))
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # what cannot be written is said here, not when the program has ended
    except BrokenPipeError:  # who reads has seen enough, as in `... | head -1`
        without_output()
        return 128 + 13
    except (LessonError, OSError, MemoryError) as error:
        without_output(error)
        print(f"tinygrad-lesson: {one_line(error)}", file=sys.stderr)
        parallel.end_all()
        return 2
    except KeyboardInterrupt:
        print("tinygrad-lesson: stopped", file=sys.stderr)
        parallel.end_all()
        return 130


def one_line(error: Exception) -> str:
    """What went wrong, without a traceback."""
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {plain(error)}".rstrip(": ")
    if isinstance(error, OSError) and not isinstance(error, LessonError):
        return f"cannot write {plain(error.filename or 'the output')}: {plain(error.strerror or error)}"
    return plain(" ".join(line.strip() for line in str(error).splitlines()), longest=2000)


def without_output(error: Exception | None = None) -> None:
    """Send what is left of the output nowhere, so that Python does not try again to write it when it ends."""
    own = isinstance(error, LessonError) or not isinstance(error, OSError) or error.filename
    if error is None or not own:
        with contextlib.suppress(AttributeError, OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are one line, and show a terminal nothing but text."""

    def print_help(self, file: Any = None) -> None:
        """Print the help; argparse itself would not say that it cannot be written."""
        print(self.format_help(), end="", file=file)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and where to read more."""
        self.exit(2, f"{self.prog}: error: {plain(message)} (see {self.prog} --help)\n")


def parser() -> argparse.ArgumentParser:
    """What can be asked."""
    top = Parser(prog="tinygrad-lesson", description="The lesson on vanishing gradients.")
    top.add_argument("--version", action="version", version=f"tinygrad-lesson {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="name the lesson's networks")
    listing.set_defaults(command=list_networks)
    runs = commands.add_parser(
        "run", help="train networks and write what came out; under mpiexec -n N by N ranks"
    )
    runs.add_argument("nets", nargs="*", metavar="NET", help="networks by name, or all (the default)")
    runs.add_argument("--epochs", type=positive, default=run.EPOCHS, metavar="N")
    runs.add_argument("--seed", type=natural, default=0, metavar="N", help="of the first weights")
    runs.add_argument("--batch-size", type=positive, default=run.BATCH_SIZE, metavar="N")
    runs.add_argument("--device", type=device, default=Context(), metavar="cpu|gpu:0")
    runs.add_argument("--out", type=folder, default=Path("lesson-out"), metavar="DIR")
    runs.add_argument("--page", action="store_true", help="write DIR/index.html, to explore with a browser")
    runs.set_defaults(command=run_networks)
    labs = commands.add_parser(
        "lab", help="write a page in which networks are trained: one file, for any browser"
    )
    labs.add_argument("--out", type=folder, default=Path("laboratory.html"), metavar="FILE")
    labs.set_defaults(command=write_laboratory)
    checks = commands.add_parser("check", help="check the gradient of a function, or of every op of a module")
    checks.add_argument(
        "target", metavar="MODULE[:NAME]", help="a function, op or Symbol; without NAME all ops"
    )
    checks.add_argument("--shape", action="append", default=[], metavar="N,M", help="of each input in turn")
    checks.add_argument("--order", type=positive, default=1, metavar="1|2", help="of the derivatives")
    checks.add_argument("--seed", type=natural, default=0, metavar="N", help="of the inputs")
    checks.add_argument(
        "--low", type=number, default=-2.0, metavar="X", help="the least input, -2 by default"
    )
    checks.add_argument("--high", type=number, default=2.0, metavar="X", help="the largest, 2 by default")
    checks.set_defaults(command=check_gradients)
    add_files(commands)
    return top


def add_files(commands: Any) -> None:
    """The commands for files: a graph (-symbol.json) or arrays (.params, .safetensors), MXNet's or ours."""

    def command(name: str, told: str, carried_out: Any, *more: str) -> Any:
        new = commands.add_parser(name, help=told)
        new.add_argument("file", metavar="FILE")
        for argument in more:
            new.add_argument(argument.lower(), metavar=argument)
        new.set_defaults(command=carried_out)
        return new

    inspects = command(
        "inspect", "tell what is in a graph (-symbol.json) or in arrays (.params, .safetensors)", inspect
    )
    draws = command("draw", "draw the graph in a file, or beside the arrays of a checkpoint", draw)
    draws.add_argument("--out", default="graph.svg", metavar="FILE", help="ends in .svg, .png, .pdf or .gv")
    for shaped in (inspects, draws):
        shaped.add_argument("--shape", action="append", default=[], metavar="NAME=N,M", help="of an input")
    predicts = command(
        "predict", "answer rows, in .csv or .npy, by the arrays of a checkpoint", predict, "ROWS"
    )
    predicts.add_argument("--output", metavar="NAME", help="of an inner layer, such as softmax_output")
    predicts.add_argument("--out", metavar="FILE", help="write .csv or .npy; print the answers if left out")
    command("convert", "write .params as .safetensors or back, or a graph as MXNet 1.9 does", convert, "NEW")


def natural(text: str) -> int:
    """A number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r:.80} is no whole number from 0 on")
    if len(text) > DIGITS:
        raise argparse.ArgumentTypeError(f"{text:.10}... has {len(text)} digits, expected {DIGITS} at most")
    return int(text)


def number(text: str) -> float:
    """A finite number."""
    with contextlib.suppress(ValueError):
        if math.isfinite(float(text)):
            return float(text)
    raise argparse.ArgumentTypeError(f"{text!r:.80} is no finite number")


def folder(text: str) -> Path:
    """Where something is to be written: a folder, or nothing yet."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty, expected a folder")
    return Path(text)


def positive(text: str) -> int:
    """A number from 1 on."""
    if not natural(text):
        raise argparse.ArgumentTypeError("0 is too small; expected 1 or more")
    return int(text)


def device(text: str) -> Context:
    """A device that plans can run on."""
    try:
        context = Context.parse(text)
        require_device(context)
    except DeviceError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return context


def list_networks(asked: argparse.Namespace) -> int:
    """Print each network with its layers and optimizer."""
    for name, network in NETWORKS.items():
        layers = sum(argument.endswith("weight") for argument in network.build().list_arguments())
        print(f"{name:8}{layers:3} layers  {network.training['optimizer']:6}{network.told}")
    return 0


def run_networks(asked: argparse.Namespace) -> int:
    """Train the networks that were asked for, print and write what came out."""
    names = list(NETWORKS) if not asked.nets or "all" in asked.nets else list(dict.fromkeys(asked.nets))
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise LessonError(f"there is no network {unknown[0]!r:.80}; known: {', '.join(NETWORKS)}, or all")
    ranks = parallel.launched()
    if ranks and ranks.rank:  # rank 0 prints and writes
        for name in names:
            train(asked, name, ranks)
        ranks.barrier()
        return 0
    out: Path = asked.out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(out, error, "write to") from None
    began = time.perf_counter()
    changed = differences(asked)
    results = []
    for name in names:
        print(f"\n{name}: training for {asked.epochs} epochs")
        result = train(asked, name, ranks, print)
        results.append(result)
        report(result, changed)
        picture = run.write(result, out / name)
        if picture.suffix == ".gv":
            print(f"{plain(picture)}: {MISSING}")
    write_whole(out / "summary.json", run.summary(results))
    run.write_comparison(results, out)
    if asked.page:
        print(f"\nthe page: {plain(run.write_page(results, out, lab.kit()))}")
    if names == list(NETWORKS):
        save_figure(plot_remedies(remedies.compare(epochs=asked.epochs))[0], out / "remedies.png")
    trained = sum(result.history.seconds for result in results)
    print(f"\ntraining {trained:.2f} s, in all {time.perf_counter() - began:.1f} s; results in {plain(out)}/")
    if ranks:
        ranks.barrier()
    return 0


def train(asked: argparse.Namespace, name: str, ranks: Any, log: Any = None) -> run.Result:
    """Train one network as it was asked for."""
    settings = {key: getattr(asked, key) for key in ("epochs", "seed", "batch_size", "device")}
    return run.train(name, **settings, log=log, parallel=ranks)


def write_laboratory(asked: argparse.Namespace) -> int:
    """Write the laboratory."""
    print(f"the laboratory: {plain(laboratory(lab.kit(), asked.out))}")
    return 0


def check_gradients(asked: argparse.Namespace) -> int:
    """Print what the check of a function or of a module's ops finds; 1 if one fails."""
    if asked.order > 2:
        raise LessonError(f"--order is {asked.order}, expected 1 or 2")
    shapes = [as_shape(text) for text in asked.shape]
    if ":" in asked.target:
        found = check_at(named(asked.target), shapes, asked.order, asked.seed, asked.low, asked.high)
        print(found)
        return 0 if found.ok else 1
    if shapes:
        raise LessonError(f"--shape says nothing about a whole module; name one: {asked.target}:NAME")
    codes = {0}
    for op in ops_of(asked.target):
        try:
            found = check_at(op, (), asked.order, asked.seed)
        except LessonError as error:  # the others are checked all the same
            print(f"tinygrad-lesson: {error}", file=sys.stderr)
            codes.add(2)
            continue
        print(found)
        codes.add(0 if found.ok else 1)
    return 1 if 1 in codes else max(codes)


def inspect(asked: argparse.Namespace) -> int:
    """Print what is in a file."""
    print(stored.told(asked.file, named_shapes(asked.shape)))
    return 0


def draw(asked: argparse.Namespace) -> int:
    """Draw the graph in a file."""
    written = stored.draw(asked.file, asked.out, named_shapes(asked.shape))
    if written.suffix == ".gv" != Path(asked.out).suffix:
        print(f"{plain(written)}: {MISSING}")
    print(f"the picture: {plain(written)}")
    return 0


def predict(asked: argparse.Namespace) -> int:
    """Print or write the answers of a checkpoint."""
    answers = stored.predict(asked.file, stored.read_rows(asked.rows), asked.output)
    if asked.out is None:
        print(stored.as_text(answers))
    else:
        stored.write_rows(asked.out, answers)
    return 0


def convert(asked: argparse.Namespace) -> int:
    """Write what is in one file in another format."""
    stored.convert(asked.file, asked.new)
    return 0


def named_shapes(texts: list[str]) -> dict[str, tuple[int, ...]] | None:
    """Shapes of inputs as they are typed: `data=20,4`; None if there are none."""
    found = {}
    for text in texts:
        name, equals, shape = text.rpartition("=")
        if not (name and equals):
            raise LessonError(f"--shape is {text!r:.80}, expected a name and sizes, as in data=20,4")
        found[name] = as_shape(shape)
    return found or None


def as_shape(text: str) -> tuple[int, ...]:
    """A shape as it is typed: `3,4`, `4`, or `()` for a single number."""
    parts = [part.strip() for part in text.strip("() ").split(",")]
    if parts == [""]:
        return ()
    if not all(part.isdecimal() and len(part) <= DIGITS for part in parts if part) or "" in parts[:-1]:
        raise LessonError(f"--shape is {text!r:.80}, expected sizes as in 3,4, or () for a single number")
    return tuple(int(part) for part in parts if part)


def differences(asked: argparse.Namespace) -> str:
    """What was asked for otherwise than in the lesson, in words; empty if nothing was."""
    own = {"epochs": run.EPOCHS, "batch size": run.BATCH_SIZE}
    here = {"epochs": asked.epochs, "batch size": asked.batch_size}
    return ", ".join(f"{what} {here[what]}, not {own[what]}" for what in own if here[what] != own[what])


def report(result: run.Result, changed: str = "") -> None:
    """Print the confusion table beside the lesson's, and the accuracy; `changed` is what differs from the lesson."""
    printed = NETWORKS[result.name].confusion
    if changed and printed:
        print(f"the lesson's table is of another training; here: {changed}")
    print(format_confusion(result.confusion, beside=printed, headings=("here", "in the lesson")))
    row = ", ".join(f"{p:.7g}" for p in result.probabilities[0])
    print(f"accuracy {result.accuracy:.2f}; first test row {row}")
    lesson = NETWORKS[result.name].first_row
    if lesson is not None:
        print(f"{'in the lesson':>28} {', '.join(f'{p:.7g}' for p in lesson)}")
    print(diagnose(result.history))


if __name__ == "__main__":
    sys.exit(main())
