"""The recipes: every command in docs/recipes/ci.md is run, and containers are made of what they are made of."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.conftest import ROOT, require
from tests.doors.servers import DEVICE, NOBODY, python_for_nobody
from tests.system.conftest import COMMAND, TICK

PAGE = ROOT / "docs" / "recipes" / "ci.md"
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
    script = (
        "mount -t tmpfs -o mode=1777 tmpfs /tmp; mount --bind /dev/null /dev/fuse; mount -o remount,bind,ro /sys\n"
        "----\n"
        f"cd /tmp; {container.words('record', '-e', 'tick', '-o', 't.dat', '--', container.python, '-c')}"
        f' "$CODE"; {container.words("report", "t.dat", "--format", "json")} | wc -l'
    )
    container.env["CODE"] = TICK + "emit(0, 100)"
    done = container.run(script)
    assert "100 events of 1 program" in done.stderr, done.stderr
    assert done.stdout.split()[-1] == "100"


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (f"{OTHER_DEV}; mount --rbind /mnt /dev", "/dev/fuse: No such file or directory"),
        (f"{OTHER_DEV}; mknod -m 600 /mnt/f c 10 229; mount --bind /mnt/f /dev/fuse", "/dev/fuse: Permission denied"),
    ],
)
def test_run_says_what_a_container_lacks(container: Container, prepare: str, reason: str) -> None:
    """Before the program is started, with exit code 1 and the way out."""
    done = container.run(f"{prepare}\n----\n{container.words('run', '--door', 'fuse', '--', 'true')}")
    assert done.returncode == 1
    assert reason in done.stderr
    assert "--device /dev/fuse" in done.stderr


def test_run_works_in_a_container_that_gives_the_device(container: Container) -> None:
    """As a user without capabilities, with a read-only /sys."""
    mode = DEVICE.stat().st_mode & 0o777
    DEVICE.chmod(0o666)
    try:
        inside = container.words("run", "--", "test", "-e", "/sys/kernel/tracing/user_events_data")
        done = container.run(f"mount -o remount,bind,ro /sys\n----\n{inside}")
    finally:
        DEVICE.chmod(mode)
    assert done.returncode == 0, done.stderr


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
