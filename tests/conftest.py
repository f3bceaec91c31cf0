"""Fixtures of every room: trace-cmd, a runtime directory of one's own, and a limit on each test's time.

Tools a test cannot do without are fixtures: where the tool is absent the test is skipped with a reason, but fails
where it was promised to be there (CI=true, or its name in USEREVENTS_REQUIRE, separated by commas).
"""

import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import hypothesis
import pytest
from hypothesis.database import DirectoryBasedExampleDatabase

from tests import beside

ROOT: Final = Path(__file__).resolve().parent.parent
PATIENCE: Final = float(os.environ.get("USEREVENTS_PATIENCE", "1"))  # more under valgrind and its like
TIME_LIMIT: Final = 60.0 * PATIENCE
IS_WORKER: Final = "PYTEST_XDIST_WORKER" in os.environ
STAYS: Final = {"tracer.lock", "tracer.sock", "rings"}  # what a tracer may leave in a runtime directory

# No deadline for one example: on a shared machine it would measure the neighbours.
hypothesis.settings.register_profile(
    "userevents", deadline=None, database=DirectoryBasedExampleDatabase(ROOT / ".cache" / "hypothesis")
)
hypothesis.settings.load_profile("userevents")

_outcomes: Final = pytest.StashKey[dict[str, pytest.TestReport]]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marks that this file obeys."""
    config.addinivalue_line("markers", f"time_limit(seconds): let this test take longer than {TIME_LIMIT:.0f} s")
    config.addinivalue_line("markers", "leaves_files(reason): do not look for files left in runtime_dir")
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as where a shell starts us in the background: what is
        signal.signal(signal.SIGINT, signal.default_int_handler)  # started here has to end at Ctrl-C as ever


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes longest begin first, where several processes run the tests."""
    if IS_WORKER:
        items.sort(key=lambda item: beside.turn(item.nodeid))


def pytest_collection_finish() -> None:
    """Spare the collector of garbage three thousand tests, which it would look through again and again."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> beside.Groups:
    """Say which tests run at the same time, where several processes run them (./dev test)."""
    config.option.loadscopereorder = False  # by our order, not by how many tests there are in a file
    return beside.Groups(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that takes too long, with a traceback of where it hangs; the rest of the run goes on.

    The alarm interrupts waits and system calls of the main thread. What it cannot reach, pytest's own
    faulthandler_timeout ends (pyproject.toml): it shows every thread and exits.
    """
    mark = item.get_closest_marker("time_limit")
    seconds = float(mark.args[0]) * PATIENCE if mark else TIME_LIMIT
    if IS_WORKER and beside.may(item.nodeid):
        beside.stand_back()
        seconds *= 2  # it has half the share of the processor that others have

    def expired(_number: int, _frame: FrameType | None) -> NoReturn:
        pytest.fail(f"still running after {seconds:.0f} s")

    previous = signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep each phase's report, for fixtures that want to know how the test went."""
    report = yield
    item.stash.setdefault(_outcomes, {})[report.when] = report
    return report


def require(tool: str) -> str:
    """Return the path of a program; where there is none, skip the test, or fail it where it must be there."""
    path = shutil.which(tool)
    if path is None:
        _miss(tool, f"{tool} is not installed")
    return path


def wish(tool: str, version: str) -> str:
    """Return the path of a program that is too large to be asked for in CI, or skip; `USEREVENTS_REQUIRE` holds.

    It is there where it answers `version`: a manager of toolchains may stand in its place and know of none.
    """
    path = shutil.which(tool)
    answers = path is not None and subprocess.run([path, version], capture_output=True, check=False).returncode == 0
    if not answers and tool not in os.environ.get("USEREVENTS_REQUIRE", "").split(","):
        pytest.skip(f"{tool} is not installed, or has no toolchain")
    return require(tool)


def require_native() -> None:
    """Go on where the C writer was built and is not switched off; else skip the test, or fail it as `require` does."""
    from userevents.client import native

    if not native.native and os.environ.get("USEREVENTS_NATIVE") != "0":
        _miss("native", "the C writer is not built")
    if not native.native:
        pytest.skip("the C writer is switched off (USEREVENTS_NATIVE=0)")


def _miss(name: str, problem: str) -> NoReturn:
    promised = os.environ.get("USEREVENTS_REQUIRE", "").split(",")
    if name in promised or os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{problem}, and here it must be (CI or USEREVENTS_REQUIRE is set)")
    pytest.skip(problem)


@pytest.fixture(scope="session")
def trace_cmd() -> str:
    """The path of the stock trace-cmd, which must read what we write."""
    return require("trace-cmd")


@pytest.fixture
def runtime_dir(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh runtime directory in memory (0700), the only one this test and its children see.

    Events go there, also where the kernel has user_events. Afterwards it is removed, and must not hold session or ring
    files any more: they must not pile up. A test that leaves some on purpose says why:
    ``@pytest.mark.leaves_files("the program is killed before it ...")``.
    """
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="userevents-test-", dir=memory))
    monkeypatch.setenv("USEREVENTS_DIR", str(directory))
    monkeypatch.setenv("USEREVENTS_BACKEND", "session")
    try:
        yield directory
        left = left_behind(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    call = request.node.stash.get(_outcomes, {}).get("call")
    if call is not None and call.passed and not request.node.get_closest_marker("leaves_files"):
        assert not left, f"left behind in the runtime directory: {', '.join(left)}"


def left_behind(directory: Path) -> list[str]:
    """Return the files of a runtime directory that no tracer needs, as paths relative to it."""
    found = (path.relative_to(directory) for path in directory.rglob("*"))
    return sorted(str(path) for path in found if str(path) not in STAYS)
