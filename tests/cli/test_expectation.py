"""What `--expect` may say, how it is read, and when it has come true."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userevents.cli.expectation import Expectation, Observed, Seen, Wrong
from userevents.control.events import EventName
from userevents.fields import parse_fields

FIELDS = parse_fields("u32 count; char[8] name")
TICK = EventName("user_events", "tick")
TOCK = EventName("user_events_multi", "tock.0")


def seen(event: EventName, count: int, name: str = "", ts_ns: int = 0) -> Seen:
    """A record."""
    body = bytes(8) + struct.pack("<I8s", count, name.encode())
    return Seen(event, FIELDS, ts_ns or count, body, 0, "cat", 7)


def met(text: str, *records: Seen) -> bool:
    """Whether an expectation is met by these records."""
    expectation = Expectation(text)
    observed = Observed([expectation])
    for record in records:
        observed.declare(record.event, record.fields)
        observed.take(record)
    return expectation.is_met


@pytest.mark.parametrize(
    ("text", "event", "condition", "wanted"),
    [
        ("tick", "tick", "", ">= 1"),
        ("tick>=3", "tick", "", ">= 3"),
        ("tick == 0", "tick", "", "== 0"),
        ("tick!=2", "tick", "", "!= 2"),
        ("user_events:ti*<4", "user_events:ti*", "", "< 4"),
        ("tick.count==7", "tick", "count==7", ">= 1"),
        ("tick.count == 7", "tick", "count == 7", ">= 1"),
        ("tick.count==7 >= 2", "tick", "count==7", ">= 2"),
        ("tick.count == 7 == 0", "tick", "count == 7", "== 0"),
        ("tick.a==1 && b == 7", "tick", "a==1 && b == 7", ">= 1"),
        ("tick.a==1 && b == 7 <3", "tick", "a==1 && b == 7", "< 3"),
        ("tick.(a==1 || b & 4) > 3", "tick", "(a==1 || b & 4)", "> 3"),
        ('tick.name == "x >= 2"', "tick", 'name == "x >= 2"', ">= 1"),
        ('tick.name ~ "* before *" != 1', "tick", 'name ~ "* before *"', "!= 1"),
    ],
)
def test_an_expectation_is_an_event_a_condition_and_a_count(text: str, event: str, condition: str, wanted: str) -> None:
    """Behind a whole condition a comparison with a number is the count; in a condition it belongs to that."""
    found = Expectation(text)
    assert (found.selection.event, found.selection.condition, found.wanted) == (event, condition, wanted)


@pytest.mark.parametrize(
    "text",
    ["", ">=3", "tick foo", "tick.", "tick.count", "tick.(count==7", 'tick.name=="x', "a before b before c", "a before",
     "tick>=x"],
)  # fmt: skip
def test_what_says_nothing_is_wrong(text: str) -> None:
    """No event, no comparison, brackets or quotes left open, two orders: refused, before anything is run."""
    with pytest.raises(Wrong):
        Expectation(text)


@given(st.text(max_size=30))
def test_any_text_is_read_or_wrong(text: str) -> None:
    """Nothing else is raised, whatever was typed."""
    try:
        Expectation(text)
    except Wrong:
        pass


def test_counts_are_compared() -> None:
    """Each operator, with none, as many and more."""
    ticks = [seen(TICK, number) for number in range(3)]
    truths = {"tick": 1, "tick==3": 1, "tick>3": 0, "tick<3": 0, "tick!=3": 0, "tick>=4": 0, "tick<=3": 1, "tock==0": 1}
    assert {text: met(text, *ticks) for text in truths} == {text: bool(truth) for text, truth in truths.items()}


def test_conditions_are_the_kernels_filters() -> None:
    """Numbers, text with wildcards, the thread's name, and all of it joined."""
    ticks = [seen(TICK, number, f"n{number}") for number in range(5)]
    assert met("tick.count >= 3 == 2", *ticks)
    assert met('tick.name ~ "n*" && comm == "cat" == 5', *ticks)
    assert met('tick.name == "n7" == 0', *ticks)
    assert not met('tick.name == "n7"', *ticks)


def test_a_multi_format_event_is_found_by_its_registered_name() -> None:
    """`tock` means `tock.0` as well, and SYSTEM: leaves out others."""
    assert met("tock==1", seen(TOCK, 1))
    assert met("user_events:*==0", seen(TOCK, 1))


def test_before_compares_the_first_of_each() -> None:
    """Both must have come, the first of the one before the first of the other, in whatever order they were told."""
    assert met("tick before tock", seen(TOCK, 1, ts_ns=9), seen(TICK, 1, ts_ns=3), seen(TICK, 2, ts_ns=12))
    assert not met("tick before tock", seen(TOCK, 1, ts_ns=2), seen(TICK, 1, ts_ns=3))
    assert not met("tick before tock", seen(TICK, 1, ts_ns=3))
    assert met("tick.count==2 before tock.count==5", seen(TICK, 2, ts_ns=3), seen(TOCK, 5, ts_ns=4))


def test_a_condition_that_does_not_suit_the_event_is_never_met() -> None:
    """Not even as an absence: a misspelled field must not make a test pass."""
    expectation = Expectation("tick.cuont == 7 == 0")
    observed = Observed([expectation])
    observed.declare(TICK, FIELDS)
    assert not expectation.is_met
    assert "Field not found" in expectation.selection.refusals["user_events:tick"]
