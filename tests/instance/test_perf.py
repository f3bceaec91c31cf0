"""perf's subscriptions: one probe an event, samples for one thread, each with its own filter."""

from tests.engine.world import World, refused
from userevents.abi.user_events import EVENT_STATUS_PERF
from userevents.engine import Writer
from userevents.instance import Perf

WRITER = Writer(tid=7, pid=7, comm="shop", cpu=0)
OTHER = Writer(tid=8, pid=7, comm="shop", cpu=0)


def _world(fields: str = "u32 a") -> tuple[World, Perf, int]:
    world = World()
    world.register(f"t {fields}")
    return world, Perf(world.group), world.event("t").id


def _write(world: World, payload: bytes, writer: Writer = WRITER) -> int:
    return world.group.write(world.file, bytes(4) + payload, 4 + len(payload), writer)


def test_all_subscriptions_of_an_event_hold_it_together() -> None:
    """The first attaches, the last detaches; the status bit is perf's."""
    world, perf, event_id = _world()
    first, second = perf.open(event_id, 7), perf.open(event_id, 7)
    assert (world.event("t").status, len(world.event("t").probes)) == (EVENT_STATUS_PERF, 1)
    first.close()
    first.close()
    assert world.event("t").status == EVENT_STATUS_PERF
    second.close()
    assert world.event("t").status == 0
    assert refused(lambda: perf.open(65000, 7)) == "EINVAL"


def test_a_subscription_sees_its_own_thread_only_and_only_while_enabled() -> None:
    """Another thread's write, and one while it is disabled, succeed and are not sampled."""
    world, perf, event_id = _world()
    subscription = perf.open(event_id, 7, enabled=False)
    assert _write(world, bytes(4)) == 8
    subscription.enabled = True
    assert _write(world, b"\1\0\0\0") == 8
    assert _write(world, b"\2\0\0\0", OTHER) == 8
    assert [sample.payload for sample in subscription.samples] == [b"\1\0\0\0"]


def test_samples_are_padded_so_that_they_end_on_eight_bytes_with_their_size() -> None:
    """The size field of 4 bytes counts: 12, 20, 28 and so on; more than 8192 bytes are no sample."""
    world, perf, event_id = _world("u8 a")
    subscription = perf.open(event_id, 7)
    for size in (1, 4, 5, 12, 13, 8184, 8185):
        assert _write(world, bytes(size)) == 4 + size
    assert [len(sample.data) for sample in subscription.samples] == [12, 12, 20, 20, 28, 8196]


def test_a_subscriptions_filter_is_its_own_and_set_once() -> None:
    """Others still get everything; a second filter is EEXIST, whatever it says."""
    world, perf, event_id = _world()
    every, some = perf.open(event_id, 7), perf.open(event_id, 7)
    assert refused(lambda: some.set_filter("b == 2")) == "EINVAL"
    some.set_filter("a == 2")
    assert refused(lambda: some.set_filter("b == 2")) == "EEXIST"
    for number in (1, 2):
        _write(world, bytes([number, 0, 0, 0]))
    assert (len(every.samples), len(some.samples)) == (2, 1)


def test_an_invalid_payload_is_refused_where_somebody_would_sample_it() -> None:
    """EFAULT, and no sample; with nobody watching this thread it passes unlooked at."""
    world, perf, event_id = _world("__rel_loc char[] s")
    subscription = perf.open(event_id, 7)
    assert refused(lambda: _write(world, b"\0\0\3\0abc")) == "EFAULT"
    assert _write(world, b"\0\0\3\0abc", OTHER) == 11
    assert not subscription.samples
