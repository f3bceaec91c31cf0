"""The kernel's word on forks, execs and deaths: believed only where it speaks of the processes that we see."""

import os
import subprocess
import sys

import pytest

from tests.conftest import PATIENCE, require
from userevents.host.proc_events import EXIT, FORK, ProcEvents

TELL = "from userevents.host.proc_events import ProcEvents; ProcEvents()"


def listen() -> ProcEvents:
    """The connector; where this kernel, or this namespace, has none for us there is nothing to test."""
    try:
        return ProcEvents()
    except OSError as error:
        pytest.skip(f"no proc connector here: {error}")


def test_a_fork_and_its_end_are_told_in_order() -> None:
    """What happened before the question is in the answer: nobody has to wait for it."""
    events = listen()
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)
    told = [event for event in events.read() if child in (event.child_pid, event.pid)]
    assert [event.kind for event in told] == [FORK, EXIT]
    assert (told[0].pid, told[0].child_tid) == (os.getpid(), child)
    events.close()


def test_a_process_id_namespace_has_no_connector() -> None:
    """There the kernel may still deliver what somebody else asked for, about processes that have other numbers here."""
    unshare = require("unshare")
    listen().close()
    tried = subprocess.run([unshare, "-p", "-f", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no namespaces can be made here: {tried.stderr.strip()}")
    done = subprocess.run(
        [unshare, "-p", "-f", sys.executable, "-c", TELL],
        capture_output=True,
        text=True,
        timeout=20 * PATIENCE,
        check=False,
    )
    assert "the kernel took no notice" in done.stderr
