"""What programs write shows in the instances that enabled it through the tree, as if they had written it there."""

import json
import re
import time

from userevents.abi import tracefs as abi

from .conftest import TICK, Traced

LINE = re.compile(r" *(.{1,16})-(\d+) +\[(\d+)\] \.\.\.\.\. +([\d.]+): (.*)")
ENABLE = TICK + "enable"


def times(lines: list[str]) -> list[float]:
    """When each record was written."""
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), lines
    return [float(match[4]) for match in found if match]


def test_what_a_program_writes_is_in_the_trace_when_its_call_returns(traced: Traced) -> None:
    """The line names its thread, and its time is that at which it was written."""
    child = traced.child()
    traced.write(ENABLE, "1")
    before = time.monotonic()
    child.do("emit(7, 9)")
    lines = traced.lines()
    after = time.monotonic()
    found = [LINE.fullmatch(line) for line in lines]
    assert [match and match.group(2, 5) for match in found] == [
        (str(child.pid), "tick: a=0x7 (7) s=n7"),
        (str(child.pid), "tick: a=0x8 (8) s=n8"),
    ]
    assert before - 1e-6 <= times(lines)[0] <= times(lines)[1] <= after + 1e-6
    assert found[0] is not None
    assert found[0][1].startswith("python")
    assert f"{child.pid} {found[0][1]}" in traced.read("saved_cmdlines")


def test_the_words_follow_the_enable_file_before_its_write_returns(traced: Traced) -> None:
    """As in the kernel, whose bit is set or cleared when the write is done."""
    child = traced.child()
    for _ in range(20):
        assert child.do("bool(tick)") == "False"
        traced.write(ENABLE, "1")
        assert child.do("bool(tick), bool(tock)") == "(True, False)"
        traced.write(ENABLE, "0")
    assert child.do("bool(tick)") == "False"
    assert traced.values() == []


def test_what_was_written_before_disabling_is_kept_and_nothing_after(traced: Traced) -> None:
    """Records on their way when the event is disabled were written before that."""
    child = traced.child()
    traced.write("set_event", "user_events:tick", abi.O_WRONLY | abi.O_APPEND)
    child.do("emit(0, 5)")
    traced.write("set_event", "!user_events:tick", abi.O_WRONLY | abi.O_APPEND)
    child.do("emit(5, 10)")
    traced.write("events/enable", "1")
    child.do("emit(10, 12)")
    assert traced.values() == [0, 1, 2, 3, 4, 10, 11]


def test_a_program_that_starts_later_is_traced_from_its_first_event(traced: Traced) -> None:
    """All programs are meant, those to come as well, and they wait for the answer to their declaration."""
    first = traced.child()
    traced.write(ENABLE, "1")
    second = traced.child()
    second.do("emit(100, 101)")
    first.do("emit(0, 1)")
    second.do("(os.fork() or (emit(200, 203), os._exit(0))) and os.wait()")
    assert traced.values() == [100, 0, 200, 201, 202]


def test_a_killed_programs_records_are_fed_and_then_its_event_is_let_go(traced: Traced) -> None:
    """The ring outlives the program; so does the event until the ring is read."""
    child = traced.child()
    traced.write(ENABLE, "1")
    child.tell("emit(0, 300), os.kill(os.getpid(), 9)")
    child.process.wait()
    assert traced.values() == list(range(300))
    traced.write(ENABLE, "0")
    deadline = time.monotonic() + 10
    while "tick" in traced.read("available_events"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_records_of_several_programs_come_in_order_of_time(traced: Traced) -> None:
    """Who writes first comes first, also where the rings of both are read in one turn."""
    one, other = traced.child(), traced.child()
    traced.write(ENABLE, "1")
    for a in range(0, 40, 2):
        one.do(f"emit({a}, {a + 1})")
        other.do(f"emit({a + 1}, {a + 2})")
    assert traced.values() == list(range(40))
    one.tell("emit(0, 3000)")
    other.tell("emit(0, 3000)")
    pipe = traced.access.open("trace_pipe")
    text = b""
    while text.count(b"\n") < 6040:
        piece = pipe.read(1 << 16, 10.0)
        assert piece, text.count(b"\n")
        text += piece
    pipe.close()
    found = times(text.decode().splitlines())
    facts = json.loads(traced.read("userevents/info"))["feed"]
    assert facts["late"] or found == sorted(found), facts


def test_a_reader_of_the_pipe_is_woken(traced: Traced) -> None:
    """It waits for the next record, whoever writes it, and has it within a few turns of the loop."""
    child = traced.child()
    traced.write(ENABLE, "1")
    pipe = traced.access.open("trace_pipe")
    assert pipe.read(4096, 0.05) is None
    child.tell("emit(1, 2)")
    piece = pipe.read(4096, 10.0)
    pipe.close()
    assert piece is not None
    assert b"tick: a=0x1 (1) s=n1" in piece
    assert traced.values() == []


def test_histograms_count_what_programs_write(traced: Traced) -> None:
    """Also while the event is not enabled: a trigger sets the words by itself, and its removal clears them."""
    one, other = traced.child(), traced.child()
    traced.write(TICK + "trigger", "hist:keys=common_pid:vals=a")
    one.do("emit(0, 5)")
    other.do("emit(10, 12)")
    text = traced.read(TICK + "hist")
    for child, hits, total in ((one, 5, 10), (other, 2, 21)):
        assert re.search(rf"common_pid: +{child.pid} }} hitcount: +{hits}  a: +{total}\n", text), text
    assert traced.values() == []
    traced.write(TICK + "trigger", "!hist:keys=common_pid:vals=a")
    assert one.do("bool(tick)") == "False"


def test_filters_and_thread_lists_choose_what_is_kept(traced: Traced) -> None:
    """Each instance has its own."""
    one, other = traced.child(), traced.child()
    traced.access.mkdir("instances/picky")
    traced.write(ENABLE, "1")
    traced.write("instances/picky/" + ENABLE, "1")
    traced.write("instances/picky/" + TICK + "filter", 'a >= 3 && s != "n4"')
    traced.write("set_event_pid", str(other.pid))
    one.do("emit(0, 6)")
    other.do("emit(6, 8)")
    assert traced.values() == [6, 7]
    assert traced.values("instances/picky/trace") == [3, 5, 6, 7]
    traced.access.rmdir("instances/picky")


def test_a_trigger_stops_tracing_at_its_very_record(traced: Traced) -> None:
    """What follows in the same ring is not recorded any more: triggers work in the order of time."""
    child = traced.child()
    traced.write(ENABLE, "1")
    traced.write(TICK + "trigger", "traceoff if a == 4")
    child.do("emit(0, 10)")
    assert traced.values() == [0, 1, 2, 3, 4]
    assert traced.read("tracing_on") == "0\n"


def test_a_snapshot_trigger_keeps_what_led_to_it(traced: Traced) -> None:
    """The rings are swapped in the middle of a run of records."""
    child = traced.child()
    traced.write(TICK + "trigger", "snapshot:1 if a == 4")
    traced.write(ENABLE, "1")
    child.do("emit(0, 10)")
    assert traced.values("snapshot") == [0, 1, 2, 3, 4]
    assert traced.values() == [5, 6, 7, 8, 9]


def test_an_event_switches_another_one_on(traced: Traced) -> None:
    """An enable_event trigger holds its target in soft mode, so that its records are looked at."""
    child = traced.child()
    traced.write("events/user_events/tock/trigger", "enable_event:user_events:tick")
    child.do("emit(0, 3), tock(7), emit(3, 5)")
    assert traced.values() == [3, 4]
    assert traced.read(ENABLE) == "1*\n"


def test_what_the_tree_writes_stands_in_order_with_what_programs_write(traced: Traced) -> None:
    """Markers come between the records before and after them, although those lay in a ring meanwhile."""
    child = traced.child()
    traced.write(ENABLE, "1")
    for a in range(5):
        child.do(f"emit({a}, {a + 1})")
        traced.mark(f"mark {a}")
    said = [line.partition(": ")[2] for line in traced.lines()]
    assert said == [text for a in range(5) for text in (f"tick: a=0x{a} ({a}) s=n{a}", f"tracing_mark_write: mark {a}")]


def test_clearing_the_trace_clears_what_was_written_before(traced: Traced) -> None:
    """Also what no turn of the loop has brought there yet."""
    child = traced.child()
    traced.write(ENABLE, "1")
    child.do("emit(0, 5)")
    traced.write("trace", "", abi.O_WRONLY | abi.O_TRUNC)
    child.do("emit(5, 6)")
    assert traced.values() == [5]


def test_a_thread_is_known_by_its_own_name_and_its_process(traced: Traced) -> None:
    """common_pid is the thread's id; saved_tgids tells the process. The name is what it was with the first record."""
    child = traced.child()
    traced.write(ENABLE, "1")
    traced.write("trace_options", "record-tgid")
    rename = "open('/proc/thread-self/comm', 'w').write('helper')"
    run = f"[begin.wait(), {rename}, emit(1, 2), tids.append(threading.get_native_id()), gate.wait()]"
    child.do("globals().update(tids=[], begin=threading.Event(), gate=threading.Event())")
    child.do(f"threading.Thread(target=lambda: {run}).start()")
    traced.tracer.hand_over()  # it lists the thread, by the name that it has from its process
    child.do("begin.set()")
    deadline = time.monotonic() + 10
    while (tids := child.do("tids")) == "[]":
        assert time.monotonic() < deadline
    (line,) = traced.lines()
    child.do("gate.set()")
    tid = tids.strip("[]")
    assert re.match(rf" *helper-{tid} +\( *{child.pid}\)", line), line
    assert f"{tid} {child.pid}" in traced.read("saved_tgids")


def test_a_selection_of_processes_holds_for_the_rings_as_well(traced: Traced) -> None:
    """`userevents/select` is ours; programs that it leaves out are not even switched on."""
    one, other = traced.child(), traced.child()
    traced.access.mkdir("instances/mine")
    traced.write("instances/mine/userevents/select", f"pid {one.pid}")
    traced.write("instances/mine/" + ENABLE, "1")
    assert [child.do("bool(tick)") for child in (one, other)] == ["True", "False"]
    one.do("emit(1, 2)")
    assert traced.values("instances/mine/trace") == [1]
    traced.access.rmdir("instances/mine")
    assert one.do("bool(tick)") == "False"


def test_programs_that_a_flight_recording_holds_are_fed_as_well(traced: Traced) -> None:
    """Their rings overwrite and are not read until somebody asks: the feed has a place of its own there."""
    child = traced.child()
    traced.access.mkdir("instances/flight")
    traced.write("instances/flight/userevents/control", "flight")
    traced.write("instances/flight/userevents/patterns", "*")
    child.do("emit(0, 10)")
    traced.write(ENABLE, "1")
    child.do("emit(10, 20)")
    assert traced.values() == list(range(10, 20))
    assert traced.values("instances/flight/trace") == []
    child.do("emit(20, 1000)")
    facts = json.loads(traced.read("userevents/info"))
    assert facts["flights"]["flight"]["committed"] == 1000
    traced.write(ENABLE, "0")
    assert traced.values() == list(range(10, 1000))
    traced.access.rmdir("instances/flight")
