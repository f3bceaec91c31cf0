"""The private tracer: what it sees, what it says, and that it leaves everything as it was."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, ROOT, require
from userevents import char16, event, u32
from userevents.client.runtime import runtime
from userevents.errors import Refused, Unusable
from userevents.formats import open_trace
from userevents.testing import PrivateTracer, Record, UnknownEvent

CHILD = """
from userevents import event, u32
@event
def from_a_child(number: u32) -> None: ...
for number in range(3):
    from_a_child(number)
"""


@event
def served(id: u32, path: str, method: char16 = "GET") -> None:
    """An event that is declared when this file is imported, long before any fixture runs."""


@event
def cached(key: bytes, ratio: float) -> None:
    """Another one."""


def test_a_record_is_copied_and_pickled_as_any_value() -> None:
    """A test may keep one, or hand it to another process."""
    record = Record("tick", {"count": 3}, time_ns=5, pid=1, tid=2, cpu=0, comm="shop")
    for copied in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert (repr(copied), copied.line(), copied.count) == (repr(record), record.line(), 3)


def test_an_event_declared_at_import_is_recorded_with_its_fields(user_events: PrivateTracer) -> None:
    """Fields are attributes of their own types; time, process and thread are known."""
    served(7, "/cart", method="POST")
    cached(b"\x00\xff", 0.5)
    (record,) = user_events["served"]
    assert (record.id, record.path, record.method) == (7, "/cart", "POST")
    assert (record.pid, record.tid, record.event) == (os.getpid(), threading.get_native_id(), "served")
    assert record.time_ns > 0
    assert user_events[cached].last.fields == {"key": b"\x00\xff", "ratio": 0.5}


def test_events_declared_during_the_test_are_recorded_from_the_first_on(user_events: PrivateTracer) -> None:
    """A tracer that lives answers before the first event is written."""

    @event
    def declared_late(number: u32) -> None: ...

    for number in range(10):
        declared_late(number)
    assert [record.number for record in user_events["declared_late"]] == list(range(10))


def test_records_of_several_events_and_threads_stand_in_order_of_time(user_events: PrivateTracer) -> None:
    """The order across events is that in which they were written."""
    served(1, "/")
    thread = threading.Thread(target=lambda: cached(b"", 1.0))
    thread.start()
    thread.join()
    served(2, "/")
    assert [record.event for record in user_events.records] == ["served", "cached", "served"]
    assert len({record.tid for record in user_events.records}) == 2


def test_a_program_started_by_the_test_is_seen_too(user_events: PrivateTracer) -> None:
    """Children find the private tracer by themselves, however they are started."""
    assert user_events.run(["python", "-c", CHILD]).returncode == 0
    assert user_events["from_a_child"].count == 3
    subprocess.run([sys.executable, "-c", CHILD], check=True)
    assert [record.number for record in user_events["from_a_child"]] == [0, 1, 2, 0, 1, 2]
    assert os.getpid() not in {record.pid for record in user_events["from_a_child"]}


def test_enabling_some_events_leaves_the_others_off(user_events: PrivateTracer) -> None:
    """The enable word in this process follows at once."""
    user_events.enable(served)
    assert served.enabled
    assert not cached.enabled
    user_events.enable("cach*")
    assert cached.enabled


def test_a_filter_keeps_only_what_passes_it(user_events: PrivateTracer) -> None:
    """The expression is the kernel's."""
    user_events.enable("served", filter="id > 1 && path ~ '/a*'")
    for number, path in enumerate(("/a", "/a", "/ab", "/b")):
        served(number, path)
    assert [record.id for record in user_events["served"]] == [2]


def test_a_filter_that_does_not_fit_is_refused_with_a_caret(user_events: PrivateTracer) -> None:
    """Where the event is declared already, at once; nothing is enabled by it."""
    with pytest.raises(Refused, match="no_such"):
        user_events.enable("served", filter="no_such == 1")


def test_waiting_ends_with_the_record_that_was_meant(user_events: PrivateTracer) -> None:
    """By values, by a function, and with an error that tells what came instead."""
    timer = threading.Timer(0.05, lambda: served(42, "/late"))
    timer.start()
    assert user_events.wait_for("served", id=42, timeout=10 * PATIENCE).path == "/late"
    assert user_events.wait_for(served, lambda record: record.path == "/late").id == 42
    assert user_events.wait_for(served, {"path": "/late"}).id == 42
    with pytest.raises(TimeoutError, match=r"no event 'served' with {'id': 43} in 0.01 s; 1 of that name:.*id=42"):
        user_events.wait_for("served", id=43, timeout=0.01)


def test_a_name_that_nobody_declared_is_an_error(user_events: PrivateTracer) -> None:
    """A misspelt event would otherwise have happened zero times; a declared one that did not happen has."""
    assert user_events["served"].count == 0
    with pytest.raises(UnknownEvent, match=r"'servd'; declared are: .*served"):
        user_events["servd"]


def test_a_field_that_is_not_there_is_an_error_that_lists_those_that_are(user_events: PrivateTracer) -> None:
    """So is an index behind the last record."""
    served(1, "/")
    with pytest.raises(AttributeError, match="has no field 'ident'; it has: id, path, method"):
        user_events["served"][0].ident  # noqa: B018
    with pytest.raises(IndexError, match="record 1 of event 'served', of which there are 1"):
        user_events["served"][1]


def test_clearing_forgets_records_but_not_names(user_events: PrivateTracer) -> None:
    """What comes afterwards is recorded as before."""
    served(1, "UEVTREC1")
    user_events.run(["python", "-c", CHILD])
    assert user_events.records.count == 4
    user_events.clear()
    assert user_events.records.count == user_events["from_a_child"].count == 0
    served(2, "/")
    assert [record.id for record in user_events["served"]] == [2]


def test_what_was_lost_is_counted(user_events: PrivateTracer) -> None:
    """A wrong argument in a running service raises nothing; a test sees that it was lost."""
    assert user_events.lost == 0
    with pytest.warns(RuntimeWarning, match="wants int"):
        served("one", "/")  # type: ignore[arg-type]
    assert user_events.lost == 1
    assert user_events.tail() == ["1 events LOST"]


def test_a_forked_child_is_recorded(user_events: PrivateTracer) -> None:
    """It has a session of its own, and its parent's words."""
    pid = os.fork()
    if pid == 0:
        served(99, "/child")
        os._exit(0)
    os.waitpid(pid, 0)
    assert user_events.wait_for("served", id=99).pid == pid


def test_more_than_a_ring_holds_is_recorded(user_events: PrivateTracer) -> None:
    """The rings are small to begin with, and grow; if anything is lost, the count says so."""
    for number in range(20_000):
        served(number, "/a/long/way/to/go")
    assert user_events["served"].count + user_events.lost == 20_000


def test_afterwards_everything_is_as_it_was(runtime_dir: Path) -> None:
    """Words are out, events are where they were, the environment and the directory are gone; no descriptor is left."""
    before, words = dict(os.environ), runtime._writers
    with PrivateTracer() as first:
        served(1, "/")
        assert first["served"].count == 1
    gc.collect()  # memory that is mapped keeps a descriptor
    descriptors = os.listdir("/proc/self/fd")
    for _ in range(3):
        with PrivateTracer() as tracer:
            served(1, "/")
            place = tracer.directory
        assert not os.path.exists(place)
    assert not served.enabled
    assert dict(os.environ) == before
    assert runtime._writers is words
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= len(descriptors)


def test_one_tracer_does_not_see_the_events_of_another(runtime_dir: Path) -> None:
    """A tracer in another process, with a directory of its own, sees nothing of this one; nor this one of it."""
    with PrivateTracer() as outer:
        program = f"""
from userevents.testing import PrivateTracer
from userevents import event
@event
def inner_event(x: int) -> None: ...
with PrivateTracer() as tracer:
    inner_event(1)
    assert tracer["inner_event"].count == 1
    assert tracer.directory != {outer.directory!r}
inner_event(2)
"""
        done = outer.run(["python", "-c", program])
        assert (done.returncode, done.stderr) == (0, "")
        assert [record.x for record in outer["inner_event"]] == [2]


def test_what_was_recorded_can_be_saved_as_a_trace(user_events: PrivateTracer, tmp_path: Path) -> None:
    """The file is a trace.dat like any other."""
    served(3, "/saved")
    user_events.save(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        assert [record.values["path"] for record in trace.records()] == ["/saved"]


NATIVE = """
#include "user_events.h"

int main(void) {
    uint32_t index;
    int fd = open("/sys/kernel/tracing/user_events_data", O_WRONLY);
    told("registered", reg(fd, "from_c u32 number", 0, 4, &index));
    told("enabled", await(0, 1));
    for (int number = 0; number < 5; number++)
        write_number(fd, index, number);
    return 3;
}
"""


def test_a_native_program_is_seen_beside_this_process(user_events: PrivateTracer, tmp_path: Path) -> None:
    """It finds user_events where the kernel has it, is enabled at once, and its records stand among ours."""
    gcc = require("gcc")
    (tmp_path / "native.c").write_text(NATIVE, encoding="ascii")
    headers = str(ROOT / "tests" / "native")
    command = [gcc, "-D_GNU_SOURCE", "-I", headers, "-o", str(tmp_path / "native"), str(tmp_path / "native.c")]
    subprocess.run(command, check=True)
    served(1, "/before")
    try:
        done = user_events.run([tmp_path / "native"], native=True)
    except Unusable as reason:
        if "fuse" in os.environ.get("USEREVENTS_REQUIRE", "").split(","):
            raise
        pytest.skip(str(reason))
    served(2, "/after")
    assert (done.returncode, done.stdout, done.stderr) == (3, "registered: 0\nenabled: 0\n", "")
    assert [record.number for record in user_events["from_c"]] == [0, 1, 2, 3, 4]
    assert [record.event for record in user_events.records] == ["served", *["from_c"] * 5, "served"]
    assert user_events["from_c"][0].pid not in (0, os.getpid())


def test_a_native_program_that_does_not_end_is_killed(user_events: PrivateTracer) -> None:
    """And one that is not there is told."""
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            user_events.run(["sleep", "60"], native=True, timeout=0.2)
    except Unusable as reason:
        pytest.skip(str(reason))
    with pytest.raises(Unusable, match="'no-such-program' is not found"):
        user_events.run(["no-such-program"], native=True)
