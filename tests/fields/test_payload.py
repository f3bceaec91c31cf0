"""Decoding and validating records: every kind of value, and bytes that lie about themselves."""

import struct

import pytest

from userevents.fields import Field, decode, kernel_text, parse_fields, validate

HEADER = struct.pack("<HBBi", 20, 0, 0, 1234)


def loc(offset: int, size: int) -> bytes:
    """Pack the word of a dynamic field."""
    return struct.pack("<HH", offset, size)


@pytest.mark.parametrize(
    ("field", "payload", "value"),
    [
        ("s8 a", b"\xff", -1),
        ("u8 a", b"\xff", 255),
        ("char a", b"A", 65),
        ("s16 a", b"\xfe\xff", -2),
        ("unsigned short a", b"\xfe\xff", 65534),
        ("int a", b"\xfd\xff\xff\xff", -3),
        ("u32 a", b"\xfd\xff\xff\xff", 4294967293),
        ("s64 a", b"\xfc" + 7 * b"\xff", -4),
        ("u64 a", b"\xfc" + 7 * b"\xff", 2**64 - 4),
        ("char[8] a", b"hi\0junk\0", "hi"),
        ("unsigned char[2] a", b"hi", "hi"),
        ("char[6] a", "zürich".encode()[:6], "züric"),
        ("char[3] a", b"z\xfc!", "z\\xfc!"),
        ("struct f64 a 8", struct.pack("<d", -1.5), -1.5),
        ("struct f64 a 4", b"abcd", b"abcd"),
        ("struct point a 8", b"abcd\0fgh", b"abcd\0fgh"),
        ("struct foo[2] a 2", b"\0\1", b"\0\1"),
        ("__rel_loc char[] a", loc(2, 3) + b"..hi\0", "hi"),
        ("__rel_loc char[] a", loc(0, 0), ""),
        ("__rel_loc u32[] a", loc(0, 8) + bytes(range(8)), bytes(range(8))),
        ("__data_loc char[] a", loc(12, 3) + b"hi\0", "hi"),
        ("__data_loc u8[] a", loc(12, 2) + b"hi\0", b"hi"),
        ("__data_loc cpumask_t m", loc(0, 2), HEADER[:2]),
    ],
)
def test_each_type_decodes_to_its_python_value(field: str, payload: bytes, value: object) -> None:
    """Numbers by sign and size, text up to its NUL, f64 as a float, all else as bytes; a view will do, too."""
    fields = parse_fields(field)
    assert decode(fields, HEADER + payload) == (value,)
    assert decode(fields, memoryview(HEADER + payload + b"\0\0\0")) == (value,)


def test_fields_of_other_events_decode_by_size_and_sign() -> None:
    """The kernel's own events have long, pointers and arrays that no user event may declare."""
    fields = (
        Field("long", "a", 8, 8, True),
        Field("struct mm *", "b", 8, 16, False),
        Field("unsigned long[2]", "c", 16, 24, False),
        Field("pid_t", "d", 4, 40, True),
        Field("__u128", "e", 16, 40, False),
    )
    record = HEADER + struct.pack("<qQQQi12x", -1, 2, 3, 4, -5)
    assert decode(fields, record) == (-1, 2, struct.pack("<QQ", 3, 4), -5, record[40:])


@pytest.mark.parametrize(
    ("fields", "payload", "values"),
    [
        ("u32 a; u32 b", b"\1\0\0\0\2\0\0", (1, None)),
        ("u32 a", b"", (None,)),
        ("__rel_loc char[] a; u8 b", loc(1, 4) + b"\7abc", (None, 7)),
        ("__rel_loc char[] a", loc(0xFFFF, 0xFFFF), (None,)),
        ("__data_loc u8[] a; u8 b", loc(13, 1) + b"\7", (None, 7)),
        ("char[9] a", b"abc\0", (None,)),
    ],
)
def test_a_value_outside_the_record_is_none_and_the_others_are_read(
    fields: str, payload: bytes, values: tuple[object, ...]
) -> None:
    """A record may be cut, or point beyond itself; what it does hold is still decoded."""
    assert decode(parse_fields(fields), HEADER + payload) == values


@pytest.mark.parametrize("ctype", ["__data_loc char[]", "__rel_loc u8[]"])
def test_a_dynamic_word_cut_by_a_lying_format_is_none(ctype: str) -> None:
    """A format file may claim a size that its type cannot have."""
    assert decode((Field(ctype, "a", 2, 8, False),), HEADER + b"\0\0") == (None,)


def test_the_header_is_no_part_of_the_values() -> None:
    """An event without fields decodes to nothing, whatever the record holds."""
    assert decode((), HEADER + b"junk") == ()
    assert decode((), b"") == ()


@pytest.mark.parametrize(
    ("fields", "payload", "kept"),
    [
        ("u32 a; char[4] b", b"", True),
        ("__rel_loc char[] a", b"\0\0\0", False),
        ("__rel_loc char[] a; __rel_loc char[] b", loc(4, 2) + loc(0, 2) + b"x\0", True),
        ("__rel_loc char[] a; __rel_loc char[] b", loc(4, 2) + loc(0, 1) + b"x\0", False),
        ("__rel_loc char[] a", loc(0, 0xFFFF), False),
        ("__data_loc char[] a", loc(0, 0), True),
        ("__data_loc char[] a; u8 b", loc(0, 0) + b"\7", True),
        ("__data_loc u8[] a", loc(0, 0), True),
        ("__data_loc char[] a", loc(11, 0), True),
        ("__data_loc char[] a", loc(11, 1), True),
        ("__data_loc char[] a", loc(0, 1), False),
        ("struct __rel_loc_char a 4", loc(9, 9), True),
    ],
)
def test_validators_look_at_the_end_of_dynamic_fields_only(fields: str, payload: bytes, kept: bool) -> None:
    """Inside the record and, for text, ending in a NUL: that is all; fixed fields have no validator."""
    assert validate(parse_fields(fields), HEADER + payload) is kept


@pytest.mark.parametrize(
    ("field", "payload", "text"),
    [
        ("u8 a", b"\x1f", "(31)"),
        ("u8 a", b"\x20", "' '(32)"),
        ("u8 a", b"\x7e", "'~'(126)"),
        ("u8 a", b"\x7f", "(127)"),
        ("s8 a", b"\x9f", "(159)"),
        ("s8 a", b"\xa0", "'\xa0'(160)"),
        ("s16 a", b"\xff\xff", "0xffff (65535)"),
        ("u32 a", b"\xff\xff\xff\xff", "0xffffffff (-1)"),
        ("struct foo a 8", b"\1" + bytes(7), "0x1 (1)"),
        ("struct foo a 3", b"abc", "<INVALID-SIZE>"),
        ("struct char[] a 3", b"ab\0", "ab"),
        ("__data_loc cpumask_t a", loc(8, 1), "<INVALID-TYPE>"),
        ("__rel_loc cpumask_t a", loc(0, 1) + b"\1", "01"),
        ("__rel_loc u8[] a", loc(0, 3) + b"\1\xab", "<OVERFLOW>"),
        ("__rel_loc char[] a", loc(0, 3) + b"ab", "<OVERFLOW>"),
        ("__rel_loc char[] a", loc(0, 2) + b"\xfcb", "\xfcb"),
        ("struct __data_loc a 4", loc(8, 2), "08,00"),
        ("u64 a", b"\0\0\0\0", "<OVERFLOW>"),
    ],
)
def test_the_kernels_trace_text_of_every_kind_of_field(field: str, payload: bytes, text: str) -> None:
    """Signs, printable bytes, overflow and odd sizes are shown as the kernel shows them, one character a byte."""
    assert kernel_text("ev", parse_fields(field), HEADER + payload) == f"ev: a={text}"


def test_an_event_without_fields_says_so_in_the_trace() -> None:
    """The kernel leaves out the blank after the colon there."""
    assert kernel_text("ev.0", (), HEADER) == "ev.0:No fields found"
