"""Whatever the text or the bytes: only the errors we raise on purpose, and what is written is read back."""

from contextlib import suppress

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from userevents.errors import Malformed, Refused
from userevents.fields import (
    Field,
    decode,
    difference,
    dynamic_events_line,
    fields_text,
    format_text,
    kernel_text,
    matches,
    min_payload,
    parse_command,
    parse_declaration,
    parse_fields,
    parse_format,
    validate,
)

SCALARS = ["s64", "u64", "s32", "u32", "int", "unsigned int", "s16", "u16", "short", "unsigned short"]
TINY = ["s8", "u8", "char", "unsigned char"]

names = st.text("ab_09*.\xe9\t\n-", min_size=1, max_size=6)
lengths = st.integers(1, 1024)
arrays = st.builds("{}char[{}]".format, st.sampled_from(["", "unsigned "]), lengths)
dynamic = st.builds(
    "{} {}[]".format, st.sampled_from(["__rel_loc", "__data_loc"]), st.sampled_from(["char", "u8", "unsigned char"])
)
plain = st.builds("{} {}".format, st.sampled_from(SCALARS + TINY) | arrays | dynamic, names)
structs = st.builds("struct {} {} {}".format, st.sampled_from(["f64", "foo"]), names, st.integers(1, 5000))
separators = st.sampled_from(["; ", ";", ";\t", ";;\n ", ";\xa0;"])


@st.composite
def declared(draw: st.DrawFn) -> tuple[Field, ...]:
    """Draw a field list that the grammar accepts, spelled with all sorts of separators."""
    return parse_fields("".join(draw(st.lists(plain | structs, max_size=8).map(draw(separators).join))))


odd_types = st.sampled_from(
    [
        "char[+4]",
        "char[0x1f]zz",
        "unsigned char[07]",
        "__rel_loc ",
        "__data_loc \t[",
        "struct s",
        "struct ",
        "unsigned",
        "long",
    ]
)
nearly = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(SCALARS + TINY) | odd_types,
    st.sampled_from([" ", " ", " ", "  ", "\t"]),
    st.text("ab_09*.\xe9\t\n[]", max_size=5),
    st.sampled_from(["", "", " 8", " +020\n", " "]),
)
lists = st.lists(nearly, max_size=4).map(";".join)
"""Field lists of which many are accepted, odd ones too, and many refused."""

pieces = [*SCALARS, *TINY, "char[", "]", "0x", "8", "1", "+", "-", "struct ", "unsigned ", "__rel_loc ", "__data_loc "]
texts = st.lists(st.sampled_from([*pieces, " ", " ", ";", ":", "\t", "\n", "a", "\xa0"]), max_size=12).map("".join)
anything = lists | texts | st.text(max_size=40) | st.text(st.characters(max_codepoint=255), max_size=40)


def accepted(args: str) -> tuple[Field, ...]:
    """Return the fields of a list, none if it is refused."""
    try:
        return parse_fields(args)
    except Refused:
        return ()


@given(anything)
def test_any_text_is_accepted_or_refused(text: str) -> None:
    """No text makes the grammar raise anything but Refused, with the errno and a reason."""
    for parse in (parse_command, parse_fields, parse_declaration):
        refusal = None
        try:
            parse(text)
        except Refused as caught:
            refusal = caught
        assert refusal is None or (1 <= (refusal.errno or 0) <= 4095 and refusal.reason)
    assert isinstance(matches(parse_fields("u32 a; char[4] b"), text), bool)


@given(lists)
def test_what_is_accepted_is_spelled_back_to_the_same_fields(args: str) -> None:
    """The stored spelling is itself a declaration of the same fields, odd names and types included."""
    fields = accepted(args)
    assert parse_fields(fields_text(fields)) == fields
    assert difference(fields, fields) == ""


def test_the_random_field_lists_hold_accepted_ones() -> None:
    """Several odd fields at once are drawn and accepted, or the property above would prove nothing."""
    odd = {"char[0x1f]zz", "__rel_loc ", "struct "}
    drawn = find(
        lists.map(accepted),
        lambda fields: len(fields) > 1 and not odd.isdisjoint(field.ctype for field in fields),
        settings=settings(max_examples=1000, phases=[Phase.generate], database=None),
    )
    assert parse_fields(fields_text(drawn)) == drawn


@given(declared())
def test_a_listed_event_can_be_declared_again(fields: tuple[Field, ...]) -> None:
    """A dynamic_events line, its prefix aside, declares the event it lists."""
    line = dynamic_events_line("ev", fields)
    assert parse_declaration(line.removeprefix("u:")) == ("ev", fields)
    assert min_payload(fields) == sum(field.size for field in fields)


@given(st.lists(st.builds("{} {}".format, st.sampled_from(SCALARS) | arrays | dynamic, st.text("ab_9", min_size=1))))
def test_a_listed_event_matches_itself(lines: list[str]) -> None:
    """With ordinary names and canonical spelling a second registration finds the first."""
    text = "; ".join(lines)
    assert matches(parse_fields(text), text)
    assert matches(parse_fields(text), text.replace("; ", ";\t \n") + ";" * bool(text))


@given(st.text("ab.:\n\xe9", max_size=8), st.integers(0, 65535), declared())
def test_a_format_text_is_read_back(name: str, event_id: int, fields: tuple[Field, ...]) -> None:
    """Name, id and every field come back from the text, and the text from them."""
    text = format_text(name, event_id, fields)
    found = parse_format(text)
    assert (found.name, found.id, found.fields) == (name, event_id, fields)
    assert text.endswith(f"\nprint fmt: {found.print_fmt}\n")


@given(declared(), st.data())
def test_a_damaged_format_text_is_read_or_malformed(fields: tuple[Field, ...], data: st.DataObject) -> None:
    """Cut, changed or invented text raises Malformed or is read; nothing else happens."""
    text = format_text("ev", 20, fields)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    damaged = text[:start] + data.draw(st.text(max_size=5)) + text[end:]
    with suppress(Malformed):
        found = parse_format(damaged)
        assert len(decode(found.fields, bytes(100))) == len(found.fields)


@given(declared(), st.binary(max_size=80))
def test_no_bytes_make_a_reader_raise(fields: tuple[Field, ...], record: bytes) -> None:
    """Every record decodes to one value a field and has a trace text; a valid one lacks no value."""
    values = decode(fields, record)
    assert len(values) == len(fields)
    assert kernel_text("ev", fields, record).startswith("ev:")
    if validate(fields, record) and len(record) >= 8 + min_payload(fields):
        assert None not in values
