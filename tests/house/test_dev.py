"""`./dev` itself: it starts in the plainest shell, and makes an environment with what little a machine may have."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import beside
from tests.house.sources import ROOT
from tools import dev, environment, progress


def _dev(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ./dev with a bare environment, from the root directory."""
    bare = {"PATH": "/usr/bin:/bin", "USEREVENTS_PYTHON": sys.executable} | variables
    return subprocess.run([str(ROOT / "dev"), *arguments], capture_output=True, text=True, env=bare, cwd="/")


def test_dev_lists_its_verbs_in_a_bare_environment() -> None:
    """Without arguments, without HOME and from another directory, ./dev prints its verbs and exits with 0."""
    done = _dev(PYTHONHOME="/nonexistent", PYTHONPATH="/nonexistent")
    assert (done.returncode, done.stderr) == (0, "")
    assert "    setup " in done.stdout


def test_dev_refuses_a_verb_it_does_not_know() -> None:
    """A mistyped verb is named, the list follows, and the exit code is 2."""
    done = _dev("tset")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no verb 'tset'" in done.stderr
    assert "    test " in done.stderr


def test_dev_says_which_python_it_found_when_none_will_do(tmp_path: Path) -> None:
    """With an old Python only, ./dev names its path and its version, and the way out."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n', encoding="ascii")
    old.chmod(0o755)
    done = _dev("test", USEREVENTS_PYTHON=str(old))
    assert done.returncode == 127
    assert f"{old}: Python 3.9.2" in done.stderr
    assert "USEREVENTS_PYTHON=/path/to/python3.12 ./dev test" in done.stderr


def test_all_tests_run_three_at_a_time_and_chosen_ones_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever names a test, looks on, or says how many processes there shall be, has what pytest itself does."""
    monkeypatch.chdir(ROOT)
    for words in ("", "-q", "-k size -x", "--junitxml=out.xml --color yes", "-k tests_of"):
        assert not dev._in_one_process(words.split()), words
    for words in ("tests/fields", "./tests/house/test_dev.py::test_it -q", "-s", "--pdb", "-n 4", "-p no:xdist"):
        assert dev._in_one_process(words.split()), words


def test_what_may_run_beside_others_is_there_and_stays_together() -> None:
    """Every room and file of the list exists; a file of it is a piece of work, and all other tests are two."""
    assert [place for place in beside.MAY if not (ROOT / place).exists()] == []

    def piece(nodeid: str) -> str:
        return beside.Groups._split_scope(None, nodeid)  # type: ignore[arg-type]

    several = ["tests/fields/test_format.py::test_a[x::y]", "tests/model/test_search.py::test_b"]
    alone = ["tests/fleet/test_data.py::test_c", "tests/fleet/test_agent.py::test_d"]
    others = ["tests/doors/test_expect.py::test_e", "tests/system/test_top.py::test_f"]
    assert [piece(each) for each in several] == ["tests/fields/test_format.py", "tests/model/test_search.py"]
    assert len({piece(each) for each in alone}) == len({piece(each) for each in others}) == 1
    assert len({piece(each) for each in (*several, *alone, *others)}) == 4
    turns = [beside.turn(each) for each in (*others, *alone, *reversed(several))]
    assert turns == sorted(turns)


@pytest.mark.parametrize(("shell", "script"), [("sh", "dev"), ("bash", ".ci/run")])
def test_the_shell_scripts_parse(shell: str, script: str) -> None:
    """Each script is understood by the shell that its first line names."""
    path = shutil.which(shell)
    assert path
    assert (ROOT / script).read_text(encoding="utf-8").startswith("#!")
    assert os.access(ROOT / script, os.X_OK)
    assert subprocess.run([path, "-n", str(ROOT / script)]).returncode == 0


def test_an_environment_made_by_hand_is_like_one_of_venv(tmp_path: Path) -> None:
    """Where the venv module is missing, what is made instead has the same prefix, path and base."""
    by_hand, by_venv = tmp_path / "by hand", tmp_path / "by venv"
    environment.make_venv_by_hand(by_hand)
    environment.make_venv(by_venv)
    assert _facts(by_hand) == _facts(by_venv)


def _facts(path: Path) -> dict[str, object]:
    """Return what a Python started from an environment thinks it is, with the environment's path left out."""
    program = (
        "import json, sys, sysconfig; print(json.dumps(dict(prefix=sys.prefix, base=sys.base_prefix, path=sys.path,"
        "purelib=sysconfig.get_path('purelib'), scripts=sysconfig.get_path('scripts'), flags=sys.flags)))"
    )
    done = subprocess.run([f"{path}/bin/python", "-c", program], capture_output=True, text=True, check=True, cwd="/")
    facts = json.loads(done.stdout.replace(str(path), "VENV"))
    assert facts["prefix"] == "VENV"
    assert isinstance(facts, dict)
    return facts


def test_a_stamp_is_good_only_for_the_requirements_it_was_made_for() -> None:
    """Another dependency makes the stamp stale; what only the other level needs does not."""
    project = {
        "build-system": {"requires": []},
        "project": {"dependencies": ["click"]},
        "dependency-groups": {"dev": []},
    }
    now = environment._digest("run", project)
    assert environment._digest("run", project | {"dependency-groups": {"dev": ["pytest"]}}) == now
    assert environment._digest("dev", project) != now
    assert environment._digest("run", project | {"project": {"dependencies": ["click", "rich"]}}) != now


def test_an_environment_fits_only_its_place_and_its_interpreter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved elsewhere, or with its interpreter gone, an environment is not used any more."""

    def settle(venv: Path) -> None:
        monkeypatch.setattr(environment, "VENV", venv)
        monkeypatch.setattr(environment, "PYTHON", venv / "bin" / "python")
        monkeypatch.setattr(environment, "_ORIGIN", venv / ".origin")

    monkeypatch.delenv("USEREVENTS_PYTHON", raising=False)
    here, there = tmp_path / "here", tmp_path / "there"
    settle(here)
    environment.make_venv_by_hand(here)
    (here / ".origin").write_text(environment._origin(), encoding="utf-8")
    assert environment._fits()
    here.rename(there)
    assert not environment._fits()
    settle(there)
    assert not environment._fits()
    there.rename(here)
    settle(here)
    assert environment._fits()
    (here / "bin" / "python").unlink()
    (here / "bin" / "python").symlink_to("/nonexistent/python3.11")
    assert not environment._fits()


def test_a_failed_step_shows_what_the_command_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The error carries the command's exit status and its last words; a good step says how long it took."""
    steps = progress.Steps("setup", tmp_path / "log", dict(os.environ))
    steps.begin()
    steps.run("quiet work", ["/bin/sh", "-c", "echo hidden"])
    with pytest.raises(progress.StepFailed) as caught:
        steps.run("noisy work", ["/bin/sh", "-c", "echo not found: click; exit 7"])
    assert (caught.value.status, caught.value.tail) == (7, "not found: click\n")
    said = capsys.readouterr().err
    assert "quiet work" in said
    assert "hidden" not in said


def test_an_interrupted_step_ends_all_that_its_command_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip works in a child of its own: an orphan of it must not go on writing into the next environment."""
    steps = progress.Steps("setup", tmp_path / "log", dict(os.environ))
    steps.begin()

    def interrupt(_steps: progress.Steps, _what: str, process: subprocess.Popen[bytes], _start: int) -> None:
        while not (tmp_path / "child").exists():
            assert process.poll() is None
        raise KeyboardInterrupt

    monkeypatch.setattr(progress.Steps, "_watch", interrupt)
    child = f"echo $$ > {tmp_path}/child.new; mv {tmp_path}/child.new {tmp_path}/child; exec sleep 60"
    with pytest.raises(KeyboardInterrupt):
        steps.run("work", ["/bin/sh", "-c", f"sh -c '{child}'; true"])
    pid = int((tmp_path / "child").read_text(encoding="ascii"))
    # Killed it is at once; a busy machine may take a moment to let it die.
    end = time.monotonic() + 20
    while _lives(pid):
        assert time.monotonic() < end, f"process {pid} lives on"
        time.sleep(0.01)


def _lives(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return False
