"""What triggers do at a hit, and which commands make, keep apart and remove them."""

import errno

import pytest

from tests.instance.trigger_driver import File, Instance, make_event
from userevents.errors import Refused
from userevents.instance.triggers import COMMANDS

EV = ("user_events", "ev")
OTHER = ("user_events", "other")


@pytest.fixture
def instance() -> Instance:
    """An instance with two events of one field."""
    made = Instance()
    for system, name in (EV, OTHER):
        made.files[system, name] = File(make_event(name, "u32 a"))
    return made


def hit(instance: Instance, a: int) -> None:
    """Write the first event."""
    instance.hit(EV, a.to_bytes(4, "little"))


def lines(instance: Instance) -> list[str]:
    """The lines of the first event's trigger file."""
    return instance.files[EV].triggers.text().splitlines()


def test_without_triggers_the_file_says_which_there_could_be(instance: Instance) -> None:
    """The help names every command, in the order of the table."""
    assert lines(instance) == ["# Available triggers:", f"# {' '.join(COMMANDS)}"]
    assert not instance.files[EV].triggers.count


def test_triggers_are_listed_newest_first_and_histograms_last_and_oldest_first(instance: Instance) -> None:
    """The list is also the order in which they run."""
    for text in ("stacktrace", "hist:keys=a", "snapshot:2", "hist:keys=a.hex", "traceoff if a == 1"):
        assert instance.command(EV, text) == ""
    assert [line.partition(" ")[0].partition(":vals")[0] for line in lines(instance)] == [
        "traceoff:unlimited",
        "snapshot:count=2",
        "stacktrace:unlimited",
        "hist:keys=a",
        "hist:keys=a.hex",
    ]
    assert instance.files[EV].triggers.count == 5


@pytest.mark.parametrize("text", ["traceon", "snapshot:0", "enable_event:user_events:other", "traceon:3"])
def test_a_trigger_that_runs_before_the_record_needs_none(instance: Instance, text: str) -> None:
    """Only filters, histograms and triggers that run after the commit look at the record."""
    assert instance.command(EV, text) == ""
    assert not instance.files[EV].triggers.needs_record


@pytest.mark.parametrize("text", ["traceoff", "stacktrace", "hist:keys=a", "traceon if a == 1"])
def test_one_trigger_that_needs_the_record_makes_all_wait_for_it(instance: Instance, text: str) -> None:
    """It is so as long as that trigger is there."""
    assert instance.command(EV, "snapshot") == ""
    assert instance.command(EV, text) == ""
    assert instance.files[EV].triggers.needs_record
    assert instance.command(EV, f"!{text}") == ""
    assert not instance.files[EV].triggers.needs_record


def test_what_runs_after_the_commit_waits_for_it(instance: Instance) -> None:
    """A snapshot comes before the record is committed, traceoff and stacktrace come after it, newest first."""
    for text in ("stacktrace", "traceoff", "snapshot"):
        instance.command(EV, text)
    triggers = instance.files[EV].triggers
    record = bytes(12)
    triggers.fire_before(record, instance)
    assert instance.effects == ["snapshot"]
    triggers.fire_after(record, instance)
    assert instance.effects == ["snapshot", "traceoff", "stacktrace"]
    triggers.fire_after(record, instance)
    assert len(instance.effects) == 3


def test_a_filter_decides_before_the_commit_what_runs_after_it(instance: Instance) -> None:
    """A record that the filter refuses triggers nothing, early or late."""
    instance.command(EV, "traceoff if a == 2")
    instance.command(EV, "snapshot if a == 2")
    hit(instance, 1)
    assert instance.effects == []
    hit(instance, 2)
    assert instance.effects == ["snapshot", "traceoff"]


def test_a_count_goes_down_only_when_something_changes(instance: Instance) -> None:
    """Traceon and traceoff are counted when they change the state; spent, they stay and do nothing."""
    instance.command(EV, "traceoff:2")
    for tracing, left in ((True, 1), (False, 1), (True, 0), (True, 0)):
        instance.tracing_is_on = tracing
        hit(instance, 1)
        assert lines(instance) == [f"traceoff:count={left}"]
    assert instance.tracing_is_on
    assert instance.effects == ["traceoff"] * 2


def test_a_target_is_held_while_the_trigger_is_there(instance: Instance) -> None:
    """The target stays attached softly, however often its state changes; clearing lets go of it."""
    instance.command(EV, "enable_event:user_events:other:1")
    target = instance.files[OTHER]
    assert (target.held, target.soft_disabled) == (1, True)
    hit(instance, 1)
    assert not target.soft_disabled
    instance.files[EV].triggers.truncate(instance)
    assert target.held == 1
    instance.files[EV].triggers.clear(instance)
    assert target.held == 0
    assert instance.files[EV].triggers.count == 0


def test_a_target_that_cannot_be_held_leaves_no_trigger(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """EBUSY comes from whoever keeps the target."""

    def busy(system: str, event: str, hold: bool) -> None:
        raise Refused(errno.EBUSY, f"'{system}:{event}' is going")

    monkeypatch.setattr(instance, "hold_soft", busy)
    assert instance.command(EV, "enable_event:user_events:other") == "EBUSY"
    assert instance.files[EV].triggers.count == 0


def test_a_refused_second_trigger_lets_go_of_its_target(instance: Instance) -> None:
    """Of enable_event and disable_event there is one for each target."""
    assert instance.command(EV, "enable_event:user_events:other") == ""
    assert instance.command(EV, "disable_event:user_events:other") == "EEXIST"
    assert instance.files[OTHER].held == 1
    assert instance.command(EV, "enable_hist:user_events:other") == ""
    assert instance.command(EV, "enable_event:user_events:ev") == ""
    assert instance.command(EV, "!disable_event:user_events:other") == ""
    assert instance.files[OTHER].held == 1


def test_enable_hist_and_disable_hist_act_on_every_histogram_of_the_target(instance: Instance) -> None:
    """A paused histogram counts nothing; each firing is counted, whether it changes anything or not."""
    instance.command(OTHER, "hist:keys=a")
    instance.command(OTHER, "hist:keys=a.hex:pause")
    instance.command(EV, "disable_hist:user_events:other:2 if a == 1")
    instance.command(EV, "enable_hist:user_events:ev")
    hit(instance, 1)
    hit(instance, 1)
    instance.hit(OTHER, bytes(4))
    text = instance.files[OTHER].triggers.hist_text()
    assert text.count("[paused]") == 2
    assert text.count("Hits: 0") == 2
    assert "disable_hist:user_events:other:count=0 if a == 1" in lines(instance)


def test_a_filter_error_goes_into_the_error_log_and_removes_nothing(instance: Instance) -> None:
    """The log names the filter alone, not the trigger."""
    instance.command(EV, "traceon")
    assert instance.command(EV, "snapshot if zz == 1") == "EINVAL"
    assert list(instance.errors) == [
        "[<ts>] event filter parse error: error: Field not found\n  Command: zz == 1\n              ^\n"
    ]
    assert lines(instance) == ["traceon:unlimited"]


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("nope", "there are traceon"),
        ("traceoff when a", "only 'if FILTER'"),
        ("enable_event:user_events:zz", "write SYSTEM:EVENT"),
        ("traceoff:0x", "write a number"),
        ("hist", "write hist:keys=FIELD"),
        ("hist:keys=a:wat", "it has keys="),
        ("traceoff" + ":" * 5000, "it can have 4095"),
    ],
)
def test_a_refused_command_says_what_would_do(instance: Instance, text: str, way_out: str) -> None:
    """Asked, found, way out; and the errno is EINVAL."""
    with pytest.raises(Refused, match=way_out) as refusal:
        instance.files[EV].triggers.write(text, instance)
    assert refusal.value.name == "EINVAL"
