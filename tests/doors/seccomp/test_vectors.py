"""Recorded scenarios with real processes under a supervisor: the quick part of `./dev vectors --door`."""

import os
from pathlib import Path

import pytest

from tests.kernel.replay import scenarios
from tools import door_vectors

VECTORS = Path(__file__).parents[2] / "vectors" / "linux-6.12"
PASSED = {("seccomp", "write"): 20, ("seccomp", "unreg"): 15, ("socket", "write"): 9, ("socket", "del"): 5}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount the tree that is looked at")
@pytest.mark.parametrize(("door", "name"), list(PASSED))
def test_real_processes_get_what_the_kernel_gave(
    fuse: None, door: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every scenario goes as recorded, but for those that are out of the door's reach; each of these is named."""
    count = door_vectors.replay(list(scenarios(VECTORS / f"{name}.jsonl")), "v6.12", door)
    told = capsys.readouterr().out
    assert count.failed == 0, told
    assert count.passed >= PASSED[door, name]
    assert told.count(": skipped: ") == count.skipped
