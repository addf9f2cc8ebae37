"""What MXNet 1.9.1 computed, as the tests read it.

`golden_ops` and `golden_nets` hold their cases in a `.json` and all numbers in a `.npz`, one flat array
per element type; a case lists its arrays in the order in which they lie there.
"""

import json
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"


def load_cases(name):
    """The cases of a pack by name; `arrays` of each is a dict."""
    cases = json.loads((DATA / f"{name}.json").read_text())["cases"]
    with np.load(DATA / f"{name}.npz") as file:
        flat = {dtype: file[dtype] for dtype in file}
    position = dict.fromkeys(flat, 0)
    for case in cases:
        arrays = {}
        for key, dtype, shape in case["arrays"]:
            start = position[dtype]
            position[dtype] = start + int(np.prod(shape, dtype=int))
            arrays[key] = flat[dtype][start : position[dtype]].reshape(shape)
        case["arrays"] = arrays
    assert all(position[dtype] == len(flat[dtype]) for dtype in flat)
    return {case["case"]: case for case in cases}
