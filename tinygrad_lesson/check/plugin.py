"""For pytest: `pytest --gradcheck mypackage.ops` checks every op of a package; no test file is needed.

Each op is a test like any other: `-k`, `-x`, `-n` and the profile of hypothesis hold. Without paths on
the command line nothing else is collected.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from tinygrad_lesson.check.divergence import OpError
from tinygrad_lesson.check.property import property_test
from tinygrad_lesson.check.report import GradientError
from tinygrad_lesson.check.strategies import needed
from tinygrad_lesson.check.target import ops_of
from tinygrad_lesson.engine.errors import LessonError


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--gradcheck`."""
    parser.getgroup("gradcheck").addoption(
        "--gradcheck", action="append", default=[], metavar="MODULE",
        help="check every op that this module or package declares: gradients, faces, shapes, types",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Collect ops only, unless paths are given too."""
    if config.getoption("gradcheck") and config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test for each op.

    Errors
        UsageError where a module cannot be imported, declares no op, or hypothesis is missing.
    """
    seen: set[Any] = set()
    for package in dict.fromkeys(config.getoption("gradcheck")):
        try:
            needed()
            ops = [op for op in ops_of(package, config.invocation_params.dir) if op not in seen]
        except LessonError as error:
            raise pytest.UsageError(f"--gradcheck {package}: {error}") from None
        seen.update(ops)
        package_of_ops = Package.from_parent(session, name=package, nodeid=package, ops=ops)
        report = config.hook.pytest_make_collect_report(collector=package_of_ops)
        config.hook.pytest_collectreport(report=report)  # which counts them
        items.extend(report.result)


class Package(pytest.Collector):
    """A module or package of ops."""

    def __init__(self, *, ops: list[Any], **more: Any) -> None:
        super().__init__(**more)
        self.ops = ops

    def collect(self) -> list[pytest.Item]:
        """A test for each op."""
        return [OpItem.from_parent(self, name=op.__name__, op=op) for op in self.ops]


class OpItem(pytest.Item):
    """The test of one op."""

    def __init__(self, *, op: Any, **more: Any) -> None:
        super().__init__(**more)
        self.op = op

    def runtest(self) -> None:
        """Let hypothesis look for inputs at which the op is wrong."""
        property_test(self.op)()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The report, without the traceback of the check."""
        if isinstance(excinfo.value, OpError | GradientError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path | str, int | None, str]:
        """Where the op is declared."""
        try:
            file, line = inspect.getsourcefile(self.op), inspect.getsourcelines(self.op)[1]
        except (OSError, TypeError):
            file, line = None, 1
        return Path(file) if file else self.path, line - 1, f"gradcheck {self.op.__name__}"
