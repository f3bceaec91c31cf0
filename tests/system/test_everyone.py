"""`userevents serve --system` and users who do not trust each other: real uids, real files, real attacks.

Everything runs in a mount namespace of its own, where /run and /dev/shm are empty.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from tests.conftest import ROOT, require
from tests.doors.servers import python_for_nobody
from tests.system.conftest import TICK

ALICE, BOB, TRACING = 65533, 65531, 65530
SHM, RUN = "/dev/shm", "/run/userevents"
FRESH = "mount -t tmpfs tmpfs /run && mount -t tmpfs -o mode=1777 tmpfs /dev/shm && echo ready && exec sleep 600"
WRITER = (
    TICK
    + "emit(0, 3)\nprint('ready', flush=True)\nimport sys\n"
    + "for line in sys.stdin: emit(3, 10); print('more', flush=True)\n"
)


class Machine:
    """A /run and a /dev/shm of one's own, for root and two users."""

    def __init__(self) -> None:
        unshare = [require("unshare"), "-m", "--propagation", "private", "sh", "-c", FRESH]
        self._holder = subprocess.Popen(unshare, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            pytest.skip(f"mounts are not permitted here: {self._holder.communicate()[1].strip()}")
        self._python = python_for_nobody() or sys.executable
        self._started = [self._holder]

    def start(self, uid: int, *words: str, groups: str = "") -> "subprocess.Popen[str]":
        """Start a command as a user."""
        kept = {"PATH": os.environ["PATH"], "USEREVENTS_BACKEND": "session", "PYTHONDONTWRITEBYTECODE": "1"}
        kept["PYTHONPATH"] = f"{ROOT / 'src'}:{Path(click.__file__).parent.parent}"
        become = ["setpriv", "--reuid", str(uid), "--regid", str(uid)]
        become += ["--groups", groups] if groups else ["--clear-groups"]
        process = subprocess.Popen(
            [require("nsenter"), "-t", str(self._holder.pid), "-m", "--wdns=/", *become, *words],
            env=kept,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        return process

    def verb(self, uid: int, *words: str, groups: str = "") -> "subprocess.Popen[str]":
        """Start a verb of ours."""
        return self.start(uid, self._python, "-P", "-m", "userevents", *words, groups=groups)

    def python(self, uid: int, code: str) -> "subprocess.Popen[str]":
        """Start a Python program."""
        return self.start(uid, self._python, "-c", code)

    def does(self, uid: int, *words: str, groups: str = "", code: int = 0) -> str:
        """Run a verb to its end; returns all that it said."""
        process = self.verb(uid, *words, groups=groups)
        out, err = process.communicate(timeout=50)
        assert process.returncode == code, out + err
        return out + err

    def shell(self, uid: int, script: str) -> str:
        """Run a shell script as a user."""
        out, err = self.start(uid, "sh", "-ec", script).communicate(timeout=50)
        assert not err, err
        return out

    def writer(self, uid: int) -> "subprocess.Popen[str]":
        """Start a program that has written three events, and writes seven more for each line that it reads."""
        program = self.python(uid, WRITER)
        said(program, "ready")
        return program

    def info(self) -> dict[str, object]:
        """What the system's tracer says of itself."""
        facts = json.loads(self.does(0, "cat", "userevents/info"))
        assert isinstance(facts, dict)
        return facts

    def uids(self) -> list[object]:
        """Whose programs it has."""
        programs = self.info()["programs"]
        assert isinstance(programs, list)
        return sorted(program["uid"] for program in programs)

    def serve(self, *options: str) -> "subprocess.Popen[str]":
        """Start the system's tracer."""
        server = self.verb(0, "serve", "--system", "--log-level", "debug", *options)
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        assert any("is the tracer" in line for line in lines)
        return server

    def end(self) -> None:
        """Kill whatever is left."""
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


def said(program: "subprocess.Popen[str]", word: str) -> None:
    """Wait for a line of a program."""
    assert program.stdout is not None
    line = program.stdout.readline()
    assert line == f"{word}\n", line + (program.stderr.read() if program.stderr is not None else "")


def more(program: "subprocess.Popen[str]") -> None:
    """Let a writer write seven events more."""
    assert program.stdin is not None
    program.stdin.write("\n")
    program.stdin.flush()
    said(program, "more")


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something, at most 20 seconds."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine with nothing on it."""
    if os.geteuid() != 0:
        pytest.skip("only root can be the tracer of all users")
    require("setpriv")
    made = Machine()
    try:
        yield made
    finally:
        made.end()


def test_programs_of_every_user_from_before_and_after_are_in_one_trace(machine: Machine, tmp_path: Path) -> None:
    """Those that were there first are adopted where they are, later ones find a directory of root's making."""
    before = [machine.writer(uid) for uid in (ALICE, BOB)]
    server = machine.serve()
    after = [machine.writer(uid) for uid in (ALICE, BOB, 0)]
    assert machine.uids() == [0, BOB, BOB, ALICE, ALICE]
    listing = machine.shell(0, f"stat -c '%u %a' {RUN}/{ALICE} {RUN}/{BOB} {RUN}").split("\n")
    assert listing[:3] == [f"{ALICE} 700", f"{BOB} 700", "0 755"]
    listed = [json.loads(line) for line in machine.does(0, "list", "--json").splitlines()]
    assert sorted(item["uid"] for item in listed) == [0, BOB, BOB, ALICE, ALICE]
    assert {json.loads(line)["uid"] for line in machine.does(ALICE, "list", "--json").splitlines()} == {ALICE}
    machine.does(0, "enable", "tick")
    recorder = machine.verb(0, "record", "-o", str(tmp_path / "all.dat"))
    assert recorder.stderr is not None
    assert "recording;" in recorder.stderr.readline()
    for program in before + after:
        more(program)
    recorder.send_signal(signal.SIGINT)
    assert "35 events of 5 programs" in recorder.communicate(timeout=30)[1]
    assert machine.does(0, "cat", "trace").count(": tick: ") == 35
    owners = machine.shell(0, f"find {RUN}/{ALICE} {SHM}/userevents-{ALICE} -type f -printf '%u\\n' | sort -u").split()
    assert owners in ([str(ALICE)], [machine.shell(ALICE, "id -un 2>/dev/null || id -u").strip()])
    for program in before + after:
        assert program.communicate(timeout=20) == ("", "")
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0


def test_another_user_is_refused_and_told_why(machine: Machine) -> None:
    """Without a policy only root may use it; a group may look with mode 750, and drive with 770; nobody else may."""
    server = machine.serve()
    refusal = machine.does(ALICE, "cat", "trace", code=1)
    assert f"'{RUN}/tracer.sock' does not serve uid {ALICE}: Permission denied" in refusal
    server.terminate()
    server.wait(20)
    server = machine.serve("--group", str(TRACING))
    assert "tracing" in machine.does(ALICE, "cat", "README", groups=str(TRACING))
    assert "Permission" in machine.does(BOB, "cat", "README", groups=str(BOB), code=1)
    assert "EACCES" in machine.does(ALICE, "write", "tracing_on", "0", groups=str(TRACING), code=1)
    server.terminate()
    server.wait(20)
    machine.serve("--group", str(TRACING), "--mode", "770")
    machine.does(ALICE, "write", "tracing_on", "0", groups=str(TRACING))
    assert machine.does(0, "cat", "tracing_on") == "0\n"
    assert "EPERM" in machine.does(ALICE, "register", "--persist", "mine u32 a", groups=str(TRACING), code=1)
    machine.does(0, "register", "--persist", "roots u32 a")


def test_a_member_of_the_group_records_through_it(machine: Machine) -> None:
    """With mode 770 their recorder joins the system's tracer: also for what another user runs."""
    machine.serve("--group", str(TRACING), "--mode", "770")
    bobs = machine.writer(BOB)
    eventually(lambda: machine.uids() == [BOB])
    code = TICK + "emit(0, 50)\n"
    mine = ("record", "-e", "tick", "-o", f"{SHM}/mine.dat", "--", machine._python, "-c", code)
    assert "50 events of 1 program" in machine.does(ALICE, *mine, groups=str(TRACING))
    recorder = machine.verb(ALICE, "record", "-o", f"{SHM}/all.dat", groups=str(TRACING))
    assert recorder.stderr is not None
    assert "recording;" in recorder.stderr.readline()
    more(bobs)
    recorder.send_signal(signal.SIGINT)
    assert "7 events of 1 program" in recorder.communicate(timeout=30)[1]
    assert machine.info()["instances"] == []
    bobs.communicate(timeout=20)


def test_a_user_who_may_not_use_it_still_records_what_they_start(machine: Machine) -> None:
    """Their recorder is a tracer beside the system's, in a directory of theirs; nobody else's events are in it."""
    machine.serve()
    other = machine.writer(BOB)
    out = f"{SHM}/alice.dat"
    code = TICK + "emit(0, 50)\n"
    # The program begins when root's tracer has made a directory for its user, which the recorder may not have seen.
    late = f'until [ -e {RUN}/{ALICE} ]; do sleep 0.02; done; exec "$0" -c "$1"'
    record = ("record", "--door", "none", "-e", "tick", "-o", out, "--", "sh", "-c", late, machine._python, code)
    assert "50 events of 1 program" in machine.does(ALICE, *record)
    more(other)
    again = machine.writer(ALICE)
    eventually(lambda: machine.uids() == [BOB, ALICE])
    for program in (other, again):
        program.communicate(timeout=20)


def test_a_users_own_tracer_keeps_what_it_has_and_hands_it_over_at_its_end(machine: Machine) -> None:
    """The system's tracer leaves alone what a tracer of the user serves, and takes it once that has ended."""
    mine = machine.verb(ALICE, "serve")
    assert mine.stderr is not None
    assert "is the tracer" in mine.stderr.readline()
    program = machine.writer(ALICE)
    machine.serve()
    assert machine.uids() == []
    assert "tick" in machine.does(ALICE, "info", "tick")
    mine.terminate()
    assert mine.wait(20) == 0
    eventually(lambda: machine.uids() == [ALICE])
    program.communicate(timeout=20)


@pytest.mark.parametrize("trap", ["link", "rings", "hardlink", "fifo", "open", "lock"])
def test_traps_in_a_users_directory_catch_nobody_else(machine: Machine, trap: str) -> None:
    """Whatever a user puts in place of a directory or a file: nobody else's file is made, changed, removed or read."""
    victim = f"{SHM}/userevents-{BOB}"
    bobs = machine.writer(BOB)
    session = machine.shell(BOB, f"ls {victim} | grep session").split()[0]
    mine = f"{SHM}/userevents-{ALICE}"
    make = f"mkdir -m 700 {mine} {mine}/rings;"
    traps = {
        "link": f"ln -s {victim} {mine}",
        "rings": f"mkdir -m 700 {mine}; ln -s {victim}/rings {mine}/rings; cp /dev/null {mine}/{session}",
        "hardlink": f"{make} ln {SHM}/roots {mine}/1-{'0' * 32}.session 2>/dev/null || true",
        "fifo": f"{make} mkfifo {mine}/1-{'0' * 32}.session {mine}/tracer.lock",
        "open": f"{make} chmod 777 {mine}",
        "lock": f"{make} ln -s {SHM}/roots {mine}/tracer.lock",
    }
    machine.shell(0, f"echo secret > {SHM}/roots; chmod 666 {SHM}/roots")
    machine.shell(ALICE, traps[trap])
    before = machine.shell(0, f"cd {victim}; find . -name '*.session' -printf '%p %u %s %i\\n'; cat {SHM}/roots")
    machine.serve()
    assert machine.uids() == [BOB]
    more(bobs)
    assert (
        machine.shell(0, f"cd {victim}; find . -name '*.session' -printf '%p %u %s %i\\n'; cat {SHM}/roots") == before
    )
    bobs.communicate(timeout=20)


def test_another_users_ring_is_not_removed_through_a_link(machine: Machine) -> None:
    """A session that is nobody's is removed with its rings: as its owner, who cannot remove those of somebody else."""
    stem = f"99999999-{'a' * 32}"
    mine, bobs = f"{SHM}/userevents-{ALICE}", f"{SHM}/userevents-{BOB}"
    machine.shell(BOB, f"mkdir -m 700 {bobs} {bobs}/rings; echo mine > {bobs}/rings/{stem}.1")
    machine.shell(ALICE, f"mkdir -m 700 {mine}; ln -s {bobs}/rings {mine}/rings; echo > {mine}/{stem}.session")
    machine.serve()
    eventually(lambda: machine.shell(0, f"ls {mine}") == "rings\ntracer.lock\n")
    assert machine.shell(0, f"cat {bobs}/rings/{stem}.1") == "mine\n"


def test_a_directory_that_is_swapped_while_it_is_served_leads_nowhere(machine: Machine) -> None:
    """A user who replaces their own served directory by a link to another's gains nothing, and the tracer goes on."""
    bobs, mine = machine.writer(BOB), machine.writer(ALICE)
    machine.serve()
    assert machine.uids() == [BOB, ALICE]
    machine.shell(
        ALICE, f"mv {SHM}/userevents-{ALICE} {SHM}/away; ln -s {SHM}/userevents-{BOB} {SHM}/userevents-{ALICE}"
    )
    mine.kill()
    mine.communicate()
    machine.does(0, "enable", "tick")
    eventually(lambda: machine.uids() == [BOB])
    more(bobs)
    assert machine.does(0, "cat", "trace").count(": tick: ") == 7
    assert machine.shell(BOB, f"ls {SHM}/userevents-{BOB} | grep -c session") == "1\n"
    bobs.communicate(timeout=20)


def test_a_session_cannot_borrow_the_privilege_of_another_process(machine: Machine) -> None:
    """A header that claims to be root's process makes no event persist: that process has not mapped the file."""
    machine.serve()
    claim = TICK + (
        "import os, glob, struct, time\n"
        "emit(0, 1)\n"
        "from userevents.session.layout import HEADER, Header\n"
        "path = glob.glob(f'/dev/shm/userevents-{os.getuid()}/*.session')[0]\n"
        "data = bytearray(open(path, 'rb').read())\n"
        "header = Header._make(HEADER.unpack_from(data))\n"
        "from userevents.session import locks\n"
        "forged = header._replace(pid=1, uid=0, start_time=locks.start_time(1), nonce=bytes(16))\n"
        "HEADER.pack_into(data, 0, *forged)\n"
        "flags = data.find(b'tick ') - 2\n"
        "data[flags:flags + 2] = struct.pack('<H', 1)\n"
        "open(os.path.dirname(path) + '/1-' + '0' * 32 + '.session', 'wb').write(data)\n"
        "print('ready', flush=True); input()\n"
    )
    forger = machine.python(ALICE, claim)
    said(forger, "ready")
    eventually(lambda: len(machine.uids()) == 2)
    programs = machine.info()["programs"]
    assert isinstance(programs, list)
    forged = next(program for program in programs if program["pid"] == 1)
    assert (forged["uid"], forged["events"][0]["error"]) == (ALICE, "EPERM")
    assert "self" not in machine.does(0, "cat", "userevents/holders")
    forger.communicate("\n", timeout=20)


def test_a_flood_of_files_of_one_user_leaves_the_others_served(machine: Machine) -> None:
    """Twenty thousand names that look like sessions, noise in some: others are adopted and answered, and logs end."""
    mine = f"{SHM}/userevents-{ALICE}"
    flood = f"import os\nos.mkdir('{mine}', 0o700)\nfor n in range(20000):\n" + (
        f"    open(f'{mine}/{{os.getpid()}}-{{n:032x}}.session', 'wb').write(os.urandom(n % 3 * 100))\n"
        "print('ready', flush=True); input()\n"
    )
    flooder = machine.python(ALICE, flood)
    said(flooder, "ready")
    server = machine.serve()
    began = time.monotonic()
    bobs = machine.writer(BOB)
    eventually(lambda: machine.uids() == [BOB])
    machine.does(0, "enable", "tick")
    more(bobs)
    assert machine.does(0, "cat", "trace").count(": tick: ") == 7
    assert time.monotonic() - began < 20
    assert len(os.listdir(f"/proc/{server.pid}/fd")) < 100
    server.terminate()
    assert len(server.communicate(timeout=20)[1].splitlines()) < 3000
    bobs.communicate(timeout=20)
    flooder.kill()
