"""What a program sees of user_events, and what is seen of it: the same on ours and a kernel's (`./dev kernel test`)."""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.either import TRACEFS, Program, Tracing, kernel_tracing, our_tracing, wait_until
from userevents.abi import tracefs as abi
from userevents.abi.ring_buffer import MAX_BODY_SIZE, RECORD_HEADER_SIZE
from userevents.errors import Refused
from userevents.fields import parse_format

TICK = "tick u32 a"


@pytest.fixture
def tracing(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tracing]:
    """The tracing of the kernel that is tested, with no event, and nothing in the trace."""
    if TRACEFS is not None:
        with kernel_tracing(TRACEFS, tmp_path) as tracing:
            tracing.clear()
            yield tracing
    else:
        request.getfixturevalue("runtime_dir")
        with our_tracing(tmp_path) as tracing:
            yield tracing


def test_a_declared_event_is_there_and_goes_with_its_program(tracing: Tracing) -> None:
    """It is listed with its fields while the program runs, and deletes itself when that ends."""
    program = tracing.program("request u32 id; char[16] method; __rel_loc char[] path")
    wait_until(lambda: tracing.events() == ["request"])
    format_text = tracing.read("events/user_events/request/format")
    assert [(str(field), field.offset) for field in parse_format(format_text).fields] == [
        ("u32 id", 8),
        ("char[16] method", 12),
        ("__rel_loc char[] path", 28),
    ]
    program.end()
    wait_until(lambda: tracing.events() == [])


def test_a_killed_programs_event_goes_too(tracing: Tracing) -> None:
    """Nothing is left behind by whatever end."""
    program = tracing.program(TICK)
    wait_until(lambda: tracing.events() == ["tick"])
    os.kill(program.pid, signal.SIGKILL)
    wait_until(lambda: tracing.events() == [])


def test_the_program_sees_whether_somebody_listens(tracing: Tracing) -> None:
    """On and off, again and again; what is emitted meanwhile is there, or is not."""
    program = tracing.program(TICK)
    wait_until(lambda: tracing.events() == ["tick"])
    for number in range(3):
        assert program("bool(events['tick'])") is False
        program(f"emit('tick', {number + 100})")
        tracing.listen("tick")
        wait_until(lambda: program("events['tick'].enabled") is True)
        program(f"emit('tick', {number})")
        tracing.listen("tick", on=False)
        wait_until(lambda: program("bool(events['tick'])") is False)
    assert tracing.texts() == ["a=0x0 (0)", "a=0x1 (1)", "a=0x2 (2)"]
    assert program("events['tick'].stats")["attempts"] == 3


def test_values_of_every_kind_arrive(tracing: Tracing) -> None:
    """As a Python signature declares them: printed alike, and the same bytes."""
    program = tracing.program()
    program(
        "exec('''@event\\ndef kinds(a: int, b: bool, c: float, d: str, e: bytes, f: u8, g: s8, h: u16, i: s16, j: u32, "
        "k: s32, l: u64, m: s64, n: char8, o: char16) -> None: ...\\nevents[\"kinds\"] = kinds''', globals())"
    )
    wait_until(lambda: tracing.events() == ["kinds"])
    tracing.listen("kinds")
    wait_until(lambda: program("bool(events['kinds'])") is True)
    program(
        "emit('kinds', -5, True, 2.5, 'Grüße', b'\\0\\1\\2', 255, -128, 65535, -32768, 2**32 - 1, -2**31, 2**64 - 1, "
        "-2**63, 'exactly8', 'short')"
    )
    program("emit('kinds', 1, False, 0.0, '', b'', 0, 0, 0, 0, 0, 0, 0, 0, '', '')")
    assert tracing.values("kinds") == [
        (
            *(-5, 1, 2.5, "Grüße", b"\0\1\2", 255, -128, 65535, -32768, 2**32 - 1, -(2**31), 2**64 - 1, -(2**63)),
            *("exactly8", "short"),
        ),
        (1, 0, 0.0, "", b"", 0, 0, 0, 0, 0, 0, 0, 0, "", ""),
    ]


def traced(tracing: Tracing, *declarations: str) -> Program:
    """A program whose events are all listened to."""
    program = tracing.program(*(declarations or (TICK,)))
    for declaration in declarations or (TICK,):
        name = declaration.split(" ")[0]
        wait_until(lambda name=name: name in tracing.events())  # type: ignore[misc]
        tracing.listen(name)
        wait_until(lambda name=name: program(f"bool(events['{name}'])"))  # type: ignore[misc]
    return program


def test_strings_that_are_declared_data_loc_arrive(tracing: Tracing) -> None:
    """The other kind of dynamic field; several in one event, empty ones among them."""
    program = traced(tracing, "names __data_loc char[] a; u32 n; __data_loc u8[] b; __rel_loc char[] c")
    program("emit('names', 'first', 7, b'\\1\\2\\3', 'last'), emit('names', '', 8, b'', '')")
    assert tracing.values("names") == [("first", 7, b"\1\2\3", "last"), ("", 8, b"", "")]
    assert program("events['names'].stats['attempts']") == 2


def test_an_event_without_fields_arrives(tracing: Tracing) -> None:
    """Its record is a header and nothing else."""
    program = traced(tracing, "bare")
    program("emit('bare')")
    assert [(record.event, record.tid) for record in tracing.records()] == [("bare", program.pid)]
    assert tracing.values("bare") == [()]


def test_the_largest_record_arrives_and_what_is_larger_is_cut(tracing: Tracing) -> None:
    """A string is shortened to what one record can hold, and that is counted."""
    program = traced(tracing, "big __rel_loc char[] s")
    room = MAX_BODY_SIZE - RECORD_HEADER_SIZE - 4 - 1
    program(f"emit('big', 'x' * {room}), emit('big', 'y' * 100000)")
    assert tracing.values("big") == [("x" * room,), ("y" * room,)]
    stats = program("events['big'].stats")
    assert (stats["attempts"], stats["cut"], stats["too_large"]) == (2, 1, 0)


def test_wrong_arguments_are_counted_and_raise_nothing(tracing: Tracing) -> None:
    """Nor do they stop what is right."""
    program = traced(tracing)
    assert program("emit('tick', 'x'), emit('tick', -1), emit('tick'), emit('tick', 1, 2), emit('tick', a=5)")
    assert tracing.texts() == ["a=0x5 (5)"]
    stats = program("events['tick'].stats")
    assert (stats["attempts"], stats["invalid"]) == (5, 4)


def test_records_carry_their_thread_and_are_in_order(tracing: Tracing) -> None:
    """Each thread's own number, the program's name, times that do not go back."""
    program = traced(tracing)
    first, _ = program("in_thread(*((emit, 'tick', n) for n in range(100)))")
    second, _ = program("in_thread(*((emit, 'tick', n) for n in range(100, 200)))")
    program("emit('tick', 200)")
    records = tracing.records()
    assert [record.text for record in records] == [f"a={n:#x} ({n})" for n in range(201)]
    assert [record.tid for record in records] == [first] * 100 + [second] * 100 + [program.pid]
    assert [record.time for record in records] == sorted(record.time for record in records)
    comms = {record.comm for record in records if record.tid == program.pid or sys.version_info < (3, 14)}
    assert comms == {Path(f"/proc/{program.pid}/comm").read_text().strip()}  # 3.14 gives threads names of their own


def test_two_programs_share_an_event(tracing: Tracing) -> None:
    """The same declaration twice is one event, which goes when the second program has gone."""
    one, two = traced(tracing), tracing.program(TICK)
    wait_until(lambda: two("bool(events['tick'])") is True)
    one("emit('tick', 1)")
    two("emit('tick', 2)")
    assert [(record.tid, record.text) for record in tracing.records()] == [
        (one.pid, "a=0x1 (1)"),
        (two.pid, "a=0x2 (2)"),
    ]
    tracing.listen("tick", on=False)
    one.end()
    assert tracing.events() == ["tick"]
    two.end()
    wait_until(lambda: tracing.events() == [])


def test_an_event_that_is_listened_to_outlives_its_program(tracing: Tracing) -> None:
    """And the next program that declares it finds a listener there."""
    traced(tracing).end()
    assert tracing.events() == ["tick"]
    program = tracing.program(TICK)
    wait_until(lambda: program("bool(events['tick'])") is True)
    program.end()
    tracing.listen("tick", on=False)
    wait_until(lambda: tracing.events() == [])


def test_a_forked_childs_bit_follows_the_listener(tracing: Tracing) -> None:
    """Enabled before the fork or after it, by parent and child alike; counts begin anew in the child."""
    parent = traced(tracing)
    parent("emit('tick', 1)")
    child = tracing.fork(parent)
    assert child("bool(events['tick'])") is True
    child("emit('tick', 2)")
    tracing.listen("tick", on=False)
    wait_until(lambda: (parent("bool(events['tick'])"), child("bool(events['tick'])")) == (False, False))
    grandchild = tracing.fork(child)
    tracing.listen("tick")
    for one in (parent, child, grandchild):
        wait_until(lambda one=one: one("bool(events['tick'])") is True)  # type: ignore[misc]
    parent("emit('tick', 3)")
    child("emit('tick', 4)")
    grandchild("emit('tick', 5)")
    pids = [parent.pid, child.pid, parent.pid, child.pid, grandchild.pid]
    assert [record.tid for record in tracing.records()] == pids
    assert tracing.texts() == [f"a={n:#x} ({n})" for n in range(1, 6)]
    assert [one("events['tick'].stats['attempts']") for one in (parent, child, grandchild)] == [2, 2, 1]
    for one in (grandchild, child):
        one.end()


def test_a_child_keeps_the_event_when_its_parent_ends(tracing: Tracing) -> None:
    """What it inherited is its own."""
    parent = tracing.program(TICK)
    child = tracing.fork(parent)
    os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: tracing.events() == ["tick"])
    tracing.listen("tick")
    wait_until(lambda: child("bool(events['tick'])") is True)
    child("emit('tick', 1)")
    assert [(record.tid, record.text) for record in tracing.records()] == [(child.pid, "a=0x1 (1)")]
    child.end()


def test_a_child_of_any_thread_is_traced(tracing: Tracing) -> None:
    """Also when a thread forks that was there before the first event was declared."""
    program = tracing.program()
    program("globals().update(before=threading.Event(), after=threading.Event(), found=[])")
    program(
        "exec('def forks():\\n before.wait()\\n pid = fork(*pipes)\\n found.append(pid)\\n after.set()', globals()) or "
        "threading.Thread(target=forks).start()"
    )
    program(f"declare({TICK!r})")
    child = tracing.fork(program, "(globals().update(pipes={pipes}), before.set(), after.wait(), found[0])[-1]")
    wait_until(lambda: tracing.events() == ["tick"])
    tracing.listen("tick")
    wait_until(lambda: (program("bool(events['tick'])"), child("bool(events['tick'])")) == (True, True))
    child("emit('tick', 1)")
    assert [record.tid for record in tracing.records()] == [child.pid]
    child.end()


def test_an_event_outlives_the_thread_that_declared_it(tracing: Tracing) -> None:
    """Declared in a thread that was there before any other event, and has ended since."""
    program = tracing.program()
    program(f"in_thread((declare, {TICK!r}))")
    wait_until(lambda: tracing.events() == ["tick"])
    for number in range(2):
        tracing.listen("tick")
        wait_until(lambda: program("bool(events['tick'])") is True)
        program(f"emit('tick', {number})")
        tracing.listen("tick", on=False)
        wait_until(lambda: program("bool(events['tick'])") is False)
    assert tracing.texts() == ["a=0x0 (0)", "a=0x1 (1)"]


def test_a_program_that_execs_another_has_left_its_events(tracing: Tracing) -> None:
    """Descriptor and memory go with the old program; a process of the same number is not traced."""
    program = tracing.program(TICK)
    wait_until(lambda: tracing.events() == ["tick"])
    with pytest.raises(AssertionError, match="the program ended"):
        program("os.execv(sys.executable, [sys.executable, '-c', 'import os; os.close(1); os.read(0, 1)'])")
    wait_until(lambda: tracing.events() == [])
    assert os.path.exists(f"/proc/{program.pid}")


def test_a_program_that_closes_every_descriptor_goes_on_being_traced(tracing: Tracing) -> None:
    """And no byte of its events gets into the files that it opens then."""
    program = traced(tracing)
    program("os.closerange(3, 65536)")
    program("globals().update(files=[os.memfd_create(str(n)) for n in range(900)])")
    program("emit('tick', 1), emit('tick', 2)")
    program("os.closerange(max(files) + 1, 65536), declare('late u32 b')")
    wait_until(lambda: "late" in tracing.events())
    assert tracing.texts() == ["a=0x1 (1)", "a=0x2 (2)"]
    assert program("max(os.fstat(fd).st_size for fd in files)") == 0
    tracing.listen("tick", on=False)
    wait_until(lambda: program("bool(events['tick'])") is False)
    for event in ("tick", "late"):
        tracing.listen(event)
        wait_until(lambda event=event: program(f"bool(events['{event}'])") is True)  # type: ignore[misc]


def test_a_name_that_others_declared_differently_is_refused_and_harms_nobody(tracing: Tracing) -> None:
    """The second program runs on without its event; the first one's is traced."""
    first = traced(tracing)
    second = tracing.program("tick u64 a", "tock u32 a")
    wait_until(lambda: tracing.events() == ["tick", "tock"])
    tracing.listen("tock")
    wait_until(lambda: second("bool(events['tock'])") is True)
    assert second("bool(events['tick'])") is False
    second("emit('tick', 1)")
    first("emit('tick', 2)")
    assert tracing.texts() == ["a=0x2 (2)"]
    assert second("sum(events['tick'].stats.values())") == 0


def test_several_layouts_of_one_name_stand_side_by_side(tracing: Tracing) -> None:
    """Each is an event of its own, numbered, in the system for such."""
    program = tracing.program()
    program("events.update(a=register('tick u32 a', multi_format=True), b=register('tick u64 b', multi_format=True))")
    wait_until(lambda: len(tracing.events()) == 2)
    names = tracing.events()
    assert {name.split(".")[0] for name in names} == {"tick"}
    for name in names:
        tracing.listen(name, system="user_events_multi")
    wait_until(lambda: program("(bool(events['a']), bool(events['b']))") == (True, True))
    program("emit('a', 1), emit('b', 2)")
    assert [record.text for record in tracing.records()] == ["a=0x1 (1)", "b=0x2 (2)"]
    assert sorted(record.event for record in tracing.records()) == names


def test_a_persistent_event_stays_until_it_is_deleted(tracing: Tracing) -> None:
    """By a privileged program, through dynamic_events or by the next tracer."""
    program = tracing.program()
    program("events.update(kept=register('kept u32 a', persist=True))")
    wait_until(lambda: tracing.events() == ["kept"])
    program.end()
    again = tracing.program("kept u32 a")
    again.end()
    assert tracing.events() == ["kept"]
    wait_until(lambda: _deleted(tracing, "kept u32 a"))
    assert tracing.events() == []


def _deleted(tracing: Tracing, declaration: str) -> bool:
    try:
        tracing.write(abi.DYNAMIC_EVENTS, f"-:{declaration}\n", abi.O_WRONLY | abi.O_APPEND)
    except Refused as refused:
        if refused.errno != errno.EBUSY:  # a program on its way out still holds it
            raise
        return False
    return True


def test_without_privilege_an_event_does_not_persist(tracing: Tracing) -> None:
    """The declaration is refused, nothing is raised, and the program's other events are traced."""
    program = tracing.program()
    assert program("drop_privileges()") is None
    program("events.update(kept=register('kept u32 a', persist=True))")
    program("declare('tick u32 a')")
    wait_until(lambda: tracing.events() == ["tick"])
    assert program("bool(events['kept'])") is False


def test_a_filter_keeps_what_it_lets_through(tracing: Tracing) -> None:
    """The program writes all; what does not pass is not recorded, and is no error."""
    program = traced(tracing)
    tracing.write("events/user_events/tick/filter", "a > 5")
    program("[emit('tick', n) for n in range(10)]")
    assert tracing.texts() == [f"a={n:#x} ({n})" for n in range(6, 10)]
    assert program("events['tick'].stats['attempts']") == 10
