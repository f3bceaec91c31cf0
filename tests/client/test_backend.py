"""Where events go: to the kernel, to sessions, or nowhere; and what of a record's body the kernel is given."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from userevents.client.kernel import payload_end
from userevents.client.kernel_file import data_files, open_data
from userevents.client.packing import NO_DEFAULT, Parameter, make_packer
from userevents.errors import Unusable
from userevents.fields import parse_declaration

TRACING = b"24 20 0:12 / /sys/kernel/tracing rw,relatime shared:7 - tracefs tracefs rw\n"
DEBUG = b"25 20 0:7 / /sys/kernel/debug rw - debugfs debugfs rw\n"
PROGRAM = """
from userevents import register
from userevents.client.runtime import runtime
tick = register("tick u32 a")
tick(1)
print(bool(tick), sum(tick.stats.values()))
print(runtime.why_off)
"""


def run(directory: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program that declares and emits an event."""
    env = {name: value for name, value in os.environ.items() if name not in ("USEREVENTS_BACKEND", "USEREVENTS_RUN")}
    env |= {"USEREVENTS_DIR": str(directory)} | variables
    return subprocess.run(
        [sys.executable, *options, "-c", PROGRAM], capture_output=True, text=True, env=env, check=False
    )


@pytest.fixture
def no_kernel() -> str:
    """What is said of the kernel's user_events on this machine, which must have none for this test."""
    try:
        os.close(open_data())
    except Unusable as error:
        return str(error)
    pytest.skip("this process may use the kernel's user_events")


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        (b"", []),
        (b"20 1 8:1 / / rw - ext4 /dev/sda rw\n", []),
        (TRACING, ["/sys/kernel/tracing/user_events_data"]),
        (DEBUG, ["/sys/kernel/debug/tracing/user_events_data"]),
        (DEBUG + TRACING, ["/sys/kernel/tracing/user_events_data", "/sys/kernel/debug/tracing/user_events_data"]),
        (TRACING + b"30 24 0:50 / /sys/kernel/tracing rw - fuse.userevents x rw\n", []),
        (DEBUG + b"30 25 0:50 / /sys/kernel/debug/tracing rw - fuse x rw\n", []),
        (b"24 20 0:12 / /a\\040b\\134c rw - tracefs t rw\n", ["/a b\\c/user_events_data"]),
        (b"24 20 0:12 /user_events_data /x/user_events_data rw - tracefs t rw\n", ["/x/user_events_data"]),
        (b"- tracefs \n - tracefs \n24 20 - tracefs \n", []),
    ],
)
def test_the_mount_table_says_where_the_kernels_file_may_be(mounts: bytes, expected: list[str]) -> None:
    """On tracefs alone, and not where something else, such as a door of ours, was mounted over it."""
    assert data_files(mounts) == expected


def test_without_a_kernel_events_go_to_sessions(no_kernel: str, runtime_dir: Path) -> None:
    """What nobody chose is found out, and said by nobody."""
    done = run(runtime_dir)
    assert (done.stdout, done.stderr) == ("False 0\nNone\n", "")
    assert run(runtime_dir, USEREVENTS_BACKEND="session").stdout == "False 0\nNone\n"


def test_a_kernel_that_is_asked_for_and_missing_turns_tracing_off(no_kernel: str, runtime_dir: Path) -> None:
    """The program runs; `why_off` has what was asked, what was found, and the way out; no session is made instead."""
    done = run(runtime_dir, USEREVENTS_BACKEND="kernel")
    assert done.returncode == 0, done.stderr
    emitted, why_off = done.stdout.splitlines()
    assert emitted == "False 0"
    assert why_off == (
        f"USEREVENTS_BACKEND=kernel, but this process cannot use the kernel's user_events: {no_kernel} "
        "(USEREVENTS_BACKEND=session does without a kernel)"
    )
    assert list(runtime_dir.iterdir()) == []


def test_an_unknown_backend_is_warned_of_and_taken_for_auto(no_kernel: str, runtime_dir: Path) -> None:
    """Also where warnings are errors, the program starts."""
    done = run(runtime_dir, USEREVENTS_BACKEND="kernal")
    assert done.stdout == "False 0\nNone\n"
    assert "RuntimeWarning: USEREVENTS_BACKEND='kernal' is none of auto, kernel, session; 'auto' is used" in done.stderr
    strict = run(runtime_dir, "-W", "error", USEREVENTS_BACKEND="kernal")
    assert (strict.returncode, strict.stdout) == (0, "False 0\nNone\n")


@pytest.mark.parametrize(
    ("declaration", "values", "size"),
    [
        ("none", (), 0),
        ("one u8 a", (1,), 1),
        ("odd u8 a; u16 b", (1, 2), 3),
        ("text __rel_loc char[] s", ("abc",), 4 + 4),
        ("empty __rel_loc char[] s", ("",), 4 + 1),
        ("data __data_loc u8[] d", (b"abcde",), 4 + 5),
        ("no_data __data_loc u8[] d", (b"",), 4),
        ("both __data_loc char[] s; u8 n; __rel_loc u8[] d; u8 m", ("xy", 1, b"z", 2), 4 + 1 + 4 + 1 + 3 + 1),
    ],
)
def test_the_kernel_is_given_the_payload_without_its_padding(
    declaration: str, values: tuple[object, ...], size: int
) -> None:
    """From the end of the common header to the end of the last dynamic field."""
    fields = parse_declaration(declaration).fields
    parameters = [Parameter(field.name, False, NO_DEFAULT) for field in fields]
    body = make_packer("event", fields, parameters)(7, *values)
    assert payload_end(fields)(body) == 8 + size
    assert not any(body[8 + size :])
