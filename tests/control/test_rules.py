"""Flight rules: what may be said, and when rates and gaps hold, against plain counting."""

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userevents.control.deaths import Death, Deaths, matches
from userevents.control.rule_watch import _Gap, _Rate
from userevents.control.rules import DEATH, GAP, RATE, RECORD, Rule
from userevents.errors import Unusable


@pytest.mark.parametrize(
    ("text", "kind", "event", "where", "limit", "span_s"),
    [
        ("tick", RECORD, "tick", "", 0, 0),
        ("user_events:ti* if a == 1 && b != 2", RECORD, "user_events:ti*", "a == 1 && b != 2", 0, 0),
        ('tick if s == "no x for 2s rate > 1/s"', RECORD, "tick", 's == "no x for 2s rate > 1/s"', 0, 0),
        ("tick rate > 100/s", RATE, "tick", "", 100, 1),
        ("tick if rate > 5 rate >= 5/10s", RATE, "tick", "rate > 5", 4, 10),
        ("tick rate>3/500ms", RATE, "tick", "", 3, 0.5),
        ("tick if rate > 5", RECORD, "tick", "rate > 5", 0, 0),
        ("no beat for 2s", GAP, "beat", "", 0, 2),
        ("no beat if host == 3 for 1.5m", GAP, "beat", "host == 3", 0, 90),
    ],
)
def test_a_rule_is_read(text: str, kind: str, event: str, where: str, limit: int, span_s: float) -> None:
    """The event, the kernel's filter, how many within how long; words in quotes are no words of the rule."""
    rule = Rule.parse(f" {text} ")
    assert (rule.text, rule.kind, str(rule.pattern), rule.where) == (text, kind, event, where)
    assert (rule.limit, rule.span_ns) == (limit, int(span_s * 1e9))


def test_a_rule_on_an_end_names_a_producer() -> None:
    """By pid or by a glob over what it is called."""
    assert Rule.parse("death of 123")[1::5] == (DEATH, "123")
    assert Rule.parse("crash of work er*").who == "work er*"
    program = {"pid": 123, "comm": "thread-1", "cmdline": ["/usr/bin/python3", "-u", "/srv/app.py", "serve"]}
    assert [
        name for name in ("123", "12", "thread*", "python3", "app.py", "serve", "-u") if matches(name, program)
    ] == [
        "123",
        "thread*",
        "python3",
        "app.py",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no event's name"),
        ("a b", "'a b' is no event's name; rules are: 'EVENT if COND'"),
        ("tick a == 1", "is no event's name"),
        ("tick if (a == 1", "close every '('"),
        ("tick rate > 9999999/s", "a rate is of 1 to 1,000,000 records, not 9999999"),
        ("no tick for 0s", "is no length of time up to a day"),
    ],
)
def test_what_is_no_rule_is_refused(text: str, reason: str) -> None:
    """It shows what was given, and what is wrong with it."""
    with pytest.raises(Unusable) as refused:
        Rule.parse(text)
    assert reason in str(refused.value)
    assert f"rule '{text}'" in str(refused.value)


def watched(kind: type[Any], rule: str) -> Any:
    """A rule without the instance that its records come from."""
    found: Any = object.__new__(kind)
    found.rule = Rule.parse(rule)
    found._last, found._is_high, found._last_ns, found._is_told = [], False, 0, False
    return found


TIMES = st.lists(st.lists(st.integers(0, 400), max_size=12), max_size=8)


@given(TIMES, st.integers(1, 5))
def test_a_rate_holds_when_more_came_within_the_span_than_the_limit(batches: list[list[int]], limit: int) -> None:
    """However the records are cut into looks: at the first record at which it is so, again after one at which not."""
    rate = watched(_Rate, f"tick rate > {limit}/1ms")
    now, every, found = 1, [], []
    for gaps in batches:
        times = [now := now + gap * 1000 for gap in gaps]
        every += times
        rate._times = lambda times=times: times
        found += [held.ts_ns for held in rate.look()]
    high = [
        sum(at - 1_000_000 < other <= at for other in every[: number + 1]) > limit for number, at in enumerate(every)
    ]
    rises = [at for number, at in enumerate(every) if high[number] and not (number and high[number - 1])]
    assert found == rises


def test_a_rate_looks_at_records_in_their_order() -> None:
    """Another CPU's page may come later and hold an earlier record."""
    rate, found = watched(_Rate, "tick rate > 1/1s"), []
    for seconds in ([10.0], [9.5, 12.0], [13.5], [12.9]):
        rate._times = lambda seconds=seconds: [int(each * 1e9) for each in seconds]
        found += [(held.ts_ns / 1e9, held.what) for held in rate.look()]
    assert found == [(10.0, "2 in 0.500 s"), (13.5, "2 in 0.600 s")]


@given(TIMES)
def test_a_gap_holds_once_for_each_time_that_nothing_came(batches: list[list[int]]) -> None:
    """However the records are cut into looks, at its span behind the last one."""
    gap = watched(_Gap, "no tick for 0.2ms")
    now, every, found = 1, [], []
    for gaps in batches:
        times = [now := now + each * 1000 for each in gaps]
        every += times
        found += [held.ts_ns for held in gap._gaps(times)]
    assert found == [first + 200_000 for first, second in pairwise(every) if second - first > 200_000]


def test_a_producer_is_named_by_its_pid_or_a_glob() -> None:
    """Leading zeros do not matter; what is no number in ASCII is a name."""
    program = {"pid": 42, "comm": "²", "cmdline": ["python3", "shop.py"]}
    for name, meant in (("42", True), ("042", True), ("4", False), ("²", True), ("٤٢", False), ("shop*", True)):
        assert matches(name, program) is meant, name


def test_the_end_of_a_process_is_noticed_with_how_it_ended() -> None:
    """By a signal, or with a status; one that was dead when it was first seen is told, too, but for the first time."""
    sleeper, leaver = (
        subprocess.Popen([sys.executable, "-c", f"import sys; sys.stdin.read(); sys.exit({status})"], stdin=-1)
        for status in (0, 3)
    )
    programs: list[dict[str, Any]] = [
        {"pid": process.pid, "comm": "sleep", "cmdline": [], "alive": True} for process in (sleeper, leaver)
    ]
    gone = {"pid": 1 << 22, "comm": "sleep", "cmdline": [], "alive": False}
    deaths = Deaths(["sleep"])
    assert deaths.look([*programs, gone]) == []
    assert deaths.ended() == []
    before = time.monotonic_ns()
    sleeper.kill()
    assert leaver.stdin
    leaver.stdin.close()
    found: list[Death] = []
    while len(found) < 2:
        found += deaths.ended()
        assert time.monotonic_ns() < before + 20_000_000_000
    sleeper.wait()
    leaver.wait()
    told = {death.pid: death.how for death in found}
    assert told == {sleeper.pid: "killed by SIGKILL", leaver.pid: "exited with status 3"}
    assert all(before < death.ts_ns < time.monotonic_ns() for death in found)
    late = deaths.look([gone, {"pid": (1 << 22) + 1, "comm": "sleep", "cmdline": [], "alive": False}])
    assert [(death.pid, death.how) for death in late] == [((1 << 22) + 1, "ended, nobody can say how")]
    deaths.close()
    assert os.WTERMSIG(found[0].status or 0) in (0, signal.SIGKILL)
