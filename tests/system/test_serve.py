"""`userevents serve` as a service manager runs it, and the other verbs on it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.system.conftest import COMMAND, Userevents

MANAGED = """
import os, sys
descriptor, *words = sys.argv[1:]
if int(descriptor) >= 0:
    os.dup2(int(descriptor), 3, inheritable=True)
    os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(words[0], words)
"""
PROGRAM = "import sys; emit(0, 3); print('ready', flush=True); sys.stdin.readline(); emit(3, 10)"


class Service:
    """A daemon under a service manager, which this test plays."""

    def __init__(self, userevents: Userevents, directory: Path) -> None:
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(directory / "notify"))
        self.notices.settimeout(20)
        self.told: list[str] = []
        self._path = str(directory / "notify")
        self._userevents = userevents
        self.process: subprocess.Popen[str] | None = None

    def start(self, *words: str, listener: socket.socket | None = None, **env: str) -> None:
        """Start the daemon as systemd would."""
        descriptor = -1 if listener is None else listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-c", MANAGED, str(descriptor), *COMMAND, "serve", *words],
            env={**os.environ, "NOTIFY_SOCKET": self._path, **env},
            pass_fds=() if listener is None else (descriptor,),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._userevents.started.append(self.process)

    def hear(self, wanted: str) -> str:
        """Wait for a notice with this word; returns the line."""
        while True:
            for number, line in enumerate(self.told):
                if wanted in line:
                    del self.told[: number + 1]
                    return line
            self.told += self.notices.recv(65536).decode().splitlines()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; returns the exit code and what was logged."""
        assert self.process is not None
        self.process.send_signal(number)
        _, logged = self.process.communicate(timeout=20)
        return self.process.returncode, logged


@pytest.fixture
def service(userevents: Userevents, tmp_path: Path) -> Iterator[Service]:
    """A daemon to start."""
    made = Service(userevents, tmp_path)
    yield made
    made.notices.close()


def test_the_manager_hears_ready_status_signs_of_life_and_the_end(service: Service, userevents: Userevents) -> None:
    """READY once the socket answers, WATCHDOG in time, STATUS with the programs there are, STOPPING at SIGTERM."""
    service.start(WATCHDOG_USEC="400000")
    assert service.hear("READY=1")
    assert userevents("cat", "README").returncode == 0
    began = time.monotonic()
    for _ in range(4):
        service.hear("WATCHDOG=1")
    assert time.monotonic() - began < 4 * 0.4
    program = userevents.python(PROGRAM)
    assert service.hear("STATUS=1 program, 1 event")
    program.communicate("\n", timeout=20)
    code, logged = service.end()
    assert service.hear("STOPPING=1")
    assert code == 0
    assert all(line[:3] in ("<6>", "<4>") for line in logged.splitlines()), logged
    assert "is the tracer" in logged


def test_sighup_looks_again_and_goes_on(service: Service) -> None:
    """A reload is told to the manager from its beginning to its end, and the tracer stays."""
    service.start()
    service.hear("READY=1")
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    assert service.hear("RELOADING=1")
    assert service.hear("MONOTONIC_USEC=").partition("=")[2].isdigit()
    assert service.hear("READY=1")
    assert service.end()[0] == 0


def test_one_that_was_stopped_and_continued_serves_on(service: Service, userevents: Userevents) -> None:
    """SIGSTOP for longer than a turn of its main thread, then SIGCONT, as Ctrl-Z and fg do: it is there again."""
    service.start(WATCHDOG_USEC="400000")
    service.hear("READY=1")
    assert service.process is not None
    for _ in range(3):
        service.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        service.process.send_signal(signal.SIGCONT)
        service.told.clear()
        assert service.hear("WATCHDOG=1")
    assert userevents("cat", "README").returncode == 0
    assert service.end()[0] == 0


def test_a_socket_of_the_manager_is_served_and_stays(
    service: Service, userevents: Userevents, runtime_dir: Path
) -> None:
    """Whoever came before the daemon was started is answered, and the socket outlives the daemon."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "tracer.sock"))
        listener.listen(8)
        early = userevents.start("cat", "README")
        service.start(listener=listener)
        service.hear("READY=1")
        assert "tracing" in early.communicate(timeout=20)[0]
        assert service.end()[0] == 0
        assert (runtime_dir / "tracer.sock").exists()
        service.start(listener=listener)
        service.hear("READY=1")
        assert userevents("cat", "README").returncode == 0
        assert service.end()[0] == 0


def test_a_descriptor_that_is_no_listening_socket_is_refused(service: Service, userevents: Userevents) -> None:
    """The message says which descriptor, and what it should have been."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wrong:
        service.start(listener=wrong)
        assert service.process is not None
        _, logged = service.process.communicate(timeout=20)
    assert service.process.returncode == 1
    assert "descriptor 3 is no listening Unix stream socket" in logged


def test_a_record_waits_for_the_service_that_its_socket_starts(
    service: Service, userevents: Userevents, runtime_dir: Path
) -> None:
    """While a manager listens, a recorder does not become the tracer itself: it joins the one that is started."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "tracer.sock"))
        listener.listen(8)
        code = userevents.code("emit(0, 100)")
        recorder = userevents.start("record", "-e", "tick", "-o", "a.dat", "--", sys.executable, "-c", code)
        service.start(listener=listener)
        service.hear("READY=1")
        _, said = recorder.communicate(timeout=30)
        assert "100 events of 1 program" in said
        assert "nothing lost" in said
        assert service.end()[0] == 0


def test_every_verb_works_on_it_with_programs_from_before_and_after(service: Service, userevents: Userevents) -> None:
    """A program older than the daemon and a younger one are in one tree: enabled, recorded, shown."""
    before = userevents.python(PROGRAM)
    assert before.stdout is not None
    assert before.stdout.readline() == "ready\n"
    service.start()
    service.hear("STATUS=1 program")
    after = userevents.python(PROGRAM)
    assert after.stdout is not None
    assert after.stdout.readline() == "ready\n"
    assert userevents("enable", "tick").returncode == 0
    recorder = userevents.record("-o", "all.dat")
    before.communicate("\n", timeout=20)
    after.communicate("\n", timeout=20)
    assert "14 events of 2 programs" in userevents.end(recorder)
    trace = userevents("cat", "trace").stdout
    assert trace.count(": tick: ") == 14
    facts = json.loads(userevents("info", "tick", "--json").stdout)
    assert facts["event"] == "user_events:tick" or facts["name"] == "tick"
    assert userevents("list").returncode == 0
    code, _ = service.end()
    assert code == 0


def test_a_recorder_counts_what_it_was_asked_for(service: Service, userevents: Userevents) -> None:
    """What somebody else has enabled lies in the same ring, and is no event of this recording."""
    service.start()
    service.hear("READY=1")
    program = userevents.python("import sys\n@event\ndef tock(a: u32) -> None: 't'\nsys.stdin.readline()\n"
                                "emit(0, 5)\nfor a in range(20): tock(a)\n")  # fmt: skip
    service.hear("STATUS=1 program, 2 events")
    assert userevents("enable", "tock").returncode == 0
    recorder = userevents.record("-e", "tick", "-o", "t.dat")
    program.communicate("\n", timeout=20)
    assert "userevents: 5 events of 1 program" in userevents.end(recorder)
    assert service.end()[0] == 0


def test_a_second_one_is_told_who_is_the_first(service: Service, userevents: Userevents) -> None:
    """One tracer per user: the message has its pid, the exit code is 1."""
    service.start()
    service.hear("READY=1")
    second = userevents("serve")
    assert service.process is not None
    assert second.returncode == 1
    assert f"process {service.process.pid} is this user's tracer" in second.stderr
    assert service.end()[0] == 0


def test_a_killed_one_is_replaced_and_nothing_declared_is_lost(service: Service, userevents: Userevents) -> None:
    """kill -9, then the manager starts it again: the program is adopted, and what it writes is recorded."""
    service.start()
    service.hear("READY=1")
    program = userevents.python(PROGRAM)
    service.hear("STATUS=1 program")
    assert service.process is not None
    service.process.kill()
    service.process.communicate(timeout=20)
    service.start()
    service.hear("STATUS=1 program, 1 event")
    recorder = userevents.record("-o", "b.dat")
    program.communicate("\n", timeout=20)
    assert "7 events of 1 program" in userevents.end(recorder)
    assert service.end()[0] == 0


def test_what_a_killed_one_had_enabled_stays_so_for_who_comes_back_late(
    service: Service, userevents: Userevents
) -> None:
    """A fleet whose broker is slow, say, asks the next tracer after more than a second: no event is missing."""
    service.start()
    service.hear("READY=1")
    program = userevents.python(PROGRAM)
    service.hear("STATUS=1 program, 1 event")
    first = userevents.record("-o", "a.dat")
    assert service.process is not None
    service.process.kill()
    userevents.end(first, signal.SIGKILL)
    service.process.communicate(timeout=20)
    service.start()
    service.hear("STATUS=1 program, 1 event")
    time.sleep(1.3)
    program.communicate("\n", timeout=20)
    second = userevents.record("-o", "b.dat")
    assert "7 events of 1 program" in userevents.end(second)
    assert service.end()[0] == 0


def test_logs_can_be_json(service: Service) -> None:
    """Each line is an object with time, level and message."""
    service.start("--json")
    service.hear("READY=1")
    _, logged = service.end()
    lines = [json.loads(line) for line in logged.splitlines()]
    assert {"time", "level", "message"} == set(lines[0])


DRIVEN = ("--mount", "--mode", "770", "--group", "0", "--fleet-ca", "/etc/ca $1.pem", "--fleet-backlog", "1M")
IN_UNIT = (
    "--system --mount=/sys/kernel/tracing --mode=770 --group=0 --fleet=nats://broker '--fleet-host=a b%%' "
    "--fleet-backlog=1048576 '--fleet-ca=/etc/ca $$1.pem'\n"
)


@pytest.mark.parametrize("who", ["user", "system"])
def test_the_units_are_good_systemd_units(userevents: Userevents, tmp_path: Path, who: str) -> None:
    """systemd-analyze verify has nothing to say about them, all that was asked for is in them.

    They need no procps, and others see what is mounted.
    """
    tool = require("systemd-analyze")
    option = ["--system", "--fleet", "nats://broker", "--fleet-host", "a b%", *DRIVEN] if who == "system" else []
    for kind in ("service", "socket"):
        text = userevents("serve", *option, "--print-unit", kind).stdout
        assert ("AF_INET6" in text and IN_UNIT in text) == (len(option) > 1 and kind == "service")
        assert "/bin/kill" not in text
        assert not re.search(r"^(Protect|Private|ReadOnly|Inaccessible|MountFlags)", text, re.MULTILINE)
        (tmp_path / f"userevents.{kind}").write_text(text, encoding="utf-8")
    units = [str(tmp_path / f"userevents.{kind}") for kind in ("service", "socket")]
    env = os.environ | {"XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        [tool, f"--{who}", "verify", "--man=no", *units], capture_output=True, text=True, timeout=50, env=env
    )
    assert done.returncode == 0, done.stderr
    assert "userevents" not in done.stderr, done.stderr


def test_without_a_manager_the_log_is_for_people(runtime_dir: Path) -> None:
    """Also where it goes to a file: the journal's numbers are for the journal."""
    env = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "JOURNAL_STREAM")}
    with subprocess.Popen([*COMMAND, "serve"], env=env, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = server.stderr.readline()
        server.terminate()
    assert said.startswith(f"userevents: pid {server.pid} is the tracer")
