"""safetensors, held against a file that safetensors 0.8.0 wrote: `data/params/dtypes.safetensors`."""

import json
import re
import struct
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from damage import damaged_bytes, damaged_json, seeds

from tinygrad_lesson.errors import DTypeError, FormatError
from tinygrad_lesson.interop import safetensors

DATA = Path(__file__).parents[1] / "data" / "params"
THEIRS = DATA / "dtypes.safetensors"
MORE = {  # of its arrays, beside those in `dtypes.npz`
    "int16": np.array([[-3, 2**14]], np.int16),
    "uint16": np.array([65535], np.uint16),
    "uint32": np.array([2**32 - 1], np.uint32),
    "uint64": np.array([2**63], np.uint64),
    "scalar": np.array(0.5, np.float16),
    "empty": np.zeros((0, 3), np.float32),
}


def packed(header, elements=b""):
    """A file with this header, JSON or its text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + elements


def test_what_safetensors_wrote_is_read():
    arrays, metadata = safetensors.load(THEIRS)
    with np.load(DATA / "dtypes.npz") as file:
        expected = {name.partition(":")[2]: file[name] for name in file} | MORE
    assert metadata == {"made by": "safetensors 0.8.0"}
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, expected[name], strict=True)


def test_it_is_written_byte_for_byte_as_safetensors_does(tmp_path):
    safetensors.save(tmp_path / "again.safetensors", *safetensors.load(THEIRS))
    assert (tmp_path / "again.safetensors").read_bytes() == THEIRS.read_bytes()


def test_the_order_of_names_stays_and_each_array_lies_at_a_multiple_of_its_size(tmp_path):
    arrays = {"b": np.ones(3, np.int8), "a": np.arange(6.0).reshape(2, 3).T, "c": np.ones(3, ">f4")}
    safetensors.save(tmp_path / "x.safetensors", arrays)
    found, metadata = safetensors.load(tmp_path / "x.safetensors")
    assert (list(found), metadata) == (["b", "a", "c"], {})
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
    data = (tmp_path / "x.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    assert size % 8 == 0
    told = json.loads(data[8 : 8 + size])
    assert [told[name]["data_offsets"] for name in "abc"] == [[0, 48], [60, 63], [48, 60]]


def test_what_the_format_cannot_hold_is_refused_by_name(tmp_path):
    with pytest.raises(DTypeError, match="safetensors: z is complex128, expected one of float64"):
        safetensors.save(tmp_path / "x.safetensors", {"z": np.ones(2, complex)})
    with pytest.raises(FormatError, match="1 names take 3000056 bytes, expected 2097152 at most"):
        safetensors.save(tmp_path / "x.safetensors", {"x" * 3_000_000: np.ones(2)})
    assert not list(tmp_path.iterdir())


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
WRONG = {
    "a header of 2^63 bytes": (struct.pack("<Q", 2**63), r"byte 0: the header has 9223372036854775808 bytes"),
    "a short header": (struct.pack("<Q", 9) + b"{}", "byte 8: the header needs 9 bytes, 2 are left"),
    "no UTF-8": (packed(b'{"\xff"}'), "byte 10: the header is not UTF-8"),
    "no JSON": (packed(b"{"), "byte 8: the header is no JSON"),
    "a list": (packed([]), r"byte 8: the header is \[\], expected values by name"),
    "deep": (packed(b"[" * 10**6), "the header is no JSON"),
    "metadata": (packed({"__metadata__": {"x": 1}}), "'x' in __metadata__ is 1, expected text"),
    "no array": (packed({"w": 1}), "header, 'w' is 1, expected values by name"),
    "no dtype": (packed({"w": {}}), "header, 'w': 'dtype' is missing, expected text"),
    "dtype": (packed({"w": {**ONE, "dtype": "BF16"}}, bytes(8)), "'w': the dtype is 'BF16', expected one of F64, F32"),
    "shape": (packed({"w": {**ONE, "shape": [-2]}}, bytes(8)), r"'w': 'shape' is \[-2\], expected at most 32 sizes"),
    "axes": (packed({"w": {**ONE, "shape": [1] * 33}}, bytes(8)), "expected at most 32 sizes"),
    "true": (packed({"w": {**ONE, "shape": [True]}}, bytes(8)), "expected at most 32 sizes"),
    "large": (packed({"w": {**ONE, "shape": [2**62] * 32}}, bytes(8)), "0 and 8, 8 bytes apart, expected"),
    "offsets": (packed({"w": {**ONE, "data_offsets": [0]}}, bytes(8)), r"'data_offsets' is \[0\], expected where"),
    "backwards": (packed({"w": {**ONE, "data_offsets": [8, 0]}}, bytes(8)), "are 8 and 0, -8 bytes apart, expected 8"),
    "a gap": (packed({"w": {**ONE, "data_offsets": [4, 12]}}, bytes(12)), "'w': it begins at 4, expected 0, where"),
    "an overlap": (packed({"v": ONE, "w": ONE}, bytes(8)), "'w': it begins at 0, expected 8, where the one before"),
    "cut": (packed({"w": ONE}, bytes(7)), "array 'w' needs 8 bytes, 7 are left"),
    "more": (packed({"w": ONE}, bytes(9)), "1 bytes follow the last array"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_refused_by_its_place(data, said, tmp_path):
    (tmp_path / "wrong.safetensors").write_bytes(data)
    with pytest.raises(
        FormatError, match=rf"wrong\.safetensors: byte \d+: .*{said}|wrong\.safetensors: {said}"
    ):
        safetensors.load(tmp_path / "wrong.safetensors")


def damaged(seed):
    """The file of safetensors, damaged anywhere or in the values of its header."""
    whole = THEIRS.read_bytes()
    if seed % 2:
        return damaged_bytes(whole, seed)
    size = struct.unpack("<Q", whole[:8])[0]
    return packed(damaged_json(whole[8 : 8 + size].decode(), seed), whole[8 + size :])


@pytest.mark.parametrize("seed", seeds(300))
def test_a_damaged_file_is_read_or_refused_within_its_own_size(seed, tmp_path):
    data, said = damaged(seed), ""
    (tmp_path / "damaged.safetensors").write_bytes(data)
    tracemalloc.start()
    start = time.process_time()
    try:
        safetensors.load(tmp_path / "damaged.safetensors")
    except FormatError as error:
        said = str(error)
    taken, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not said or re.search(r"damaged\.safetensors: byte \d+: ", said)
    assert len(said) < 600
    assert peak < 4 * len(data) + 2**20
    assert taken < 2


def test_a_header_of_the_largest_size_stays_in_bounds(tmp_path):
    text = b'{"w":[' + b"{}," * (2**21 // 3 - 4) + b"{}]}"
    (tmp_path / "x.safetensors").write_bytes(packed(text))
    tracemalloc.start()
    with pytest.raises(FormatError, match="expected values by name"):
        safetensors.load(tmp_path / "x.safetensors")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * len(text) + 2**26
