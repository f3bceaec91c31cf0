"""Format texts: ours, and reading those of other kernels and tools."""

import pytest

from userevents.errors import Malformed
from userevents.fields import Field, format_text, parse_fields, parse_format

SCHED_SWITCH = """\
name: sched_switch
ID: 316
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:char next_comm[TASK_COMM_LEN];\toffset:24;\tsize:16;\tsigned:0;
\tfield:long prev_state;\toffset:40;\tsize:8;\tsigned:1;
\tfield:const char * where;\toffset:48;\tsize:8;\tsigned:0;
\tfield:unsigned long args[6];\toffset:56;\tsize:48;\tsigned:0;
\tfield:__data_loc char[] name;\toffset:104;\tsize:4;\tsigned:0;
\tfield:u32 pair[2];\toffset:108;\tsize:8;\tsigned:0;

print fmt: "prev_comm=%s", REC->prev_comm
"""


def test_a_format_file_of_the_kernels_own_events_is_read() -> None:
    """Arrays, symbolic lengths, long, pointers and __data_loc become fields with their C types."""
    found = parse_format(SCHED_SWITCH)
    assert (found.name, found.id, found.print_fmt) == ("sched_switch", 316, '"prev_comm=%s", REC->prev_comm')
    assert [field.name for field in found.common] == [
        "common_type",
        "common_flags",
        "common_preempt_count",
        "common_pid",
    ]
    assert [(field.ctype, field.name, field.size) for field in found.fields] == [
        ("char[16]", "prev_comm", 16),
        ("char[16]", "next_comm", 16),
        ("long", "prev_state", 8),
        ("const char *", "where", 8),
        ("unsigned long[6]", "args", 48),
        ("__data_loc char[]", "name", 4),
        ("u32[2]", "pair", 8),
    ]
    assert found.fields[2] == Field("long", "prev_state", 8, 40, True)


@pytest.mark.parametrize("length", ["", "1852255608", "-858993460"])
def test_array_lengths_that_the_kernel_never_set_are_ignored(length: str) -> None:
    """Some kernels print garbage as the length of a user event's array; its size is what counts."""
    fields = parse_fields("char[20] a; unsigned char[1] b; __rel_loc u32[] c; char[1] d")
    text = format_text("ev", 20, fields).replace("[]", f"[{length}]")
    assert parse_format(text).fields == fields


def test_a_bracket_in_a_name_stays_in_the_name() -> None:
    """User events accept ``char a[20]``: one byte, with an odd name."""
    fields = parse_fields("char a[20]; u32 b[2]; u8 *c")
    assert parse_format(format_text("ev", 20, fields)).fields == fields


def test_an_event_without_fields_has_both_blank_lines() -> None:
    """The text ends in two blank lines and an empty print fmt, and is read back as no fields."""
    text = format_text("ev", 65535, ())
    assert text.endswith('\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\nprint fmt: ""\n')
    found = parse_format(text)
    assert (found.id, found.fields, found.print_fmt, len(found.common)) == (65535, (), '""', 4)


def test_names_with_control_characters_do_not_break_the_reader() -> None:
    """Neither a newline in an event's or a field's name, nor what looks like a line in it, is taken for one."""
    fields = parse_fields("u8 \n\nprint\tfmt:x; u8 \n\tfield:y")
    found = parse_format(format_text("ev\nID:9\nformat:\n", 20, fields))
    assert (found.name, found.id, found.fields) == ("ev\nID:9\nformat:\n", 20, fields)


def test_a_format_without_signed_is_read() -> None:
    """Kernels before 2.6.32 did not say whether a field is signed."""
    text = "name: x\nID: 1\nformat:\n\tfield:int a;\toffset:8;\tsize:4;\n\nprint fmt: \n"
    assert parse_format(text).common == (Field("int", "a", 4, 8, False),)


@pytest.mark.parametrize(
    ("old", "new", "problem", "stopped_at"),
    [
        ("name: ", "title: ", "'name: ", "title: "),
        ("ID: 316", "ID: 0x13", "'0x13' is not a number", "ID: 0x13"),
        ("ID: 316", "ID: \u0663", "is not a number", "ID: \u0663"),
        ("\nformat:\n", "\n", "format", "316\n"),
        ("\tsize:16;", "", "has no offset or no size", "\tfield:char prev_comm"),
        ("size:16", "size:sixteen", "'sixteen' is not a number", "\tfield:char prev_comm"),
        ("offset:8;", "offset:99999999999;", "is not a number", "\tfield:char prev_comm"),
        ("field:long", "long", "'long prev_state' is neither a field nor 'print fmt:'", "\tlong"),
        ("print fmt:", "printed:", "no '...;'", "printed:"),
    ],
)
def test_what_is_no_format_is_malformed_and_says_where(old: str, new: str, problem: str, stopped_at: str) -> None:
    """A text that differs in one place is refused at that line."""
    text = SCHED_SWITCH.replace(old, new, 1)
    with pytest.raises(Malformed) as caught:
        parse_format(text)
    assert problem in caught.value.problem
    assert caught.value.offset is not None
    assert text[caught.value.offset :].startswith(stopped_at)


@pytest.mark.parametrize("end", range(0, len(SCHED_SWITCH) - 50, 7))
def test_a_cut_format_is_malformed(end: int) -> None:
    """Wherever the text is cut before its last line, the reader says so."""
    with pytest.raises(Malformed):
        parse_format(SCHED_SWITCH[:end])
