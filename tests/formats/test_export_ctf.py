"""Exports as CTF 1.8, as babeltrace2 reads them."""

from pathlib import Path
from typing import Any

from tests.buffer import recorded
from tests.formats.corpus import corpus, told_apart
from tests.formats.kernel_trace import kernel_trace
from tests.formats.maker import Maker
from tests.formats.readers import ctf
from userevents.formats import open_trace
from userevents.formats.export import export
from userevents.formats.model import Value
from userevents.formats.naming import Names
from userevents.formats.stock_text import stock_name


def shown(value: Value) -> Any:
    """Return a value as the reader gives it."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return {"float": value.hex()} if isinstance(value, float) else value


def meant(record: Any) -> tuple[Any, ...]:
    """Return what a record should be read as."""
    names = Names()
    fields: dict[str, Any] = {}
    for key, value in record.values.items():
        name = stock_name(key, names)
        if isinstance(value, bytes):
            fields[names.take(f"{name}_length")] = len(value)
        fields[name] = shown(value)
    who = {"vpid": record.tid if record.pid is None else record.pid, "vtid": record.tid, "procname": record.comm}
    return record.ts_ns, record.cpu, f"{record.event.system}:{record.event.name}", who, fields


def read(found: ctf.Found) -> tuple[Any, ...]:
    """Return what was read, in the same form."""
    return found.ts_ns, found.cpu, found.name, found.who, found.fields


def test_every_event_is_there_with_its_values(tmp_path: Path) -> None:
    """Random declarations and values: time, CPU, process, thread, name and every field; equal times in any order."""
    records = corpus(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        export(trace, "ctf", str(tmp_path / "x.ctf"))
    found, discarded = ctf.events(tmp_path / "x.ctf")
    by_cpu = [(each[1], at) for at, each in enumerate(map(meant, records))]
    order = [at for _, at in sorted(by_cpu)]
    stable = sorted(map(read, found), key=lambda each: each[1])
    assert told_apart(stable, [meant(records[at]) for at in order]) == ""
    assert [each.ts_ns for each in found] == [record.ts_ns for record in records]
    assert discarded == [12]


def test_the_length_of_bytes_takes_no_other_fields_name(tmp_path: Path) -> None:
    """A field may be called as the length of another would be: whichever comes first keeps the name."""
    maker = Maker()
    declaration = "sent u32 data_length; __rel_loc u8[] data; __rel_loc u8[] head; u32 head_length"
    session = maker.session(7, "prog", {20: declaration})
    session.add_values(1000, 20, 9, b"ab", b"cd", 8)
    session.close()
    maker.trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        export(trace, "ctf", str(tmp_path / "x"))
    ((found,), _) = ctf.events(tmp_path / "x")
    assert found.fields == {
        "data_length": 9, "data_length_2": 2, "data": {"hex": "6162"},
        "head_length": 2, "head": {"hex": "6364"}, "head_length_2": 8,
    }  # fmt: skip


def test_dates_come_from_the_clock(tmp_path: Path) -> None:
    """The clock's offset carries the date: real time minus monotonic time."""
    from userevents.buffer.stream import pack_header

    maker = Maker()
    maker.frames[1] = pack_header({"mono_ns": 10**12, "real_ns": 1_700_000_000_123_456_789, "cpus": 1})
    session = maker.session(7, "prog")
    session.add_values(10**12 + 42, 20, 1)
    session.close()
    maker.trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        export(trace, "ctf", str(tmp_path / "x"))
    ((found,), _) = ctf.events(tmp_path / "x")
    assert (found.ts_ns, found.real_ns) == (10**12 + 42, 1_700_000_000_123_456_831)


def test_pages_of_a_real_kernel_are_read_and_their_losses_told(tmp_path: Path) -> None:
    """Pages recorded on Linux 6.12, of each scenario on a CPU of its own."""
    kernel_trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        records = list(trace.records())
        export(trace, "ctf", str(tmp_path / "x"))
    found, discarded = ctf.events(tmp_path / "x")
    assert told_apart(sorted(map(read, found), key=repr), sorted(map(meant, records), key=repr)) == ""
    assert {record.cpu for record in records} == set(range(len(recorded.NAMES)))
    assert sum(discarded) > 0
