"""What the stand-in counts, and a device that only notes: streams, graphs, pools."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np


@dataclasses.dataclass
class Counts:
    """What a real card would have been asked for."""

    launches: int = 0  # kernels, library calls and device copies
    h2d: int = 0  # arrays sent to the device
    d2h: int = 0  # arrays brought back; each waits for the device
    bytes_h2d: int = 0
    bytes_d2h: int = 0
    synchronizations: int = (
        0  # bool(), int(), float(), .get(), .item(), nonzero(), boolean masks, synchronize()
    )
    allocations: int = 0
    allocated_in_capture: int = 0
    graph_launches: int = 0

    def reset(self) -> None:
        """Start again at 0."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, 0)

    @contextlib.contextmanager
    def of(self) -> Iterator["Counts"]:
        """What is asked for inside: `with counts.of() as seen: ...; assert not seen.d2h`."""
        before, seen = dataclasses.replace(self), Counts()
        try:
            yield seen
        finally:
            for field in dataclasses.fields(self):
                setattr(seen, field.name, getattr(self, field.name) - getattr(before, field.name))


counts = Counts()
forbidden: list[str] = []  # why transfers and waits are refused now, innermost last


@contextlib.contextmanager
def no_transfers(why: str = "transfers are forbidden here") -> Iterator[None]:
    """Refuse whatever moves data between host and device, or waits."""
    forbidden.append(why)
    try:
        yield
    finally:
        forbidden.pop()


class TransferError(AssertionError):
    """Data moved between host and device, or the host waited, where that is forbidden."""


def sent(array: np.ndarray) -> None:
    """Note that `array` goes to the device."""
    capture = capturing()
    if capture is not None:
        raise RuntimeError(
            "the current stream is capturing, so H2D transfers from pageable memory are disallowed"
        )
    counts.h2d += 1
    counts.bytes_h2d += array.nbytes
    if forbidden:
        raise TransferError(f"host to device: {forbidden[-1]}")


def fetched(array: np.ndarray) -> None:
    """Note that `array` comes back, for which the host waits."""
    waited("D2H transfers are disallowed")
    counts.d2h += 1
    counts.bytes_d2h += array.nbytes


def waited(what: str = "synchronous API calls are disallowed") -> None:
    """Note that the host waits for the device."""
    if capturing() is not None:
        raise RuntimeError(f"the current stream is capturing, so {what}")
    counts.synchronizations += 1
    if forbidden:
        raise TransferError(f"the host waits for the device: {forbidden[-1]}")


# Streams and graphs. A capturing stream carries out nothing: it notes, and what it would write stays as it was.


class Graph:
    """Calls that were captured, carried out at each `launch`."""

    def __init__(self, calls: list[Callable[[], Any]]) -> None:
        self.calls = calls

    def launch(self, stream: Any = None) -> None:
        """Carry all of them out."""
        counts.graph_launches += 1
        counts.launches += 1
        for call in self.calls:
            call()

    def upload(self, stream: Any = None) -> None:
        """Nothing to do here."""


class Stream:
    """A stream that works at once, unless it captures."""

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.null, self.calls = null, None
        self.ptr = 0 if null else id(self)

    def __enter__(self) -> "Stream":
        STREAMS.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        STREAMS.pop()

    def begin_capture(self, mode: Any = None) -> None:
        """Note from now on what is done on this stream."""
        if self.null:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.calls = []

    def end_capture(self) -> Graph:
        """What was noted."""
        calls, self.calls = self.calls, None
        return Graph(calls)

    def is_capturing(self) -> bool:
        """Whether it notes."""
        return self.calls is not None

    def synchronize(self) -> None:
        """Wait."""
        waited()

    def record(self, event: Any = None) -> Any:
        """An event."""
        return event or Event()

    def wait_event(self, event: Any) -> None:
        """Nothing to wait for."""


class Event:
    """A point in a stream."""

    def __init__(self, **named: Any) -> None: ...

    def record(self, stream: Any = None) -> None:
        """Set it."""

    def synchronize(self) -> None:
        """Wait for it."""
        waited()


Stream.null = Stream(null=True)
STREAMS: list[Stream] = [Stream.null]


def capturing() -> list[Any] | None:
    """The notes of the current stream, if it captures."""
    return STREAMS[-1].calls
