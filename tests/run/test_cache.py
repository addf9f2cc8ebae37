"""What was compiled is kept, checked, and compiled anew, with a word, where that is not possible."""

import importlib.util
import os
import signal

import pytest

pytest.importorskip("numba", reason="the interpreter is an extra: pip install '.[fast]'")

from tinygrad_lesson.run import cache

SOURCE = """
from tinygrad_lesson.run.cache import kept

version = 1

def build(version):
    @kept(nogil=True)
    def double(x):
        return version * 2 * x
    return double

double = build(version)
"""


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """A function that loads a module with a kernel as a new process would; and what was said and kept."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr("numba.config.CACHE_DIR", "")  # what numba has read of that already
    path = tmp_path / "kernels.py"
    path.write_text(SOURCE)

    def load():
        cache.announce.cache_clear()
        spec = importlib.util.spec_from_file_location("kernels", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        capsys.readouterr()
        return module.double, lambda: capsys.readouterr().err.splitlines()

    return load


def files(folder):
    return sorted((folder / "__pycache__").glob("*.nbc"))


def test_what_one_process_has_compiled_the_next_one_loads_without_a_word(start, tmp_path):
    double, said = start()
    assert double(4) == 8
    (line,) = said()
    assert "compiling the interpreter, once on this machine" in line
    assert str(tmp_path) in line
    double, said = start()
    assert double(4) == 8
    assert said() == []
    assert list(double.stats.cache_hits.values()) == [1]


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
    "the head alone": lambda file: file.write_bytes(file.read_bytes()[:64]),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"0"),
    "zeros": lambda file: file.write_bytes(bytes(file.stat().st_size)),
    "a folder": replaced_by_a_folder,
} | {f"flipped at {at}": lambda file, at=at: flipped(file, at) for at in (3, 40, 64, 500, 3000, -9, -1)}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_compiled_again_with_one_line(how, start, tmp_path):
    start()[0](4)
    (file,) = files(tmp_path)
    DAMAGE[how](file)
    double, said = start()
    assert double(4) == 8
    (line,) = said()
    assert "compiling the interpreter" in line
    double, said = start()
    assert double(4) == 8
    assert len(said()) == (how == "a folder")


def test_where_no_folder_can_be_written_nothing_is_kept(start, tmp_path, monkeypatch):
    (tmp_path / "__pycache__").write_text("a file, in which even root makes no other")
    monkeypatch.setenv("XDG_CACHE_HOME", os.devnull + "/cache")
    monkeypatch.setenv("HOME", os.devnull)
    for _ in range(2):
        double, said = start()
        assert double(4) == 8
        (line,) = said()
        assert "for this process alone" in line
        assert "NUMBA_CACHE_DIR" in line


def test_other_sources_are_compiled_anew_and_take_the_place_of_the_old(start, tmp_path):
    start()[0](4)
    source = tmp_path / "kernels.py"
    source.write_text(SOURCE.replace("version = 1", "version = 3"))
    double, said = start()
    assert double(4) == 24
    assert len(said()) == 1
    assert len(files(tmp_path)) == 1
    source.write_text(SOURCE.replace("2 * x", "5 * x"))
    assert start()[0](4) == 20


def test_a_full_disk_keeps_nothing_and_harms_nothing(start, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_whole", full)
    assert start()[0](4) == 8
    assert files(tmp_path) == []


@pytest.mark.parametrize("where", ["announce", "write_whole"])
def test_compiling_that_was_interrupted_is_told_of_again_and_leaves_nothing(
    where, start, tmp_path, monkeypatch
):
    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)

    for _ in range(2):
        double, said = start()
        with monkeypatch.context() as patch:
            patch.setattr(cache, where, interrupted)
            with pytest.raises(KeyboardInterrupt):
                double(4)
        assert len(said()) == (where == "write_whole")
        assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "kernels.py"] == []
    assert double(4) == 8  # in the same process
    assert len(said()) == (where == "announce")  # else it was said a moment ago
    assert start()[0](4) == 8
