"""The short way of a record into the rings: there only where nothing looks at it, and it leads to the same place."""

from collections.abc import Callable

import pytest

from tests.engine.world import Probe, World
from userevents.engine import UserEvent, Writer
from userevents.instance import Instance, Machine, Sink, find_sink

WRITER = Writer(tid=7, pid=5, comm="shop", cpu=1)
FIELDS = ("u32 a", "char[150] a", "__rel_loc char[] a; u8 b", "")
PAYLOADS = (
    b"",
    b"\0\0\0\0",
    b"\0\0\2\0xy\0",
    b"\1\0\2\0xy\0",
    b"x" * 11,
    b"y" * 104,
    b"z" * 150,
    b"w" * 4064,
    b"v" * 4065,
)


class Traced:
    """An event and two instances that listen to it."""

    def __init__(self, fields: str = "u32 a") -> None:
        self.world = World()
        self.instances = [Instance(name, self.world.group, Machine(cpus=2)) for name in ("", "night")]
        self.world.register(f"t {fields}".rstrip())
        self.event: UserEvent = self.world.event("t")
        for instance in self.instances:
            instance.enable(self.event)

    def sink(self) -> Sink | None:
        """The short way now."""
        return find_sink(self.event, WRITER)

    def state(self) -> list[object]:
        """All that can be seen of the rings, and of the names of those who wrote."""
        rings = [ring for instance in self.instances for ring in instance.recorder.rings]
        seen = [(list(ring), ring.entries, ring.overrun, ring.dropped, ring.too_large) for ring in rings]
        names = [instance.machine.commands.names_text() for instance in self.instances]
        return [seen, names]


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("fields", FIELDS)
def test_the_short_way_leads_where_the_long_way_leads(fields: str, overwrite: bool) -> None:
    """Whatever the payload: the same pages and counts, also when the rings are full; it leaves what is not for it."""
    short, long = Traced(fields), Traced(fields)
    for traced in (short, long):
        for instance in traced.instances:
            instance.recorder.overwrite = overwrite
            instance.recorder.set_size(8, -1)
    taken = 0
    for payload in PAYLOADS * 6:
        valid = [instance.record(long.event, payload, WRITER) for instance in long.instances]
        sink = short.sink()
        assert sink is not None
        if sink(payload):
            taken += 1
            assert all(valid)
        else:
            assert [instance.record(short.event, payload, WRITER) for instance in short.instances] == valid
    assert taken
    assert short.state() == long.state()


def test_too_short_a_payload_goes_the_long_way_which_refuses_it() -> None:
    """The event's fixed part must be there."""
    sink = Traced().sink()
    assert sink is not None
    assert [sink(bytes(size)) for size in (0, 3, 4, 5)] == [False, False, True, True]


def _disable(traced: Traced) -> None:
    for instance in traced.instances:
        instance.disable(traced.event)


def _stop(traced: Traced) -> None:
    for instance in traced.instances:
        instance.recorder.tracing_on = False


LOOKERS: dict[str, Callable[[Traced], object]] = {
    "a filter": lambda traced: traced.instances[1].file(traced.event).set_filter("a < 100"),
    "a trigger": lambda traced: traced.instances[1].file(traced.event).write_trigger("traceoff"),
    "a trigger on itself": lambda traced: (
        traced.instances[0].file(traced.event).write_trigger("disable_event:user_events:t if a == 2")
    ),
    "a list of threads": lambda traced: traced.instances[0].pids.wanted.add(7),
    "a mask of CPUs": lambda traced: traced.instances[0].recorder.cpus.discard(0),
    "stack traces": lambda traced: traced.instances[0].set_option("stacktrace"),
    "another kind of listener": lambda traced: traced.event.attach(Probe()),
    "nobody listening": _disable,
    "nobody recording": _stop,
}


@pytest.mark.parametrize("looker", LOOKERS)
def test_where_anything_looks_at_records_there_is_no_short_way(looker: str) -> None:
    """One instance that does is enough."""
    traced = Traced()
    assert traced.sink() is not None
    LOOKERS[looker](traced)
    assert traced.sink() is None


def test_an_instance_that_records_nothing_now_is_left_out() -> None:
    """The others take the record, by the short way."""
    traced = Traced()
    traced.instances[0].recorder.tracing_on = False
    sink = traced.sink()
    assert sink is not None
    assert sink(bytes(4))
    assert [instance.recorder.rings[1].entries for instance in traced.instances] == [0, 1]
