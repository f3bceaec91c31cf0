"""A whole fleet on this machine: a broker, two hosts, programs; hosts and the broker are killed."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.hosts import Fleet, until
from userevents.fleet.pace import BEATS, LEASE_S


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose broker runs, and that has no host yet."""
    made = Fleet(tmp_path)
    try:
        made.start_broker()
        yield made
    finally:
        made.close()


TICK = "e = register('tick u32 a')"


@pytest.mark.time_limit(120)
def test_an_event_lives_while_some_host_holds_it_and_what_is_enabled_holds_for_hosts_to_come(fleet: Fleet) -> None:
    """Two hosts use an event and one is killed, the other leaves: it goes with the last; what persists stays."""
    fleet.start_host("alpha")
    fleet.start_host("beta.1")
    ours, theirs = fleet.program("alpha", TICK), fleet.program("beta.1", f"{TICK}; f = register('only_beta')")
    fleet("register", "--persist", "stay u8 x", host="beta.1")
    everything = {
        "stay": ("idle", []),
        "tick": ("used", ["alpha", "beta.1"]),
        "only_beta": ("used", ["beta.1"]),
    }
    until(lambda: fleet.events() == everything, "the events of both hosts are there")

    assert "enabled on every host: now 1 event on 2 hosts" in fleet("enable", "tick*")
    for host in ("alpha", "beta.1"):
        until(lambda host=host: "tick" in fleet.local(host, "instances/fleet/set_event"), "both do it")  # type: ignore[misc]
    fleet("disable", "tick", "--host", "beta*")
    until(lambda: fleet.local("beta.1", "instances/fleet/set_event") == "", "one does not any more")
    assert [row["enabled"] for row in fleet.rows("list", "tick")] == [1]

    fleet.kill_host("beta.1")
    gone_after = until(lambda: fleet.events() == {"stay": ("idle", []), "tick": ("used", ["alpha"])}, "one is gone")
    assert gone_after < LEASE_S + LEASE_S / BEATS + 1.5  # what a verb takes included
    until(lambda: "took away" in fleet.log("alpha").read_text(), "its peer took it away")
    theirs.kill()

    ours.kill()
    until(lambda: fleet.events() == {"stay": ("idle", [])}, "the last one let go of the event")

    fleet.start_host("gamma")
    fleet.program("gamma", TICK)
    until(lambda: "tick" in fleet.local("gamma", "instances/fleet/set_event"), "a new host does what is wished")
    assert "stay u8 x: deleted" in fleet("unregister", "stay")
    assert "[ENOENT]" in fleet("unregister", "tick", code=1)
    until(lambda: fleet.events() == {"tick": ("used", ["gamma"])}, "only what is used is left")
    fleet.hosts["gamma"].send_signal(signal.SIGTERM)
    fleet.hosts["gamma"].wait(timeout=20)
    assert fleet.events() == {}  # it left by itself: nothing had to run out
    assert [row["host"] for row in fleet.rows("list", "--hosts")] == ["alpha"]


@pytest.mark.time_limit(120)
def test_a_host_goes_on_without_its_broker_and_is_back_when_that_is(fleet: Fleet) -> None:
    """The broker is killed: the tracer serves on, what was wished stays in force, and later everything is there again.

    A host that starts while the broker is dead serves at once, and joins when it can.
    """
    fleet.start_host("alpha")
    fleet.program("alpha", TICK)
    fleet("register", "--persist", "stay", host="alpha")
    fleet("enable", "*")
    until(lambda: fleet.events() == {"tick": ("used", ["alpha"]), "stay": ("idle", [])}, "it is in the fleet")
    fleet.end_broker(signal.SIGKILL)

    assert "no broker answers" in fleet("list", code=1)
    fleet.program("alpha", "f = register('tock')")
    assert "tock" in fleet.local("alpha", "instances/fleet/set_event")
    fleet.start_host("beta")
    fleet.program("beta", TICK)
    assert "tick" in fleet.local("beta", "user_events_status")
    until(lambda: "no broker answers" in fleet.log("beta").read_text(), "it says what it waits for")

    fleet.start_broker()
    everything = {"tick": ("used", ["alpha", "beta"]), "tock": ("used", ["alpha"]), "stay": ("idle", [])}
    until(lambda: fleet.events() == everything, "both are there")
    assert "tick" in fleet.local("beta", "instances/fleet/set_event")
    assert fleet.log("alpha").read_text().count("is in the fleet") >= 1
    assert fleet.end_broker(signal.SIGINT) == 0


def test_a_second_host_of_one_name_waits_until_the_first_is_gone(fleet: Fleet) -> None:
    """It says so, and does not take over what the first one tells."""
    fleet.start_host("alpha")
    until(fleet.members, "the first is there")
    first = fleet.members()
    other = Fleet(fleet.directory)
    other.url = fleet.url
    try:
        other.start_host("alpha")
        until(lambda: "as another run of it: waiting" in fleet.log("alpha").read_text(), "the second one waits")
        assert fleet.members() == first
        fleet.kill_host("alpha")
        until(lambda: fleet.members() not in (first, {}), "it takes the first's place")
    finally:
        other.close()


def test_what_a_broker_cannot_do_is_told_with_the_way_out(fleet: Fleet, tmp_path: Path) -> None:
    """A port in use, a disk too small, a directory that is a file, a server too old: each is named, exit code 1."""
    port = fleet.url.rpartition(":")[2]
    assert "something listens" in fleet(
        "up", "--port", port, "--dir", str(tmp_path / "b"), "--max-size", "512M", code=1
    )
    assert "free, less than" in fleet("up", "--port", "0", "--dir", str(tmp_path), "--max-size", "900T", code=1)
    assert "a fleet needs" in fleet("up", "--port", "0", "--dir", str(tmp_path / "c"), "--max-size", "1M", code=1)
    (tmp_path / "file").touch()
    assert "cannot be used" in fleet("up", "--port", "0", "--dir", str(tmp_path / "file" / "x"), code=1)
    assert "give an EXPRESSION" in fleet("filter", "tick", code=2)
