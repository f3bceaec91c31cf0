"""Histograms: what is refused and how that is told, names, clocks, and what a table holds."""

import struct

import pytest

from tests.instance.trigger_driver import File, Instance, make_event

EV = ("user_events", "ev")
OTHER = ("user_events", "other")


@pytest.fixture
def instance() -> Instance:
    """An instance with two events of the same fields."""
    made = Instance()
    for system, name in (EV, OTHER):
        made.files[system, name] = File(make_event(name, "u32 a; s32 b"))
    return made


def hit(instance: Instance, a: int, b: int = 0) -> None:
    """Write the first event."""
    instance.hit(EV, struct.pack("<Ii", a, b))


def rows(instance: Instance, place: tuple[str, str] = EV) -> list[str]:
    """The entries of an event's hist file."""
    return [line for line in instance.files[place].triggers.hist_text().splitlines() if line.startswith("{")]


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("keys=a:x=b", "Variables are not supported", 12),
        ("keys=a:vals=$x", "Variables are not supported", 17),
        ("keys=$x", "Variables are not supported", 10),
        ("keys=a:onmatch(user_events.ev).trace(made,a)", "Actions are not supported", 12),
        ("keys=a:onmax(b).save(a)", "Actions are not supported", 12),
        ("keys=a:onchange(b).snapshot()", "Actions are not supported", 12),
        ("keys=a+$x", "Variables are not supported", 12),
    ],
)
def test_what_userevents_does_not_have_is_refused_and_said_so(
    instance: Instance, text: str, message: str, position: int
) -> None:
    """Variables and actions give EINVAL and an entry in the error log; nothing is left behind."""
    assert instance.command(EV, f"hist:{text}") == "EINVAL"
    assert list(instance.errors) == [
        f"[<ts>] hist:user_events:ev: error: {message}\n  Command: hist:{text}\n{' ' * (11 + position)}^\n"
    ]
    assert not instance.files[EV].triggers.count


def test_a_missing_keys_comes_before_what_is_not_supported(instance: Instance) -> None:
    """A command that is none at all is refused as on a kernel: without a word in the error log."""
    assert instance.command(EV, "hist:x=b") == "EINVAL"
    assert instance.command(EV, "hist:keys=a:x=b:onsale(b)") == "EINVAL"
    assert not instance.errors


def test_more_variables_than_there_could_be_are_told_as_that(instance: Instance) -> None:
    """The 17th variable is one too many even where there are some."""
    assert instance.command(EV, "hist:keys=a" + "".join(f":v{n}=b" for n in range(17))) == "EINVAL"
    assert "Too many variables defined" in instance.errors[0]


def test_a_time_stamp_key_chooses_the_clock_of_the_instance(instance: Instance) -> None:
    """Without ``clock=`` it is the global one; ``.usecs`` divides what counts nanoseconds."""
    assert instance.command(EV, "hist:keys=a:clock=mono") == ""
    assert instance.clock == "local"
    assert instance.command(EV, "hist:keys=common_timestamp") == ""
    assert instance.clock == "global"
    assert instance.command(EV, "hist:keys=common_timestamp.usecs:clock=mono:vals=common_timestamp") == ""
    assert instance.clock == "mono"
    instance.now_ns = 7_000_001
    hit(instance, 1)
    assert rows(instance)[1:] == [
        "{ common_timestamp:    7000001 } hitcount:          1",
        "{ common_timestamp:       7000 } hitcount:          1  common_timestamp:       7000",
    ]
    instance.clock = "counter"
    hit(instance, 1)
    assert "{ common_timestamp:    7000001 } hitcount:          1  common_timestamp:    7000001" in rows(instance)


def test_an_unknown_clock_leaves_no_histogram(instance: Instance) -> None:
    """The refusal is told with the caret under the clock's name."""
    assert instance.command(EV, "hist:keys=common_timestamp:clock=sundial:name=foo") == "EINVAL"
    assert "Couldn't set trace_clock" in instance.errors[0]
    assert not instance.files[EV].triggers.count
    assert instance.hist_names.find("foo") is None


def test_execname_is_the_name_of_the_thread_that_came_first(instance: Instance) -> None:
    """The name belongs to the entry: a thread that is renamed later does not change it."""
    instance.command(EV, "hist:keys=common_pid.execname")
    instance.comm = "first"
    hit(instance, 1)
    instance.comm = "second"
    hit(instance, 1)
    assert rows(instance) == ["{ common_pid: first           [        77] } hitcount:          2"]


def test_a_stack_has_no_frames_here(instance: Instance) -> None:
    """There is no kernel stack to key on: all records share one entry, shown as the kernel shows a stack."""
    instance.command(EV, "hist:keys=a,common_stacktrace,b")
    hit(instance, 1, 2)
    assert "{ a:          1, common_stacktrace:\n, b:          2} hitcount:          1\n" in (
        instance.files[EV].triggers.hist_text()
    )


def test_cpu_keys_keep_the_name_they_were_asked_by(instance: Instance) -> None:
    """The list says common_cpu for all of them; entries and sort= use the name as written."""
    instance.cpu = 3
    assert instance.command(EV, "hist:keys=cpu,CPU,common_cpu:sort=CPU") == ""
    hit(instance, 1)
    assert rows(instance) == ["{ cpu:          3, CPU:          3, common_cpu:          3 } hitcount:          1"]
    assert "keys=common_cpu,common_cpu,common_cpu:" in instance.files[EV].triggers.text()


def test_a_name_joins_events_and_lives_as_long_as_one_uses_it(instance: Instance) -> None:
    """Both files show all records; the name is free again when its last trigger is gone."""
    for place in (EV, OTHER):
        assert instance.command(place, "hist:keys=a:name=foo") == ""
    hit(instance, 1)
    instance.hit(OTHER, struct.pack("<Ii", 1, 0))
    assert rows(instance) == rows(instance, OTHER) == ["{ a:          1 } hitcount:          2"]
    assert instance.command(EV, "!hist:keys=a:name=foo") == ""
    assert rows(instance, OTHER) == ["{ a:          1 } hitcount:          2"]
    assert instance.command(EV, "hist:keys=b:name=foo") == "EINVAL"
    instance.files[OTHER].triggers.clear(instance)
    assert instance.command(EV, "hist:keys=b:name=foo") == ""


def test_a_full_table_counts_what_it_drops(instance: Instance) -> None:
    """A new key is dropped, a known one is still counted; clearing makes room."""
    instance.command(EV, "hist:keys=a:size=128")
    for a in range(130):
        hit(instance, a)
    hit(instance, 5)
    assert instance.files[EV].triggers.hist_text().endswith("    Hits: 129\n    Entries: 128\n    Dropped: 2\n")
    instance.command(EV, "hist:keys=a:clear")
    hit(instance, 500)
    assert rows(instance) == ["{ a:        500 } hitcount:          1"]


def test_truncating_removes_histograms_and_nothing_else(instance: Instance) -> None:
    """That is what opening the trigger file with O_TRUNC does on a kernel."""
    for text in ("traceoff", "hist:keys=a", "hist:keys=b:name=foo"):
        assert instance.command(EV, text) == ""
    instance.files[EV].triggers.truncate(instance)
    assert instance.files[EV].triggers.text() == "traceoff:unlimited\n"
    assert instance.hist_names.find("foo") is None
