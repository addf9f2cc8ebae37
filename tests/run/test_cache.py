"""Machine code is kept, checked, and compiled anew where that is not possible; a line says so, once."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="machine code is an extra: pip install '.[fast]'")

import tinygrad_lesson as tl
from tinygrad_lesson.files import sweep
from tinygrad_lesson.run.tape import loops, machine

KEY = (loops.elementwise, "add", "float32", ("float32",) * 3, ("dense",) * 3, False)


ENGINES = []  # whose code may still be called
REMEMBERED = (machine.engine, machine.address, machine.folder, machine.say, machine.runner, machine.tidied)


def forget():
    """As in a new process."""
    ENGINES.append(machine.engine())
    for remembered in REMEMBERED:
        remembered.cache_clear()


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """A function that adds by a kernel as a new process would; and what was said, and the file that was kept."""
    place = tmp_path / "cache"
    monkeypatch.setenv(machine.CACHE, str(place))

    def load():
        forget()
        capsys.readouterr()
        result = added()
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else []
        return result, capsys.readouterr().err.splitlines(), files

    yield load
    forget()


def added():
    """1 + 2, by the kernel."""
    x = np.array([1, 2, 0], np.float32)
    kernel = machine.address(*KEY)
    words = np.array([kernel, 10, 8, 0, 0, 0, 4, 0, 1, 1], np.uint64)
    ends = np.array([words.ctypes.data, words.ctypes.data + words.nbytes, 0, 1, 0], np.uint64)
    machine.runner()(x.ctypes.data, ends.ctypes.data, 0)
    return x[2]


def test_what_one_process_has_compiled_the_next_one_loads(start, monkeypatch):
    result, said, files = start()
    assert (result, said, len(files)) == (3, [], 2)  # the kernel, and the loop over tapes
    monkeypatch.setattr(machine, "compiled", None)
    assert start() == (3, [], files)


def test_what_a_killed_process_has_left_goes_with_the_first_kernel_that_is_kept(start, tmp_path, monkeypatch):
    start()
    left, looks = tmp_path / "cache" / ".tinygrad_lesson-0123456789abcdef.part", []
    monkeypatch.setattr(machine, "sweep", lambda place: looks.append(place) or sweep(place))
    left.touch()
    machine.tidied.cache_clear()
    assert start()[0] == 3
    assert left.exists()  # nothing was to be kept
    for name in ("a" * 33, "b" * 33):
        machine.keep(name, b"code")
    assert not left.exists()
    assert looks == [tmp_path / "cache"]


def replaced_by_a_folder(file):
    file.unlink()
    file.mkdir()


def flipped(file, at):
    content = bytearray(file.read_bytes())
    content[at % len(content)] ^= 64
    file.write_bytes(content)


DAMAGE = {
    "empty": lambda file: file.write_bytes(b""),
    "a few bytes": lambda file: file.write_bytes(file.read_bytes()[:20]),
    "the head alone": lambda file: file.write_bytes(file.read_bytes()[:32]),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"0"),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "a folder": replaced_by_a_folder,
} | {f"flipped at {at}": lambda file, at=at: flipped(file, at) for at in (3, 40, 64, 500, -9, -1)}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_compiled_again_with_one_line_at_most(how, start):
    for file in start()[2]:
        DAMAGE[how](file)
    result, said, _ = start()
    assert result == 3
    assert len(said) == (0 if how == "a folder" else 1)
    assert all("is damaged; compiling it again" in line for line in said)
    assert start()[:2] == (3, [])


def test_one_kernels_file_under_the_name_of_another_is_no_such_file(start):
    one, other = start()[2]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    result, said, _ = start()
    assert result == 3
    assert len(said) == 1


def test_a_thousand_damaged_files_harm_nothing(start):
    """Bits flipped anywhere, ends cut off: the digest is looked at before LLVM sees a byte."""
    files = start()[2]
    whole = {file: file.read_bytes() for file in files}
    names = {file: file.name for file in files}
    generator = np.random.default_rng(0)
    for _ in range(500):
        for file, content in whole.items():
            damaged = bytearray(content[: generator.integers(len(content) + 1)])
            for at in generator.integers(0, max(len(damaged), 1), 3) if damaged else ():
                damaged[at] ^= 1 << generator.integers(8)
            if bytes(damaged) == content:
                continue
            file.write_bytes(damaged)
            machine.say.cache_clear()
            assert machine.kept(names[file]) is None


def test_where_no_folder_can_be_written_nothing_is_kept(start, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file, in which even root makes no other")
    for _ in range(2):
        result, said, files = start()
        assert (result, files) == (3, [])
        (line,) = said
        assert "compiled for this process alone" in line
        assert machine.CACHE in line


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")
def test_a_folder_that_others_may_write_is_not_used(start, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    result, said, files = start()
    assert (result, files) == (3, [])
    assert "others may write there" in said[0]


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")
def test_a_file_that_others_may_write_is_not_opened(start, monkeypatch):
    for file in start()[2]:
        file.chmod(0o666)
    seen = []
    monkeypatch.setattr(machine, "compiled", lambda text, make=machine.compiled: seen.append(1) or make(text))
    assert start()[0] == 3
    assert len(seen) == 2


def test_other_sources_are_compiled_anew(start, monkeypatch):
    before = start()[2]
    monkeypatch.setattr(machine, "sources", lambda: "other code")
    assert start()[0] == 3
    assert len(start()[2]) == 2 * len(before)


def test_a_full_disk_keeps_nothing_and_harms_nothing(start, monkeypatch):
    def full(path, data, **settings):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine, "write_whole", full)
    assert start() == (3, [], [])


@pytest.mark.parametrize("where", ["compiled", "write_whole"])
def test_compiling_that_was_interrupted_leaves_nothing(where, start, monkeypatch, tmp_path):
    def interrupted(*arguments, **settings):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(machine, where, interrupted)
        with pytest.raises(KeyboardInterrupt):
            start()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert added() == 3  # in the same process
    assert start()[0] == 3


def test_where_machine_code_does_not_run_numpy_does_with_one_line(monkeypatch, capsys):
    def refused():
        raise OSError("no executable memory")

    monkeypatch.setattr(machine.llvm, "check_jit_execution", refused)
    machine.works.cache_clear()
    try:
        f = tl.jit(lambda x: tl.exp(x) * 2, runner="vm")
        for _ in range(2):
            np.testing.assert_array_equal(f(np.zeros(3, np.float32)), 2)
        (program,) = f.programs.values()
        assert program.runner.name == "numpy"
        (line,) = capsys.readouterr().err.splitlines()
        assert "no executable memory" in line
    finally:
        machine.works.cache_clear()


PROGRAM = """
import numpy as np
import tinygrad_lesson as tl
f = tl.jit(lambda x: tl.sum(tl.tanh(x @ x) * tl.exp(-x)), runner="vm")
x = np.linspace(-1, 1, 36, dtype=np.float32).reshape(6, 6)
print(float(f(tl.Tensor(x)).item()))
"""


def test_eight_processes_at_once_all_give_the_right_number(tmp_path):
    env = os.environ | {machine.CACHE: str(tmp_path / "cache")}
    x = np.linspace(-1, 1, 36).reshape(6, 6)
    expected = (np.tanh(x @ x) * np.exp(-x)).sum()
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, env=env, text=True)
        for _ in range(8)
    ]
    for process in processes:
        assert float(process.communicate(timeout=120)[0]) == pytest.approx(expected, rel=1e-5)


KILLED = """
import os, random, signal, sys, time
import numpy as np
import tinygrad_lesson as tl
from tinygrad_lesson.run import vm

names = ["exp", "log1p", "tanh", "sigmoid", "sqrt", "square", "abs", "sign"]
x = np.linspace(0.1, 1, 36, dtype=np.float32).reshape(6, 6)
right = [f(x) for f in (np.exp, np.log1p, np.tanh, lambda x: 1 / (1 + np.exp(-x)), np.sqrt, np.square, np.abs, np.sign)]

def child(work):
    pid = os.fork()
    if not pid:
        work()
        os._exit(0)
    return pid

def work():
    for name, wanted in zip(names, right):
        np.testing.assert_allclose(tl.jit(getattr(tl, name), runner="vm")(x).numpy(), wanted, rtol=1e-6)

def status(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

began, cache = time.monotonic(), os.environ["TINYGRAD_LESSON_CACHE"]
assert status(child(work)) == 0
whole, random, seen = min(time.monotonic() - began, 0.4), random.Random(0), []
for i in range(int(sys.argv[1])):
    os.environ["TINYGRAD_LESSON_CACHE"] = f"{cache}/{i // 10}"  # what one leaves the next one finds, ten times over
    pid = child(work)
    time.sleep(random.uniform(0, whole / 2))
    os.kill(pid, signal.SIGKILL)
    seen.append(status(pid))
    assert seen[-1] in (0, -signal.SIGKILL), seen
for folder in os.listdir(cache):
    os.environ["TINYGRAD_LESSON_CACHE"] = f"{cache}/{folder}"
    if os.path.isdir(f"{cache}/{folder}"):
        assert status(child(work)) == 0
print(seen.count(-signal.SIGKILL))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_fifty_that_were_killed_while_they_compiled_leave_nothing_wrong(tmp_path):
    env = os.environ | {machine.CACHE: str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "50"], capture_output=True, env=env, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 30
    assert done.stderr == ""
