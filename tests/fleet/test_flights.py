"""Flight rules across hosts: one that holds on one host has every host hold its window, and one trace has them all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.hosts import COMMAND, Fleet, until
from userevents.fleet.flight_hosts import ASK_S
from userevents.formats.model import PIDS_A_HOST
from userevents.formats.trace import open_trace

HOSTS = ("alpha", "beta.1", "gamma")
WRITER = """
from userevents import register
import os, sys, time
tick, alarm = register("tick u32 a"), register("alarm u32 why")
parent, begun, a = os.getppid(), time.monotonic(), 0
while os.getppid() == parent:
    due = int((time.monotonic() - begun) * 4000)
    while a < due:
        tick(a)
        a += 1
    if os.path.exists(sys.argv[1]):
        alarm(7)
        os.unlink(sys.argv[1])
    time.sleep(0.001)
"""


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet of three hosts."""
    made = Fleet(tmp_path)
    try:
        made.start_broker()
        for name in HOSTS:
            made.start_host(name)
        yield made
    finally:
        made.close()


def writer(fleet: Fleet, host: str) -> subprocess.Popen[str]:
    """A program of a host that writes 4,000 events a second, and one out of the ordinary when a file says so."""
    command = [sys.executable, "-c", WRITER, str(fleet.directory / f"alarm-{host}")]
    program = subprocess.Popen(command, env=fleet.environment(host), text=True)
    fleet.programs.append(program)
    return program


def look_out(fleet: Fleet, *words: str) -> subprocess.Popen[str]:
    """Start `fleet flight` and wait until all hosts take part."""
    out = ("-o", str(fleet.directory / "out"), "--buffer-size", "8M")
    command = [*COMMAND, "fleet", "flight", *words, *out]
    looking = subprocess.Popen(
        command, env=fleet.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    fleet.programs.append(looking)
    for host in HOSTS:
        until(lambda host=host: '"fleet-' in fleet.local(host, "userevents/info"), f"{host} flies")  # type: ignore[misc]
    return looking


def contents(path: Path) -> dict[tuple[int, int], int]:
    """The ticks of a trace, by pid on its host, and when each was written; its ledger has to balance."""
    found: dict[tuple[int, int], int] = {}
    with open_trace(str(path)) as trace:
        for record in trace.records():
            if record.event.name == "tick" and record.pid:
                key = record.pid % PIDS_A_HOST, int(str(record.values["a"]))
                assert key not in found
                found[key] = record.ts_ns
        assert trace.ledger is not None
        assert trace.ledger.is_balanced, trace.ledger
        assert not trace.ledger.total("missed")
    return found


def shift_of(written: list[int], start: int, stop: int, since_ns: int, until_ns: int) -> int:
    """How far a part was moved, at both ends alike: of what was written, from `start` to before `stop` came."""
    first, last = written[start], written[stop - 1]
    least, most = last - until_ns + 1, first - since_ns
    if start:
        least = max(least, written[start - 1] - since_ns + 1)
    if stop < len(written):
        most = min(most, written[stop] - until_ns)
    assert least <= most, (least, most)
    return min(max(least, 0), most)


def told_by(looking: subprocess.Popen[str]) -> dict[str, Any]:
    """The next file that is told of."""
    assert looking.stdout is not None
    line = looking.stdout.readline()
    assert line, looking.communicate()
    told: dict[str, Any] = json.loads(line)
    return told


@pytest.mark.time_limit(120)
def test_a_rule_that_holds_on_one_host_freezes_all(fleet: Fleet) -> None:
    """Under load on three hosts: the trace has the window of each, exactly, and its ledger balances."""
    programs = {host: writer(fleet, host) for host in HOSTS}
    rules = ("--on", "alarm if why == 7", "--on", "crash of python*", "--on", "alarm if nothing == 1")
    looking = look_out(fleet, *rules, "--before", "1s", "--after", "500ms", "--every", "1ms", "--json")
    time.sleep(2)
    (fleet.directory / "alarm-beta.1").touch()
    told = told_by(looking)
    assert (told["hosts"], told["missing"], told["complete"]) == (sorted(HOSTS), {}, True), told
    (rule,) = told["rules"]
    pid = programs["beta.1"].pid
    assert (rule["rule"], rule["host"], rule["what"]) == ("alarm if why == 7", "beta.1", "alarm why=7")
    assert rule["pid"] % PIDS_A_HOST == pid
    assert told["until_ns"] - told["since_ns"] == 1_500_000_001

    found = contents(Path(told["file"]))
    for host in HOSTS:
        fleet("dump", "-o", str(fleet.directory / f"{host}.dat"), host=host)
        held = contents(fleet.directory / f"{host}.dat")
        mine = sorted(a for pid, a in found if pid == programs[host].pid)
        assert mine == list(range(mine[0], mine[0] + len(mine)))
        assert len(mine) > 4000
        # On one machine the clocks are one: the part is the window, moved by what the best answer about the host's
        # clock was wrong. That is half of a round trip, and a host that takes ASK_S for one is asked again.
        written = [ts_ns for (pid, _), ts_ns in sorted(held.items()) if pid == programs[host].pid]
        oldest = min(a for pid, a in held if pid == programs[host].pid)
        assert oldest <= mine[0]
        part = mine[0] - oldest, mine[-1] + 1 - oldest
        assert abs(shift_of(written, *part, told["since_ns"], told["until_ns"])) < ASK_S * 1e9 / 2
    first = fleet("report", "-n", "1", told["file"], host="alpha").splitlines()
    assert first[0].startswith("RULE: 'alarm if why == 7' held at ")
    assert first[0].endswith("on beta.1")

    programs["gamma"].kill()
    told = told_by(looking)
    assert [(each["rule"], each["host"], each["what"]) for each in told["rules"]] == [
        ("crash of python*", "gamma", "killed by SIGKILL")
    ]
    assert contents(Path(told["file"])).keys() & {(programs["gamma"].pid, a) for a in range(100_000)}
    looking.send_signal(signal.SIGINT)
    _, said = looking.communicate(timeout=30)
    assert looking.returncode == 0, said
    assert "rule 'alarm if nothing == 1' does not look at user_events:alarm: Field not found" in said
    for host in HOSTS:
        until(lambda host=host: '"fleet-' not in fleet.local(host, "userevents/info"), "they let go", 15)  # type: ignore[misc]
    assert fleet.events().keys() == {"tick", "alarm"}


@pytest.mark.time_limit(120)
def test_a_window_says_which_host_did_not_send_its_part(fleet: Fleet) -> None:
    """A host is killed within the window: the trace is there, with the others' parts, and names it."""
    programs = [writer(fleet, host) for host in HOSTS]
    looking = look_out(fleet, "--on", "alarm", "--before", "500ms", "--after", "1500ms", "--json")
    time.sleep(1)
    (fleet.directory / "alarm-alpha").touch()
    time.sleep(0.8)
    fleet.kill_host("gamma")
    told = told_by(looking)
    assert (told["hosts"], list(told["missing"]), told["complete"]) == (["alpha", "beta.1"], ["gamma"], False)
    assert told["cut"] == "no part came of gamma"
    found = contents(Path(told["file"]))
    assert {pid for pid, _ in found} == {program.pid for program in programs[:2]}
    assert "no part came of gamma" in fleet("report", "-n", "1", told["file"], host="alpha")
    assert os.listdir(fleet.directory / "out") == [Path(told["file"]).name]
