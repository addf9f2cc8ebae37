"""Locks after a fork."""

import os
import subprocess
import sys
import threading

import pytest

from tinygrad_lesson.locks import lock
from tinygrad_lesson.run import available_runners

BUSY = """
import os, signal, threading, time, warnings
import numpy as np, tinygrad_lesson as tl
warnings.simplefilter("ignore")  # of Python: a process with threads is forked
f, a = tl.jit(lambda a, b: tl.sum(tl.tanh(a * b))), np.full((500, 500), 0.01, "f")  # BLAS and NumPy's generators have locks of their own
def work():
    return float(f(a, a))
good, stop = work(), []
def busy():
    while not stop:
        work()
thread = threading.Thread(target=busy)
thread.start()
states = []
for i in range(3):
    time.sleep(0.011 * i)
    child = os.fork()
    if not child:
        signal.alarm(5)
        os._exit(0 if np.isclose(work(), good) else 3)
    states.append(os.waitpid(child, 0)[1])
stop.append(True)
thread.join()
print(states)
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


@needs_fork
@pytest.mark.parametrize("runner", available_runners())
def test_a_child_that_was_forked_while_another_thread_computed_can_compute(runner):
    environment = {**os.environ, "TINYGRAD_LESSON_RUNNER": runner}
    done = subprocess.run(
        [sys.executable, "-c", BUSY], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("[0, 0, 0]\n", 0), done.stderr


@needs_fork
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_keeps_the_locks_that_its_own_thread_holds_and_finds_others_open():
    mine, other = lock(), lock()
    taken, done = threading.Event(), threading.Event()

    def hold():
        with other:
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        with mine:
            child = os.fork()
            if not child:
                os._exit(0 if other.acquire(timeout=5) and mine._is_owned() else 1)
            assert os.waitpid(child, 0)[1] == 0
            assert mine._is_owned()
            assert not other.acquire(blocking=False)
    finally:
        done.set()
        thread.join()
