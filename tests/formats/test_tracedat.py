"""trace.dat files: what ours holds, reading version 6, and what truncated, foreign and hostile files come to."""

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.formats.maker import Maker
from userevents.abi.ring_buffer import HEADER_EVENT_TEXT, HEADER_PAGE_TEXT
from userevents.buffer import PageBuilder
from userevents.errors import Malformed
from userevents.fields import format_text, parse_fields
from userevents.formats import Record, open_trace
from userevents.formats import tracedat as layout

TICK = format_text("tick", 20, parse_fields("u32 a; char[4] c"))


def _sized(text: str) -> bytes:
    return struct.pack("<Q", len(text)) + text.encode()


def _page(*times: int, lost: int = 0) -> bytes:
    builder = PageBuilder()
    for number, ts_ns in enumerate(times):
        builder.append(ts_ns, struct.pack("<HBBiI4s", 20, 0, 0, 77, number, b"abcd"))
    return builder.take(missed=lost)


def v6(pages: list[list[bytes]], *, options: bytes = b"", kind: bytes = b"flyrecord\0") -> bytes:
    """Return a version 6 file of these pages by CPU, as trace-cmd lays one out."""
    head = layout.MAGIC + b"6\0" + struct.pack("<BBI", 0, 8, 4096)
    head += b"header_page\0" + _sized(HEADER_PAGE_TEXT) + b"header_event\0" + _sized(HEADER_EVENT_TEXT)
    head += struct.pack("<I", 1) + _sized('name: function\nID: 1\nformat:\n\nprint fmt: ""\n')
    head += struct.pack("<I", 1) + b"user_events\0" + struct.pack("<I", 2) + _sized(TICK) + _sized("no format at all")
    head += struct.pack("<I", 3) + b"abc" + struct.pack("<I", 2) + b"de"
    head += _sized("77 bash\n78 a b\nnonsense\n") + struct.pack("<I", len(pages))
    head += b"options  \0" + options + struct.pack("<H", 0) if options else b""
    head += kind
    clock = _sized("[mono]\0")
    at = (len(head) + 16 * len(pages) + len(clock) + 4095) & ~4095
    table, body = b"", b""
    for cpu in pages:
        table += struct.pack("<QQ", at + len(body), 4096 * len(cpu))
        body += b"".join(cpu)
    return (head + table + clock).ljust(at, b"\0") + body


def option(number: int, data: bytes) -> bytes:
    """Return one option."""
    return struct.pack("<HI", number, len(data)) + data


def ours() -> bytes:
    """Return a file that we wrote."""
    import tempfile

    maker = Maker()
    one = maker.session(77, "bash", {20: "tick u32 a; char[4] c", 21: "float_event struct f64 x 8"})
    for number in range(40):
        one.add_values(10**9 + number * 1000, 20, number, "abcd", cpu=number // 20)
    one.add_values(2 * 10**9, 21, 0.25)
    one.close()
    with tempfile.TemporaryDirectory() as directory:
        maker.trace(Path(directory) / "t.dat")
        return (Path(directory) / "t.dat").read_bytes()


V6 = v6([[_page(*range(10**9, 10**9 + 5)), _page(2 * 10**9)], [], [_page(10**9 + 2, 3 * 10**9)]])
V7 = ours()


def read(tmp_path: Path, data: bytes) -> list[Record]:
    """Open a file of these bytes, ask it everything, and return its records."""
    path = tmp_path / "t.dat"
    path.write_bytes(data)
    with open_trace(str(path)) as trace:
        found = list(trace.records())
        trace.losses()
        assert trace.processes is not None
        return found


def test_a_version_6_file_is_read_in_time_order_over_its_cpus(tmp_path: Path) -> None:
    """Names, times, values and CPUs, with a CPU that has no pages, and formats that cannot be read left out."""
    path = tmp_path / "t.dat"
    path.write_bytes(V6)
    with open_trace(str(path)) as trace:
        found = list(trace.records())
        assert (trace.kind, trace.clock, trace.ledger) == ("trace.dat version 6", "mono", None)
        assert trace.notes == ["1 of 3 event formats cannot be read"]
    assert [record.cpu for record in found] == [0, 0, 0, 2, 0, 0, 0, 2]
    assert found[0] == (10**9, 0, 77, None, "bash", trace.events[20], {"a": 0, "c": "abcd"})


def test_a_record_of_an_unknown_event_shows_its_bytes(tmp_path: Path) -> None:
    """A file may lack the format of an event that was recorded."""
    builder = PageBuilder()
    builder.append(1, struct.pack("<HBBi4s", 999, 0, 0, 0, b"\1\2\3\4"))
    (record,) = read(tmp_path, v6([[builder.take()]]))
    assert (record.event.name, record.comm, record.values) == ("unknown_999", "<idle>", {"data": b"\1\2\3\4"})


def test_times_are_moved_by_the_offsets_that_the_file_carries(tmp_path: Path) -> None:
    """An OFFSET option is in nanoseconds, a DATE option in microseconds, as trace-cmd applies them."""
    for options, moved in ((option(7, b"-500\0"), -500), (option(1, b"0x10\0"), 16_000), (option(7, b"x"), 0)):
        assert read(tmp_path, v6([[_page(10**9)]], options=options))[0].ts_ns == 10**9 + moved


def test_the_kernels_own_counts_of_losses_are_told(tmp_path: Path) -> None:
    """From the statistics of each CPU, and from the marks on pages."""
    stat = b"CPU: 0\nentries: 5\noverrun: 12\ncommit overrun: 0\ndropped events: 3\n\0"
    path = tmp_path / "t.dat"
    path.write_bytes(v6([[_page(1), _page(2, lost=37), _page(3, lost=-1)]], options=option(2, stat)))
    with open_trace(str(path)) as trace:
        assert trace.losses() == [
            "CPU: 0: overrun: 12",
            "CPU: 0: dropped events: 3",
            "records were lost before 2 of the pages, 37 records or more",
        ]


def test_a_text_trace_is_malformed_and_says_what_it_is(tmp_path: Path) -> None:
    """`latency` files hold the kernel's text and no pages."""
    with pytest.raises(Malformed, match="latency"):
        read(tmp_path, v6([[]], kind=b"latency  \0"))


def test_our_own_file_carries_declarations_processes_and_ledger(tmp_path: Path) -> None:
    """What stock formats cannot say is in our section: declared fields, process ids, command lines, the books."""
    path = tmp_path / "t.dat"
    path.write_bytes(V7)
    with open_trace(str(path)) as trace:
        found = list(trace.records())
        (process,) = trace.processes
        assert trace.ledger is not None
        assert trace.ledger.is_balanced
        assert trace.header["host"] == "box"
    assert (process.pid, process.comm, process.cmdline, process.tids) == (77, "bash", ["bash", "-x"], {77: "main"})
    assert (process.first_ns, process.last_ns) == (10**9, 2 * 10**9)
    assert found[-1].values == {"x": 0.25}
    assert {(record.pid, record.comm) for record in found} == {(77, "main")}


def test_a_thread_id_that_two_processes_had_is_told_by_time(tmp_path: Path) -> None:
    """Ids are used again; the process that was recorded at that time is meant."""
    maker = Maker()
    one, two = maker.session(10, "first"), maker.session(20, "second")
    for number in range(3):
        one.add_values(1000 + number, 20, number, tid=99)
        two.add_values(5000 + number, 20, number, tid=99)
    one.close()
    two.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    with open_trace(str(path)) as trace:
        assert [(record.pid, record.comm) for record in trace.records()] == [(10, "first")] * 3 + [(20, "second")] * 3


def test_a_damaged_page_costs_only_its_own_rest(tmp_path: Path) -> None:
    """The other pages are shown, and a note says where the damage is."""
    path = tmp_path / "t.dat"
    path.write_bytes(v6([[_page(1), b"\xff" * 4096, _page(3)]]))
    with open_trace(str(path)) as trace:
        assert [record.ts_ns for record in trace.records()] == [1, 3]
        assert any("damaged" in note for note in trace.notes)


def test_a_damaged_section_of_ours_leaves_a_plain_trace(tmp_path: Path) -> None:
    """Its loss costs the ledger, not the records."""
    at = V7.index(b'{"version":1')
    for broken in (b'{"version":9', b'[[version":1', b"\xff" * 12):
        path = tmp_path / "t.dat"
        path.write_bytes(V7[:at] + broken + V7[at + 12 :])
        with open_trace(str(path)) as trace:
            assert len(list(trace.records())) == 41
            assert trace.ledger is None
            assert "userevents section" in trace.notes[0]


@pytest.mark.parametrize(
    "data",
    [b"", b"#!/bin/sh\n", bytes(5000), layout.MAGIC, layout.MAGIC + b"5\0" + bytes(100), b"PERFILE2" + bytes(99)],
)
def test_a_foreign_file_is_malformed(tmp_path: Path, data: bytes) -> None:
    """It is told by its first bytes what is no trace, and by its version what cannot be read."""
    with pytest.raises(Malformed):
        read(tmp_path, data)


@pytest.mark.parametrize(
    ("at", "data", "words"), [(12, b"\1", "machine"), (13, b"\4", "machine"), (14, b"\1\2", "pages of")]
)
def test_a_trace_of_another_machine_is_malformed_and_says_so(tmp_path: Path, at: int, data: bytes, words: str) -> None:
    """Big endian, 32 bits, or pages of an impossible size."""
    for good in (V6, V7):
        with pytest.raises(Malformed, match=words):
            read(tmp_path, good[:at] + data + good[at + len(data) :])


@pytest.mark.parametrize("good", [V6, V7], ids=["6", "7"])
def test_a_truncated_trace_is_malformed(tmp_path: Path, good: bytes) -> None:
    """Wherever it was cut: half a trace must not pass for a whole one."""
    for length in (*range(0, 2000, 13), *range(2000, len(good), 997)):
        with pytest.raises(Malformed):
            read(tmp_path, good[:length])


HUGE = st.sampled_from([b"\xff" * 8, b"\xff" * 4, b"\0\0\0\x7f", b"\0" * 8, struct.pack("<Q", 1 << 40), b"\1"])


@given(st.sampled_from([V6, V7]), st.integers(0, 30_000), st.binary(min_size=1, max_size=12) | HUGE)
@example(V7, 24, struct.pack("<Q", 1 << 63))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_trace_with_noise_in_it_is_read_or_malformed(tmp_path: Path, good: bytes, at: int, noise: bytes) -> None:
    """Sizes, offsets and counts of anything: records, or Malformed, and no other error."""
    at %= len(good)
    try:
        assert len(read(tmp_path, good[:at] + noise + good[at + len(noise) :])) < 1000
    except Malformed:
        pass


def test_claims_of_sizes_cost_no_memory(tmp_path: Path) -> None:
    """A file that says it holds gigabytes is refused before anything is made room for."""
    path = tmp_path / "t.dat"
    tracemalloc.start()
    try:
        for good in (V6, V7):
            for at in range(0, min(len(good), 1600), 13):
                path.write_bytes(good[:at] + b"\xff\xff\xff\x0f\0" + good[at + 5 :])
                try:
                    with open_trace(str(path)) as trace:
                        list(trace.records())
                except Malformed:
                    pass
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_large_trace_is_streamed_and_not_slurped(tmp_path: Path) -> None:
    """Reading 6 MB of pages takes a small part of that in memory."""
    path = tmp_path / "t.dat"
    path.write_bytes(v6([[_page(*range(number * 1000, number * 1000 + 3)) for number in range(1500)]]))
    tracemalloc.start()
    try:
        with open_trace(str(path)) as trace:
            assert sum(1 for _ in trace.records()) == 4500
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
