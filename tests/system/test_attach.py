"""Attaching to programs that run already: a real Python 3.14, and what is said where that cannot be.

The Python is `$USEREVENTS_PYTHON314`, this one, or a `python3.14` in the PATH. What a program executes when somebody
attaches is also tried on this Python, whichever it is, which executes it by itself.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PATIENCE
from tests.system.conftest import Userevents
from userevents.cli.attaching import forbidden
from userevents.providers import attached

SHOP: Final = """
import gc, logging, os, select, sys, threading, time

class Cart:
    def add(self, n):
        return n

def state():
    tools = [sys.monitoring.get_tool(tool) for tool in (3, 4)] if sys.version_info >= (3, 12) else []
    print(tools, len(os.listdir("/proc/self/task")), vars(logging.Logger).get("filter"), len(gc.callbacks), flush=True)

print("up", flush=True)
while True:
    Cart().add(1)
    logging.getLogger("shop").debug("below its level")
    logging.getLogger("shop").error("sold out")
    open("/dev/null").close()
    if select.select([sys.stdin], [], [], 0.01)[0]:
        if not sys.stdin.readline():
            break
        state()
"""
CLEAN: Final = "[None, None] 1 None 0\n"


def _python314() -> str | None:
    if sys.version_info >= (3, 14):
        return sys.executable
    return os.environ.get("USEREVENTS_PYTHON314") or shutil.which("python3.14")


@pytest.fixture
def python314() -> str:
    """A Python that can be attached to."""
    path = _python314()
    if path is None:
        pytest.skip("there is no Python 3.14 here (USEREVENTS_PYTHON314 names one)")
    return path


@pytest.fixture
def shop(python314: str, tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A program that knows nothing of us; a line to it has it tell what is in it."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    yield from _started([python314, str(tmp_path / "shop.py")])


def _started(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    program = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "up\n"
    yield program
    program.communicate()


def _state(program: "subprocess.Popen[str]") -> str:
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write("\n")
    program.stdin.flush()
    return program.stdout.readline()


def test_a_running_program_is_recorded_and_left_as_it_was(
    userevents: Userevents, shop: "subprocess.Popen[str]"
) -> None:
    """Its calls, logs and files; afterwards no probe, thread, wrapper or callback is in it. And once more."""
    assert _state(shop) == CLEAN
    for number, calls in enumerate((["--calls", "__main__:Cart.*"], [])):
        trace = f"{number}.dat"
        done = userevents("record", "-p", str(shop.pid), *calls, "--duration", "1s", "-o", trace)
        assert "is attached to: logging, " in done.stderr
        assert "nothing lost" in done.stderr
        assert _state(shop) == CLEAN
        summary = userevents("report", trace, "--summary").stdout
        assert "balanced" in summary
        assert {word for word in summary.split() if word.startswith("py_")} >= {"py_log", "py_open"}
        text = userevents("report", trace, "-e", "py_enter", "-e", "py_log").stdout
        assert ("function=__main__:Cart.add" in text) is bool(calls)
        assert "message=sold out" in text
        assert "nothing was called" not in done.stderr
    done = userevents(
        "record", "-p", str(shop.pid), "--calls", "__main__:Crat.*", "--duration", "300ms", "-o", "no.dat"
    )
    assert "nothing was called that matches --calls __main__:Crat.*" in done.stderr
    assert not list(Path("/dev/shm").glob("userevents-attach-*"))


def test_what_was_attached_stays_until_it_is_detached(userevents: Userevents, shop: "subprocess.Popen[str]") -> None:
    """For tail, top and recordings; a recording that found it there leaves it there."""
    pid = str(shop.pid)
    assert userevents("attach", pid, "--provider", "gc,logging").stderr.rstrip().endswith("is attached to: logging, gc")
    assert "message=sold out" in userevents("tail", "py_log", "-n", "2").stdout
    assert userevents("record", "-p", pid, "--duration", "300ms").returncode == 0
    assert "message=sold out" in userevents("report", "trace.dat").stdout
    assert _state(shop) != CLEAN
    done = userevents("detach", pid)
    assert (done.returncode, _state(shop)) == (0, CLEAN)
    assert userevents("detach", pid).stderr.rstrip().endswith("has nothing of ours running")


def test_who_listens_is_not_taken_anything_from(userevents: Userevents, shop: "subprocess.Popen[str]") -> None:
    """A second recording leaves the first one's providers in; the last turns off the light."""
    pid = str(shop.pid)
    first = userevents.record("-p", pid, "-o", "first.dat")
    assert "is attached to" in (first.stderr.readline() if first.stderr else "")
    done = userevents("detach", pid)
    assert done.returncode == 1
    assert "still listened to" in done.stderr
    assert "nothing lost" in userevents("record", "-p", pid, "--duration", "300ms", "-o", "second.dat").stderr
    assert _state(shop) != CLEAN
    assert "nothing lost" in userevents.end(first)
    assert _state(shop) == CLEAN


def test_a_program_that_does_not_come_to_python_is_named(userevents: Userevents, python314: str) -> None:
    """It is waited for, with the reason; given up, nothing is left for it to run."""
    code = "import select, sys\nprint('up', flush=True)\nwhile not select.select([sys.stdin], [], [])[0]: pass"
    program = _started([python314, "-c", code])
    sleeper = next(program)
    done = userevents("attach", str(sleeper.pid), "--wait", "300ms")
    assert done.returncode == 1
    assert "did not let us in: its main thread waits in the kernel" in done.stderr
    assert not list(Path("/dev/shm").glob("userevents-attach-*"))
    attaching = userevents.start("attach", str(sleeper.pid), str(sleeper.pid + 1))
    while not list(Path("/dev/shm").glob("userevents-attach-*")):
        assert attaching.poll() is None
        time.sleep(0.005)
    attaching.send_signal(signal.SIGINT)
    assert attaching.wait(20) == -signal.SIGINT  # as every verb that Ctrl-C cuts short; nobody else is tried
    assert not list(Path("/dev/shm").glob("userevents-attach-*"))
    next(program, None)
    assert sleeper.returncode == 0


def test_a_program_that_forbids_it_is_not_attached_to(userevents: Userevents, python314: str, tmp_path: Path) -> None:
    """The switch that turned it off is named, and what works."""
    (tmp_path / "shop.py").write_text(SHOP, encoding="utf-8")
    program = _started([python314, "-X", "disable-remote-debug", str(tmp_path / "shop.py")])
    done = userevents("record", "-p", str(next(program).pid))
    next(program, None)
    assert done.returncode == 1
    assert "-X disable-remote-debug" in done.stderr
    assert "userevents record -- PROGRAM" in done.stderr


def test_what_cannot_be_attached_to_is_told_with_what_works(userevents: Userevents) -> None:
    """An older Python, a native program, a process that is none."""
    programs = {"no Python": ["sleep", "60"]}
    if sys.version_info < (3, 14):
        programs["from 3.14 on"] = [sys.executable, "-c", "import time; time.sleep(60)"]
    for reason, command in programs.items():
        program = userevents.popen(command)
        time.sleep(0.1 * PATIENCE)  # until it has become what it is
        done = userevents("record", "-p", str(program.pid))
        assert (done.returncode, reason in done.stderr) == (1, True), done.stderr
        assert userevents("attach", str(program.pid)).returncode == 1
        program.kill()
        program.wait()
        assert f"there is no process {program.pid}" in userevents("attach", str(program.pid)).stderr


def test_another_users_process_is_told_to_be_theirs(userevents: Userevents, shop: "subprocess.Popen[str]") -> None:
    """To whom it belongs, and who may. As root, an own recording of another's program is refused, too."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can be two users")
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    command = [*nobody, sys.executable, "-m", "userevents", "attach", str(shop.pid)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd="/", env={"PATH": os.environ["PATH"]}
    )
    if "No module named" in done.stderr or "denied" in done.stderr.lower():
        pytest.skip("another user cannot read this checkout")
    assert "only they, and root, may attach to it" in done.stderr
    other = userevents.popen([*nobody, "sleep", "60"])
    time.sleep(0.1 * PATIENCE)
    assert "whose tracer is theirs" in userevents("record", "-p", str(other.pid)).stderr


@pytest.mark.parametrize(
    ("scope", "is_root", "told"),
    [
        (1, False, "ptrace_scope is 1, which leaves it to root: 'sudo userevents attach 7'"),
        (2, False, "ptrace_scope is 2, which leaves it to root"),
        (3, True, "forbids it to everybody"),
        (0, False, "CAP_SYS_PTRACE"),
        (1, True, "CAP_SYS_PTRACE"),
    ],
)
def test_the_kernels_reasons_are_told_with_the_way_out(scope: int, is_root: bool, told: str) -> None:
    """Yama's setting decides who may."""
    assert told in forbidden(7, scope, is_root=is_root)


def test_what_is_attached_starts_and_stops_on_every_python(userevents: Userevents, tmp_path: Path) -> None:
    """The program executes by itself what would be executed in it: twice, with all providers, and clean in between."""
    program = """
import gc, logging, os, sys
space = {"__name__": "_userevents_injected.attached"}
exec(compile(open(PATH).read(), PATH, "exec"), space)
calls = ["__main__:*"] if sys.version_info >= (3, 12) else []
for round in range(2):
    for stop in (False, True):
        wish = {"package": PACKAGE, "place": "", "report": "report", "stop": stop, "calls": calls,
                "providers": ["logging", "audit", "gc", *["calls"] * bool(calls)]}
        space["run"](wish)
        print(open("report").read(), len(os.listdir("/proc/self/task")), len(gc.callbacks), len(os.listdir(PLACE)))
        logging.error("to nobody")
    print("filter" in vars(logging.Logger))
"""
    package = str(Path(attached.__file__).parents[1])
    places = f"PATH, PACKAGE, PLACE = {attached.__file__!r}, {package!r}, {os.environ['USEREVENTS_DIR']!r}\n"
    (tmp_path / "program.py").write_text(places + program, encoding="utf-8")
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = ["logging", "gc", *["calls"] * (sys.version_info >= (3, 12)), "audit"]
    watched = int("calls" in names)
    expected = [
        f"{ {'started': names, 'running': names} } {1 + watched} {1 + watched} 2",
        f"{ {'stopped': names, 'listened': False} } 1 0 1",
        "False",
    ]
    assert done.stdout.splitlines() == expected * 2
