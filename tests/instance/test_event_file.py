"""One event in one instance: hard and soft enabling, filters, and what becomes of a written event."""

import pytest

from tests.engine.world import World, refused
from userevents.engine import UserEvent, Writer
from userevents.instance import Instance, Machine

WRITER = Writer(tid=7, pid=5, comm="shop", cpu=1)


class Traced:
    """An event ``t u32 a`` and an instance of two CPUs that listens to it."""

    def __init__(self, fields: str = "u32 a") -> None:
        self.world = World()
        self.instance = Instance("night", self.world.group, Machine(cpus=2))
        self.world.register(f"t {fields}")
        self.event: UserEvent = self.world.event("t")
        self.file = self.instance.file(self.event)

    def write(self, payload: bytes | int, writer: Writer = WRITER) -> bool:
        """Write the event; whether its payload was valid."""
        data = payload if isinstance(payload, bytes) else payload.to_bytes(4, "little")
        return self.instance.record(self.event, data, writer)

    def recorded(self) -> list[int]:
        """What `a` was in each record."""
        records = self.instance.recorder.merged(-1)
        return [int.from_bytes(record.body[8:12], "little") for _, record in records]


def test_triggers_keep_an_event_attached_and_say_so() -> None:
    """`0*` while only a trigger wants it, `1*` beside a hard enable, `0*` again; the bit stays set throughout."""
    traced = Traced()
    shown = [traced.file.enable_text]
    traced.file.write_trigger("traceon")
    shown.append(traced.file.enable_text)
    assert traced.event not in traced.instance.enabled
    traced.file.enable()
    shown.append(traced.file.enable_text)
    assert traced.event in traced.instance.enabled
    traced.file.disable()
    shown.append(traced.file.enable_text)
    assert traced.world.memory.bit(0x1000, 0) == 1
    traced.file.write_trigger("!traceon")
    shown.append(traced.file.enable_text)
    assert shown == ["0\n", "0*\n", "1*\n", "0*\n", "0\n"]
    assert traced.world.memory.bit(0x1000, 0) == 0
    assert not traced.event.probes


def test_an_event_is_held_once_however_many_triggers_it_has() -> None:
    """The instance is one probe; removing the last trigger lets go of the event."""
    traced = Traced()
    for trigger in ("traceon", "stacktrace", "snapshot"):
        traced.file.write_trigger(trigger)
    assert len(traced.event.probes) == 1
    traced.file.write_trigger("!traceon")
    traced.file.write_trigger("!snapshot")
    assert traced.file.attached
    traced.file.clear_triggers()
    assert not traced.file.attached
    traced.world.leave()
    traced.world.group.run_work()
    assert traced.world.listed() == []


def test_a_refused_trigger_attaches_nothing() -> None:
    """The event is as free as before."""
    traced = Traced()
    assert refused(lambda: traced.file.write_trigger("nonsense")) == "EINVAL"
    assert refused(lambda: traced.file.write_trigger("traceon if zz == 1")) == "EINVAL"
    assert not traced.event.probes
    assert "Field not found" in traced.instance.errors.text()


def test_a_filter_keeps_what_passes_and_a_bad_one_keeps_all() -> None:
    """A refused filter removes the one before it."""
    traced = Traced()
    traced.file.enable()
    traced.file.set_filter("a > 1")
    assert traced.write(1)
    assert traced.write(2)
    assert traced.recorded() == [2]
    assert refused(lambda: traced.file.set_filter("b > 1")) == "EINVAL"
    assert traced.file.filter_text.startswith("b > 1\n  ^\nparse_error: Field not found\n")
    assert traced.write(1)
    assert traced.recorded() == [2, 1]


@pytest.mark.parametrize(
    ("tracing", "soft", "filtered", "valid"),
    [(True, False, False, False), (False, False, False, True), (False, False, True, False), (True, True, False, True)],
)
def test_a_record_is_validated_only_where_one_is_built(tracing: bool, soft: bool, filtered: bool, valid: bool) -> None:
    """Tracing off builds none, unless a filter has to see it; soft-disabled builds none."""
    traced = Traced("__rel_loc char[] s")
    if soft:
        traced.file.write_trigger("traceon")
    else:
        traced.file.enable()
    if filtered:
        traced.file.set_filter("common_pid > 0")
    traced.instance.recorder.tracing_on = tracing
    if soft:
        traced.file.write_trigger("!traceon")
        traced.file.write_trigger("traceon:0")
    assert traced.write(b"\0\0\3\0abc") is valid
    assert traced.recorded() == []


def test_only_the_wanted_threads_and_cpus_are_recorded() -> None:
    """Pids and the CPU mask leave records out; the write itself succeeds."""
    traced = Traced()
    traced.file.enable()
    traced.instance.pids.wanted = {8}
    assert traced.write(1)
    traced.instance.pids.wanted = set()
    traced.instance.pids.unwanted = {7}
    assert traced.write(2)
    traced.instance.pids.unwanted = set()
    traced.instance.recorder.cpus = {0}
    assert traced.write(3)
    traced.instance.recorder.cpus = {0, 1}
    assert traced.write(4)
    assert traced.recorded() == [4]


def test_a_deleted_event_leaves_its_records_until_a_deletion_by_hand_ends() -> None:
    """They show as unknown, or as what has their id next; `reset_if_due` empties the rings, once."""
    traced = Traced()
    traced.file.enable()
    traced.write(1)
    traced.file.disable()
    traced.world.leave()
    traced.world.group.run_work()
    lines = traced.instance.lines().all(traced.instance.recorder.merged(-1), overrun=False)
    assert next(lines).endswith(f": Unknown type {traced.event.id}\n")
    traced.instance.reset_if_due()
    assert traced.recorded() == []


def test_an_instance_that_goes_lets_go_of_events_triggers_and_targets() -> None:
    """Even of an event that only another event's trigger holds."""
    traced = Traced()
    traced.world.register("u u32 a", bit=1)
    traced.file.enable()
    traced.file.write_trigger("enable_event:user_events:u")
    assert len(traced.world.event("u").probes) == 1
    traced.instance.release()
    traced.world.leave()
    traced.world.group.run_work()
    assert traced.world.listed() == []


def test_what_is_done_to_filter_and_triggers_stands_in_the_events_history() -> None:
    """With the instance, the text, and the reason of a refusal."""
    traced = Traced()
    traced.file.set_filter("a > 3")
    traced.file.clear_filter()
    traced.file.clear_filter()
    assert refused(lambda: traced.file.set_filter("zz == 1")) == "EINVAL"
    traced.file.write_trigger("traceon")
    traced.file.write_trigger("!traceon")
    assert refused(lambda: traced.file.write_trigger("nonsense")) == "EINVAL"
    told = [f"{entry.what}: {entry.who}" for entry in traced.world.group.history.of(traced.event)]
    assert told[1:] == [
        "filter set: instance night 'a > 3'",
        "filter cleared: instance night",
        "filter refused: instance night 'zz == 1': Field not found",
        "enabled: instance night",
        "trigger set: instance night 'traceon'",
        "disabled: instance night",
        "trigger removed: instance night 'traceon'",
        told[-1],
    ]
    assert told[-1].startswith("trigger refused: instance night 'nonsense': ")
