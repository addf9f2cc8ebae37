"""Files: what is no ordinary file is refused at once and by name; what is written is whole, and a pair belongs together."""

import contextlib
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tinygrad_lesson as tl
from tinygrad_lesson import files, sym
from tinygrad_lesson.errors import FileError, FormatError, LessonError, MissingFileError
from tinygrad_lesson.files import Cursor, plain, read_text, write_whole
from tinygrad_lesson.symbol.params import load_checkpoint, load_params, save_checkpoint, save_params
from tinygrad_lesson.train.history import History

posix = pytest.mark.skipif(os.name != "posix", reason="there are no pipes, devices and locks of this kind")


def sparse(path, start=b""):
    """A file of 8 GB, of zeros after the `start`, that takes no room on the disk."""
    path.write_bytes(start)
    os.truncate(path, 8 * 10**9)


PARAMS = (0x112).to_bytes(8, "little")
STRANGE = {
    "missing": lambda path: None,
    "empty": lambda path: path.write_bytes(b""),
    "folder": lambda path: path.mkdir(),
    "pipe": os.mkfifo if hasattr(os, "mkfifo") else None,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "loop of links": lambda path: path.symlink_to(path),
    "zeros": sparse,
    "zeros after the magic": lambda path: sparse(path, PARAMS),
    "zeros after a brace": lambda path: sparse(path, b"{"),
    "pickle": lambda path: path.write_bytes(b"\x80\x04\x95" + bytes(40)),
}
LOADERS = {
    "symbol": lambda path: sym.load(str(path)),
    "params": load_params,
    "history": History.read,
    "diagnose": tl.diagnose,
}


@pytest.fixture
def in_time():
    """Ends a test that hangs."""

    def stop(*_):
        raise AssertionError("the loader hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@posix
@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("kind", STRANGE)
def test_a_loader_refuses_what_is_no_file_of_its_kind_and_names_it(kind, loader, tmp_path):
    path = tmp_path / "given"
    STRANGE[kind](path)
    with pytest.raises(FormatError, match="given") as caught:
        LOADERS[loader](path)
    assert "\n" not in str(caught.value)
    assert (kind == "missing") == isinstance(caught.value, FileNotFoundError)


@posix
@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_a_device_is_not_even_opened_and_a_pipe_that_takes_the_place_of_a_file_is_not_waited_for(
    kind, tmp_path, monkeypatch
):
    path, plain_file = tmp_path / "given", tmp_path / "file"
    STRANGE[kind](path)
    plain_file.write_text("x")
    opened, really = [], os.open
    monkeypatch.setattr(os, "open", lambda *given: opened.append(given) or really(*given))
    with pytest.raises(FileError, match=f"given is a {kind}, expected a file"):
        Cursor(path)
    assert not opened
    looked = os.stat(plain_file)
    monkeypatch.setattr(os, "stat", lambda *_, **__: looked)  # as if it had been a file a moment ago
    with pytest.raises(FileError, match="given"):
        Cursor(path)


@posix
@pytest.mark.usefixtures("in_time")
@pytest.mark.parametrize("ending", ["symbol.json", "0001.params", "0001.states"])
@pytest.mark.parametrize("kind", [kind for kind in STRANGE if kind != "missing"])
def test_a_model_is_not_loaded_from_what_is_no_file_of_its_kind(kind, ending, tmp_path):
    save_checkpoint(str(tmp_path / "m"), 1, sym.relu(sym.Variable("data"), name="r"), {}, {})
    path = tmp_path / f"m-{ending}"
    path.unlink(missing_ok=True)
    STRANGE[kind](path)
    if (kind, ending) == ("pickle", "0001.states"):  # MXNet's own, which is no trouble
        assert tl.FeedForward.load(str(tmp_path / "m"), 1).states is None
    with pytest.raises(FormatError, match=ending):
        tl.FeedForward.load(str(tmp_path / "m"), 1, states=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    path = tmp_path / "given"
    path.write_text("{}")
    path.chmod(0)
    for loader in LOADERS.values():
        with pytest.raises(FileError, match="cannot read .*given: Permission denied"):
            loader(path)


def test_a_file_that_the_system_refuses_is_named(tmp_path, monkeypatch):
    path = tmp_path / "given"
    path.write_text("{}")

    def forbidden(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    for loader in LOADERS.values():
        with pytest.raises(FileError, match="cannot read .*given: Permission denied"):
            loader(path)


def test_text_has_a_size_that_text_may_have_and_is_utf8(tmp_path):
    path = tmp_path / "long"
    path.write_bytes(b"{")
    os.truncate(path, files.MAX_TEXT + 1)
    with pytest.raises(FileError, match=f"long has {files.MAX_TEXT + 1} bytes, expected text"):
        read_text(path)
    path.write_bytes(b"abc\xff")
    with pytest.raises(FormatError, match="long: byte 3 is no UTF-8"):
        read_text(path)


def test_only_what_is_taken_from_a_file_is_read(tmp_path):
    sparse(tmp_path / "big", b"abcdefgh")
    with Cursor(tmp_path / "big") as cursor:
        assert bytes(cursor.take(8, "letters")) == b"abcdefgh"
        assert cursor.left == 8 * 10**9 - 8


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "x.params"
    save_params(path, {"w": np.zeros(10000)})
    with Cursor(path) as cursor:
        cursor.take(16, "the start")
        os.truncate(path, 100)
        with pytest.raises(FormatError, match="ends early"):
            cursor.take(50000, "the rest")


def test_control_characters_of_a_name_are_shown_not_sent(tmp_path):
    path = tmp_path / "a\x1b[31m\nb"
    with pytest.raises(MissingFileError, match=r"a\\x1b\[31m\\nb") as caught:
        load_params(path)
    assert "\x1b" not in str(caught.value)
    assert plain("é\ud800\x00 x" * 100).startswith("é\\ud800\\x00 x")
    assert len(plain("x" * 1000)) < 310


# Writing.


@posix
@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "device behind a link"])
def test_what_is_no_ordinary_file_is_not_replaced(kind, tmp_path):
    path = tmp_path / "target"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device behind a link":
        path.symlink_to("/dev/null")
    else:
        try:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
        except PermissionError:
            pytest.skip("only root may make a device")
    before = path.stat()
    with pytest.raises(FileError, match=r"target is a (folder|pipe|device), expected a file"):
        write_whole(path, "new")
    assert (path.stat().st_ino, path.stat().st_mode) == (before.st_ino, before.st_mode)
    assert list(tmp_path.iterdir()) == [path]


@posix
@pytest.mark.parametrize("mode", [0o640, 0o600, 0o664, 0o755])
def test_the_rights_of_an_old_file_are_kept_from_the_first_byte_on(mode, tmp_path, monkeypatch):
    path = tmp_path / "x"
    path.write_text("old")
    path.chmod(mode)
    seen = []
    fsync = os.fsync

    def look(descriptor):
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    write_whole(path, "new")
    assert seen == [mode]
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_text() == "new"


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may give files away")
def test_root_does_not_take_a_file_from_its_owner(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    os.chown(path, 1234, 2345)
    write_whole(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


@pytest.mark.parametrize("path", ["nowhere/x", "file/x", "zero\0byte", "a" * 300, "loop", ""])
def test_what_cannot_be_written_is_one_error_that_names_it(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileError) as caught:
        write_whole(path, "new")
    assert plain(path)[:20] in str(caught.value)
    assert "\n" not in str(caught.value)


@posix
def test_a_full_disk_leaves_the_old_file_and_one_clear_error(tmp_path):
    path = tmp_path / "x.params"
    save_params(path, {"w": np.zeros(10)})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(FileError, match=r"cannot write .*x\.params: File too large"):
            save_params(path, {"w": np.zeros(10000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, sys
from tinygrad_lesson import files
os.fsync = lambda _: os.kill(os.getpid(), 9)
files.write_whole(sys.argv[1], "new")
"""


@posix
def test_what_a_killed_saver_left_is_swept_up_but_nothing_else(tmp_path):
    path = tmp_path / "x"
    foreign = [
        tmp_path / name for name in (".other.part", ".0123456789abcdef.part", ".tinygrad_lesson-x.part")
    ]
    for other in foreign:
        other.write_text("not ours")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 4
    with files.new_part(tmp_path) as (_, alive):  # another saver that is still at work
        write_whole(path, "whole")
        assert set(tmp_path.iterdir()) == {path, alive, *foreign}
    assert path.read_text() == "whole"


@posix
def test_a_saver_whose_file_is_swept_away_before_it_is_locked_takes_another(tmp_path, monkeypatch):
    locked, seen = files.locked, []

    def first_too_late(descriptor, shared=False):
        if not seen:
            seen.append(descriptor)
            for part in tmp_path.glob("*.part"):
                part.unlink()
        return locked(descriptor, shared)

    monkeypatch.setattr(files, "locked", first_too_late)
    write_whole(tmp_path / "x", "whole")
    assert (tmp_path / "x").read_text() == "whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "x"]


# Files that belong together.


def network(kind, name="act"):
    return sym.Activation(
        sym.FullyConnected(sym.Variable("data"), num_hidden=2, name="fc"), act_type=kind, name=name
    )


def weights(number):
    return {"fc_weight": np.full((2, 3), number, np.float32), "fc_bias": np.full(2, number, np.float32)}


def test_two_files_of_different_saves_are_told_apart(tmp_path):
    prefix = str(tmp_path / "m")
    save_checkpoint(prefix, 1, network("tanh"), weights(1), {})
    save_checkpoint(prefix, 2, network("relu"), weights(2), {})
    with pytest.raises(
        FormatError, match=r"m-0001\.params was not saved with the network that .*m-symbol\.json holds"
    ):
        load_checkpoint(prefix, 1)
    symbol, arguments, _ = load_checkpoint(prefix, 2)
    assert symbol.get_internals().list_outputs()[-1] == "act_output"
    assert arguments["fc_bias"][0] == 2


def test_the_same_network_serves_all_epochs_whatever_its_operators_are_called_and_however_it_is_laid_out(
    tmp_path,
):
    prefix = str(tmp_path / "m")
    save_checkpoint(prefix, 1, network("tanh"), weights(1), {})
    save_checkpoint(prefix, 2, network("tanh", "activation7"), weights(2), {})
    graph = tmp_path / "m-symbol.json"
    told = json.loads(graph.read_text())
    told["attrs"]["mxnet_version"] = ["int", 10600]
    graph.write_text(json.dumps(told))
    assert load_checkpoint(prefix, 1)[1]["fc_bias"][0] == 1
    save_params(f"{prefix}-0003.params", {f"arg:{k}": v for k, v in weights(3).items()})  # as MXNet writes
    assert load_checkpoint(prefix, 3)[1]["fc_bias"][0] == 3


SAVER = """
import sys, time
import numpy as np
sys.path.insert(0, {folder!r})
from test_files import network, weights
from tinygrad_lesson.mxnet import params
from tinygrad_lesson.symbol.params import save_checkpoint
write = params.write_arrays
params.write_arrays = lambda *given: (time.sleep(2e-3), write(*given))  # between the files of a pair
kind, number = ("tanh", 1) if sys.argv[2] == "0" else ("relu", 2)
print("ready", flush=True)
for _ in range(40):
    save_checkpoint(sys.argv[1], 1, network(kind), weights(number), {{}})
"""


@posix
def test_pairs_of_two_savers_at_once_are_never_mixed(tmp_path):
    prefix, code = str(tmp_path / "m"), SAVER.format(folder=os.path.dirname(__file__))
    save_checkpoint(prefix, 1, network("tanh"), weights(1), {})
    savers = [
        subprocess.Popen([sys.executable, "-c", code, prefix, str(i)], stdout=subprocess.PIPE)
        for i in range(2)
    ]
    for saver in savers:
        with saver.stdout:
            saver.stdout.readline()
    seen = set()
    while any(saver.poll() is None for saver in savers):
        symbol, arguments, _ = load_checkpoint(prefix, 1)
        seen.add((symbol.attr_dict()["act"]["act_type"], float(arguments["fc_bias"][0])))
    assert [saver.wait() for saver in savers] == [0, 0]
    assert seen <= {("tanh", 1.0), ("relu", 2.0)}
    assert len(list(tmp_path.iterdir())) == 2


@posix
def test_who_waits_for_a_saver_that_stands_still_goes_on_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    began, held = time.monotonic(), threading.Event()
    done = threading.Event()

    def hold():
        with files.alone_in(tmp_path):
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        with files.alone_in(tmp_path, reading=True):
            assert time.monotonic() - began >= 0.2
    finally:
        done.set()
        thread.join()
    with files.alone_in(tmp_path, reading=True), files.alone_in(tmp_path, reading=True):
        pass  # readers do not wait for each other
    with contextlib.suppress(LessonError), files.alone_in(tmp_path / "nowhere"):
        pass


@pytest.mark.parametrize("epoch", [-1, 1.5, "3", None])
def test_the_epoch_of_a_checkpoint_is_a_whole_number(epoch, tmp_path):
    with pytest.raises(LessonError, match="the epoch of a checkpoint is .*, expected 0, 1, 2"):
        load_checkpoint(str(tmp_path / "m"), epoch)


@pytest.mark.parametrize("path", [None, 3, 1.5, ["a"], object()])
@pytest.mark.parametrize(
    "use",
    [sym.load, load_params, lambda path: write_whole(path, b""), lambda path: sym.Variable("x").save(path)],
)
def test_what_is_no_path_is_refused(use, path):
    with pytest.raises(FileError, match="is no path"):
        use(path)
