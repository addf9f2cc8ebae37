"""MXNet's `.params` files, held against ones that MXNet 1.9.1 wrote or has read.

All files in `data/nets` and `data/params` but one are MXNet's own. `v0-v1-v2.params` was put together byte by
byte in the two older layouts and the present one; MXNet 1.9.1 reads from it the values expected here.
"""

import os
import re
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from damage import damaged_bytes, damaged_json, seeds

from tinygrad_lesson.errors import DTypeError, FormatError, ShapeError
from tinygrad_lesson.files import write_whole
from tinygrad_lesson.symbol.params import load_checkpoint, load_params, save_params

DATA = Path(__file__).parents[1] / "data"
V1, V2, V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
MXNET_FILES = [
    DATA / "nets" / "mlp4-0000.params",
    DATA / "nets" / "bn8-0000.params",
    DATA / "params" / "dtypes-v2.params",
]
ALL_FILES = [
    MXNET_FILES[0],
    *sorted((DATA / "params").glob("*.params")),
]  # all four layouts, without names, sparse
GOOD_FILES = [MXNET_FILES[0], *sorted((DATA / "params").glob("*-v*.params"))]


def write_file(path, array, *, names=(b"w",), count=1):
    """A `.params` file that claims to have `count` arrays and holds the bytes `array`."""
    named = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    path.write_bytes(struct.pack("<QQQ", 0x112, 0, count) + array + struct.pack("<Q", len(names)) + named)
    return path


@pytest.mark.parametrize("path", MXNET_FILES, ids=lambda path: path.stem)
def test_what_mxnet_wrote_comes_out_byte_for_byte(path, tmp_path):
    save_params(tmp_path / "again.params", load_params(path))
    assert (tmp_path / "again.params").read_bytes() == path.read_bytes()


def test_every_dtype_of_mxnet_is_read():
    arrays = load_params(DATA / "params" / "dtypes-v2.params")
    with np.load(DATA / "params" / "dtypes.npz") as expected:
        assert list(arrays) == list(expected)
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, expected[name], strict=True)


def test_names_of_a_checkpoint_say_which_are_auxiliary():
    names = list(load_params(DATA / "nets" / "bn8-0000.params"))
    assert {"arg:fc1_weight", "arg:bn1_gamma", "aux:bn1_moving_mean", "aux:bn7_moving_var"} <= set(names)


def test_older_layouts_are_read():
    arrays = load_params(DATA / "params" / "v0-v1-v2.params")
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(arrays["a"], matrix, strict=True)
    np.testing.assert_array_equal(arrays["b"], np.arange(4), strict=True)
    np.testing.assert_array_equal(arrays["c"], matrix, strict=True)


def test_numpy_mode_has_arrays_without_axes_and_without_elements():
    arrays = load_params(DATA / "params" / "numpy-v3.params")
    np.testing.assert_array_equal(arrays["scalar"], np.array(3.5, np.float32), strict=True)
    assert arrays["empty"].shape == (0, 3)
    np.testing.assert_array_equal(arrays["matrix"], np.arange(6, dtype=np.float32).reshape(2, 3), strict=True)


def test_arrays_are_ours_to_change():
    array = load_params(MXNET_FILES[0])["arg:fc1_weight"]
    array += 1
    assert array.flags.owndata or array.base.flags.owndata


@pytest.mark.parametrize(
    "array", [np.arange(6.0).reshape(2, 3).T, np.arange(6, dtype=">i4"), np.zeros((0, 3))]
)
def test_strides_and_byte_order_do_not_reach_the_file(array, tmp_path):
    save_params(tmp_path / "x.params", {"x": array})
    plain = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("="))
    np.testing.assert_array_equal(load_params(tmp_path / "x.params")["x"], plain, strict=True)


def test_a_bool_is_0_or_1_whatever_the_byte(tmp_path):
    record = struct.pack("<Iiiqiii", V2, 0, 1, 3, 1, 0, 7) + bytes([0, 1, 2])
    array = load_params(write_file(tmp_path / "bool.params", record))["w"]
    assert array.view(np.uint8).tolist() == [0, 1, 1]


def test_what_the_format_cannot_hold_is_refused_by_name(tmp_path):
    with pytest.raises(ShapeError, match=r"lr is \(\), expected 1 to 32 axes"):
        save_params(tmp_path / "x.params", {"lr": np.array(0.1)})
    with pytest.raises(DTypeError, match="z is complex128, expected one of float32"):
        save_params(tmp_path / "x.params", {"z": np.ones(2, complex)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", GOOD_FILES, ids=lambda path: path.stem)
def test_a_file_cut_anywhere_is_refused(path, tmp_path):
    whole, cut = path.read_bytes(), tmp_path / "cut.params"
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        with pytest.raises(FormatError, match=r"cut\.params: byte \d+: "):
            load_params(cut)


HOSTILE = {
    "shape 2^62": struct.pack("<Iiiqqiii", V2, 0, 2, 2**62, 2**62, 1, 0, 0),
    "shape 2^62 without elements": struct.pack("<Iiiqqqiii", V2, 0, 3, 0, 2**62, 2**62, 1, 0, 0),
    "one element too many": struct.pack("<Iiiqiii", V2, 0, 1, 5, 1, 0, 0),
    "negative axis": struct.pack("<Iiiqqiii", V3, 0, 2, -1, -4, 1, 0, 0),
    "ndim 2^31": struct.pack("<I", 2**31) + bytes(200),
    "ndim 33": struct.pack("<I", 33) + bytes(400),
    "ndim 0": struct.pack("<Iiiiiif", V2, 0, 0, 1, 0, 0, 1.5),
    "ndim -1": struct.pack("<Iii", V3, 0, -1) + bytes(40),
    "dtype 8": struct.pack("<Iiiqiii", V2, 0, 1, 1, 1, 0, 8) + bytes(40),
    "dtype -1": struct.pack("<Iiiqiii", V2, 0, 1, 1, 1, 0, -1) + bytes(40),
    "storage 9": struct.pack("<Iiiqiii", V2, 9, 1, 1, 1, 0, 0) + bytes(40),
}
ONE = struct.pack("<Iiiqiiif", V2, 0, 1, 1, 1, 0, 0, 1.5)


@pytest.mark.parametrize("record", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_header_is_refused_where_it_lies(record, tmp_path):
    path = write_file(tmp_path / "hostile.params", record)
    with pytest.raises(FormatError, match=r"hostile\.params: byte (24|5\d|6\d|7\d): "):
        load_params(path)


@pytest.mark.parametrize(
    ("names", "count", "message"),
    [
        ((b"w",), 2**63, f"byte 16: {2**63} arrays cannot fit in the 53 bytes left"),
        ((b"w", b"w"), 1, "there are 1 arrays but 2 names"),
        ((), 1, "there are 1 arrays but 0 names"),
        ((b"ok\xff",), 1, "byte 78: name 0 is not UTF-8"),
    ],
)
def test_counts_and_names_are_checked(names, count, message, tmp_path):
    path = write_file(tmp_path / "x.params", ONE, names=names, count=count)
    with pytest.raises(FormatError, match=re.escape(message)):
        load_params(path)


def test_counts_and_lengths_of_names_are_bounded(tmp_path):
    path = tmp_path / "x.params"
    start = struct.pack("<QQQ", 0x112, 0, 1) + ONE
    path.write_bytes(start + struct.pack("<Q", 2**63))
    with pytest.raises(FormatError, match="names cannot fit in the 0 bytes left"):
        load_params(path)
    path.write_bytes(start + struct.pack("<QQ", 1, 2**64 - 1))
    with pytest.raises(FormatError, match=f"byte 76: name 0 needs {2**64 - 1} bytes, 0 are left"):
        load_params(path)


def test_one_name_for_two_arrays_is_refused(tmp_path):
    path = write_file(tmp_path / "x.params", ONE + ONE, names=(b"w", b"w"), count=2)
    with pytest.raises(FormatError, match="two arrays have the same name"):
        load_params(path)


def test_bytes_after_the_end_are_refused(tmp_path):
    path = write_file(tmp_path / "x.params", ONE)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(FormatError, match="byte 77: 4 bytes follow the last name"):
        load_params(path)


def test_another_kind_of_file_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", w=np.ones(3))
    with pytest.raises(FormatError, match=r"x\.npz: byte 0: the magic number is 0x.*: not a \.params file"):
        load_params(tmp_path / "x.npz")


def test_a_sparse_array_is_refused_by_its_kind():
    with pytest.raises(FormatError, match=r"byte 24: the storage of array 0 is row_sparse; only dense"):
        load_params(DATA / "params" / "sparse.params")


def test_a_list_that_mxnet_saved_without_names_is_refused():
    with pytest.raises(FormatError, match=r"list\.params: byte 64: there are 1 arrays but 0 names"):
        load_params(DATA / "params" / "list.params")


def read_or_refused(path):
    try:
        load_params(path)
    except FormatError as error:
        return str(error)
    return "read"


@pytest.mark.parametrize("seed", seeds(300))
def test_a_damaged_file_is_read_or_refused_within_its_own_size(seed, tmp_path):
    path = ALL_FILES[seed % len(ALL_FILES)]
    damaged = damaged_bytes(path.read_bytes(), seed)
    (tmp_path / "damaged.params").write_bytes(damaged)
    tracemalloc.start()
    start = time.process_time()
    outcome = read_or_refused(tmp_path / "damaged.params")
    taken, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert outcome == "read" or re.search(r"damaged\.params: byte \d+: ", outcome)
    assert peak < 4 * len(damaged) + 2**20
    assert taken < 2


@pytest.mark.parametrize("seed", seeds(200))
def test_a_damaged_checkpoint_is_loaded_or_refused_by_file_and_place(seed, tmp_path):
    for name in ("bn8-symbol.json", "bn8-0000.params"):
        (tmp_path / name).write_bytes((DATA / "nets" / name).read_bytes())
    path = tmp_path / ("bn8-symbol.json" if seed % 2 else "bn8-0000.params")
    path.write_bytes(
        damaged_json(path.read_text(), seed) if seed % 2 else damaged_bytes(path.read_bytes(), seed)
    )
    said = ""
    try:
        load_checkpoint(str(tmp_path / "bn8"), 0)
    except FormatError as error:
        said = str(error)
    assert not said or path.name in said
    assert "\x1b" not in said


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "net.params"
    write_whole(path, "old")

    def full_disk(_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_who_has_the_old_file_open_still_reads_all_of_it(tmp_path):
    path = tmp_path / "net.params"
    write_whole(path, "old and longer")
    with path.open() as old:
        write_whole(path, "new")
        assert old.read() == "old and longer"
    assert path.read_text() == "new"


def test_a_written_file_replaces_the_old_one_and_has_the_usual_rights(tmp_path):
    path, plain = tmp_path / "net.json", tmp_path / "plain"
    plain.write_text("")
    write_whole(path, "old and longer")
    write_whole(path, "naïve")
    assert path.read_bytes() == "naïve".encode()
    assert path.stat().st_mode == plain.stat().st_mode
    assert len(list(tmp_path.iterdir())) == 2


def test_a_link_is_followed_not_replaced(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_whole(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
