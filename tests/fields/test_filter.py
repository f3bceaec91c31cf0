"""Filter expressions: what their errors say, what counts as their text, and records too short for them."""

import errno
import subprocess
import sys

import pytest

from userevents.errors import Refused
from userevents.fields import parse_fields
from userevents.fields.filter import (
    FilterError,
    filter_error_text,
    filter_file_text,
    parse_filter,
    subsystem_error,
    syntax_problem,
    written_filter,
)

FIELDS = parse_fields("u32 count; s8 level; char[8] name; __rel_loc char[] text; struct odd bytes 3")
EMPTY = bytes(8)


def record(count: int = 0, level: int = 0, name: bytes = b"", text: bytes = b"") -> bytes:
    """Build a record of FIELDS with an empty header."""
    fixed = count.to_bytes(4, "little") + level.to_bytes(1, "little", signed=True) + name.ljust(8, b"\0")
    return EMPTY + fixed + (3).to_bytes(2, "little") + len(text).to_bytes(2, "little") + bytes(3) + text


def passes(text: str, data: bytes, *, cpu: int = 0, comm: str = "cat", cpus: int = 8) -> bool:
    """Tell whether a record of FIELDS passes a filter."""
    return parse_filter(text, FIELDS, cpus=cpus).matches(data, cpu=cpu, comm=comm)


def refusal(text: str) -> FilterError:
    """Return the error that a filter for FIELDS gets."""
    with pytest.raises(FilterError) as caught:
        parse_filter(text, FIELDS)
    return caught.value


@pytest.mark.parametrize(
    ("text", "message", "position", "number"),
    [
        ("cout == 1", "Field not found", 5, errno.EINVAL),
        ("count == 1)", "Too few '('", 10, errno.EPERM),
        ("((count == 1)", "Too many '('", 0, errno.ENOENT),
        ("name == 'x", "Missing matching quote", 8, errno.ESRCH),
        ("count == 1 | level == 2", "Too many terms in predicate expression", 11, errno.EPERM),
        ("count", "Invalid operator", 6, errno.EINVAL),
        ("== 1", "Error", 0, errno.EPERM),
        ("", "Error", 0, errno.EINVAL),
    ],
)
def test_an_error_carries_the_kernels_number_message_and_place(
    text: str, message: str, position: int, number: int
) -> None:
    """The errno that leaks, the words of the error log, and where its caret stands, past the end if need be."""
    error = refusal(text)
    assert (error.message, error.position, error.errno) == (message, position, number)


def test_an_error_says_what_was_asked_what_is_wrong_and_the_way_out() -> None:
    """A refused filter is quoted, with the kernel's words, the place and what to write instead."""
    reason = refusal("count == ten").reason
    assert "'count == ten'" in reason
    assert "Invalid value (did you forget quotes)? at character 10" in reason
    assert "write a number, or text in quotes" in reason
    assert "no field to compare" in refusal("&& count").reason


@pytest.mark.parametrize(
    "text", ["n", "n = 1", "n >", "n > x", "n ~ 1", "n < 'x'", "n == 1 &&", "&& n", "n == 1 2", "(n > 5"]
)
def test_what_no_event_could_take_is_known_without_one(text: str) -> None:
    """Whoever waits for an event, or tells a whole fleet, should hear of it at once."""
    assert syntax_problem(text) is not None


@pytest.mark.parametrize(
    "text", ["a > -5 && a < 10", "a == 't' && b == 'a > 3'", "comm > 3", "m & CPUS{0-3}", "!(a != 0x10)"]
)
def test_what_some_event_may_take_is_left_to_it(text: str) -> None:
    """A field of its own may be called `comm`, and what stands in quotes is no field."""
    assert syntax_problem(text) is None


def test_a_long_filter_is_quoted_only_in_part() -> None:
    """An error about 4000 characters can still be read."""
    assert len(refusal("count == 1 && " * 280 + "cout").reason) < 250


def test_a_character_that_is_no_byte_is_refused_with_the_way_out() -> None:
    """Text goes in one character a byte; what is not, gets an error that says how to hand it over."""
    assert "latin-1" in refusal("name == '日本'").reason
    utf8 = "name == 'é'".encode().decode("latin-1")
    assert passes(utf8, record(name="é".encode()))


def test_the_file_shows_a_refused_text_with_a_caret_under_the_fault() -> None:
    """The caret stays within the text, where the error log's may stand beyond."""
    shown = filter_file_text(filter_error_text("count", refusal("count")))
    assert shown == "count\n     ^\nparse_error: Invalid operator\n\n"


def test_a_system_filter_that_does_not_suit_an_event_says_so_at_its_beginning() -> None:
    """The event's file shows the message of the whole system, whatever was wrong."""
    error = subsystem_error("zz == 1")
    shown = filter_file_text(filter_error_text("zz == 1", error))
    assert shown == "zz == 1\n^\nparse_error: Couldn't find or set field in one of a subsystem's events\n\n"
    assert error.errno == errno.EINVAL


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (b"a == 1\n", "a == 1"),
        (b"  a == 1\t\n", "  a == 1"),
        (b"a == '\xc3\xa0'", "a == '\xc3\xa0'"),
        (b"a == 1\0rest", "a == 1"),
        (b"0\n", None),
        (b" 0 \0 1", None),
        (b"00", "00"),
        (b"", ""),
    ],
)
def test_a_write_is_cut_at_its_nul_and_its_last_white_space(data: bytes, kept: str | None) -> None:
    """What stands before stays, and a lone 0 asks for no filter."""
    assert written_filter(data) == kept


def test_a_write_of_a_page_is_refused() -> None:
    """4095 bytes are a filter, 4096 are not, and the error is not one to be shown in the file."""
    assert written_filter(b"a == 1".ljust(4095)) == "a == 1"
    with pytest.raises(Refused) as caught:
        written_filter(b"a == 1".ljust(4096))
    assert caught.value.errno == errno.EINVAL
    assert not isinstance(caught.value, FilterError)


def test_what_a_record_does_not_hold_counts_as_zero() -> None:
    """A record cut anywhere is compared as if zeros followed, and none is too short."""
    whole = record(0x01020304, -1, b"abcdefgh", b"hello\0")
    assert passes("count == 0x01020304 && level == -1 && name == 'abcdefgh' && text == 'hello'", whole)
    assert passes("count == 0x0304 && level == 0", whole[:10])
    assert passes("count == 0 && name == '' && text == '' && common_pid == 0", b"")
    assert not passes("bytes == 0", whole)


def test_a_text_that_points_outside_the_record_is_empty() -> None:
    """A dynamic field may claim any place and size."""
    outside = record()[:-3] + b"\xff\xff\xff\xff"[:3]
    outside = outside[:21] + b"\xff\xff\xff\xff" + outside[25:]
    assert passes("text == ''", outside)
    assert not passes("text ~ '*a'", outside)
    assert passes("text ~ '**' && !(text ~ '?*')", outside)


def test_the_writer_is_compared_too() -> None:
    """The CPU and the command name come from the writer, the name as the kernel keeps it: 15 bytes."""
    assert passes("cpu == 5 && CPU & CPUS{4-7} && common_cpu != 4", record(), cpu=5)
    assert passes("comm == 'a-name-of-fifte'", record(), comm="a-name-of-fifteen-and-more")
    assert passes("comm ~ 'caf?'", record(), comm="caf\xe9")
    assert passes("comm ~ '??????'", record(), comm="日本")


def test_the_current_cpu_has_no_bits_but_can_be_listed() -> None:
    """`&` with a number never passes, as on a real kernel on its second CPU; with a list it tells membership."""
    assert not passes("cpu & 1 || cpu & 3", record(), cpu=1)
    assert passes("cpu & CPUS{1} && cpu & CPUS{0-1} && cpu == CPUS{1}", record(), cpu=1)
    assert not passes("cpu != CPUS{1} || cpu == CPUS{0-1}", record(), cpu=1)


def test_a_list_names_only_cpus_that_there_are() -> None:
    """Without a number, as many as any kernel has; N is the last one."""
    assert passes("count & CPUS{N}", record(7), cpus=8)
    assert passes("count & CPUS{0-N}", record(7), cpus=8)
    assert not passes("count & CPUS{0-6}", record(7), cpus=8)
    assert refusal("count & CPUS{8192}").message == "Invalid cpulist"
    assert parse_filter("count & CPUS{8191}", FIELDS).matches(record(8191), cpu=0, comm="")


def test_a_list_with_an_enormous_pattern_takes_no_time_or_space() -> None:
    """Group sizes go up to 2^32, which is no reason to count up to it."""
    assert passes("count & CPUS{0-7:4294967295/4294967295}", record(7))
    assert passes("!count & CPUS{0-7:1/4294967295}", record(7))


def test_brackets_may_nest_as_deep_as_the_text_is_long() -> None:
    """Two thousand brackets, with and without a negation each, neither fail to parse nor to evaluate."""
    assert passes("(" * 2000 + "count == 1" + ")" * 2000, record(1))
    assert not passes("!(" * 1301 + "count == 1" + ")" * 1301, record(1))
    chain = "(count == 9 || " * 200 + "count == 1" + ")" * 200
    assert passes(chain, record(1))
    assert not passes(chain, record(2))


def test_a_pattern_of_many_stars_is_matched_in_time() -> None:
    """A pattern made to go astray takes no more steps than its length times the text's."""
    assert not passes("text ~ '" + "*a" * 100 + "*b'", record(text=b"a" * 20000 + b"\0"))


def test_an_accepted_filter_keeps_its_text() -> None:
    """The file shows what was written, and so does the object."""
    kept = parse_filter("  count == 1", FIELDS)
    assert kept.text == "  count == 1"
    assert repr(kept) == "Filter('  count == 1')"


def test_a_program_that_imports_the_room_does_not_load_filters() -> None:
    """Traced programs import fields at start-up, and none of them filters."""
    code = "import sys, userevents.fields; print([name for name in sys.modules if '.filter' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
