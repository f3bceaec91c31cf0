"""Exports for Perfetto, as its own engine reads them."""

from pathlib import Path
from typing import Any

import pytest

from tests.buffer import recorded
from tests.formats.corpus import corpus, told_apart
from tests.formats.kernel_trace import kernel_trace
from tests.formats.maker import Maker
from tests.formats.readers import perfetto
from userevents.buffer.stream import pack_header
from userevents.formats import open_trace
from userevents.formats.export import export
from userevents.formats.model import Value
from userevents.formats.pairs import Pair

pytestmark = pytest.mark.time_limit(240)  # the engine takes seconds to start, and more on a busy machine

_EVENTS = (
    "select ts, cpu, coalesce(tid, 0), f.name, coalesce(arg_set_id, -1) from ftrace_event f "
    "left join thread using (utid) order by f.ts, f.id"
)


def shown(value: Value) -> Any:
    """Return a value as the engine's tables have it: integers wrap at 2^63, floats and bytes are text."""
    if isinstance(value, int):
        return value - (1 << 64) if value >> 63 > 0 else value
    return value.hex() if isinstance(value, bytes) else str(value)


def test_every_event_is_there_with_its_values(tmp_path: Path) -> None:
    """Random declarations and values: time, CPU, thread, name and every field, in the same order."""
    records = corpus(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        done = export(trace, "perfetto", str(tmp_path / "x.pftrace"))
    # The engine gives an event without fields the arguments of another.
    bare = {record.event.name for record in records if not record.values}
    found = [(*each[:4], {} if each[3] in bare else each[4]) for each in perfetto.events(tmp_path / "x.pftrace")]
    meant = [
        (record.ts_ns, record.cpu, record.tid, record.event.name, {k: shown(v) for k, v in record.values.items()})
        for record in records
    ]
    # Of equal times the engine shows one CPU after the other, as the trace does.
    assert told_apart(sorted(found, key=repr), sorted(meant, key=repr)) == ""
    assert [each[0] for each in found] == [each[0] for each in meant]
    assert done.records == len(records)


def test_times_are_boot_times_and_dates_hold(tmp_path: Path) -> None:
    """The engine reads ftrace times as CLOCK_BOOTTIME; one snapshot ties it to the date and to the monotonic clock."""
    maker = Maker()
    header = {"mono_ns": 10**12, "boot_ns": 10**12 + 5 * 10**9, "real_ns": 1_700_000_000 * 10**9, "cpus": 1}
    maker.frames[1] = pack_header(header)
    session = maker.session(7, "prog")
    session.add_values(10**12 + 42, 20, 1)
    session.close()
    maker.trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        export(trace, "perfetto", str(tmp_path / "x.pftrace"))
    ((row,), _) = perfetto.query(
        tmp_path / "x.pftrace", "select ts, to_realtime(ts), to_monotonic(ts) from ftrace_event", "select 1"
    )
    assert list(map(int, row)) == [10**12 + 42 + 5 * 10**9, 1_700_000_000 * 10**9 + 42, 10**12 + 42]


def test_processes_slices_and_losses_are_there(tmp_path: Path) -> None:
    """Names of processes and threads; pairs as slices, the overlapping ones on tracks of their own; what was lost."""
    maker = Maker()
    events = {20: "job_begin u32 id; __rel_loc char[] what", 21: "job_end u32 id; s32 result"}
    commands = {70: ["prog70"], 80: ["/usr/bin/python3", "-u", "/srv/shop/app.py", "8000"]}
    for pid, command in commands.items():
        session = maker.session(pid, "python3" if pid == 80 else "prog70", events, command)
        for at, job in enumerate((1, 2)):
            session.add_values(1000 * pid + at, 20, job, f"job {job}", tid=pid + at)
        session.add_values(1000 * pid + 10, 21, 1, -1)
        session.add_values(1000 * pid + 30, 21, 2, 5)
        session.add_values(1000 * pid + 31, 21, 3, 5)
        session.close(threads={pid + 1: "helper"}, drops={20: {"ring_full": 3}}, overwritten=4, committed=9)
    maker.trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        done = export(trace, "perfetto", str(tmp_path / "x"), pairs=(Pair.parse("job_begin:job_end:id"),))
    slices, threads, stats, named, arguments = perfetto.query(
        tmp_path / "x",
        "select s.ts, s.dur, s.name, p.pid from slice s join process_track t on s.track_id = t.id "
        "join process p using (upid) order by s.ts",
        "select tid, t.name, pid, p.name from thread t join process p using (upid) where tid != 0 order by tid",
        "select name, idx, value from stats where name like 'ftrace_cpu_%_delta'",
        "select pid, cmdline from process where pid > 1 order by pid",
        "select distinct key, int_value, string_value from slice join args using (arg_set_id) where ts = 70000",
    )
    assert slices == [
        [str(1000 * pid + at), str(dur), "job", str(pid)] for pid in (70, 80) for at, dur in ((0, 10), (1, 29))
    ]
    assert [row[1:] for row in threads if row[0] == row[2]] == [
        ["main", "70", "prog70"],
        ["main", "80", "python3 app.py"],
    ]
    assert ["71", "helper", "70", "prog70"] in threads
    assert named == [["70", "prog70"], ["80", "python3 app.py -u /srv/shop/app.py 8000"]]
    assert perfetto.stats(stats)["ftrace_cpu_dropped_events_delta", 0] == 6
    assert perfetto.stats(stats)["ftrace_cpu_overrun_delta", 0] == 8
    assert ["debug.begin_what", None, "job 1"] in arguments
    assert ["debug.end_result", "-1", None] in arguments
    assert done.notes == ["job_begin:job_end: 4 slices; 0 begins and 2 ends found no partner"]


def test_pages_of_a_real_kernel_are_read_by_the_engine(tmp_path: Path) -> None:
    """Pages recorded on Linux 6.12, of each scenario on a CPU of its own: its events, and that some were lost."""
    kernel_trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        records = list(trace.records())
        export(trace, "perfetto", str(tmp_path / "x.pftrace"))
    assert {record.cpu for record in records} == set(range(len(recorded.NAMES)))
    rows, stats = perfetto.query(
        tmp_path / "x.pftrace", _EVENTS, "select name, idx, value from stats where name = 'ftrace_cpu_has_data_loss'"
    )
    assert sorted((int(ts), int(cpu), int(tid), name) for ts, cpu, tid, name, _ in rows) == sorted(
        (record.ts_ns, record.cpu, record.tid, record.event.name) for record in records
    )
    assert [cpu for (_, cpu), lost in perfetto.stats(stats).items() if lost] == [recorded.NAMES.index("lost_events")]
