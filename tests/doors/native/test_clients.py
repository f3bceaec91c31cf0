"""Native clients, compiled here from tests/native, through every door: they know nothing but the kernel's ABI."""

from collections.abc import Callable

import pytest

from tests.doors.native.conftest import OpenDoor

LIFE = """\
open: 0
poll: 5
reg: 0
index: 0
reg again: EADDRINUSE
write: EBADF
await on: 0
write: 8
write unknown: ENOENT
writev: EINVAL
writev: 10
writev: 43
writev: 303
await off: 0
unreg: 0
unreg again: ENOENT
del: EBUSY
deleted: 0
"""
FAMILY = """\
reg: 0
await on: 0
thread writes: 8
child: reg again: EADDRINUSE
child writes: 8
child: await off: 0
duplicate writes: 8
await off: 0
await on: 0
exec: unreg: ENOENT
exec writes: 8
"""
PASS = """\
reg: 0
await on: 0
write: 8
await off: 0
opener: unreg: ENOENT
opener's word: 0
"""
BRANCH = """\
reg: 0
await on: 0
reg another bit: 0
child: the bit that was cleared: 0
child: unreg: 0
child's bit: 0
child: reg: 0
child's bit: 1
grandchild: reg again: EADDRINUSE
grandchild writes: 8
parent's bit: 1
parent: reg again: EADDRINUSE
await off: 0
unreg: 0
"""
WORDS = (("0", "4"), ("31", "4"), ("0", "8"), ("31", "8"), ("63", "8"))
THREADS, WRITES = 4, 200


@pytest.mark.parametrize(("bit", "size"), WORDS)
def test_a_native_program_registers_writes_and_unregisters(
    door: OpenDoor, native: Callable[[str], str], bit: str, size: str
) -> None:
    """Every call of the ABI has the kernel's result, for words of both sizes and bits at both ends."""
    client = door.start(native("life"), "native", bit, size)
    client.wait_for("write")
    door.switch("native", 1)
    door.wait_for_records("native", 4)
    door.switch("native", 0)
    assert client.told() == door.expected(LIFE)


def test_threads_children_duplicates_and_later_programs_share_the_open_file(
    door: OpenDoor, native: Callable[[str], str]
) -> None:
    """The table of events goes with the open file, the registration with the memory."""
    client = door.start(native("family"), "native")
    door.switch("native", 1)
    door.wait_for_records("native", 3)
    door.switch("native", 0)
    client.wait_for("await off")
    door.switch("native", 1)
    assert sorted(client.told()) == sorted(door.expected(FAMILY))


def test_a_registration_belongs_to_whoever_makes_it_not_to_the_opener(
    door: OpenDoor, native: Callable[[str], str]
) -> None:
    """A file that came over a socket registers the receiver's own memory."""
    client = door.start(native("pass"), "native")
    door.switch("native", 1)
    door.wait_for_records("native", 1)
    door.switch("native", 0)
    assert client.told() == door.expected(PASS)


def test_what_a_child_unregisters_its_parent_keeps(door: OpenDoor, native: Callable[[str], str]) -> None:
    """Fork copies the enablers, each process has its own from then on; it writes nothing into the child's memory."""
    client = door.start(native("branch"), "native")
    door.switch("native", 1)
    client.wait_for("parent: reg again")
    door.wait_for_records("native", 1)
    door.switch("native", 0)
    assert client.told() == door.expected(BRANCH)


def test_threads_write_and_register_at_once(door: OpenDoor, native: Callable[[str], str]) -> None:
    """Each thread registers an event of its own in the same word and writes it: none is lost or refused."""
    client = door.start(native("threads"), "native", str(THREADS), str(WRITES))
    for number in range(THREADS):
        door.switch(f"native{number}", 1)
    assert client.told() == [f"thread {number}: {WRITES}" for number in range(THREADS)]
