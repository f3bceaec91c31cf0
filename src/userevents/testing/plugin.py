"""The pytest plugin: the fixture `user_events`, and ``--userevents-record``.

pytest loads this file at every start, so it imports the rest only where a test asks for it.
"""

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from .tracer import PrivateTracer

_LONGEST_NAME: Final = 180
_OPTION: Final = "--userevents-record"
_NAME: Final = "user_events"
_TRACER: "Final[pytest.StashKey[PrivateTracer]]" = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--userevents-record``."""
    parser.getgroup("userevents").addoption(
        _OPTION,
        nargs="?",
        const="userevents-traces",
        metavar="DIR",
        help="record the user_events of every test; keep the trace.dat of one that fails in DIR [userevents-traces]",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse a file for the directory: ``--userevents-record test_shop.py`` takes what follows it for its value."""
    kept = config.getoption(_OPTION, None)
    if kept is not None and os.path.exists(kept) and not os.path.isdir(kept):
        raise pytest.UsageError(
            f"{_OPTION} takes a directory, and '{kept}' is none; write {_OPTION}=DIR, or the option last"
        )


@pytest.fixture
def user_events(request: pytest.FixtureRequest) -> "Iterator[PrivateTracer]":
    """A private tracer that records every user_event of this process and of the programs that it starts.

    ``user_events["request"].count``; `userevents.testing.PrivateTracer` has the rest. A test that fails shows the last
    events in its report.
    """
    from .tracer import PrivateTracer

    with PrivateTracer() as tracer:
        request.node.stash[_TRACER] = tracer
        yield tracer
    del request.node.stash[_TRACER]


@pytest.fixture(autouse=True)
def _userevents_record(request: pytest.FixtureRequest) -> None:
    """With ``--userevents-record`` every test has a private tracer, whether it asked for one or not."""
    if request.config.getoption(_OPTION, None) is not None:
        request.getfixturevalue(_NAME)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the last events of a test that failed, and keep its trace if that was asked for."""
    report = yield
    if report.failed and report.when != "teardown":
        tracer = item.stash.get(_TRACER, None)
        if tracer is not None:
            report.sections += _sections(item, tracer)
    return report


def _sections(item: pytest.Item, tracer: "PrivateTracer") -> list[tuple[str, str]]:
    """What the report of a failed test gets; trouble in making it must not hide the test's own."""
    try:
        lines = tracer.tail() or ["no user_event was recorded"]
        kept = item.config.getoption(_OPTION, None)
        if kept is not None:
            lines.append(f"trace: {_keep(Path(kept), item.nodeid, tracer)}")
    except Exception as error:
        lines = [f"the events cannot be shown: {type(error).__name__}: {error}"]
    return [("User events", "\n".join(lines))]


def _keep(directory: Path, nodeid: str, tracer: "PrivateTracer") -> Path:
    """Write the trace of a test into a file named after it."""
    directory.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.\-\[\]]+", "_", nodeid.replace("::", "."))
    path = directory / f"{name[-_LONGEST_NAME:].lstrip('._')}.trace.dat"
    tracer.save(path)
    return Path(os.path.relpath(path)) if path.is_absolute() else path
