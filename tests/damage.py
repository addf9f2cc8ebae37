"""Files damaged in every way: bytes overwritten, cut and inserted; values of JSON swapped, lost and renamed.

`DAMAGED_FILES=4000 python -m pytest -k damaged` tries 4,000 of each kind instead of a few hundred: of MXNet's files
all four layouts of parameters, graphs as MXNet wrote them from 0.8 on, and checkpoints.
"""

import copy
import json
import os

import numpy as np

COUNT = int(os.environ.get("DAMAGED_FILES", "0"))
STRANGE = [
    None, True, False, 0, 1, -1, 2**70, 10**400, 0.5, -0.0, float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324,
    "", "x", "\x1b[31m", "null", "0", "-1", "None", "True", "nan", "1e400", "9" * 400, "(" * 400, "(0, -1)", "(1, " * 40,
    f"({2**63}, {2**31})", "[1, [2]]", "1_0", "__class__", [], [[]], [None], [1, "x"], [0, 0, 0], {}, {"": 1}, {"x": {}},
]  # fmt: skip


def seeds(few):
    """The numbers of the mutants to be tried."""
    return range(COUNT or few)


def damaged_bytes(data, seed):
    """`data` with some bytes overwritten, inserted or cut away."""
    rng, found = np.random.default_rng(seed), bytearray(data)
    for _ in range(rng.integers(1, 6)):
        at = int(rng.integers(len(found) + 1))
        new = bytes(rng.choice([b"\xff" * 8, b"\x00" * 8, b"\x7f", rng.bytes(1), rng.bytes(4), bytes(2**10)]))
        found[at : at + int(rng.choice([0, 1, len(new), 30]))] = new
    if seed % 7 == 0:
        del found[int(rng.integers(len(found))) :]
    return bytes(found)


def places(value, path=()):
    """The way to every value inside one of JSON."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*path, key))


def damaged_json(text, seed):
    """The JSON `text` with one to three values swapped, lost, doubled or renamed; every fourth by its bytes."""
    rng = np.random.default_rng(seed)
    if seed % 4 == 0:
        return damaged_bytes(text.encode(), seed)
    told = json.loads(text)
    for _ in range(rng.integers(1, 4)):
        at = list(places(told))
        *way, key = at[int(rng.integers(1, len(at)))] if len(at) > 1 else (None,)
        if key is None:
            break
        parent = told
        for step in way:
            parent = parent[step]
        kind = int(rng.integers(6))
        if kind == 0:
            del parent[key]
        elif kind == 1 and isinstance(parent, dict):
            parent[f"{key}x"] = parent.pop(key)
        elif kind == 2:  # another part of the same file
            other = told
            for step in at[int(rng.integers(len(at)))]:
                other = (
                    other[step]
                    if step in (other if isinstance(other, dict) else range(len(other)))
                    else other
                )
            parent[key] = copy.deepcopy(other)
        elif kind == 3 and isinstance(parent[key], list):
            parent[key] = parent[key] * 2
        else:
            parent[key] = copy.deepcopy(STRANGE[int(rng.integers(len(STRANGE)))])
    return json.dumps(told).encode()
