"""The fleet's events, by the verbs, over real hosts, programs and a real broker."""

import asyncio
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import require
from tests.fleet.hosts import COMMAND, Fleet, until
from userevents.fleet import names
from userevents.fleet.broker import connected
from userevents.fleet.connection import Settings
from userevents.formats import open_trace
from userevents.formats.order import placed


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of two hosts with a program each, that writes `count` ticks whenever a line comes."""
    made = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        made.start_broker()
        for host in ("web-1", "web-2"):
            made.start_host(host)
        until(lambda: set(made.members()) == {"web-1", "web-2"}, "both are there")
        yield made
    finally:
        made.close()


PROGRAM = """
import threading, time
tick = register('tick u32 n; u32 of')
def write():
    n = 0
    while True:
        tick.write(n, %d)
        n += 1
        time.sleep(0.002)
threading.Thread(target=write, daemon=True).start()
"""


@pytest.fixture(scope="module")
def writing(fleet: Fleet) -> Fleet:
    """The fleet, with programs that write all the time, of which nobody has enabled anything."""
    for number, host in enumerate(("web-1", "web-2"), 1):
        fleet.program(host, PROGRAM % number)
    return fleet


def start(fleet: Fleet, *words: str) -> subprocess.Popen[str]:
    """Start a verb of the fleet."""
    return subprocess.Popen(
        [*COMMAND, "fleet", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=fleet.environment(),
    )


def test_a_recording_of_two_hosts_is_one_trace_whose_ledger_balances(writing: Fleet, tmp_path: Path) -> None:
    """`record -e` has the events recorded for as long as it runs; each host's numbers are there without a gap."""
    out = tmp_path / "t.dat"
    said = writing("record", "-e", "tick", "-o", str(out), "--duration", "3s")
    assert "of 2 hosts" in said, said
    assert "nothing lost" in said
    with open_trace(str(out)) as trace:
        ledger = trace.ledger
        assert ledger is not None
        assert ledger.is_balanced
        assert not trace.notes
        assert {host.name for host in trace.hosts} == {"web-1", "web-2"}
        # On one machine the clocks are one.
        assert all(host.uncertainty_ns and abs(host.offset_ns) <= host.uncertainty_ns for host in trace.hosts)
        for number in (1, 2):
            found = [record.values["n"] for record in trace.records() if record.values["of"] == number]
            assert len(found) > 100
            assert found == list(range(int(str(found[0])), int(str(found[-1])) + 1))
    for host in ("web-1", "web-2"):
        until(lambda host=host: writing.local(host, "instances/fleet/set_event") == "", "nobody wants it")  # type: ignore[misc]


def test_a_filter_keeps_records_on_their_host_and_leaves_the_ledger_balanced(writing: Fleet, tmp_path: Path) -> None:
    """Only what passes is sent, by the host that the filter is for; what cannot be a filter is refused at once."""
    assert "is no filter" in writing("filter", "tick", "n >", code=2)
    assert "tick of 2 hosts is not filtered: filter 'm > 5': Field not found" in writing("filter", "tick", "m > 5")
    assert "filter n & 1" in writing("filter", "tick", "n & 1", "--host", "*-1")
    try:
        out = tmp_path / "t.dat"
        said = writing("record", "-e", "tick", "-e", "tikc", "-o", str(out), "--duration", "2s")
        assert said.count("no event of the fleet matches") == said.count("matches 'tikc' yet") == 1
    finally:
        writing("filter", "tick", "--clear")
    with open_trace(str(out)) as trace:
        assert trace.ledger is not None
        assert trace.ledger.is_balanced
        found = [(record.values["of"], int(str(record.values["n"])) & 1) for record in trace.records()]
    assert found.count((1, 1)) > 100
    assert found.count((1, 0)) == 0
    assert found.count((2, 0)) > 100
    assert writing.rows("info", "tick")[0]["wishes"] == []


def test_tail_and_query_show_both_hosts_live(writing: Fleet) -> None:
    """Lines in order of time with their hosts; SQL window by window; each ends after what was asked for.

    With --where only lines that pass, while others miss nothing; what is no filter is refused at once.
    """
    assert "is no filter" in writing("tail", "tick", "--where", "(n > 5", code=2)
    tail = start(writing, "tail", "tick", "--json", "-n", "1500")
    query = start(
        writing, "query", "-e", "tick", "--window", "1s", "-n", "5", "--json",
        "SELECT host, count(*) AS n, max(n) - min(n) + 1 AS span FROM tick GROUP BY host",
    )  # fmt: skip
    chosen = start(writing, "tail", "tick", "--where", "of == 2 && n & 1", "--json", "-n", "50")
    out, err = chosen.communicate(timeout=40)
    assert chosen.returncode == 0, err
    numbers = [json.loads(line) for line in out.splitlines()]
    assert [found["fields"]["n"] for found in numbers] == [numbers[0]["fields"]["n"] + 2 * at for at in range(50)]
    assert {(found["host"], found["fields"]["n"] & 1) for found in numbers} == {("web-2", 1)}
    out, err = tail.communicate(timeout=40)
    assert tail.returncode == 0, err
    records = [json.loads(line) for line in out.splitlines()]
    assert len(records) == 1500
    assert {record["host"] for record in records} == {"web-1", "web-2"}
    for host in ("web-1", "web-2"):
        ticks = [record["fields"]["n"] for record in records if record["host"] == host]
        assert ticks == list(range(ticks[0], ticks[0] + len(ticks))) or "came late" in err, err
    latest = {"web-1": 0, "web-2": 0}
    for record in records:
        before_ns = max(ts_ns for host, ts_ns in latest.items() if host != record["host"])
        assert record["ts_ns"] >= before_ns or record["order_in_doubt"]
        latest[record["host"]] = max(latest[record["host"]], record["ts_ns"])
    out, err = query.communicate(timeout=40)
    assert query.returncode == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    full = [row for row in rows if row["n"] == row["span"] > 100]
    assert {row["host"] for row in full} == {"web-1", "web-2"}, rows


@pytest.mark.time_limit(120)
def test_a_killed_recorder_goes_on_and_what_it_missed_comes_from_the_broker(writing: Fleet, tmp_path: Path) -> None:
    """kill -9, a pause, and --resume: one recording, no number doubled and none missing, ledgers balance."""
    out = tmp_path / "t.dat"
    writing("enable", "tick")
    first = start(writing, "record", "-e", "tick", "-o", str(out))
    part = Path(f"{out}.part")
    until(lambda: part.exists() and part.stat().st_size > 30_000, "it has recorded")
    first.kill()
    first.communicate()
    time.sleep(1.5)
    second = start(writing, "record", "-e", "tick", "-o", str(out), "--resume")
    size = part.stat().st_size
    until(lambda: part.stat().st_size > size + 60_000, "it goes on")
    second.send_signal(signal.SIGINT)
    _, err = second.communicate(timeout=30)
    assert second.returncode == 0, err
    assert "nothing lost" in err, err
    with open_trace(str(out)) as trace:
        ledger = trace.ledger
        assert ledger is not None
        assert ledger.is_balanced
        for number in (1, 2):
            found = [record.values["n"] for record in trace.records() if record.values["of"] == number]
            assert found == list(range(int(str(found[0])), int(str(found[-1])) + 1))
    dumped = tmp_path / "kept.dat"
    assert "of 2 hosts" in writing("dump", "-o", str(dumped))
    ends_with_its_counts(dumped)
    writing("disable", "tick")


def ends_with_its_counts(dumped: Path) -> None:
    """Each host's part of a dump ends with its recording, and the books balance."""
    with open_trace(str(dumped)) as trace:
        assert trace.ledger is not None
        assert trace.ledger.is_balanced, trace.ledger
        assert all(host.ended for host in trace.hosts)
        assert not trace.notes


@pytest.mark.time_limit(120)
def test_a_dump_beside_programs_that_write_ends_with_a_hosts_counts_however_late(
    writing: Fleet, tmp_path: Path
) -> None:
    """A host that stands still while it is asked to end its recording is waited for; none is cut in the middle."""
    writing("enable", "tick")
    time.sleep(0.5)
    for host in ("web-2", "web-1"):
        writing.hosts[host].send_signal(signal.SIGSTOP)
        try:
            dumping = start(writing, "dump", "-o", str(tmp_path / "kept.dat"))
            time.sleep(2)
        finally:
            writing.hosts[host].send_signal(signal.SIGCONT)
        _, err = dumping.communicate(timeout=30)
        assert dumping.returncode == 0, err
        assert "of 2 hosts" in err
        ends_with_its_counts(tmp_path / "kept.dat")
    writing("disable", "tick")


@pytest.mark.time_limit(120)
def test_a_host_that_never_began_is_named(writing: Fleet, tmp_path: Path) -> None:
    """One that is there and answers nothing, as a host that is far too busy: the trace says that it is not of all."""
    ghost = names.lease_key("ghost")

    async def haunt(is_there: bool) -> None:
        async with connected(Settings((writing.url,)), "test") as broker:
            if is_there:
                await broker.put(ghost, b"{}")
            for entry in await broker.entries(ghost):
                assert is_there or await broker.remove(entry.key, entry.sequence)

    asyncio.run(haunt(True))
    try:
        said = writing("record", "-e", "tick", "-o", str(tmp_path / "t.dat"), "--duration", "1s")
    finally:
        asyncio.run(haunt(False))
    assert "host 'ghost': no recording began in time" in said
    with open_trace(str(tmp_path / "t.dat")) as trace:
        assert any("'ghost'" in note for note in trace.notes)
        assert {host.name for host in trace.hosts} == {"web-1", "web-2"}


@pytest.mark.time_limit(120)
def test_times_of_hosts_with_other_clocks_are_those_of_one(fleet: Fleet, tmp_path: Path) -> None:
    """A host whose clock is 5,000 s ahead (a time namespace) is in the same trace, and things in their order."""
    apart = [require("unshare"), "-T", "--monotonic", "5000", "--boottime", "5000", "--fork", "--kill-child"]
    if subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("no time namespaces here: that takes root and CONFIG_TIME_NS")
    out = tmp_path / "t.dat"
    fleet.within["ahead"] = apart
    fleet.start_host("ahead")
    until(lambda: "ahead" in fleet.members(), "it is there")
    program = "e = register('ping u32 n')\nfor line in sys.stdin: e.write(int(line)); print('ready', flush=True)"
    ends = [fleet.program(host, f"print('ready', flush=True)\n{program}") for host in ("web-1", "ahead")]
    recorder = start(fleet, "record", "-e", "ping", "-o", str(out))
    part = Path(f"{out}.part")
    until(lambda: part.exists() and all(name in part.read_bytes() for name in (b"web-1", b"ahead")), "both have begun")
    for number in range(40):
        end = ends[number % 2]
        assert end.stdin is not None
        assert end.stdout is not None
        end.stdin.write(f"{number}\n")
        end.stdin.flush()
        assert end.stdout.readline() == "ready\n"
    recorder.send_signal(signal.SIGINT)
    _, err = recorder.communicate(timeout=30)
    with open_trace(str(out)) as trace:
        found = list(placed(trace.records(), trace.hosts))
        wrong = {host.name: abs(host.offset_ns + 5000 * 10**9 * (host.name == "ahead")) for host in trace.hosts}
        assert wrong.keys() >= {"ahead", "web-1"}
        assert all(host.uncertainty_ns and wrong[host.name] <= host.uncertainty_ns for host in trace.hosts)
        assert sorted(int(str(one.record.values["n"])) for one in found) == list(range(40)), err
        ledger = trace.ledger
        assert ledger is not None
        assert ledger.is_balanced
    for before, after in pairwise(found):
        assert after.in_doubt or before.record.values["n"] < after.record.values["n"]  # type: ignore[operator]
    fleet.kill_host("ahead")


@pytest.mark.time_limit(120)
def test_a_dead_broker_costs_only_what_does_not_fit_the_backlog(writing: Fleet, tmp_path: Path) -> None:
    """The broker is killed under a recording: programs write on, and all of it arrives later, or is counted.

    Two hosts keep everything; a third may keep 256 KiB only, and its program writes more than that.
    """
    out = tmp_path / "t.dat"
    writing.start_host("small", "--fleet-backlog", "256K")
    writing.program("small", PROGRAM.replace("0.002", "0.00002") % 3)
    writing("enable", "tick")
    recorder = start(writing, "record", "-e", "tick", "-o", str(out))
    part = Path(f"{out}.part")
    names = (b"web-1", b"web-2", b"small")
    until(lambda: part.exists() and all(name in part.read_bytes() for name in names), "all have begun")
    writing.end_broker(signal.SIGKILL)
    time.sleep(3)
    writing.start_broker()
    size = part.stat().st_size
    until(lambda: part.stat().st_size > size + 60_000, "what was kept back arrives", 30)
    recorder.send_signal(signal.SIGINT)
    _, err = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, err
    with open_trace(str(out)) as trace:
        ledger = trace.ledger
        assert ledger is not None
        assert ledger.is_balanced
        lost = {process.comm.partition(":")[0]: process.lost for process in ledger.processes}
        assert lost.keys() == {"web-1", "web-2", "small"}
        assert lost["web-1"] == lost["web-2"] == 0, (ledger.losses(), trace.notes, err)
        assert lost["small"] == ledger.total("fleet") > 1000
        assert [event.fleet for process in ledger.processes for event in process.events if event.fleet] == [
            lost["small"]
        ]
        assert f"{lost['small']:,} events LOST" in err
        for number in (1, 2):
            found = [record.values["n"] for record in trace.records() if record.values["of"] == number]
            assert found == list(range(int(str(found[0])), int(str(found[-1])) + 1))

    def told() -> int:
        return next(int(str(row["lost"])) for row in writing.rows("list", "--hosts") if row["host"] == "small")

    until(lambda: told() == lost["small"], "the host has told what it lost", 15)


@pytest.mark.time_limit(120)
def test_what_the_stream_let_go_before_it_was_read_is_counted(writing: Fleet, tmp_path: Path) -> None:
    """A recorder that stands still while the stream is emptied has a gap of known size, and ledgers that balance."""
    out = tmp_path / "t.dat"
    writing("enable", "tick")
    recorder = start(writing, "record", "--host", "web-1", "-o", str(out))
    part = Path(f"{out}.part")
    until(lambda: part.exists() and part.stat().st_size > 20_000, "it has recorded")
    recorder.send_signal(signal.SIGSTOP)
    time.sleep(1)

    async def purge() -> None:
        async with connected(Settings((writing.url,)), "test") as broker:
            await broker.client.jetstream().purge_stream(names.DATA_STREAM)

    asyncio.run(purge())
    recorder.send_signal(signal.SIGCONT)
    size = part.stat().st_size
    until(lambda: part.stat().st_size > size + 20_000, "it goes on")
    recorder.send_signal(signal.SIGINT)
    _, err = recorder.communicate(timeout=30)
    with open_trace(str(out)) as trace:
        ledger = trace.ledger
        assert ledger is not None
        (host,) = trace.hosts
        assert host.missing > 0, err
        assert host.missing_records == ledger.total("fleet") > 100
        assert ledger.is_balanced, (ledger, trace.notes)
        assert any("batches never came" in note for note in trace.notes)
