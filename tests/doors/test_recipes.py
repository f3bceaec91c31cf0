"""The recipes: every command in docs/recipes/ci.md is run, and containers are made of what they are made of."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from tests.conftest import ROOT, require
from tests.doors.servers import NOBODY, TRACING, own_device, python_for_nobody
from tests.system.conftest import COMMAND, TICK

PAGE = ROOT / "docs" / "recipes" / "ci.md"
CONTAINERS = ROOT / "docs" / "recipes" / "containers.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"(?:#|//) (\S+\.\w+)\n")
IN_YAML = re.compile(r"^ +- (?:run: )?((?:userevents|gcc) .*)$", re.MULTILINE)
OTHER_DEV = "mount -t tmpfs tmpfs /mnt; mkdir /mnt/shm; mount --bind /dev/shm /mnt/shm; cp -a /dev/null /mnt"

pytestmark = pytest.mark.usefixtures("fuse", "runtime_dir")


def blocks() -> list[tuple[str, str]]:
    """The code of the page: language and text."""
    return BLOCK.findall(PAGE.read_text(encoding="utf-8"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The page's files, in a directory."""
    for _, text in blocks():
        named = NAMED.match(text)
        if named is not None:
            (tmp_path / named[1]).write_text(text, encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["beat.c", "events.txt", "shop.py"]
    (tmp_path / "bin").mkdir()
    for name, words in (("userevents", " ".join(COMMAND)), ("python3", sys.executable)):
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
    return tmp_path


def in_shell(project: Path, script: str) -> str:
    """Run commands as a reader would; all must succeed."""
    env = os.environ | {"PATH": f"{project / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-ec", script], cwd=project, env=env, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_commands_of_the_ci_page_do_what_it_says(project: Path) -> None:
    """Every sh block, in its order, with the page's own files; and the page's files are as good as it says."""
    require("gcc")
    scripts = [text for language, text in blocks() if language == "sh"]
    assert len(scripts) == 4
    told = "".join(in_shell(project, script) for script in scripts)
    assert told.count("expectations met") == 2
    assert '"met": true' in (project / "results.json").read_text(encoding="utf-8")


def test_the_commands_in_the_services_own_form_are_good_ones(project: Path) -> None:
    """Those in YAML are run, too, but for the installation."""
    require("gcc")
    texts = [text for language, text in blocks() if language == "yaml"]
    commands = [IN_YAML.findall(text) for text in texts]
    assert [len(found) for found in commands] == [3, 3]
    for found in commands:
        in_shell(project, "\n".join(found))


class Container:
    """What a container is made of: a mount namespace and more, entered as nobody or as root."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.runtime = directory / "runtime"
        self.python = python_for_nobody()
        self.env = os.environ | {
            "USEREVENTS_DIR": str(self.runtime),
            "USEREVENTS_BACKEND": "session",
            "PYTHONPATH": f"{ROOT / 'src'}:{Path(click.__file__).parent.parent}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def words(self, *words: str) -> str:
        """A verb, for a shell."""
        return " ".join([self.python, "-P", "-m", "userevents", *words])

    def run(self, script: str, *options: str, uid: int = NOBODY) -> "subprocess.CompletedProcess[str]":
        """Run a script in new namespaces: first its root's part, then, behind a line of dashes, the user's part."""
        prepare, _, inside = script.rpartition("----")
        become = f"exec setpriv --reuid {uid} --regid {uid} --clear-groups --bounding-set -all --inh-caps -all sh -ec"
        whole = f"{prepare}\ncd /\n{become} '{inside.strip()}'"
        unshare = [require("unshare"), "-m", "--propagation", "private", *options, "sh", "-ec", whole]
        return subprocess.run(unshare, env=self.env, capture_output=True, text=True, timeout=50, check=False)


@pytest.fixture
def container() -> Iterator[Container]:
    """One for nobody, with a runtime directory in memory."""
    require("setpriv")
    directory = Path(tempfile.mkdtemp(prefix="userevents-box-", dir="/dev/shm"))
    directory.chmod(0o755)
    made = Container(directory)
    made.runtime.mkdir(mode=0o700)
    os.chown(made.runtime, NOBODY, NOBODY)
    yield made
    shutil.rmtree(directory)


def test_python_programs_are_recorded_without_any_privilege(container: Container) -> None:
    """No capability, read-only /sys, no /dev/fuse, a private /tmp: recording needs none of it."""
    private = "/var/tmp" if ROOT.is_relative_to("/tmp") else "/tmp"  # the checkout has to stay visible
    script = (
        f"mount -t tmpfs -o mode=1777 tmpfs {private}\n"
        "mount --bind /dev/null /dev/fuse; mount -o remount,bind,ro /sys\n"
        "----\n"
        f"cd {private}; {container.words('record', '-e', 'tick', '-o', 't.dat', '--', container.python, '-c')}"
        f' "$CODE"; {container.words("report", "t.dat", "--format", "json")} | wc -l'
    )
    container.env["CODE"] = TICK + "emit(0, 100)"
    done = container.run(script)
    assert "100 events of 1 program" in done.stderr, done.stderr
    assert done.stdout.split()[-1] == "100"


class Lacking(NamedTuple):
    """A container that lacks something: how root makes it, what a user does first, who runs in it."""

    prepare: str
    before: str = ""
    uid: int = NOBODY


NO_CAPABILITY = "setpriv --ambient-caps -all --bounding-set -all --inh-caps -all"
NO_NAMESPACES = (
    f'unshare -U -c --keep-caps sh -ec "echo 0 > /proc/sys/user/max_user_namespaces; exec {NO_CAPABILITY} \\"\\$@\\"" -'
)
LACKING = {
    "no device": Lacking(f"{OTHER_DEV}; mount --rbind /mnt /dev"),
    "device closed": Lacking(own_device(0o600)),
    "no user namespaces": Lacking(own_device(), NO_NAMESPACES),
    "root without capabilities": Lacking(own_device(0o600), uid=0),
}


@pytest.mark.parametrize("lack", LACKING)
def test_what_a_container_lacks_is_said_and_a_socket_does(
    container: Container, native: Callable[[str], str], lack: str
) -> None:
    """A C program's events are taken in all the same; the door that is asked for is refused with exit code 1.

    The page quotes the reasons as they are.
    """
    made = LACKING[lack]
    os.chown(container.runtime, made.uid, made.uid)
    program = f"timeout 0.5 {native('ticker')} {TRACING}/user_events_data beat"
    run = f"{made.before} {container.words('run', '--expect', 'beat')} -- {program}"
    done = container.run(f"{made.prepare}\n----\n{run}", uid=made.uid)
    assert done.returncode == 124, done.stderr
    assert "1 expectation met" in done.stderr
    assert "(door: socket; failed writes look like good ones to the program; not fuse: a private mount" in done.stderr
    assert "; not seccomp: a detached mount cannot be made: " in done.stderr
    refused = f"{made.before} {container.words('run', '--door', 'fuse', '--', 'true')}"
    done = container.run(f"{made.prepare}\n----\n{refused}", uid=made.uid)
    assert done.returncode == 1
    assert done.stderr in CONTAINERS.read_text(encoding="utf-8"), done.stderr


def test_run_works_in_a_container_that_gives_the_device(container: Container, native: Callable[[str], str]) -> None:
    """As a user without capabilities, with a read-only /sys."""
    program = f"timeout 0.5 {native('ticker')} {TRACING}/user_events_data beat"
    inside = f"{container.words('run', '--expect', 'beat')} -- {program}"
    done = container.run(f"{own_device()}; mount -o remount,bind,ro /sys\n----\n{inside}")
    assert done.returncode == 124, done.stderr
    assert "(door: fuse)" in done.stderr
    assert "1 expectation met" in done.stderr


@pytest.mark.parametrize("door", ["fuse", "seccomp", "socket"])
def test_run_works_where_the_calls_on_other_processes_memory_are_forbidden(
    container: Container, native: Callable[[str], str], door: str
) -> None:
    """Container managers have long done so: what they still allow does as well, from the first event on."""
    forbid = f"{container.python} {ROOT}/tests/doors/forbid.py process_vm_readv process_vm_writev --"
    program = f"timeout 0.5 {native('ticker')} {TRACING}/user_events_data beat"
    inside = f"{forbid} {container.words('run', '--door', door, '--expect', 'beat')} -- {program}"
    done = container.run(f"{own_device()}\n----\n{inside}")
    assert done.returncode == 124, done.stderr
    assert "1 expectation met" in done.stderr


def test_a_tree_from_outside_serves_a_container(
    container: Container, native: Callable[[str], str], runtime_dir: Path, place: Path
) -> None:
    """Its user, without a capability, in another PID namespace and with a read-only /sys, registers and writes."""
    words = [*COMMAND, "serve", "--mount", str(place), "--mode", "770", "--group", str(NOBODY)]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert f"files at {place}" in server.stderr.readline()
            Path(f"{place}/dynamic_events").write_text("u:beat u32 number\n", encoding="ascii")
            Path(f"{place}/events/user_events/beat/enable").write_text("1", encoding="ascii")
            script = f"mount -t proc proc /proc; mount -o remount,bind,ro /sys; mount --bind {place} {TRACING}\n----\n"
            script += f"timeout 0.5 {native('ticker')} {TRACING}/user_events_data beat"
            done = container.run(script, "--pid", "--fork")
            trace = Path(f"{place}/trace").read_text(encoding="latin-1")
        finally:
            server.terminate()
    assert done.stdout == "reg: 0\n", done.stderr
    assert trace.count(": beat: ") > 10
    assert ": beat: number=0x1 (1)\n" in trace


def test_a_recorder_outside_has_a_program_in_another_pid_namespace(container: Container) -> None:
    """The runtime directory is shared; the process has another number inside, and everything is recorded."""
    words = [container.python, "-P", "-m", "userevents", "record", "-e", "tick", "-o", str(container.runtime / "o.dat")]
    recorder = subprocess.Popen(
        words, env=container.env, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", stderr=subprocess.PIPE, text=True
    )
    try:
        assert recorder.stderr is not None
        assert "recording;" in recorder.stderr.readline()
        container.env["CODE"] = TICK + "emit(0, 100)"
        script = f'mount -t proc proc /proc\n----\n{container.python} -c "$CODE"'
        done = container.run(script, "--pid", "--fork")
        assert done.returncode == 0, done.stderr
        time.sleep(0.2)
        recorder.send_signal(2)
        said = recorder.communicate(timeout=20)[1]
    finally:
        recorder.kill()
        recorder.wait()
    assert "100 events of 1 program" in said
    assert "nothing lost" in said
