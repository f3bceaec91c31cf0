"""Flight rules across hosts: one that holds on one host has every host hold its window, and one trace has them all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fleet.hosts import COMMAND, Fleet, until
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


def contents(path: Path, since_ns: int = 0, until_ns: int = 1 << 62) -> Counter[tuple[int, int]]:
    """The ticks of a trace within two times, by pid on its host; its ledger has to balance."""
    with open_trace(str(path)) as trace:
        found = Counter(
            (record.pid % PIDS_A_HOST, int(str(record.values["a"])))
            for record in trace.records()
            if record.event.name == "tick" and record.pid and since_ns <= record.ts_ns < until_ns
        )
        assert trace.ledger is not None
        assert trace.ledger.is_balanced, trace.ledger
        assert not trace.ledger.total("missed")
    return found


def told_by(looking: subprocess.Popen[str]) -> dict[str, Any]:
    """The next file that is told of."""
    assert looking.stdout is not None
    line = looking.stdout.readline()
    assert line, looking.communicate()
    told: dict[str, Any] = json.loads(line)
    return told


@pytest.mark.time_limit(40)
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
    with open_trace(told["file"]) as trace:
        unsure_ns = max(host.uncertainty_ns or 0 for host in trace.hosts)
    for host in HOSTS:
        fleet("dump", "-o", str(fleet.directory / f"{host}.dat"), host=host)
        held = contents(fleet.directory / f"{host}.dat", told["since_ns"], told["until_ns"])
        mine = Counter({key: number for key, number in found.items() if key[0] == programs[host].pid})
        # On one machine the clocks are one: what is compared is off by less than the uncertainty that is written down,
        # at both ends of the window. Four records come together, every millisecond or later.
        off = (mine - held).total() + (held - mine).total()
        assert off <= 2 * 4 * (unsure_ns / 1e6 + 1), (mine - held, held - mine, unsure_ns)
        assert mine.total() > 4000
        values = sorted(a for _, a in mine)
        assert values == list(range(values[0], values[0] + len(values)))
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


@pytest.mark.time_limit(40)
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
