"""Any trigger text is taken or refused, and whatever was taken can be run, shown and removed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.instance.trigger_driver import File, Instance, make_event
from userevents.instance.triggers import COMMANDS

EV = ("user_events", "ev")
FIELDS = "u32 a; s8 b; char[8] c; __rel_loc char[] s; struct odd k 3; u64 a-b; __data_loc u8[] t"
WORDS = [
    *COMMANDS,
    *("keys=", "vals=", "sort=", "size=", "name=", "clock=", "pause", "cont", "clear", "nohitcount", "x=", "onmax(a)"),
    *("a", "b", "c", "s", "k", "a-b", "t", "hitcount", "common_pid", "common_cpu", "common_timestamp", "cpu", "zz"),
    *(".hex", ".sym", ".sym-offset", ".execname", ".syscall", ".log2", ".buckets=4", ".buckets=", ".usecs"),
    *(".stacktrace", ".percent", ".graph", ".descending", "common_stacktrace", "user_events", "ev", "mono", "foo"),
    *(" if a == 1", " if ", "if", "!", ":", ",", " ", "\t", "\n", "\0", "\xa0", "+", "-", "*", "/", "$", ".", "("),
    *("0", "3", "128", "0x10", "99999999999999999999", "18446744073709551615"),
]
texts = st.lists(st.sampled_from(WORDS), max_size=12).map("".join) | st.text(max_size=40)
commands = st.builds("{}:{}".format, st.sampled_from(["hist", *COMMANDS]), texts) | texts
hists = st.lists(st.sampled_from(WORDS[10:]), max_size=6).map(lambda words: "hist:keys=" + "".join(words))


@settings(max_examples=300, deadline=None)
@given(st.lists(commands | hists, max_size=6), st.binary(max_size=60))
def test_any_command_is_taken_or_refused_and_any_record_can_follow(texts: list[str], payload: bytes) -> None:
    """Only `Refused` is raised; afterwards every trigger runs on any bytes, is listed, and can be cleared away."""
    instance = Instance()
    instance.files[EV] = File(make_event("ev", FIELDS))
    triggers = instance.files[EV].triggers
    for text in texts:
        before = triggers.text()
        if instance.command(EV, text):
            assert triggers.text() == before
    instance.hit(EV, payload)
    lines = [line for line in triggers.text().splitlines() if not line.startswith("#")]
    assert len(lines) >= triggers.count
    assert triggers.hist_text().count("\nTotals:\n") >= sum(line.startswith("hist:") for line in lines)
    triggers.clear(instance)
    assert triggers.count == instance.files[EV].held == 0
    assert not triggers.needs_record
    assert instance.hist_names.find("foo") is None
