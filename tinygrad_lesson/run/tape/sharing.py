"""Instructions that threads carry out side by side: one puts them up on a board, whoever has time takes the next.

The board has three places, each in a cache line of its own: a ticket, the number of the work in its upper bits and how
many instructions still wait in the lower ones; how many are done; where the instructions lie, and the step. An
instruction belongs to the thread that takes one off the ticket. The thread that put them up takes part, so that it
waits only for those who have begun, and nothing new is put up before all is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from tinygrad_lesson.run.tape import machine
from tinygrad_lesson.run.tape.vector import I32, I64, NOUGHT, Memory, as_long_as, declared, loop, slot

LINE = 64  # bytes from place to place of a board
MANY = 0xFFFF  # the part of a ticket that counts instructions
PATIENCE = 1 << 10  # looks, some 20 us: at a tape that has not begun; until another thread may have the core


class Board:
    """A board. Takes its word."""

    def __init__(self, memory: Memory) -> None:
        self.memory, b = memory, memory.builder
        (at,) = memory.take(1)
        self.ticket, self.done, self.work = (memory.pointer(b.add(at, I64(LINE * i)), I64) for i in range(3))
        self.place = slot(b, I64)

    def seen(self) -> Any:
        """The ticket."""
        return self.memory.builder.load_atomic(self.ticket, "acquire", 8)

    def take_part(self) -> None:
        """Carry out the next instruction, if there is one and no other thread is faster."""
        b = self.memory.builder
        ticket = self.seen()
        left = b.and_(ticket, I64(MANY))
        with b.if_then(b.icmp_unsigned("!=", left, NOUGHT)):
            taken = b.cmpxchg(self.ticket, ticket, b.sub(ticket, I64(1)), "acq_rel", "monotonic")
            with b.if_then(b.extract_value(taken, 1)):
                self.carry_out(b.sub(left, I64(1)))
                b.atomic_rmw("add", self.done, I64(1), "release")

    def carry_out(self, number: Any) -> None:
        """The instruction of that number."""
        b = self.memory.builder
        b.store(b.load(self.work), self.place)
        step = b.load(b.gep(self.work, [I64(1)]))
        with loop(b, number):
            row = b.inttoptr(b.load(self.place), I64.as_pointer())
            b.store(b.add(b.load(self.place), b.mul(b.load(b.gep(row, [I64(1)])), I64(8))), self.place)
        row = b.inttoptr(b.load(self.place), I64.as_pointer())
        kernel = b.inttoptr(b.load(row), machine.KERNEL.as_pointer())
        b.call(kernel, [self.memory.base, b.gep(row, [I64(2)]), step])


def shared(builder: Any, base: Any, words: Any, step: Any) -> None:
    """Several instructions, for all threads that have time: a kernel.

    Words: the offset of the board; how many there are; the instructions, each as on a tape.
    """
    b, memory = builder, Memory(builder, base, words, 1)
    board = Board(memory)
    (count,) = memory.take(1)
    b.store(b.ptrtoint(b.gep(words, [I64(2)]), I64), board.work)
    b.store(step, b.gep(board.work, [I64(1)]))
    b.store_atomic(NOUGHT, board.done, "monotonic", 8)
    new = b.add(b.or_(board.seen(), I64(MANY)), I64(1))
    b.store_atomic(b.or_(new, count), board.ticket, "release", 8)
    with as_long_as(b, lambda: b.icmp_unsigned("!=", b.and_(board.seen(), I64(MANY)), NOUGHT)):
        board.take_part()
    with looking(b, lambda: b.icmp_unsigned("<", b.load_atomic(board.done, "acquire", 8), count)):
        pass


def helping(builder: Any, base: Any, words: Any, step: Any) -> None:
    """Take part in what is put up as long as a tape runs: a kernel.

    Words: the offset of the board; the address of the word that is 1 while the tape runs (`machine.run_tape`).
    """
    b, memory = builder, Memory(builder, base, words, 1)
    board = Board(memory)
    (flag,) = memory.take(1)
    place, patience = b.inttoptr(flag, I64.as_pointer()), slot(b, I64)
    b.store(I64(PATIENCE), patience)

    def runs() -> Any:
        return b.icmp_unsigned("!=", b.load_atomic(place, "acquire", 8), NOUGHT)

    with as_long_as(b, lambda: b.and_(b.not_(runs()), b.icmp_signed(">", b.load(patience), NOUGHT))):
        b.store(b.sub(b.load(patience), I64(1)), patience)
        pause(b)
    with looking(b, runs):
        board.take_part()


@contextmanager
def looking(builder: Any, condition: Callable[[], Any]) -> Iterator[None]:
    """Emit what is inside for as long as the condition holds; now and then whoever else waits for this core gets it."""
    b, looks = builder, slot(builder, I64)
    b.store(NOUGHT, looks)
    with as_long_as(b, condition):
        yield
        pause(b)
        number = b.add(b.load(looks), I64(1))
        b.store(number, looks)
        with b.if_then(b.icmp_unsigned("==", b.and_(number, I64(PATIENCE - 1)), NOUGHT)):
            give_way(b)


def give_way(builder: Any) -> None:
    """Let another thread have this core, where the system has a function for it that needs no library."""
    if "windows" not in machine.target()[0]:
        builder.call(declared(builder, "sched_yield", I32, []), [])


def pause(builder: Any) -> None:
    """Tell the processor that this thread only waits, where there is a word for it."""
    triple = machine.target()[0]
    if triple.startswith(("x86_64", "i686")):
        builder.call(declared(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
    elif triple.startswith(("aarch64", "arm64")):
        builder.call(
            declared(builder, "llvm.aarch64.hint", ir.VoidType(), [ir.IntType(32)]), [ir.IntType(32)(1)]
        )
