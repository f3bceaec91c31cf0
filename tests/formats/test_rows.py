"""Rows and lines of a trace: the same natively, in pure Python, and as single records are shown."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.buffer.made import needs_native, pages
from tests.formats.test_text import EVENT
from userevents.buffer.merge import PureMerge
from userevents.buffer.native import native
from userevents.buffer.run import PureRun
from userevents.fields import decode
from userevents.fields.escape import escape
from userevents.formats.decoder import Decoder
from userevents.formats.model import Event, Record, make_event
from userevents.formats.rows import PureRows
from userevents.formats.text import TABLE, TEXT, Layout, table_line, text_line

PAYLOAD = st.binary(max_size=120)
EVENTS = {
    20: EVENT,
    21: make_event(21, "system", "100% ev\u202e", EVENT.fields[2:5]),
    22: make_event(22, "s", "none", ()),
}


def batches(found: list[tuple[bytes, int]], kind: Any, merge: Any) -> list[Any]:
    """Return the batches of these pages, in one form or the other."""
    for data, ts_ns in found:
        merge.push(kind(data, ts_ns, 3, "tag"))
    drained = []
    while (batch := merge.drain(None)) is not None:
        drained.append(batch)
    return drained


def page_with(bodies: list[bytes]) -> tuple[bytes, int]:
    """Return a page of these records."""
    from userevents.buffer import PageBuilder, page_data

    builder = PageBuilder()
    for number, body in enumerate(bodies):
        builder.append(1_000_000_499 + 700 * number, body)
    ts_ns, data = page_data(builder.take())
    return bytes(data), ts_ns


def planned(layout: Layout, left_out: int = -1) -> Callable[[int], Any]:
    """Return a plan of EVENTS in which one event may be left out."""

    def plan(event_id: int) -> Any:
        decoder = Decoder(EVENTS.get(event_id), event_id)
        return None if event_id == left_out else (decoder, layout.template(decoder.event), decoder.readings)

    return plan


def who(_tag: object, cpu: int, tid: int, ts_ns: int) -> tuple[str | None, bool]:
    """Name a thread; some are left out, some have another name at another time."""
    return (None if tid % 5 == 4 else f"t{tid}-{cpu}" if tid % 2 else f"é{ts_ns % 3}"), bool(tid % 2)


def shown(rows: Any, found: list[Any]) -> tuple[Any, ...]:
    """Return rows (as text: floats that are no numbers are not equal) and lines."""
    return (
        [repr((row[:4], row[4].event.id, row[5])) for batch in found for row in rows.records(batch)],
        [line for batch in found for line in rows.lines(batch)],
    )


def both(found: list[tuple[bytes, int]], *arguments: Any) -> tuple[Any, Any]:
    """Return what both forms show of these pages."""
    assert native is not None
    return (
        shown(PureRows(*arguments), batches(found, PureRun, PureMerge())),
        shown(native.Rows(*arguments), batches(found, native.Run, native.Merge())),
    )


BODY = st.builds(
    lambda number, tid, payload: bytes([number, 0, 0, 0, tid, 0, 0, 0]) + payload,
    st.integers(19, 23),
    st.integers(0, 9),
    PAYLOAD,
)


@needs_native
@given(st.lists(BODY, max_size=30), st.sampled_from([TEXT, TABLE]), st.sampled_from([0, 5, -2_000_000_000]))
def test_both_forms_make_the_same_rows_and_lines(bodies: list[bytes], layout: Layout, shift: int) -> None:
    """Every kind of field, whole, cut short or pointing anywhere; events and threads left out; times before zero."""
    found = [page_with(bodies)]
    one, other = both(found, planned(layout, 23), who, escape, shift, layout.time_first)
    assert one == other


@needs_native
@given(st.lists(pages(), max_size=6))
def test_both_forms_make_the_same_of_hostile_pages(found: list[tuple[bytes, int]]) -> None:
    """Whatever can be walked can be shown."""
    one, other = both(found, planned(TEXT), who, escape)
    assert one == other


@given(st.lists(BODY, max_size=10))
def test_lines_are_those_of_single_records(bodies: list[bytes]) -> None:
    """What a report prints at once is what `text_line` and `table_line` say of each record."""
    found = batches([page_with(bodies)], PureRun, PureMerge())
    for layout, line_of in ((TEXT, text_line), (TABLE, table_line)):

        def named(_tag: object, cpu: int, tid: int, _ts_ns: int, layout: Layout = layout) -> tuple[str, bool]:
            return layout.who("a\\b", None, tid, cpu), True

        rows = PureRows(planned(layout), named, escape, 0, layout.time_first)
        lines = [line.rstrip() for batch in found for line in rows.lines(batch)]
        assert lines == [
            line_of(
                Record(ts_ns, cpu, tid, None, "a\\b", decoder.event, dict(zip(decoder.event.keys, values, strict=True)))
            )
            for batch in found
            for ts_ns, cpu, tid, _, decoder, values in rows.records(batch)
        ]


@needs_native
@given(PAYLOAD)
def test_values_are_those_that_the_fields_give(payload: bytes) -> None:
    """The extension reads a record as `decode` does."""
    assert native is not None
    body = bytes([20, 0, 0, 0, 1, 0, 0, 0]) + payload
    (batch,) = batches([page_with([body])], native.Run, native.Merge())
    ((*_, values),) = native.Rows(planned(TEXT), who, escape).records(batch)
    data = page_with([body])[0]
    stored = data[4:] if data[0] & 31 else data[8:]
    assert repr(values) == repr(decode(EVENT.fields, stored))


@needs_native
def test_what_a_callback_raises_comes_out() -> None:
    """And nothing is left half done."""
    assert native is not None
    (batch,) = batches([page_with([bytes([20, 0, 0, 0, 1, 0, 0, 0])])], native.Run, native.Merge())

    def fail(*_: object) -> Any:
        raise LookupError("no")

    for rows in (native.Rows(fail, who, escape), native.Rows(planned(TEXT), fail, escape)):
        with pytest.raises(LookupError):
            rows.lines(batch)
    for answer in (5, (1, "%s %s", ()), (1, 2, ()), (1, "x", (1,)), (1, "x", ((0, 0, 3, False),))):
        with pytest.raises((TypeError, ValueError)):
            native.Rows(lambda _id, answer=answer: answer, lambda *_: 1, escape).lines(batch)


def test_an_event_of_any_name_has_a_template() -> None:
    """Percent signs, zeros and direction marks in names neither break a template nor reach a terminal."""
    event = Event(1, "s", "50%s\0", (), ("a%d", "\0", "x\u202e"))
    line = TEXT.template(event) % ("who", "1.0", 1, 2, 3)
    assert line == "who          1.0: 50%s\\0:               a%d=1 \\0=2 x\\u202e=3"
