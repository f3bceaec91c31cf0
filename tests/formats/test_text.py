"""Records as text and JSON: exact values, and nothing in them that a terminal would obey."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userevents.fields import decode, parse_fields
from userevents.formats.decoder import Decoder
from userevents.formats.model import Record, Value, make_event
from userevents.formats.text import escape, json_line, printable, show_time, table_line, text_line

FIELDS = parse_fields(
    "u8 a; s16 b; char[5] c; __rel_loc char[] d; __data_loc u8[] e; struct f64 f 8; struct s g 3; "
    "unsigned char[3] h; struct p* i 8; __rel_loc unsigned char[] j; s64 k; struct charly[2] l 2"
)
EVENT = make_event(20, "user_events", "e", FIELDS)


def record(name: str = "request", comm: str = "python3", **values: Value) -> Record:
    """Return a record of these values."""
    return Record(1_234_567_890, 3, 42, 41, comm, make_event(20, "user_events", name, ()), values)


def test_a_text_line_is_laid_out_as_trace_cmd_lays_it_out() -> None:
    """Name and thread, CPU, seconds, event, fields: the columns that people and scripts know."""
    line = text_line(record(id=7, path="/x y", data=b"\x0a\xff", ratio=0.5, gone=None))
    wanted = (
        "         python3-42    [003]     1.234568: request:              id=7 path=/x y data=0aff ratio=0.5 gone=?"
    )
    assert line == wanted


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain é 😀", "plain é 😀"),
        ("\x1b]0;title\x07", "\\e]0;title\\x07"),
        ("a\nb\tc\rd\0", "a\\nb\\tc\\rd\\0"),
        ("back\\slash", "back\\\\slash"),
        ("\x9b31m\x7f", "\\x9b31m\\x7f"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("\udcff\U000e0001", "\\udcff\\U000e0001"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(raw: str, shown: str) -> None:
    """Escape sequences, C1 controls, direction marks, line separators; a backslash doubles so that all is clear."""
    assert escape(raw) == shown
    assert printable(raw) == shown.replace("\\\\", "\\")


@given(st.text(), st.text(), st.text(), st.text(), st.binary())
def test_no_line_holds_anything_unprintable(name: str, comm: str, key: str, value: str, data: bytes) -> None:
    """Whatever the names and values, a line is one line of printable characters."""
    one = record(name, comm)._replace(values={key: value, "data": data})
    for line in (text_line(one), table_line(one), json_line(one)):
        assert line.isprintable()


@given(st.text(), st.integers(-(1 << 63), (1 << 64) - 1), st.floats(allow_nan=False, allow_infinity=False), st.binary())
def test_json_gives_every_value_back_exactly(text: str, number: int, ratio: float, data: bytes) -> None:
    """64-bit integers and floats are exact; bytes stand as hex under a key of their own."""
    back = json.loads(json_line(record(text=text, number=number, ratio=ratio, data=data, gone=None)))
    assert back["fields"] == {"text": text, "number": number, "ratio": ratio, "data": {"hex": data.hex()}, "gone": None}
    assert (back["ts_ns"], back["cpu"], back["pid"], back["tid"]) == (1_234_567_890, 3, 41, 42)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_stays_json_for_floats_that_are_no_numbers(value: float) -> None:
    """Strict parsers refuse NaN and Infinity, so they are named."""

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    back = json.loads(json_line(record(x=value)), parse_constant=refuse)
    assert back["fields"]["x"] == {"float": str(value)}


def test_times_are_rounded_half_up_to_microseconds() -> None:
    """Also across a second, and before zero, where an offset may move them."""
    assert [show_time(ns) for ns in (0, 999_999_500, 1_499, 1_500, -1_500)] == [
        "0.000000",
        "1.000000",
        "0.000001",
        "0.000002",
        "-0.000002",
    ]


@given(st.binary(max_size=120))
def test_the_decoder_gives_what_the_fields_give(payload: bytes) -> None:
    """It is worked out once per event, and must not differ by it, on whole and on short records."""
    body = bytes(8) + payload
    found = tuple(Decoder(EVENT, 20).values(body).values())
    assert repr(found) == repr(decode(FIELDS, body))


def test_the_decoder_follows_offsets_with_holes_in_them() -> None:
    """The kernel's own events align their fields."""
    fields = tuple(
        field._replace(offset=field.offset + 4 * number) for number, field in enumerate(parse_fields("u8 a; u64 b"))
    )
    body = bytes(range(60))
    found = tuple(Decoder(make_event(1, "sched", "e", fields), 1).values(body).values())
    assert found == decode(fields, body)
    back = tuple(reversed(fields))
    assert tuple(Decoder(make_event(1, "sched", "e", back), 1).values(body).values()) == decode(back, body)


def test_fields_of_one_name_have_keys_of_their_own() -> None:
    """The kernel accepts a name twice; a record shows both values."""
    event = make_event(1, "user_events", "e", parse_fields("u8 a; u8 a; u8 a_2; u8 a"))
    assert event.keys == ("a", "a_2", "a_2_2", "a_3")
