"""A fleet of three hosts on a cluster of three servers, all in namespaces of their own, and what may happen to them.

USEREVENTS_FLEET_CUT=30 keeps a host cut off for 30 s, not 7.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fleet.cluster import Cluster
from tests.fleet.hosts import until
from userevents.fleet import names
from userevents.fleet.broker import Broker
from userevents.fleet.reading import read_events
from userevents.formats import open_trace

HOSTS: Final = ("one", "two", "three")
UNSENT_MAX: Final = 200
"""Records of a program that writes 250 a second which its agent may have read and not sent yet when it is killed."""
CUT_S: Final = float(os.environ.get("USEREVENTS_FLEET_CUT", "7"))
PROGRAM: Final = """
import threading, time
tick = register('tick u32 n; u32 of')
def write():
    n = 0
    while True:
        tick.write(n, %d)
        n += 1
        time.sleep(0.004)
threading.Thread(target=write, daemon=True).start()
"""
ALARM: Final = """
import os, threading, time
alarm = register('alarm u32 why')
def write():
    while not os.path.exists(%r):
        time.sleep(0.001)
    alarm.write(7)
threading.Thread(target=write, daemon=True).start()
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster that serves, and three hosts that are in the fleet."""
    if os.geteuid():
        pytest.skip("network namespaces take root")
    made = Cluster(tmp_path, HOSTS)
    try:
        for name in ("s1", "s2", "s3"):
            made.start_server(name)
        until(lambda: made.verb("init", "--replicas", "3", "--max-size", "512M") == 0, "the cluster serves", 30)
        made("enable", "tick")
        for name in HOSTS:
            made.start_host(name)
        yield made
    finally:
        made.close()


def alive(cluster: Cluster) -> set[str]:
    """The hosts that have a lease."""

    async def ask(broker: Broker) -> set[str]:
        return {names.parse_key(key).host for key in await broker.keys("lease.*")}

    return cluster.asked(ask)


def events(cluster: Cluster) -> dict[str, tuple[str, set[str]]]:
    """The events that are listed: state and hosts."""

    async def ask(broker: Broker) -> dict[str, tuple[str, set[str]]]:
        return {row.event.partition(":")[2]: (row.state, set(row.hosts)) for row in await read_events(broker, "*")}

    return cluster.asked(ask)


def become(cluster: Cluster, wanted: dict[str, tuple[str, set[str]]], what: str) -> None:
    """Wait until these are the events that are listed, and say which are where they never come to be."""
    try:
        until(lambda: events(cluster) == wanted, what, 30)
    except AssertionError as late:
        raise AssertionError(f"{late}: {events(cluster)}") from None


@pytest.mark.time_limit(240)
def test_what_hosts_commit_arrives_once_whatever_dies_or_is_cut_off(cluster: Cluster, tmp_path: Path) -> None:
    """The leader is killed, a host is cut off, a consumer restarts, an agent is killed: all under one recording.

    The leader is killed within the window of a rule, which holds on one host: the trace has all three, complete.
    """
    for number, host in enumerate(HOSTS):
        cluster.program(host, PROGRAM % number)
    cluster.program("one", ALARM % str(tmp_path / "alarm"))
    cluster("register", "--persist", "stay u8 x", host="two")
    everything = {"tick": ("used", set(HOSTS)), "stay": ("idle", set[str]()), "alarm": ("used", {"one"})}
    become(cluster, everything, "all events are there")
    out, part = tmp_path / "t.dat", tmp_path / "t.dat.part"
    recorder = cluster.start("record", "-e", "tick", "-o", str(out))
    until(lambda: part.exists() and all(host.encode() in part.read_bytes() for host in HOSTS), "all have begun", 30)

    window = ("--before", "700ms", "--after", "1s")
    flight = cluster.start("flight", "--on", "alarm", *window, "--json", "-o", str(tmp_path / "windows"))
    until(lambda: all('"fleet-' in cluster.local(host, "userevents/info") for host in HOSTS), "all fly", 30)
    leader = cluster.leader(names.DATA_STREAM)
    time.sleep(2)  # a program goes over to the flight's ring with its next page
    (tmp_path / "alarm").touch()
    time.sleep(0.3)
    cluster.kill_server(leader)
    until(lambda: cluster.leader(names.KEYS_STREAM) not in ("", leader), "another leads the keys", 30)
    grows(part)
    become(cluster, everything, "all events are there again")
    see_window(flight)
    cluster.start_server(leader)

    cut_off(cluster, "two")
    become(cluster, everything, "the host is back")

    recorder.kill()
    recorder.communicate()
    time.sleep(1)
    recorder = cluster.start("record", "-e", "tick", "-o", str(out), "--resume")
    grows(part)

    lease_s = lease_of(cluster, "three")
    cluster.kill_host("three")
    until(lambda: alive(cluster) == {"one", "two"}, "its lease ran out", lease_s + 1 + 1)  # 1 s for the question
    until(lambda: events(cluster)["tick"] == ("used", {"one", "two"}), "its events went with it")
    cluster.start_host("three")
    become(cluster, everything, "it is back")
    grows(part)
    finish(recorder)
    see_numbers(out)


def see_window(flight: "subprocess.Popen[str]") -> None:
    """A rule's window has each host's records of it, without a gap, by its ledger, and ends the flight."""
    assert flight.stdout is not None
    told = json.loads(flight.stdout.readline())
    assert (told["hosts"], told["missing"], told["complete"]) == (sorted(HOSTS), {}, True), told
    with open_trace(told["file"]) as trace:
        numbers: dict[Any, list[int]] = {0: [], 1: [], 2: []}
        for record in trace.records():
            if record.event.name == "tick":
                numbers[record.values["of"]].append(int(str(record.values["n"])))
        assert trace.ledger is not None
        assert trace.ledger.is_balanced, trace.ledger
        assert not trace.ledger.total("missed")
    for found in numbers.values():
        assert len(found) > 100
        assert found == list(range(found[0], found[0] + len(found)))
    flight.send_signal(signal.SIGINT)
    _, err = flight.communicate(timeout=30)
    assert flight.returncode == 0, err


def lease_of(cluster: Cluster, host: str) -> int:
    """How long the lease of a host is: longer than usual where its renewals were answered late."""

    async def ask(broker: Broker) -> int:
        subject = names.key_subject(names.lease_key(host))
        answer = await broker.ask(f"{names.API_SUBJECT}.DIRECT.GET.{names.KEYS_STREAM}.{subject}", b"")
        return int((answer.headers or {})["Nats-TTL"].removesuffix("s"))

    return cluster.asked(ask)


def cut_off(cluster: Cluster, host: str) -> None:
    """Take a host's link away, see its events go and what persists stay, and give the link back."""
    before, others = events(cluster), set(HOSTS) - {host}
    lease_s = lease_of(cluster, host)
    cluster.network.cut(host)
    began = time.monotonic()
    until(lambda: alive(cluster) == others, "its lease ran out", lease_s + 1 + 1)
    until(lambda: events(cluster) == {**before, "tick": ("used", others)}, "its events go")
    time.sleep(max(0.0, began + CUT_S - time.monotonic()))
    cluster.network.join(host)


def grows(part: Path) -> None:
    """Wait until a recording goes on."""
    size = part.stat().st_size
    until(lambda: part.stat().st_size > size + 40_000, "the recording goes on", 30)


def finish(recorder: "subprocess.Popen[str]") -> None:
    """End a recording as Ctrl-C does."""
    recorder.send_signal(signal.SIGINT)
    _, err = recorder.communicate(timeout=40)
    assert recorder.returncode == 0, err


def see_numbers(out: Path) -> None:
    """Each host's numbers are there once, in order and without a gap; of the killed one, but for what it had just read.

    What an agent has read and not yet sent dies with it, and its last counts are those of a second before.
    """
    with open_trace(str(out)) as trace:
        found: dict[Any, list[int]] = {0: [], 1: [], 2: []}
        for record in trace.records():
            found[record.values["of"]].append(int(str(record.values["n"])))
        for of in (0, 1):
            assert found[of] == list(range(found[of][0], found[of][-1] + 1)), (of, trace.notes)
        gaps = [after - before - 1 for before, after in pairwise(found[2]) if after != before + 1]
        assert len(gaps) <= 1
        assert sum(gaps) < UNSENT_MAX
        ledger = trace.ledger
        assert ledger is not None
        assert {process.comm.partition(":")[0] for process in ledger.processes} == set(HOSTS)
        others = [process for process in ledger.processes if not process.comm.startswith("three")]
        assert all(process.is_balanced and not process.lost for process in others), ledger.losses()
        assert ledger.is_balanced, (ledger, trace.notes)
        assert all("host 'three'" in note for note in trace.notes), trace.notes
