"""Values to record bodies: what is packed is what a reader decodes, whatever the values."""

import signal
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userevents.client.packing import Parameter, TooLarge, make_packer, pack_patiently, parameters_of
from userevents.fields import decode, parse_fields, validate
from userevents.session.body import CutBody

SCALARS = {
    **{f"u{bits}": (0, bits) for bits in (8, 16, 32, 64)},
    **{f"s{bits}": (1, bits) for bits in (8, 16, 32, 64)},
    "int": (1, 32),
    "unsigned int": (0, 32),
    "short": (1, 16),
    "unsigned short": (0, 16),
    "unsigned char": (0, 8),
}
PLAIN_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


def value_of(ctype: str) -> st.SearchStrategy[Any]:
    """Return a strategy for values that fit a type."""
    if ctype in SCALARS:
        signed, bits = SCALARS[ctype]
        return st.integers(-(1 << bits - 1), (1 << bits - 1) - 1) if signed else st.integers(0, (1 << bits) - 1)
    if ctype == "struct f64":
        return st.floats(allow_nan=False)
    if ctype.endswith("u8[]"):
        return st.binary(max_size=60)
    return PLAIN_TEXT if "loc" in ctype else PLAIN_TEXT.map(lambda text: text.encode()[:20].decode(errors="ignore"))


@st.composite
def declarations(draw: st.DrawFn) -> tuple[str, list[Any]]:
    """Draw the text of a few fields and a value for each."""
    kinds = [
        *SCALARS,
        "struct f64",
        "char[20]",
        "__rel_loc char[]",
        "__data_loc char[]",
        "__rel_loc u8[]",
        "__data_loc u8[]",
    ]
    chosen = draw(st.lists(st.sampled_from(kinds), max_size=8))
    values = [draw(value_of(ctype)) for ctype in chosen]
    text = "; ".join(f"{ctype} f{n}" + (" 8" if "f64" in ctype else "") for n, ctype in enumerate(chosen))
    return text, values


@given(declarations())
def test_what_is_packed_is_what_is_decoded(drawn: tuple[str, list[Any]]) -> None:
    """Round trip over all types, and the kernel's validator accepts every body."""
    text, values = drawn
    fields = parse_fields(text)
    pack = make_packer("event", fields, parameters_of(fields))
    body = pack(77, *values)
    assert len(body) % 4 == 0
    assert len(body) >= 12
    assert struct.unpack_from("<HBB", body) == (77, 0, 0)
    assert list(decode(fields, body)) == values
    assert validate(fields, body)
    assert body == pack_patiently("event", fields, 77, values), "the fast and the patient way must agree"


def test_strings_too_long_are_cut_at_a_character_and_counted() -> None:
    """A fixed string keeps whole UTF-8 characters; a dynamic one is cut to what a page holds."""
    fields = parse_fields("char[5] a; __rel_loc char[] b")
    pack = make_packer("event", fields, parameters_of(fields))
    body = pack(1, "aééé", "x" * 9000)
    assert isinstance(body, CutBody)
    assert body.cuts == 2
    a, b = decode(fields, body)
    assert a == "aéé"
    assert len(body) <= 4072
    assert isinstance(b, str)
    assert set(b) == {"x"}
    assert len(b) > 4000


def test_the_longest_of_several_strings_is_cut_first() -> None:
    """A short string beside a huge one stays whole."""
    fields = parse_fields("__rel_loc char[] a; __rel_loc char[] b; __rel_loc u8[] c")
    pack = make_packer("event", fields, parameters_of(fields))
    body = pack(1, "short", "y" * 5000, b"z" * 5000)
    a, b, c = decode(fields, body)
    assert isinstance(body, CutBody)
    assert body.cuts == 2
    assert a == "short"
    assert isinstance(b, str)
    assert isinstance(c, bytes)
    assert abs(len(b) - len(c)) < 10
    assert len(body) <= 4072


def test_a_string_ends_at_an_embedded_nul_and_that_is_counted() -> None:
    """Every reader stops at a NUL, so what follows would be lost silently."""
    fields = parse_fields("__rel_loc char[] a; char[8] b")
    body = make_packer("event", fields, parameters_of(fields))(1, "one\0two", "x\0y")
    assert isinstance(body, CutBody)
    assert body.cuts == 2
    assert decode(fields, body) == ("one", "x")


def test_lone_surrogates_are_shown_not_refused() -> None:
    """File names from the system may hold surrogates; they come out escaped."""
    fields = parse_fields("__rel_loc char[] a")
    body = make_packer("event", fields, parameters_of(fields))(1, "caf\udce9")
    assert decode(fields, body) == ("caf\\udce9",)


def test_an_event_larger_than_a_page_is_too_large() -> None:
    """Fixed parts cannot be cut."""
    fields = parse_fields("; ".join(f"char[1024] f{n}" for n in range(4)))
    pack = make_packer("event", fields, parameters_of(fields))
    with pytest.raises(TooLarge):
        pack(1, "a", "b", "c", "d")


@pytest.mark.parametrize(
    ("text", "values", "words"),
    [
        ("u32 a", [1 << 32], "field 'a' .u32.*4294967296"),
        ("u32 a", [-1], "field 'a'"),
        ("u32 a; u32 b", [1, 2.5], "field 'b' .*float 2.5"),
        ("char[4] a", [7], "str or bytes, got int 7"),
        ("__rel_loc u8[] a", [5], "bytes, got int 5"),
        ("struct point a 4", [b"123"], "exactly 4 bytes, got 3"),
        ("struct f64 a 8", ["x"], "float"),
    ],
)
def test_a_wrong_value_is_refused_naming_the_field(text: str, values: list[object], words: str) -> None:
    """The message shows the event's field, its type, and what was given."""
    fields = parse_fields(text)
    with pytest.raises(TypeError, match=words):
        make_packer("event", fields, parameters_of(fields))(1, *values)


def test_a_wrong_number_of_values_is_refused_in_the_events_name() -> None:
    """Python's own words, with the event as the function."""
    fields = parse_fields("u32 a; u32 b")
    pack = make_packer("shop", fields, parameters_of(fields))
    with pytest.raises(TypeError, match=r"shop\(\) missing 1 required positional argument: 'b'"):
        pack(1, 2)
    with pytest.raises(TypeError, match=r"shop\(\)"):
        pack(1, 2, 3, 4)


def test_what_a_signal_handler_raises_while_an_event_is_packed_reaches_the_program() -> None:
    """A job's timeout must not be swallowed because it struck inside a call of an event."""
    fields = parse_fields("u32 a")

    class Slow:
        def __index__(self) -> int:
            signal.raise_signal(signal.SIGUSR1)
            return 5

    def timeout(number: int, frame: object) -> None:
        raise LookupError("time is up")

    previous = signal.signal(signal.SIGUSR1, timeout)
    try:
        with pytest.raises(LookupError, match="time is up"):
            make_packer("event", fields, parameters_of(fields))(1, Slow())
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_fields_whose_names_python_cannot_say_are_given_by_position() -> None:
    """The kernel allows any name, and the same one twice."""
    fields = parse_fields("u32 class; u32 a-b; u32 x; u32 x")
    assert decode(fields, make_packer("event", fields, parameters_of(fields))(1, 1, 2, 3, 4)) == (1, 2, 3, 4)


def test_defaults_and_keyword_only_values_are_kept() -> None:
    """The function's signature is the event's."""
    fields = parse_fields("u32 a; u32 b")
    pack = make_packer("event", fields, [Parameter("a", False, 5), Parameter("b", True, 6)])
    assert decode(fields, pack(1)) == (5, 6)
    assert decode(fields, pack(1, 7, b=8)) == (7, 8)
    with pytest.raises(TypeError):
        pack(1, 7, 8)


@given(
    st.lists(st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.floats(), st.lists(st.none())), max_size=3)
)
def test_any_values_are_packed_or_a_type_error(values: list[object]) -> None:
    """Nothing else may come out of a call in somebody's service."""
    fields = parse_fields("u32 a; char[8] b; __rel_loc char[] c")
    try:
        body = make_packer("event", fields, parameters_of(fields))(1, *values)
    except TypeError:
        return
    assert len(decode(fields, body)) == 3
