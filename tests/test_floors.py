"""The floors of docs/design.md: a file imports from lower floors only, or from its own in the order listed."""

import ast
from pathlib import Path

import tinygrad_lesson

PACKAGE = Path(tinygrad_lesson.__file__).parent
FLOORS = [
    ["locks"],
    ["engine"],
    ["arrays", "parallel", "devices", "files", "fields", "philox", "random", "display"],
    ["ops"],
    ["plan"],
    ["run"],
    ["config"],
    ["eager", "mxnet"],
    ["check", "train"],
    ["viz"],
    ["interop"],
    ["mx"],
    [
        "errors",
        "op",
        "graph",
        "tensor",
        "operator",
        "numpy",
        "nn",
        "optim",
        "symbol",
        "sym",
        "lesson",
        "subjects",
        "cli",
        "__init__",
        "__main__",
    ],
]
PLACE = {name: (floor, i) for floor, names in enumerate(FLOORS) for i, name in enumerate(names)}
LAZY = {  # LLVM is imported when it is first wanted
    ("run/__init__.py", "tinygrad_lesson.run.vm"),
    ("run/__init__.py", "tinygrad_lesson.run.single"),
}


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room(path):
    """The first part of a file's path below the package, without its ending."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """Names of this package's modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "tinygrad_lesson":
                yield from (f"tinygrad_lesson.{alias.name}" for alias in node.names)


def test_every_file_has_a_floor():
    assert {room(path) for path in modules()} == set(PLACE)


def test_no_file_imports_from_a_floor_above_its_own():
    wrong = []
    for path in modules():
        here = PLACE[room(path)]
        for name in imported(path):
            parts = name.split(".")
            if parts[0] != "tinygrad_lesson" or len(parts) == 1 or parts[1] not in PLACE:
                continue
            if PLACE[parts[1]] > here:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert wrong == []


def test_an_import_inside_a_function_is_of_another_package_or_listed_here():
    wrong = []
    for path in modules():
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                name = getattr(node, "module", None) if isinstance(node, ast.ImportFrom) else None
                place = str(path.relative_to(PACKAGE)), name
                if name and name.startswith("tinygrad_lesson") and place not in LAZY:
                    wrong.append(place)
    assert wrong == []


def test_nothing_reads_or_writes_pickles():
    for path in modules():
        names = [name.split(".")[0] for name in imported(path)]
        assert not {"pickle", "marshal", "shelve", "dill", "joblib"} & set(names), path


def test_no_two_files_share_a_private_name():
    owners = {}
    for path in modules():
        for node in ast.parse(path.read_text()).body:
            name = getattr(node, "name", "")
            if name.startswith("_") and not name.startswith("__"):
                owners.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    assert {name: files for name, files in owners.items() if len(files) > 1} == {}


def test_rules_are_called_in_one_file():
    """Beside ops that pass on to the rule of another one."""
    assert {file for file in callers_of("vjp") if not file.startswith("ops/")} == {"engine/backprop.py"}


def callers_of(name):
    """Files in which a method of this name is called, but for calls of `super()`."""
    found = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            called = (
                node.func if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None
            )
            if (
                called is not None
                and called.attr == name
                and not ast.unparse(called.value).startswith("super(")
            ):
                found.add(str(path.relative_to(PACKAGE)))
    return found


def test_graphs_are_walked_in_one_file():
    """Forward: each world says in `evaluate` what a node is there. Backward: in `operands` what its rule reads."""
    assert callers_of("evaluate") == {"engine/interpret.py"}
    assert callers_of("operands") == {"engine/backprop.py"}
