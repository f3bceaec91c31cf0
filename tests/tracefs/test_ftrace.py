"""The record types that are the tracer's own: what tools find of them in the tree."""

from tests.tracefs.conftest import Shell
from userevents.abi import tracefs as abi
from userevents.abi.ftrace_events import FTRACE_EVENTS
from userevents.fields import parse_format


def test_every_type_has_a_format_that_our_own_reader_reads(shell: Shell) -> None:
    """With the id that its records have, and the common fields first."""
    ids = {}
    for name in shell.tree.listdir("events/ftrace"):
        read = parse_format(shell.cat(f"events/ftrace/{name}/format"))
        assert read.name == name
        ids[name] = read.id
    assert ids == {name: event.id for name, event in FTRACE_EVENTS.items()}
    assert ids["print"] == abi.PRINT_EVENT_ID
    assert ids["raw_data"] == abi.RAW_DATA_EVENT_ID
    assert ids["kernel_stack"] == abi.STACK_EVENT_ID


def test_they_cannot_be_enabled(shell: Shell) -> None:
    """There is nothing to enable them with, and set_event and available_events do not know them."""
    for name in shell.tree.listdir("events/ftrace"):
        assert set(shell.tree.listdir(f"events/ftrace/{name}")) <= {"format", "hist", "id"}
        assert shell.cat(f"events/ftrace/{name}/hist") == ""
    assert not shell.tree.exists("events/ftrace/enable")
    assert not shell.tree.exists("events/ftrace/bogus")
    assert shell.cat("events/ftrace/print/id") == f"{abi.PRINT_EVENT_ID}\n"
    assert "ftrace" not in shell.cat("available_events")
