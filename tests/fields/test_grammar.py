"""The declaration grammar at its edges: what is accepted, what is refused, and what the refusal says."""

import errno

import pytest

from userevents.errors import Refused
from userevents.fields import (
    Field,
    field_size,
    fields_text,
    min_payload,
    parse_command,
    parse_declaration,
    parse_fields,
)


def refusal(args: str) -> Refused:
    """Return the refusal of a field list."""
    with pytest.raises(Refused) as caught:
        parse_fields(args)
    return caught.value


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tick", ("tick", None, "")),
        ("tick ", ("tick", None, "")),
        ("tick u32 a:b", ("tick", None, "u32 a:b")),
        ("tick:", ("tick", "", "")),
        ("tick:a:b u32 a", ("tick", "a:b", "u32 a")),
        ("tick\tu32 a", ("tick\tu32", None, "a")),
        ("", ("", None, "")),
    ],
)
def test_only_a_blank_ends_the_name_and_only_a_colon_in_it_begins_flags(
    text: str, parts: tuple[str, str | None, str]
) -> None:
    """A tab becomes part of the name; a colon among the fields is harmless."""
    assert parse_command(text) == parts


def test_fields_are_packed_behind_the_common_header() -> None:
    """Offsets begin at 8 and follow each other without any alignment."""
    fields = parse_fields("u8 a; u64 b; char[3] c; __rel_loc char[] d; struct f64 e 8; unsigned short f")
    assert [(field.offset, field.size, field.signed) for field in fields] == [
        (8, 1, False),
        (9, 8, False),
        (17, 3, True),
        (20, 4, True),
        (24, 8, True),
        (32, 2, False),
    ]
    assert min_payload(fields) == 26


@pytest.mark.parametrize("args", ["", ";", " ", ";;", "\n;\t; \xa0"])
def test_semicolons_and_white_space_alone_are_no_fields(args: str) -> None:
    """Pieces of nothing but white space are ignored, and no field needs no payload."""
    assert parse_fields(args) == ()
    assert min_payload(()) == 0


@pytest.mark.parametrize("space", "\t\n\v\f\r \xa0")
def test_every_white_space_of_the_kernel_may_stand_before_a_field(space: str) -> None:
    """The kernel's isspace() set is skipped at the start of a piece, 0xa0 included."""
    assert fields_text(parse_fields(f"u8 a;{space}{space}u8 b")) == "u8 a; u8 b"


@pytest.mark.parametrize("other", "\x1c\x1f\x85")
def test_what_only_python_calls_white_space_is_text(other: str) -> None:
    """Python's str.strip() would take these away; the kernel reads them as part of the type."""
    assert refusal(f"{other}u8 a").errno == errno.EINVAL


@pytest.mark.parametrize(
    ("ctype", "size"),
    [
        ("char[0x14]", 20),
        ("char[024]", 20),
        ("char[+4]", 4),
        ("char[4\n]", 4),
        ("char[1024]", 1024),
        ("char[20]abc", 20),
        ("unsigned char[0X1f]", 31),
        ("__data_loc whatever", 4),
        ("__rel_loc ", 4),
    ],
)
def test_array_lengths_are_read_as_the_kernel_reads_numbers(ctype: str, size: int) -> None:
    """Hexadecimal, octal, one plus and one newline pass; text after the bracket stays in the type."""
    assert field_size(ctype) == size
    assert parse_fields(f"{ctype} a")[0].ctype == ctype


@pytest.mark.parametrize(
    "ctype",
    [
        "char[0]",
        "char[1025]",
        "char[]",
        "char[-1]",
        "char[ 1]",
        "char[1_0]",
        "char[08]",
        "char[0x]",
        "char[2",
        "char[²]",
    ],
)
def test_array_lengths_out_of_range_or_not_numbers_are_refused(ctype: str) -> None:
    """What kstrtouint() would not read, and what is not 1 to 1024, is no length."""
    with pytest.raises(Refused, match=r"\[EINVAL\]"):
        field_size(ctype)


def test_seven_characters_after_the_bracket_are_read_and_no_more() -> None:
    """The seventh may be the closing bracket or text after it; an eighth is refused."""
    assert field_size("char[000001]") == 1
    assert field_size("char[1]abcde") == 1
    for ctype in ("char[0000001]", "char[1]abcdef"):
        with pytest.raises(Refused, match="7 characters"):
            field_size(ctype)


@pytest.mark.parametrize(("size", "stored"), [("8", 8), ("+8", 8), ("8\n", 8), ("010", 10), ("2147483647", 0x7FFFFFFF)])
def test_struct_sizes_are_decimal(size: str, stored: int) -> None:
    """A leading zero means nothing, one plus and one newline pass, and the size is stored as a number."""
    assert parse_fields(f"struct s a {size}") == (Field("struct s", "a", stored, 8, True),)


@pytest.mark.parametrize("size", ["0", "-1", "0x8", "8 9", "", "4294967296", "9" * 5000])
def test_other_struct_sizes_are_refused(size: str) -> None:
    """No hexadecimal, no minus, nothing of 33 bits, and not 0."""
    assert refusal(f"struct s a {size}").errno == errno.EINVAL


@pytest.mark.parametrize(
    ("size", "number"), [("4294967295", 1), ("4294967284", errno.ENOMEM), ("2147483648", errno.EINVAL)]
)
def test_a_struct_size_of_two_gigabytes_comes_back_as_the_error(size: str, number: int) -> None:
    """The kernel returns the negative size itself; one that is no errno at all is EINVAL here."""
    assert refusal(f"struct s a {size}").errno == number


@pytest.mark.parametrize(
    ("args", "stored"),
    [
        ("__rel_loc  s", ("__rel_loc ", "s", 4)),
        ("__data_loc unsigned  s", ("__data_loc unsigned ", "s", 4)),
        ("struct  s 8", ("struct ", "s", 8)),
    ],
)
def test_a_prefix_takes_the_type_up_to_the_next_blank_even_if_nothing_is_there(
    args: str, stored: tuple[str, str, int]
) -> None:
    """What follows such a prefix is not checked, so that two blanks make an empty type behind it."""
    (field,) = parse_fields(args)
    assert (field.ctype, field.name, field.size) == stored


@pytest.mark.parametrize(
    "args",
    [
        "u32",
        "u32  a",
        "u32 a ",
        "u32\ta",
        "u32 a b",
        "u32 a 4",
        "unsigned",
        "unsigned a",
        "unsigned int",
        "unsigned  int a",
        "__rel_loc s",
        "__data_loc unsigned s",
        "__dyn_loc char[] s",
        "struct s",
        "struct s a",
        "struct s a 4 b",
        "\xe9 a",
    ],
)
def test_fields_of_another_shape_are_refused_and_shown(args: str) -> None:
    """The first bad field decides, whatever stands before it, and the refusal quotes it."""
    refused = refusal("u8 first;" + args)
    assert refused.errno == errno.EINVAL
    assert refused.reason.startswith(f"field {args!r}: ")


@pytest.mark.parametrize(
    ("args", "way_out"),
    [
        ("long a", "write 's64'"),
        ("long long a", "write 's64'"),
        ("unsigned long a", "write 'u64'"),
        ("bool a", "write 'u8'"),
        ("float a", "'struct f64 NAME 8'"),
        ("uint32_t a", "write 'u32'"),
        ("__s16 a", "write 's16'"),
        ("u32[4] a", "'__rel_loc u32[]'"),
        ("int32_t[4] a", "'__rel_loc s32[]'"),
        ("char* a", "'__rel_loc char[]'"),
        ("struct s a", "'struct s NAME 16'"),
        ("colour a", "write s8 to s64"),
        ("u32", "'u32 NAME'"),
        ("unsigned int", "'unsigned int NAME'"),
        ("u32\ta", "one blank"),
        ("u32 a ", "none before ';'"),
        ("u32 a b", "'b' follows 'a': separate fields by ';'"),
        ("struct s a 8 b", "'b' follows '8'"),
        ("char[2000] a", "1 to 1024"),
    ],
)
def test_a_refusal_names_the_way_out(args: str, way_out: str) -> None:
    """Every common slip is answered with what to write in its place."""
    assert way_out in refusal(args).reason


@pytest.mark.parametrize("text", ["tick:flag u32 a", "tick:", ":tick"])
def test_text_flags_are_refused(text: str) -> None:
    """No flag exists, so even an empty one is EINVAL."""
    with pytest.raises(Refused, match=r"\[EINVAL\] event name 't?i?c?k?:") as caught:
        parse_declaration(text)
    assert repr(text.partition(" ")[0]) in caught.value.reason


@pytest.mark.parametrize(("text", "reason"), [("tick u32 a\0b", "NUL"), ("tick u32 \u20ac", "UTF-8")])
def test_text_that_no_c_program_could_hand_over_is_refused(text: str, reason: str) -> None:
    """A NUL would end the kernel's reading, and a character beyond one byte has no bytes yet."""
    with pytest.raises(Refused, match=reason):
        parse_declaration(text)
