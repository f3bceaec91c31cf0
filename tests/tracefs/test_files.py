"""The kernel's files: their exact text, and what writing to them does.

Source: user_events contract, tracefs.md sections 1 to 3, fields.md sections 6 to 8.
"""

from collections.abc import Callable
from functools import partial

import pytest

from tests.engine.world import ROOT, USER, WORD, Probe, refused
from tests.tracefs.conftest import Shell
from userevents.abi import tracefs as abi

Declare = Callable[..., None]
TICK = "events/user_events/tick"


def bits(shell: Shell) -> int:
    """The word in which the world's events have a bit each."""
    return shell.world.memory.words[WORD]


def test_the_status_file_says_who_uses_each_event(shell: Shell, declare: Declare) -> None:
    """And how many there are, and how many are used."""
    assert shell.cat("user_events_status") == "\nActive: 0\nBusy: 0\n"
    declare("a", "b", "c")
    declare("m u32 x", flags=2)
    shell.echo("set_event", "b")
    shell.world.event("c").attach(Probe(status_bit=2))
    shell.world.event("c").attach(Probe(status_bit=0x80))
    shell.echo("set_event", "c")
    assert shell.cat("user_events_status") == (
        "a\nb # Used by ftrace\nc # Used by ftrace perf other\nm.0\n\nActive: 4\nBusy: 2\n"
    )


def test_format_and_id_describe_the_event(shell: Shell, declare: Declare) -> None:
    """Exactly the kernel's text, with the name it has in the tree."""
    declare("tick u32 count; __rel_loc char[] why", flags=2)
    directory = "events/user_events_multi/tick.0"
    assert shell.cat(f"{directory}/id") == "20\n"
    assert shell.cat(f"{directory}/format") == (
        "name: tick.0\nID: 20\nformat:\n"
        "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
        "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
        "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
        "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
        "\tfield:u32 count;\toffset:8;\tsize:4;\tsigned:0;\n"
        "\tfield:__rel_loc char why[];\toffset:12;\tsize:4;\tsigned:1;\n\n"
        'print fmt: "count=%u why=%s", REC->count, __get_rel_str(why)\n'
    )


def test_the_header_files_describe_pages_and_records(shell: Shell) -> None:
    """In every instance the same."""
    shell.tree.mkdir("instances/night")
    for place in ("", "instances/night/"):
        assert "field: char data;\toffset:16;\tsize:4080;" in shell.cat(f"{place}events/header_page")
        assert "type_len    :    5 bits" in shell.cat(f"{place}events/header_event")


def test_files_of_an_event_that_is_gone_answer_enodev(shell: Shell, declare: Declare) -> None:
    """Having them open did not hold it; its directory is gone for everyone else."""
    declare("tick")
    nodes = [
        shell.tree.open(f"{TICK}/{name}", flags, ROOT) for name, flags in (("enable", 2), ("format", 0), ("id", 0))
    ]
    shell.world.leave()
    shell.world.group.run_work()
    for node in nodes:
        assert refused(partial(node.read, 10)) == "ENODEV"
    assert refused(lambda: nodes[0].write(b"1")) == "ENODEV"
    assert refused(lambda: nodes[0].write(b"2")) == "EINVAL"
    assert refused(lambda: shell.cat(f"{TICK}/id")) == "ENOENT"
    assert shell.tree.listdir("events") == ["enable", "header_page", "header_event", "ftrace"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", ""),
        ("0\n", ""),
        ("+1", ""),
        ("1\0junk", ""),
        ("001", ""),
        ("2", "EINVAL"),
        ("", "EINVAL"),
        ("1 ", "EINVAL"),
        (" 1", "EINVAL"),
        ("1\n\n", "EINVAL"),
        ("0x1", "EINVAL"),
        ("-1", "EINVAL"),
        ("on", "EINVAL"),
        ("\xb2", "EINVAL"),
        ("18446744073709551615", "EINVAL"),
        ("18446744073709551616", "ERANGE"),
        ("9" * 5000, "ERANGE"),
    ],
)
def test_an_enable_file_takes_zero_or_one(shell: Shell, declare: Declare, text: str, expected: str) -> None:
    """The kernel's reading of numbers; a refused write changes nothing."""
    declare("tick")
    assert refused(lambda: shell.echo(f"{TICK}/enable", text)) == expected
    wanted = expected == "" and int(text.split("\0")[0]) == 1
    assert shell.cat(f"{TICK}/enable") == f"{int(wanted)}\n"
    assert bits(shell) == int(wanted)


def test_system_and_top_enable_files_summarise_and_switch_all(shell: Shell, declare: Declare) -> None:
    """0 none, 1 all, X some, ? when there is no event."""
    assert shell.cat("events/enable") == "?\n"
    assert refused(lambda: shell.echo("events/enable", "1")) == "EINVAL"
    declare("tick", "tock")
    declare("m", flags=2)
    assert shell.cat("events/enable") == "0\n"
    assert shell.echo("events/user_events/enable", "1") == 1
    assert (shell.cat("events/user_events/enable"), shell.cat("events/enable")) == ("1\n", "X\n")
    assert bits(shell) == 0b011
    shell.echo(f"{TICK}/enable", "0")
    assert shell.cat("events/user_events/enable") == "X\n"
    shell.echo("events/enable", "1")
    assert (bits(shell), shell.cat("events/enable")) == (0b111, "1\n")
    shell.echo("events/enable", "0")
    assert (bits(shell), shell.cat("events/user_events_multi/enable")) == (0, "0\n")


def test_each_instance_has_an_enable_state_of_its_own(shell: Shell, declare: Declare) -> None:
    """The bit follows them all; format and id are the same everywhere."""
    declare("tick")
    shell.tree.mkdir("instances/night")
    shell.echo(f"instances/night/{TICK}/enable", "1")
    assert (shell.cat(f"{TICK}/enable"), shell.cat(f"instances/night/{TICK}/enable")) == ("0\n", "1\n")
    assert shell.cat(f"instances/night/{TICK}/format") == shell.cat(f"{TICK}/format")
    shell.echo(f"{TICK}/enable", "1")
    shell.echo(f"instances/night/{TICK}/enable", "0")
    assert bits(shell) == 1


@pytest.mark.parametrize(
    ("spec", "enabled"),
    [
        ("user_events:tick", "tick"),
        ("tick", "tick"),
        ("user_events:", "tick tock"),
        ("user_events:*", "tick tock"),
        ("user_events", "tick tock"),
        ("*:m.0", "m.0"),
        (":m.0", "m.0"),
        ("*:*", "m.0 tick tock"),
        (":", "m.0 tick tock"),
        ("  tick", "tick"),
        ("t*", None),
        ("*:t*", None),
        ("m", None),
        ("sched:", None),
        ("tick:tock", None),
        ("x" * 128, None),
    ],
)
def test_a_set_event_word_names_events(shell: Shell, declare: Declare, spec: str, enabled: str | None) -> None:
    """Only a whole `*` is a wildcard; what names nothing is EINVAL; `!` takes the same events off again."""
    declare("tick", "tock")
    declare("m u8 a", flags=2)
    if enabled is None:
        assert refused(lambda: shell.echo("set_event", spec)) == "EINVAL"
        return
    shell.echo("set_event", spec)
    listed = [line.partition(":")[2] for line in shell.cat("set_event").splitlines()]
    assert sorted(listed) == enabled.split()
    assert shell.cat("available_events") == "user_events_multi:m.0\nuser_events:tock\nuser_events:tick\n"
    shell.echo("set_event", "!" + spec.strip())
    assert shell.cat("set_event") == ""


def test_a_write_to_set_event_takes_one_word_and_says_how_far_it_got(shell: Shell, declare: Declare) -> None:
    """The caller goes on with the rest, as a shell's write does."""
    declare("tick", "tock")
    node = shell.tree.open("set_event", abi.O_WRONLY, ROOT)
    data = b" tick\ntock\n"
    taken = node.write(data)
    assert (taken, shell.cat("set_event")) == (6, "user_events:tick\n")
    assert node.write(data[taken:]) == 5
    assert node.write(b" \n ") == 3
    assert node.write(b"") == 0
    assert shell.cat("set_event") == "user_events:tock\nuser_events:tick\n"


def test_truncating_set_event_disables_everything_first(shell: Shell, declare: Declare) -> None:
    """`echo x > set_event` leaves x alone enabled; reading with that flag changes nothing."""
    declare("tick", "tock")
    shell.echo("set_event", "tick")
    shell.tree.open("set_event", abi.O_RDONLY | abi.O_TRUNC, ROOT).close()
    assert bits(shell) == 1
    shell.echo("set_event", "tock", abi.O_TRUNC)
    assert bits(shell) == 2


def test_dynamic_events_lists_declarations_oldest_first(shell: Shell, declare: Declare) -> None:
    """Under the registered name, without the number of a layout."""
    declare("b u32 x;u8 y", "a struct s t 20")
    declare("m", flags=2)
    assert shell.cat("dynamic_events") == "u:b u32 x; u8 y\nu:a struct s t 20\nu:m\n"


def test_dynamic_events_runs_a_line_at_a_time(shell: Shell) -> None:
    """Comments and empty lines are nothing; the first error ends the write, and what was done stays."""
    assert shell.echo("dynamic_events", "# one\nu:a\n\nu:b u32 x# two\n") == 26
    assert refused(lambda: shell.echo("dynamic_events", "u:c\nu:d long x\nu:e\n")) == "EINVAL"
    assert shell.cat("dynamic_events") == "u:a\nu:b u32 x\nu:c\n"
    shell.echo("dynamic_events", "-:a\n!x:c\n")
    assert shell.cat("dynamic_events") == "u:b u32 x\n"


def test_a_dynamic_events_line_may_be_longer_than_a_registration(shell: Shell) -> None:
    """4094 characters with a newline after them, one more at the very end of a write."""
    name = "n" * 4092
    assert shell.echo("dynamic_events", f"u:{name}\n") == 4095
    assert refused(lambda: shell.echo("dynamic_events", f"u:{name}xx\nu:a")) == "EINVAL"
    assert refused(lambda: shell.echo("dynamic_events", "u:a\0b\n")) == "EINVAL"


def test_truncating_dynamic_events_deletes_all_or_nothing(shell: Shell, declare: Declare) -> None:
    """An auto-delete event makes it EBUSY; without the capability it is EPERM."""
    shell.echo("dynamic_events", "u:a\nu:b\n")
    assert refused(lambda: shell.echo("dynamic_events", "", abi.O_TRUNC, USER)) == "EPERM"
    shell.echo("dynamic_events", "u:c\n", abi.O_TRUNC)
    assert shell.cat("dynamic_events") == "u:c\n"
    declare("tick")
    assert refused(lambda: shell.echo("dynamic_events", "u:d\n", abi.O_TRUNC)) == "EBUSY"
    assert shell.cat("dynamic_events") == "u:c\nu:tick\n"


def test_names_of_any_bytes_come_out_as_they_went_in(shell: Shell, declare: Declare) -> None:
    """Kernel text is bytes: UTF-8 and Latin-1 alike."""
    for name in ("größe".encode().decode("latin-1"), "\xe9v"):
        declare(f"{name} u32 a")
        shell.echo(f"events/user_events/{name}/enable", "1")
    assert shell.cat("set_event").encode("latin-1") == b"user_events:\xe9v\nuser_events:" + "größe\n".encode()
