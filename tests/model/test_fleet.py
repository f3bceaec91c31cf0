"""The fleet's state table beside a plain model of it: nothing is broken, and a fault that is planted is found."""

import os
from typing import Any

import pytest

from tests.model.fleet import Limits, Step, World
from tests.model.fleet_planted import FAULTS, world_with
from tests.model.fleet_search import JOINED, Found, search, walk

USED = (Step("start", "a"), Step("start", "b"), Step("use", "a", "e"), *JOINED)
PERSISTS = (*USED, Step("persist", "a", "e"), *JOINED)
SWEPT = (*USED, Step("sweep", "b", "a"), *(Step("clean", "b", outcome="answered"),) * 2)
CREATED = (Step("start", "a"), Step("ask", "a", "now", "answered"), Step("ask", "a", "now", "twice"))
LAPSED = (Step("expire", "a"), Step("clean", "b", outcome="answered"))
TWICE = (*CREATED, *USED[1:], *SWEPT[-3:], *LAPSED)
BEGUN = {
    "from nothing": (),
    "an event that is used": USED,
    "an event that persists": PERSISTS,
    "a peer that has read the keys": SWEPT,
    "a first lease that will come once more": TWICE,
}
SMALL, LARGE = Limits(), Limits(events=("e", "f"), faults=12, late=2)
LONG = os.environ.get("USEREVENTS_MODEL") == "long"


def _walks(kind: type[World], number: int) -> Found:
    steps = 0
    for seed in range(number):
        found = walk(kind, LARGE, seed, 60)
        steps += found.steps
        if found.what:
            return found
    return Found(number, steps, (), "")


@pytest.mark.time_limit(3600 if LONG else 60)
@pytest.mark.parametrize("begun", BEGUN)
def test_an_event_lives_exactly_while_a_host_holds_it_whatever_is_lost_doubled_or_late(begun: str) -> None:
    """From every state near these: peers take away only what has no lease, and calm restores what ought to be."""
    found = search(World, SMALL, BEGUN[begun], 60_000 if LONG else 700)
    print(found)
    assert not found.what, str(found)
    assert found.states >= 700


@pytest.mark.time_limit(3600 if LONG else 60)
def test_long_walks_of_hosts_that_come_go_and_are_cut_off_end_as_they_ought_to() -> None:
    """Random steps with many faults, two events and restarts."""
    found = _walks(World, 20_000 if LONG else 60)
    print(found)
    assert not found.what, str(found)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found(fault: type[Any]) -> None:
    """The model is not blind: each of these breaks something that it sees."""
    kind = world_with(fault)
    found = Found(0, 0, (), "")
    for begun in reversed(BEGUN.values()):
        if not found.what:
            found = search(kind, SMALL, begun, 450)
    print(found)
    assert found.what, f"{fault.__name__} was not found"
