"""When a host of a flight is asked next, whose clock comparison holds, and what is made of what it says."""

import asyncio
import io
import json
import time
from typing import IO

import pytest
from nats.aio.msg import Msg

from userevents.fleet import objects
from userevents.fleet.broker import Broker
from userevents.fleet.connection import Settings
from userevents.fleet.flight_hosts import ASK_S, EVERY_MAX_S, QUESTIONS_A_SECOND, Host, Sample, every_s, expires_s
from userevents.fleet.flights import FleetFlight, FleetWindow, Instant

SECOND = 10**9


def test_a_host_that_answers_is_asked_when_due_and_one_that_does_not_soon_and_then_more_rarely() -> None:
    """An answer counts once, and only one to a question that was asked."""
    host = Host("a")
    host.asked(1, 0)
    assert host.due_ns == int(ASK_S * 1e9)
    for number in range(2, 8):
        host.asked(number, 0)
    assert host.due_ns == 4 * SECOND
    assert host.answered(1, SECOND, 3.0) is None  # so long ago that nobody knows when
    assert host.answered(7, 5 * SECOND, 3.0) == 0
    assert host.due_ns == 8 * SECOND
    assert host.answered(7, 6 * SECOND, 3.0) is None
    assert host.answered(99, 6 * SECOND, 3.0) is None
    assert host.due_ns == 8 * SECOND
    host.asked(8, 8 * SECOND)
    assert host.due_ns == 8 * SECOND + int(ASK_S * 1e9)


def test_questions_to_all_hosts_together_are_bounded_and_a_flight_outlasts_some_that_are_lost() -> None:
    """Up to the size at which one look in ten seconds for each is more than that."""
    for hosts in (1, 10, 100, 1000):
        assert hosts / every_s(hosts) <= max(QUESTIONS_A_SECOND, hosts / ASK_S if hosts <= 50 else 0)
        assert expires_s(hosts) > 2 * every_s(hosts)
    assert every_s(10**6) == EVERY_MAX_S


def test_the_best_comparison_of_the_last_two_minutes_holds() -> None:
    """One that was better and is older does not: clocks drift."""
    host = Host("a")
    host.add(Sample(0, 1_000, 5))
    host.add(Sample(60 * SECOND, 60 * SECOND + 2_000, 50))
    assert host.offset_ns == 1_000
    host.add(Sample(121 * SECOND, 121 * SECOND + 3_000, 90))
    assert host.offset_ns == 2_000


def test_a_window_waits_for_a_host_that_lost_its_lease_from_when_that_was_seen() -> None:
    """A broker that goes away takes leases with it: their hosts are back a moment later, with what they hold."""
    host = Host("a")
    window = FleetWindow("1", 0, SECOND, {"a": host}, {"a": 0}, {"a": 0})
    assert not window.is_over(20 * SECOND)
    host.seen_alive(20 * SECOND, is_alive=False)
    host.seen_alive(22 * SECOND, is_alive=False)
    assert [window.is_over(at * SECOND) for at in (21, 25, 26)] == [False, False, True]
    host.seen_alive(26 * SECOND, is_alive=True)
    assert [window.is_over(at * SECOND) for at in (27, 31, 32)] == [False, False, True]


def flight_of_one(told: list[Instant]) -> FleetFlight:
    """A flight with one host, whose clock is this one's, and a broker that is not there."""
    broker = Broker(Settings(("nats://127.0.0.1:1",)), "test")
    flight = FleetFlight(broker, "*", {}, told.append, io.BytesIO)
    host = Host("a")
    host.add(Sample(1, 1, 1))
    flight.hosts["a"] = host
    flight._places.append(host)
    return flight


def test_a_part_that_came_stays_though_the_broker_goes_at_that_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its host cannot be told that it has arrived: the part is in the trace all the same, whole and readable."""

    async def fetched(store: object, host: str, digest: str, into: IO[bytes]) -> None:
        into.write(b"part")

    async def main() -> None:
        monkeypatch.setattr(objects, "fetch", fetched)
        flight = flight_of_one([])
        flight._store = object()  # type: ignore[assignment]
        window = flight.hold(0, 1)
        await flight._fetch(window, flight.hosts["a"], "digest")
        assert window.parts["a"].seek(0, io.SEEK_END) == 4
        assert not window.fetching
        assert not flight.refused

    asyncio.run(main())


def test_a_rule_that_a_host_says_held_in_the_future_held_now() -> None:
    """Its window would never end, and take in every later instant."""
    told: list[Instant] = []

    async def main() -> None:
        flight = flight_of_one(told)
        held = [{"number": 1, "rule": "alarm", "ts_ns": 1 << 62}, {"number": 2, "rule": "alarm", "ts_ns": 5}]
        answer = json.dumps({"held": held}).encode()
        await flight._on_answer(Msg(_client=None, subject="inbox.0", data=answer))  # type: ignore[arg-type]

    asyncio.run(main())
    assert [each.ts_ns <= time.monotonic_ns() for each in told] == [True, True]
    assert told[1].ts_ns == 5
