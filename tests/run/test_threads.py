"""Threads of our own: what stops, forks or ends the process finds them where they may be left."""

import gc
import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson.run.elements import elementwise
from tinygrad_lesson.run.operands import Memory
from tinygrad_lesson.run.segment import Segment, as_tape
from tinygrad_lesson.run.threads import THREADS, helpers, pool

START = """
import atexit, os, signal, sys, threading, time
import numpy as np
import tinygrad_lesson as tl
from tinygrad_lesson.run.threads import helpers

x = np.linspace(-3, 3, 400_001, dtype=np.float32)
chain = lambda a: (tl.exp(a) * tl.tanh(a) + a, tl.sum(tl.exp(a) * a))
right = [y.numpy() for y in chain(tl.Tensor(x))]
f = tl.jit(chain, runner="vm")

def check(g=f, x=x, right=right):
    for found, wanted in zip(g(x), right):
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-5, atol=1e-5)

check()
"""


def run(text, threads="2"):
    """The script in a process of its own; what it printed, and how it ended."""
    script = START + textwrap.dedent(text)
    environment = {**os.environ, THREADS: threads}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120
    )
    return done.stdout, done.returncode, done.stderr[-2000:]


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_interrupts_at_any_time_leave_a_function_that_still_gives_the_right_numbers(threads):
    script = """
        main, over = threading.main_thread().ident, threading.Event()

        def disturb():
            pauses = np.random.default_rng(0).exponential(2e-3, 300)
            for pause in pauses:
                time.sleep(pause)
                signal.pthread_kill(main, signal.SIGINT)
            over.set()

        def hear(*_):  # inside of the loop alone: these lines are not what is tested
            if inside:
                inside.clear()
                raise KeyboardInterrupt

        inside, caught, thread = [], 0, threading.Thread(target=disturb)
        signal.signal(signal.SIGINT, hear)
        thread.start()
        while not over.is_set():
            try:
                inside.append(True)
                while not over.is_set():
                    f(x)
            except KeyboardInterrupt:
                caught += 1
        thread.join()
        check()
        print(caught > 20)
    """
    assert run(script, threads) == ("True\n", 0, "")


def test_a_child_forked_after_loops_were_shared_shares_loops_of_its_own():
    script = """
        child = os.fork()
        if child == 0:
            assert threading.active_count() == 1
            check()
            sys.exit(5 + threading.active_count() - helpers())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        check()
    """
    printed, code, errors = run(script)
    assert (printed, code) == ("6\n", 0), errors


@pytest.mark.parametrize("how", ["", "raise SystemExit(0)", "sys.stdout.flush(); os._exit(0)"])
def test_the_process_ends_while_loops_are_shared(how):
    script = f"""
        atexit.register(lambda: (check(), print("checked")))

        def busy():
            while True:
                f(x)

        for _ in range(2):
            threading.Thread(target=busy, daemon=True).start()
        time.sleep(0.3)
        print("ends")
        {how}
    """
    printed, code, errors = run(script)
    assert (printed, code) == ("ends\n" if "_exit" in how else "ends\nchecked\n", 0), errors


def test_functions_in_several_threads_at_once_give_what_each_gives_alone(monkeypatch):
    monkeypatch.setenv(THREADS, "2")
    functions = [
        lambda x, i=i: (tl.exp(x * (i + 1)) + tl.tanh(x) * i, tl.sum(x * x + i), tl.softmax(x))
        for i in range(8)
    ]
    x = np.random.default_rng(1).normal(size=(600, 400)).astype(np.float32)
    wrong = []

    def work(function):
        mine = tl.jit(function, runner="vm")
        wanted = [y.numpy() for y in function(tl.Tensor(x))]
        for _ in range(20):
            for a, b in zip(mine(x), wanted, strict=True):
                if not np.allclose(a.numpy(), b, rtol=1e-4, atol=1e-6):
                    wrong.append(function)

    threads = [threading.Thread(target=work, args=(f,)) for f in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_tape_does_not_wait_for_threads_that_have_no_time(monkeypatch):
    """All others are busy with something else for as long as it takes."""
    monkeypatch.setenv(THREADS, "2")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(2), raising=False)
    x = np.linspace(-3, 3, 400_001, dtype=np.float32)
    f = tl.jit(lambda x: tl.exp(x) * tl.tanh(x) + x, runner="vm")
    (wanted,) = {f(x).numpy().tobytes() for _ in range(3)}
    busy, free = threading.Event(), threading.Event()

    def stay():
        busy.set()
        free.wait(60)

    pool(helpers()).put(stay)
    assert busy.wait(60)
    try:
        for _ in range(50):
            assert f(x).numpy().tobytes() == wanted
        assert pool(helpers()).qsize() == 1  # asked for once, however often it ran
    finally:
        free.set()


def test_threads_take_part_in_each_others_work(monkeypatch):
    monkeypatch.setenv(THREADS, "2")
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(2), raising=False)
    memory = Memory()
    x, y = (np.zeros(1 << 22, np.float32) for _ in range(2))
    rows = elementwise("exp")(memory, None, [memory.operand(x)], memory.operand(y))
    segment, seen = Segment(as_tape(rows), memory), set()
    native = segment.help.run

    def noted(*arguments):
        begun = time.thread_time()
        native(*arguments)
        seen.add(time.thread_time() - begun > 1e-4)

    segment.help.run = noted
    deadline = time.monotonic() + 60
    while True not in seen and time.monotonic() < deadline:
        y[:] = np.nan
        segment()
        assert (y == 1).all()  # whoever has begun a part has ended it
    assert True in seen


def test_loops_compiled_twice_at_once_can_be_let_go():
    x = np.zeros(300_000, np.float32)
    for i in range(3):

        def work(i=i):
            f = tl.jit(lambda x: tl.exp(x * i) * tl.tanh(x) + x, runner="vm")
            np.testing.assert_array_equal(f(x).numpy(), 0)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gc.collect()
        work(i + 10)  # compiles once more
