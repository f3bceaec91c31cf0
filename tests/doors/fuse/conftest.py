"""The tree mounted, private or for everybody."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doors.servers import NOBODY, TRACING, Mount, Run, miss, python_for_nobody


@pytest.fixture
def mounted(fuse: None, runtime_dir: Path, place: Path) -> Iterator[Mount]:
    """The tree, mounted for everybody."""
    mount = Mount(place, "--mode", "755")
    try:
        yield mount
    finally:
        if mount.process.poll() is None:
            mount.stop()


@pytest.fixture(params=["root", "nobody"])
def run(request: pytest.FixtureRequest, fuse: None) -> Iterator[Run]:
    """Runs programs in the private door, as root and as a user who may nothing."""
    if not TRACING.is_dir():
        miss(f"there is no {TRACING}")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None
    runtime = Path(tempfile.mkdtemp(prefix="userevents-run-", dir=memory))
    python = None
    try:
        if request.param == "nobody":
            os.chown(runtime, NOBODY, NOBODY)
            python = python_for_nobody()
        yield Run(0 if request.param == "root" else NOBODY, runtime, python)
    finally:
        shutil.rmtree(runtime)
