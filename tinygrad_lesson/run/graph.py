"""A large plan as few kernels, captured once and replayed: groups of rows, and products by cuBLAS."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_lesson.run import kernels
from tinygrad_lesson.run.block import BlockRunner
from tinygrad_lesson.run.counted import PHILOX, Count
from tinygrad_lesson.run.cublas import gemm_of, products
from tinygrad_lesson.run.cuda import Part, Row, UnsuitedError, settled
from tinygrad_lesson.run.gpu import DeviceRunner
from tinygrad_lesson.run.groups import Item, Launch, Plain, extent, extent_of, grouped, launches, mark_stored
from tinygrad_lesson.run.parts import PARTS, Run
from tinygrad_lesson.run.steps import StepRunner, Steps

LONG, CHUNK = (
    1 << 14,
    1 << 12,
)  # numbers of a reduction that is made in two launches, and of each of its parts
FEW_ROWS, MOST_PARTS = 256, 1024  # results of such a reduction, and parts


@functools.lru_cache(256)
def compiled(xp: Any, text: str, device: int) -> Any:
    """Kernels, compiled when they are first wanted; each `device` loads its own."""
    return xp.RawModule(code=text, options=("--std=c++17",))


class Program:
    """Launches in order. They are carried out one by one the first time, then captured in a graph and replayed.

    `counts` tell the kernels the number of the step, and after how many the batches begin anew; `draws` are those of
    each generator.
    """

    def __init__(
        self,
        xp: Any,
        device: int,
        items: Sequence[Item],
        counts: Any,
        draws: Sequence[tuple[Count, int]] = (),
    ) -> None:
        self.xp, self.device, self.items, self.counts = xp, device, items, counts
        self.draws = [(count, each) for count, each in draws if each]
        self.graph: Any = None
        self.why = ", ".join({x.what: None for x in items if isinstance(x, Plain) and not x.captures})
        self.texts: list[str] = []
        self.launched = [self.prepared(x) for x in items if isinstance(x, Launch)]
        self.runs: list[Callable[[], Any]] = []

    def __len__(self) -> int:
        return len(self.items)

    def prepared(self, launch: Launch) -> tuple[str, int, list[Any]]:
        """The name of a kernel, its blocks and its arrays."""
        name = f"kernel{len(self.texts)}"
        text, blocks, arrays = kernels.kernel(name, launch)
        self.texts.append(text)
        return name, blocks, arrays

    @property
    def text(self) -> str:
        """All kernels."""
        return "\n".join([PHILOX] * bool(self.draws) + self.texts)

    def load(self) -> None:
        """Compile the kernels, and know how each item is carried out."""
        module, launched = compiled(self.xp, self.text, self.device), iter(self.launched)
        for item in self.items:
            if isinstance(item, Launch):
                name, blocks, arrays = next(launched)
                function = module.get_function(name)
                given = (self.counts, *arrays)
                self.runs.append(functools.partial(function, (blocks,), (kernels.THREADS,), given))
            else:
                self.runs.append(item.run)  # type: ignore[attr-defined]

    def go(self, times: int = 1) -> None:
        """Carry all out, so many times."""
        for count, _ in self.draws:
            count.settle()
        for _ in range(times):
            if self.graph is not None:
                self.graph.launch()
            elif self.runs and not self.why:
                self.graph = self.captured()
                self.graph.launch()
            else:
                if not self.runs:
                    self.load()
                for run in self.runs:
                    run()
        for count, each in self.draws:
            count.took(times * each, there=True)

    def captured(self) -> Any:
        """The launches as one graph."""
        stream = self.xp.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            for run in self.runs:
                run()
            return stream.end_capture()


class GraphRunner(StepRunner):
    """A plan whose calls are joined in kernels; each part is one graph, and so is a whole step of training."""

    name = "graph"

    def carried_out(self, parts: Any) -> list[list[Run]]:
        """A program for each part."""
        self.counts = self.xp.asarray(np.array([0, 1], np.int64))
        told = [self.items(part) for part in parts]
        found = [grouped(self.chosen(items)) for items in told]
        draws = [[(self.count, self.count.draws_of(items))] for items in told]
        lasting = [*self.lasting(), *counters([pair for part in draws for pair in part])]
        mark_stored([item for part in found for item in part], lasting)
        self.programs = [self.program(part, drawn) for part, drawn in zip(found, draws, strict=True)]
        if any(program.draws for program in self.programs):
            self.count.settle()
        return [[program.go] if program.items else [] for program in self.programs]

    def __str__(self) -> str:
        count = ", ".join(f"{len(x)} {part}" for part, x in zip(PARTS, self.programs, strict=True))
        reasons = "; ".join(dict.fromkeys(x.why for x in self.programs if x.why))
        return f"on {self.place}, kernels and products: {count}" + (
            f"; no graph: {reasons}" if reasons else ""
        )

    def program(
        self, items: Sequence[Item], draws: Sequence[tuple[Count, int]], counts: Any = None
    ) -> Program:
        """Items that are grouped, as launches."""
        counts = self.counts if counts is None else counts
        return Program(self.xp, self.place.device_id, launches(items), counts, draws)

    def lasting(self) -> list[Any]:
        """The memory that others than this plan read."""
        outputs = set(self.plan.outputs.values())
        bound = {v for v, b in enumerate(self.plan.buffers) if b.argument or b.output}
        return [extent(self.buffers[v]) for v in outputs | bound if hasattr(self.buffers[v], "strides")]

    def chosen(self, items: Sequence[Row | Item]) -> list[Row | Item]:
        """Products for cuBLAS, long reductions in two parts, the others as they are."""
        found: list[Row | Item] = []
        for item in items:
            gemm = gemm_of(item) if isinstance(item, Row) else None
            if isinstance(item, Row) and gemm is not None:
                target, *sources = [extent_of(x, item.shape) for x in item.operands]
                run = functools.partial(products(self.xp, self.place.device_id).carry_out, item, gemm)
                found.append(Plain(run, sources, [target], True, "matmul"))
            else:
                found += self.in_parts(item) if isinstance(item, Row) else [item]
        return found

    def in_parts(self, row: Row) -> list[Row]:
        """A long reduction as one of many parts, and one of these; others as they are."""
        inner, kept = math.prod(row.shape[a] for a in row.axes), [row.shape[a] for a in row.kept]
        if inner < LONG or math.prod(kept) > FEW_ROWS:
            return [row]
        parts = min(MOST_PARTS, -(-inner // CHUNK))
        scratch = self.xp.empty((*kept, parts), row.kind)
        left = iter(scratch.strides)
        strides = settled([0 if a in row.axes else next(left) for a in range(len(row.shape))], row.shape)
        first = row._replace(operands=(Part(scratch, strides, 0, parts), *row.operands[1:]), parts=parts)
        target = row.operands[0]
        over = (*[target.strides[a] for a in row.kept], 0)
        name = row.name if row.name.endswith(".reduce") else "add.reduce"
        source = Part(scratch, settled(scratch.strides, scratch.shape))
        second = Row(name, (*kept, parts), (len(kept),), (target._replace(strides=over), source), row.kind)
        return [first, second]

    def step_of(self, noted: Steps, update: DeviceRunner) -> Program:
        """As one program."""
        rows = self.rows_of_step(noted, update)
        draws = [(count, count.draws_of(rows)) for count in (self.count, update.count)]
        found = grouped(self.chosen([*rows, noted.count()]))
        read = [noted.losses, noted.magnitudes, noted.counts, *update.arrays.values()]
        mark_stored(found, [*map(extent, read), *self.lasting(), *counters(draws)])
        return self.program(found, draws, noted.counts)

    def take(self, step: Program, noted: Steps, first: int, count: int) -> None:
        """By one graph each."""
        step.go(count)


def counters(draws: Sequence[tuple[Count, int]]) -> list[Any]:
    """The memory in which draws are counted, which the next run reads."""
    return [extent(count.words) for count, each in draws if each]


def fitting(plan: Any, arrays: Mapping[str, Any], generator: Any, **settings: Any) -> DeviceRunner:
    """The runner for a plan: one block where it is small enough, else graphs."""
    with contextlib.suppress(UnsuitedError):
        return BlockRunner(plan, arrays, generator, **settings)
    return GraphRunner(plan, arrays, generator, **settings)
