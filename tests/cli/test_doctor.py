"""`userevents doctor`: it finds what there is, says what to do, and its exit code says whether tracing works."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from userevents.cli import examine
from userevents.cli.examine import EXTRAS

from ..house.sources import ROOT

Findings = dict[str, dict[str, str]]


def doctor(code: int = 0, **variables: str) -> Findings:
    """Run the verb in a process of its own; return its findings by name."""
    command = [sys.executable, "-P", "-m", "userevents", "doctor", "--json"]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return {finding["name"]: finding for finding in map(json.loads, done.stdout.splitlines())}


def test_the_directory_that_programs_take_is_named(runtime_dir: Path) -> None:
    """With a directory that serves, all is well, whatever else is missing."""
    found = doctor()["runtime directory"]
    assert found["state"] == "ok"
    assert found["found"].startswith(f"{runtime_dir}, ")


def test_without_a_directory_nothing_works_and_it_says_so(tmp_path: Path) -> None:
    """One that is open to others serves nobody: exit code 1, the mode found, and the way out."""
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    found = doctor(1, USEREVENTS_DIR=str(shared))["runtime directory"]
    assert found["state"] == "no"
    assert "mode 0755" in found["found"]
    assert "0700" in found["advice"]


def test_pure_python_is_told_with_its_reason(runtime_dir: Path) -> None:
    """Who switched the C writer off reads how to switch it on again."""
    found = doctor(USEREVENTS_NATIVE="0")["event writer"]
    assert (found["state"], found["advice"].split()[0]) == ("limited", "unset")


def test_a_kernel_asked_for_by_name_must_be_there(runtime_dir: Path) -> None:
    """Without user_events in the kernel that is no fault, unless USEREVENTS_BACKEND=kernel asks for them."""
    chosen = doctor(USEREVENTS_BACKEND="session")["kernel's user_events"]["state"]
    if chosen == "info":
        assert doctor(1, USEREVENTS_BACKEND="kernel")["kernel's user_events"]["state"] == "no"
    else:
        assert chosen == "ok"


def test_every_extra_is_looked_for() -> None:
    """The package has no extra of which doctor knows nothing, and doctor none that the package has not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"])


def test_people_get_an_area_at_a_time_and_no_colours_in_a_pipe(runtime_dir: Path) -> None:
    """Each area is named once, above what belongs to it."""
    command = [sys.executable, "-P", "-m", "userevents", "doctor"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout
    areas = [line for line in shown.splitlines() if line and not line.startswith(" ")]
    assert areas == ["Python programs", "Tracer", "Native programs", "Extras", "Other tools"]
    assert "\x1b" not in shown


def test_who_may_attach_to_running_programs_is_told(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the kernel's setting, and the way out is root's; where it cannot be had, all else still works."""
    assert "attached to" in doctor()["running programs"]["found"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for scope, found, advice in (
        (0, "if they run Python 3.14", ""),
        (1, "by root alone", "sudo"),
        (3, "cannot be", ""),
    ):
        monkeypatch.setattr(examine, "ptrace_scope", lambda scope=scope: scope)
        (told,) = examine._running()
        assert (told.state, found in told.found) == ("limited" if scope else "ok", True)
        assert advice in told.advice
