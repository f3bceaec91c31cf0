"""Recordings of several hosts: one trace that every reader takes, with its hosts, their clocks and their losses."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require
from tests.formats.maker import Maker
from userevents.buffer import stream as wire
from userevents.cli import main
from userevents.formats import Trace, open_trace
from userevents.formats.finish import finish_recording
from userevents.formats.host_clock import HostClock, Sample
from userevents.formats.hosts import Host
from userevents.formats.model import PIDS_A_HOST
from userevents.formats.order import Shown, placed
from userevents.formats.recording import Recording

SECOND = 10**9


def of_host(maker: Maker, *, end: bool = True) -> bytes:
    """Return a host's own frames, as they are sent: without the start."""
    return maker.data(end=end)[wire.START.size :]


def brought_together(*batches: bytes, end: bool = True) -> bytes:
    """Return a recording of several hosts of these pieces."""
    header = {"mono_ns": 5 * SECOND, "real_ns": 1_000_005 * SECOND, "host": "desk", "cpus": 1, "command": ["x"]}
    own_end = wire.pack_batch(0, {}) + wire.pack_end("done", 9) if end else b""
    return wire.pack_start() + wire.pack_header(header) + b"".join(batches) + own_end


def host(number: int, name: str, *samples: tuple[int, int, int]) -> bytes:
    """Return the frames that open a host, and compare its clock."""
    opened = wire.pack_host(number, {"name": name, "number": number, "incarnation": f"run-{number}"})
    return opened + b"".join(wire.pack_clock(number, *sample) for sample in samples)


def batch(number: int, seq: int, data: bytes, **more: int) -> bytes:
    """Return a host's batch."""
    return wire.pack_batch(number, {"seq": seq, **more}) + data


def two_hosts() -> bytes:
    """Two hosts with the same pid, the same event id for different events, and clocks 1000 s apart, one drifting."""
    first, second = Maker(cpus=2), Maker(cpus=3)
    one = first.session(1234, "shop", {20: "request u32 n"})
    other = second.session(1234, "depot", {20: "parcel u64 kg", 21: "request u32 n"})
    for number in range(10):
        one.add_values(10 * SECOND + number * 1000, 20, number, cpu=number % 2)
        other.add_values(1010 * SECOND + number * 1000 + 500, 21, number, cpu=2)
    other.add_values(1030 * SECOND, 20, 7, cpu=2)
    one.close()
    other.close()
    return brought_together(
        host(1, "web-1", (10 * SECOND, 10 * SECOND, 200)),
        host(2, "web-2", (10 * SECOND, 1010 * SECOND, 200), (30 * SECOND + 10**6, 1030 * SECOND, 300)),
        batch(1, 1, of_host(first)),
        batch(2, 1, of_host(second)),
    )


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The two hosts, as a finished trace."""
    part = tmp_path / "t.dat.part"
    part.write_bytes(two_hosts())
    finish_recording(str(part), str(tmp_path / "t.dat"))
    return tmp_path / "t.dat"


@pytest.mark.parametrize("ending", ["t.dat.part", "t.dat"])
def test_the_records_of_two_hosts_come_in_one_order_with_their_hosts(trace: Path, ending: str) -> None:
    """Raw or finished: times are the recording's, drift included; pids, CPUs and events are told apart."""
    with open_trace(str(trace.with_name(ending))) as opened:
        records = list(opened.records())
        assert [one.ts_ns for one in records] == sorted(one.ts_ns for one in records)
        requests = [one for one in records if one.event.name == "request"]
        assert [(one.pid, one.comm, one.values["n"]) for one in requests] == [
            (10_001_234, "web-1:main", n // 2) if n % 2 == 0 else (20_001_234, "web-2:main", n // 2) for n in range(20)
        ]
        assert {one.cpu for one in requests} == {0, 1, 4}
        assert requests[1].ts_ns == pytest.approx(10 * SECOND + 500, abs=300)
        parcel = records[-1]
        assert (parcel.event.name, parcel.values, parcel.cpu) == ("parcel", {"kg": 7}, 4)
        assert parcel.ts_ns == pytest.approx(30 * SECOND + 10**6, abs=300), "1 ms of drift in 20 s"
        assert [(each.title, each.host, each.host_pid) for each in opened.processes] == [
            ("web-1:shop", "web-1", 1234),
            ("web-2:depot", "web-2", 1234),
        ]
        assert [(each.name, each.first_cpu, each.uncertainty_ns) for each in opened.hosts] == [
            ("web-1", 0, 200),
            ("web-2", 2, 300),
        ]
        ledger = opened.ledger
        assert ledger is not None
        assert ledger.is_balanced
        assert ledger.total("delivered") == 21


def test_every_view_names_the_hosts(trace: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Report, its JSON and summary, SQL, Perfetto's process names and the page of its own."""
    main(["report", str(trace)], standalone_mode=False)
    table = capsys.readouterr().out.splitlines()
    assert "web-1:main-10001234" in table[1]
    assert sum("~" in line for line in table) == 0, "500 ns apart, and known to 500 ns together"
    main(["report", "--format", "json", "-n", "2", str(trace)], standalone_mode=False)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["host"], one["order_in_doubt"]) for one in found] == [("web-1", False), ("web-2", False)]
    main(["report", "--summary", str(trace)], standalone_mode=False)
    summary = capsys.readouterr().out
    assert all(text in summary for text in ("web-2:depot", "-999.999000 s", "+50.0 ppm"))
    pytest.importorskip("duckdb")
    main(
        ["query", str(trace), "SELECT host, count(*), max(n) FROM request GROUP BY 1 ORDER BY 1"], standalone_mode=False
    )
    assert ["web-1", "10", "9"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    main(["query", str(trace), "SELECT DISTINCT host FROM events WHERE event = 'parcel'"], standalone_mode=False)
    assert "web-2" in capsys.readouterr().out
    for form, ending in (("perfetto", "pftrace"), ("json", "json")):
        main(["export", str(trace), "--to", form, "-o", str(tmp_path / f"t.{ending}")], standalone_mode=False)
    assert b"web-2:depot" in (tmp_path / "t.pftrace").read_bytes()
    assert b'"host":"web-2"' in (tmp_path / "t.json").read_bytes()
    main(["html", str(trace), "-o", str(tmp_path / "t.html")], standalone_mode=False)
    assert "web-2:depot" in (tmp_path / "t.html").read_text()


def test_stock_trace_cmd_reads_a_trace_of_two_hosts(trace: Path) -> None:
    """The hosts stand in the names of threads, and every record is there."""
    lines = subprocess.run([require("trace-cmd"), "report", trace], capture_output=True, text=True, check=True).stdout
    assert lines.count("request:") == 20
    assert "web-2:main-20001234" in lines


def of_a_host(pid: int, *, tids: tuple[int, ...] = (), cpus: int = 2) -> bytes:
    """Return what one host sends: a process, and a record of each of its threads."""
    maker = Maker(cpus=cpus)
    session = maker.session(pid, "shop", {20: "request u32 n"})
    for number, tid in enumerate((pid, *tids)):
        session.add_values(10 * SECOND + number, 20, number, tid=tid, cpu=cpus - 1)
    session.close()
    return of_host(maker)


def many_hosts(last: bytes, hosts: int = 1000) -> bytes:
    """So many hosts of two CPUs with one process each, all 1234 but the last one's."""
    same = of_a_host(1234)
    names = [host(number, f"h{number}") + batch(number, 1, same) for number in range(1, hosts)]
    return brought_together(*names, host(hosts, f"h{hosts}"), batch(hosts, 1, last))


def test_a_thousand_hosts_make_one_trace_that_stock_trace_cmd_reads(tmp_path: Path) -> None:
    """More than 213 have fewer numbers each: still the pid's digits, and large pids that end alike are told apart."""
    large = (3_001_234, 2_000_007, 7, 1_000_007)
    part = tmp_path / "t.dat.part"
    part.write_bytes(many_hosts(of_a_host(1234, tids=large)))
    finish_recording(str(part), str(tmp_path / "t.dat"))
    for path in (part, tmp_path / "t.dat"):
        with open_trace(str(path)) as opened:
            found = list(placed(opened.records(), opened.hosts))
            assert len(found) == 1004
            assert [each.record.pid for each in found[:999]] == [number * 10**6 + 1234 for number in range(1, 1000)]
            assert [each.name for each in found] == [f"h{number}" for number in range(1, 1001)] + ["h1000"] * 4
            assert {each.host_pid for each in found} == {1234}
            last = [each for each in found if each.name == "h1000"]
            assert sorted(each.record.tid - 10**9 for each in last) == [7, 8, 9, 1234, 1235]
            assert [each.at_home.tid for each in last] == [1234, *large]
            assert (last[0].at_home.pid, last[0].record.cpu) == (1234, 1999)
            assert {each.host_pid for each in opened.processes} == {1234}
            assert opened.ledger is not None
            assert opened.ledger.is_balanced
    command = [require("trace-cmd"), "report", str(tmp_path / "t.dat")]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert lines.count("request:") == 1004
    assert "h999:main-999001234" in lines


def test_a_host_cannot_write_as_a_thread_of_another_host() -> None:
    """Whatever thread ids its records say, they stay within its own numbers."""
    hostile = (1234 + 10_000_000, 0x7FFFFFFF, -1, 4_000_000)
    opened = _opened(brought_together(*(host(n, f"h{n}") + batch(n, 1, of_a_host(7, tids=hostile)) for n in (1, 2, 3))))
    for each in placed(opened.records(), opened.hosts):
        assert each.host is not None
        assert each.record.tid // 10_000_000 == each.host.number


def test_cpus_beyond_what_a_trace_tells_apart_are_its_last_one() -> None:
    """Hosts that have more than 65536 together: no record is lost."""
    opened = _opened(many_hosts(of_a_host(7, cpus=4096), hosts=3))
    assert [each.first_cpu for each in opened.hosts] == [0, 2, 4]
    wide = [host(n, f"h{n}") + batch(n, 1, of_a_host(7, cpus=4096)) for n in range(1, 19)]
    opened = _opened(brought_together(*wide))
    cpus = [record.cpu for record in opened.records()]
    assert cpus == [*(4096 * number - 1 for number in range(1, 17)), 65535, 65535]


def test_batches_that_came_before_are_left_out_and_those_that_never_came_are_counted() -> None:
    """A doubled batch adds nothing; a gap's records stand as `fleet` with those who lack them, and the sum is right."""
    maker = Maker()
    session = maker.session(7)
    for number in range(30):
        session.add_values(SECOND + number, 20, number)
        if number % 10 == 9:
            session.flush()
    session.close()
    pages = [frame for frame in maker.frames if wire.FRAME.unpack_from(frame)[1] == wire.PAGE_PART]
    head = b"".join(maker.frames[1:4])
    tail = b"".join(maker.frames[-2:]) + wire.pack_end("done", 1)
    data = brought_together(
        host(1, "a", (1, 1, 1)),
        batch(1, 1, head + pages[0]),
        batch(1, 1, head + pages[0]),
        batch(1, 3, pages[2] + tail, missing=1, missing_records=10),
    )
    trace = _opened(data)
    assert [record.values["a"] for record in trace.records()] == [*range(10), *range(20, 30)]
    ledger = trace.ledger
    assert ledger is not None
    assert ledger.is_balanced
    assert (ledger.total("fleet"), ledger.total("lost"), ledger.total("delivered")) == (10, 10, 20)
    assert "10 on the way from their hosts (fleet)" in ledger.losses()[0]
    assert "host 'a': 1 batches never came, 10 records" in trace.notes


def test_what_a_host_dropped_is_counted_by_event() -> None:
    """A FLEET frame tells how many records of which event stood in pages that were given up."""
    maker = Maker()
    session = maker.session(7, events={20: "tick u32 a", 21: "tock u32 b"})
    session.add_values(SECOND, 20, 1)
    session.counts[20] += 3
    session.counts[21] += 2
    session.close()
    maker.frames.append(wire.pack_fleet(session.number, {20: 3, 21: 2}))
    ledger = _opened(brought_together(host(1, "a", (1, 1, 1)), batch(1, 1, of_host(maker)))).ledger
    assert ledger is not None
    assert ledger.is_balanced
    assert {event.name: event.fleet for event in ledger.processes[0].events} == {"tick": 3, "tock": 2}


@pytest.mark.parametrize(("counted", "fleet"), [(5, 0), (10, 0), (13, 3)])
def test_a_host_that_was_lost_leaves_counts_from_before(counted: int, fleet: int) -> None:
    """Records after its last count are no fault; what it had counted and what never came is lost on the way."""
    maker = Maker()
    session = maker.session(7)
    for number in range(10):
        session.add_values(SECOND + number, 20, number)
    session.counts[20] = counted
    session.close(alive=True)
    trace = _opened(brought_together(host(1, "a", (1, 1, 1)), batch(1, 1, of_host(maker, end=False))))
    ledger = trace.ledger
    assert ledger is not None
    assert ledger.is_balanced
    assert (ledger.total("delivered"), ledger.total("fleet")) == (10, fleet)
    assert any("the recording has no end" in note for note in trace.notes)


def test_a_session_goes_on_through_its_hosts_recordings() -> None:
    """A host that begins a new recording tells its sessions anew: they stay one process, their counts are summed."""
    parts = []
    for number in range(2):
        maker = Maker()
        session = maker.session(7)
        session.seq = number
        session.add_values(SECOND + number, 20, number)
        session.close(alive=True)
        parts.append(batch(1, number + 1, of_host(maker)))
    trace = _opened(brought_together(host(1, "a", (1, 1, 1)), *parts))
    assert [record.values["a"] for record in trace.records()] == [0, 1]
    ledger = trace.ledger
    assert ledger is not None
    assert ledger.is_balanced
    assert [(one.pid, one.attempts, one.delivered) for one in ledger.processes] == [(PIDS_A_HOST + 7, 2, 2)]


def test_a_recording_of_hosts_that_was_cut_anywhere_is_read_up_to_there(tmp_path: Path) -> None:
    """Every length gives a trace, and never another error; a host whose end lacks is told of."""
    data = two_hosts()
    for size in range(wire.START.size, len(data), 13):
        trace = _opened(data[:size])
        assert len(list(trace.records())) <= 21
        _ = trace.ledger
    assert any("the recording has no end" in note for note in _opened(data[: len(data) - 200]).notes)


def test_the_offset_is_known_as_well_as_the_best_answers_around_it_allow() -> None:
    """A slow answer is narrowed by its neighbours, drift between samples is followed, far away less is known."""
    samples = [Sample(10 * SECOND, 9 * SECOND, 1000), Sample(20 * SECOND + 900_000, 19 * SECOND, 5_000_000)]
    samples.append(Sample(30 * SECOND + 2000, 29 * SECOND, 1000))
    clock = HostClock(samples)
    assert clock.samples[1].uncertainty_ns <= 1_002_000
    assert clock.at(9 * SECOND) == (SECOND, 1000)
    assert clock.at(29 * SECOND).shift_ns == SECOND + 2000
    assert clock.at(59 * SECOND).uncertainty_ns == 1000 + 30 * 100_000
    straight = HostClock([Sample(0, 0, 10), Sample(10 * SECOND + 5000, 10 * SECOND, 10)])
    assert straight.at(5 * SECOND).shift_ns == 2500
    assert straight.drift == pytest.approx(5e-7)
    assert HostClock([], 77).at(1) == (77, None)


def test_some_samples_say_of_a_later_moment_what_all_of_them_do() -> None:
    """A small window of a long look carries two or three; its times, and how far they may be wrong, are the same."""
    samples = [Sample(n * SECOND + n * 7000 + n % 3 * 90, (n + 500) * SECOND, 500 + n % 5 * 3000) for n in range(32)]
    clock = HostClock(samples)
    for since in range(495, 540):
        some = clock.samples_since(since * SECOND)
        assert len(some) == min(max(533 - max(since, 500), 2), 32)
        for there_ns in range(since * SECOND, 545 * SECOND, SECOND // 3):
            one, other = clock.at(there_ns), HostClock(some).at(there_ns)
            assert one.shift_ns == pytest.approx(other.shift_ns, abs=2)
            assert one.uncertainty_ns == pytest.approx(other.uncertainty_ns, abs=2)


def test_an_order_is_in_doubt_where_two_clocks_are_not_known_well_enough(trace: Path) -> None:
    """Nearer than both uncertainties together: in doubt; and never among records of one host."""
    hosts = [Host(1, "a", uncertainty_ns=300), Host(2, "b", uncertainty_ns=300)]
    with open_trace(str(trace)) as opened:
        records = [one for one in opened.records() if one.event.name == "request"]
    assert [one.in_doubt for one in placed(records, hosts)] == [False] + [True] * 19
    alone = [one for one in records if one.pid and one.pid < 2 * PIDS_A_HOST]
    assert not any(one.in_doubt for one in placed(alone, hosts))
    shown = Shown()  # a live view shows window after window, and an order is in doubt across their ends, too
    assert [next(placed([record], hosts, shown)).in_doubt for record in records] == [False] + [True] * 19


def _opened(data: bytes) -> Trace:
    from userevents.formats.sources import RecordingSource

    return Trace("x", RecordingSource(Recording.of(data)), lambda: None)
