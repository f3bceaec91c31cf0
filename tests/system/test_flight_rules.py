"""`record --flight --on`: where a rule holds, the window around that instant becomes one trace, whole by its ledger."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from userevents.formats.trace import open_trace

from .conftest import Userevents

NONE = ("--provider", "none")
WRITER = """
import os, signal, sys, time

alarms = []
signal.signal(signal.SIGUSR1, lambda *_: alarms.append(1))
rate, parent, begun, a = int(sys.argv[1]), os.getppid(), time.monotonic(), 0
print("begun", flush=True)
while os.getppid() == parent:  # whatever becomes of the test, nobody writes on after it
    now = time.monotonic() - begun
    emit(a, int(now * rate))
    a = max(a, int(now * rate))
    if alarms:
        alarms.clear()
        tick(1 << 31, 7, "alarm")
        tick(1 << 31, 8, "alarm")
        print("alarm", flush=True)
    time.sleep(0.001)
"""


def writer(userevents: Userevents, rate: int) -> subprocess.Popen[str]:
    """A program that writes so many events a second, and has begun."""
    program = userevents.popen([sys.executable, "-c", userevents.code(WRITER), str(rate)])
    assert program.stdout is not None
    assert program.stdout.readline() == "begun\n"
    return program


def alarm(program: subprocess.Popen[str]) -> None:
    """Have a writer write what is out of the ordinary, twice, and wait until it has."""
    program.send_signal(signal.SIGUSR1)
    assert program.stdout is not None
    assert program.stdout.readline() == "alarm\n"


def end(*programs: subprocess.Popen[str]) -> None:
    """End programs while their recorder still sees it, so that no file of theirs is left."""
    for program in programs:
        program.kill()
        program.wait()


def contents(path: Path, since_ns: int = 0, until_ns: int = 1 << 62) -> Counter[tuple[int | None, int, Any]]:
    """The records of a trace within two times; its ledger has to balance."""
    with open_trace(str(path)) as trace:
        found = Counter(
            (record.pid, record.ts_ns, record.values["a"])
            for record in trace.records()
            if since_ns <= record.ts_ns < until_ns
        )
        assert trace.ledger is not None
        assert trace.ledger.is_balanced, trace.ledger
    return found


def told_by(recorder: subprocess.Popen[str]) -> dict[str, Any]:
    """The next file that a recorder tells of."""
    assert recorder.stdout is not None
    line = recorder.stdout.readline()
    assert line, recorder.communicate()
    told: dict[str, Any] = json.loads(line)
    return told


def told_of(recorder: subprocess.Popen[str], rule: str) -> dict[str, Any]:
    """The next file in which a rule held; a program that the machine lets stand may have others hold once more."""
    while True:
        told = told_by(recorder)
        if rule in [each["rule"] for each in told["rules"]]:
            return told


def test_a_window_holds_exactly_what_happened_around_the_instant(userevents: Userevents) -> None:
    """Three programs under load, one of them killed in the window: not a record more or less than what was held."""
    rule = 'tick if a == 2147483648 && s == "alarm"'
    words = ("--flight", "--buffer-size", "16M", "--before", "700ms", "--after", "500ms", "--json")
    recorder = userevents.record(*words, "--on", rule, "-o", "out", *NONE)
    programs = [writer(userevents, rate) for rate in (8000, 4000, 4000)]
    time.sleep(1)
    alarm(programs[0])
    programs[2].kill()
    told = told_by(recorder)
    assert userevents("dump", "-o", "all.dat").returncode == 0
    end(*programs)
    userevents.end(recorder)
    assert recorder.returncode == 0

    (path,) = (userevents.directory / "out").iterdir()
    assert told["file"] == f"out/{path.name}"
    instant = told["rules"][0]
    assert (instant["rule"], instant["pid"], instant["what"]) == (
        rule,
        programs[0].pid,
        "tick a=2147483648 b=7 s=alarm",
    )
    assert [each["ts_ns"] > instant["ts_ns"] for each in told["rules"]] == [False, True]
    assert instant["ts_ns"] - told["since_ns"] == 700_000_000
    assert told["until_ns"] - told["rules"][1]["ts_ns"] == 500_000_001
    found = contents(path)
    assert found == contents(userevents.directory / "all.dat", told["since_ns"], told["until_ns"])
    assert {pid for pid, _, _ in found} == {program.pid for program in programs}
    assert found.total() == told["records"] > 8000
    assert told["complete"]
    assert (told["lost"], told["overwritten"], told["notes"]) == (0, 0, [])

    first = userevents("report", "-n", "1", str(path)).stdout.splitlines()
    assert first[0].startswith(f"RULE: '{rule}' held at ")
    assert first[2] == "WINDOW: 0.700 s before to 0.500 s after"
    summary = json.loads(userevents("report", "--summary", "--format", "json", str(path)).stdout)
    assert summary["flight"]["rules"] == told["rules"]


def test_rules_on_rates_gaps_and_deaths(userevents: Userevents) -> None:
    """Each holds when its time has come; those within one window share its file, and only the newest files stay."""
    rules = ("no tick if b == 3 for 300ms", "death of python*", "tick rate > 2000/s", "tick if nothing == 1", "tikc")
    on = [word for rule in rules for word in ("--on", rule)]
    words = ("--flight", "--before", "300ms", "--after", "300ms", "--every", "1ms", "--keep", "2", "--json")
    recorder = userevents.record(*words, *on, "-o", "out", *NONE)
    slow = userevents.python(
        """
        import sys, time
        for _ in range(8):
            tick(1 << 31, 3, "beat")
            time.sleep(0.1)
        sys.stdin.read()
        """
    )
    told = [told_of(recorder, rules[0])]
    fast = writer(userevents, 8000)
    told.append(told_of(recorder, rules[2]))
    slow.kill()
    told.append(told_of(recorder, rules[1]))
    end(fast)
    said = userevents.end(recorder)
    assert [each["rule"] for each in told[0]["rules"]] == [rules[0]]
    (death,) = (each for each in told[2]["rules"] if each["rule"] == rules[1])
    assert (death["pid"], death["what"]) in ((slow.pid, "killed by SIGKILL"), (slow.pid, "ended, nobody can say how"))
    assert all(window["complete"] for window in told), told
    assert "rule 'tick if nothing == 1' does not look at user_events:tick: Field not found" in said
    assert "no event that was declared matches rule 'tikc'; did you mean 'tick'?" in said
    assert said.count("no event that was declared") == 1
    names = sorted(f"out/{name}" for name in os.listdir(userevents.directory / "out"))
    assert len(names) == 2, "those of the two deaths"
    assert names[0] == told[2]["file"]


def test_a_window_that_cannot_be_whole_says_so(userevents: Userevents) -> None:
    """The ring is too small, and Ctrl-C comes before the end: the file has what there is, and says so."""
    words = ("--flight", "--buffer-size", "64K", "--before", "5s", "--after", "20s", "--json")
    recorder = userevents.record(*words, "--on", "tick if b == 7", "-o", "out", *NONE)
    program = writer(userevents, 20000)
    time.sleep(0.5)
    alarm(program)
    time.sleep(0.8)
    end(program)
    recorder.send_signal(signal.SIGINT)
    told = told_by(recorder)
    _, said = recorder.communicate(timeout=30)
    assert recorder.returncode == 0, said
    assert not told["complete"]
    assert told["cut"] == "the recording ended"
    assert [each["pid"] for each in told["short"]] == [program.pid]
    found = contents(userevents.directory / told["file"])
    assert min(ts for _, ts, _ in found) == told["short"][0]["held_ns"] > told["since_ns"]
    values = sorted(a for _, _, a in found if a < 1 << 31)
    assert values == list(range(values[0], values[0] + len(values))), "what is there has no hole"
    first = userevents("report", "-n", "1", told["file"]).stdout
    assert "WINDOW: ended early: the recording ended" in first
    assert "before only: its ring was full" in first


def test_the_last_words_of_a_program_count(userevents: Userevents) -> None:
    """A program that kills itself right after the event: the rule holds, and so does the one on how it ended."""
    program = userevents.code("import os, signal\nemit(0, 100)\nos.kill(os.getpid(), signal.SIGKILL)")
    on = ("--on", "tick if a == 99", "--on", "crash of python*")
    done = userevents("record", "--flight", *on, "-o", "out", *NONE, "--", sys.executable, "-c", program)
    assert done.returncode == 128 + signal.SIGKILL, done.stderr
    (name,) = os.listdir(userevents.directory / "out")
    assert contents(userevents.directory / "out" / name).total() == 100
    report = userevents("report", "-n", "1", f"out/{name}").stdout
    assert "RULE: 'tick if a == 99' held at" in report
    assert "RULE: 'crash of python*' held at" in report
    assert ": killed by SIGKILL" in report, "the recorder is its parent"


def test_rules_that_make_no_sense_are_refused(userevents: Userevents) -> None:
    """What was asked, and the way out."""
    for words, reason in (
        (("--on", "tick"), "--on is for flight recordings: add --flight"),
        (("--before", "3s"), "--before goes with rules of a flight recording: add --flight --on RULE"),
        (("--flight", "--on", "tick if (a == 1"), "close every '(' with a ')'"),
        (("--flight", "--on", "a b c"), "'a b c' is no event's name; rules are: 'EVENT if COND'"),
        (("--flight", "--on", "no tick for 0s"), "is no length of time"),
    ):
        done = userevents("record", *words)
        assert done.returncode == 2, done.stderr
        assert reason in " ".join(done.stderr.split()).replace("│ ", ""), done.stderr
