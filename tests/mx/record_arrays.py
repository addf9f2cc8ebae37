"""What MXNet 1.9.1 makes of the lines in `arrays.txt`: run with it, this writes `tests/data/mx_arrays.json` anew.

Each line there ends in an expression; its value goes into the file, or the kind of error, if MXNet refuses it.
"""

import json
import pathlib

HERE = pathlib.Path(__file__).parent
CASES = HERE / "arrays.txt"
RECORDED = HERE.parent / "data" / "mx_arrays.json"


def plain(x):
    """A value for JSON: an array as its type and its elements."""
    if hasattr(x, "asnumpy"):
        array = x.asnumpy()
        return {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.tolist()}
    if isinstance(x, list | tuple):
        return [plain(part) for part in x]
    if isinstance(x, dict):
        return {key: plain(part) for key, part in x.items()}
    return x.item() if hasattr(x, "item") else x


def value(line, mx):
    """What the last expression of a line gives, after its statements."""
    statements, _, last = line.rpartition("; ")
    names = {"mx": mx, "nd": mx.nd, "autograd": mx.autograd, "np": __import__("numpy")}
    try:
        exec(statements, names)
        return plain(eval(last, names))
    except Exception as error:
        kinds = (IndexError, TypeError, ValueError, AttributeError, mx.base.MXNetError)
        return f"refused: {next(kind.__name__ for kind in kinds if isinstance(error, kind))}"


def lines():
    """The cases."""
    return [line for line in CASES.read_text().splitlines() if line and not line.startswith("#")]


if __name__ == "__main__":
    import mxnet

    assert mxnet.__version__ == "1.9.1"
    found = {line: value(line, mxnet) for line in lines()}
    RECORDED.write_text(
        "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in found.items()) + "\n}\n"
    )
