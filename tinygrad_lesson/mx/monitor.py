"""`mx.monitor`: what passes through a network, looked at every so many batches."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from tinygrad_lesson.mxnet.ndarray import NDArray


def mean_magnitude(x: NDArray) -> Any:
    """The Euclidean norm over the root of the number of elements."""
    return x.norm() / x.size**0.5


class Monitor:
    """Collects ``stat_func(array)`` of each array whose name fits `pattern`, every `interval` batches.

    Between `tic` and `toc` the executors that it is installed in tell of every result; `toc` adds their arguments and
    states. With `monitor_all` they also tell of what goes into each node.

    Errors
        TypeError from `toc` if `stat_func` gives neither an array nor a list of arrays.
    Source
        MXNet 1.9, ``mx.monitor.Monitor``.
    """

    def __init__(
        self,
        interval: int,
        stat_func: Callable[[NDArray], Any] | None = None,
        pattern: str = ".*",
        sort: bool = False,
        monitor_all: bool = False,
    ) -> None:
        self.interval, self.stat_func = interval, stat_func or mean_magnitude
        self.re_pattern, self.sort, self.monitor_all = re.compile(pattern), sort, monitor_all
        self.activated, self.step = False, 0
        self.queue: list[tuple[int, str, Any]] = []
        self.exes: list[Any] = []

    def stat_helper(self, name: bytes | str, array: NDArray) -> None:
        """Note one array, if it is wanted."""
        told = name.decode() if isinstance(name, bytes) else name
        if self.activated and self.re_pattern.match(told):
            self.queue.append((self.step, told, self.stat_func(array)))

    def install(self, exe: Any, monitor_all: bool | None = None) -> None:
        """Let an executor tell of what it computes."""
        exe.set_monitor_callback(self.stat_helper, self.monitor_all if monitor_all is None else monitor_all)
        self.exes.append(exe)

    def tic(self) -> None:
        """Begin a batch: if its turn has come, it is looked at."""
        if self.step % self.interval == 0:
            self.queue, self.activated = [], True
        self.step += 1

    def toc(self) -> list[tuple[int, str, str]]:
        """End the batch: number of the batch, name and numbers as text, for each array."""
        if not self.activated:
            return []
        for exe in self.exes:
            for name, array in {**exe.arg_dict, **exe.aux_dict}.items():
                self.stat_helper(name, array)
        self.activated = False
        if self.sort:
            self.queue.sort(key=lambda noted: noted[1])
        found = [(step, name, as_told(name, stat)) for step, name, stat in self.queue]
        self.queue = []
        return found

    def toc_print(self) -> None:
        """End the batch and log what was seen."""
        for step, name, told in self.toc():
            logging.info("Batch: %7d %30s %s", step, name, told)


def as_told(name: str, stat: Any) -> str:
    """Statistics as text: numbers as they are, each with a tab behind it."""
    stats = [stat] if isinstance(stat, NDArray) else stat
    if not isinstance(stats, list) or not all(isinstance(x, NDArray) for x in stats):
        raise TypeError(
            f"Monitor: stat_func gave {stat!r:.80} for {name!r}, expected an NDArray or a list of them"
        )
    return "".join(f"{(x.asscalar() if x.shape == (1,) else x.asnumpy())!s}\t" for x in stats)


__all__ = ["Monitor"]
