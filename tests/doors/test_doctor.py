"""`userevents doctor` tries the doors: one that this machine refuses is named, with the reason and the way out."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import require

HIDE = "mount --bind /dev/null /dev/fuse && exec "


@pytest.mark.usefixtures("fuse")
def test_doors_are_opened_and_those_that_need_fuse_refused_without(runtime_dir: Path) -> None:
    """Where FUSE works all doors open; with something else at /dev/fuse only the one that needs none does."""
    command = [sys.executable, "-P", "-m", "userevents", "doctor", "--json"]
    assert _doors(command) == {"door fuse": "ok", "door seccomp": "ok", "door socket": "ok"}
    words = [require("unshare"), "-m", "--propagation", "private", "sh", "-c", HIDE + " ".join(command)]
    assert _doors(words) == {"door fuse": "no", "door seccomp": "no", "door socket": "ok"}


def _doors(command: list[str]) -> dict[str, str]:
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, timeout=50, check=True)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    doors = [finding for finding in findings if finding["name"].startswith("door ")]
    assert all(door["advice"] for door in doors if door["state"] == "no")
    return {door["name"]: door["state"] for door in doors}
