"""Pages: their exact sizes and times, loss marks, padding and stamps, and what hostile bytes come to."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userevents.abi.ring_buffer import MAX_BODY_SIZE, PAGE_SIZE
from userevents.buffer import PageBuilder, missed, page_data, records, walk
from userevents.buffer.page import whole_page
from userevents.errors import Malformed

SECOND = 1_000_000_000


def _page(ts_ns: int, data: bytes, *, flags: int = 0) -> bytes:
    return (struct.pack("<QQ", ts_ns, len(data) | flags) + data).ljust(PAGE_SIZE, b"\0")


def _word(type_len: int, delta: int) -> bytes:
    return struct.pack("<I", delta << 5 | type_len)


BODY = bytes(range(12))


@pytest.mark.parametrize(
    ("length", "total", "type_len"),
    [(8, 16, 3), (12, 16, 3), (16, 20, 4), (112, 116, 28), (113, 124, 0), (116, 124, 0), (4072, 4080, 0)],
)
def test_a_record_takes_the_bytes_that_the_kernel_gives_it(length: int, total: int, type_len: int) -> None:
    """Short form up to 112 bytes, a length word above, four-byte steps, and never 12 bytes in all."""
    builder = PageBuilder()
    assert builder.append(1, bytes(length))
    assert len(builder) == total
    page = builder.take()
    assert page[16] & 31 == type_len
    assert [(found[0], found[2]) for found in records(page)] == [(1, total - (8 if total > 116 else 4))]


def test_a_body_that_fits_no_page_is_malformed() -> None:
    """Appending it would fail for ever, so it is an error and not False."""
    with pytest.raises(Malformed):
        PageBuilder().append(1, bytes(MAX_BODY_SIZE + 1))


def test_a_full_page_takes_no_more_and_the_next_one_starts_anew() -> None:
    """The record that did not fit is the first of the next page, with its own time for the page's stamp."""
    builder = PageBuilder()
    fitted = 0
    while builder.append(100 + fitted, bytes(36)):
        fitted += 1
    assert fitted == 4080 // 40
    first = builder.take()
    assert builder.append(100 + fitted, bytes(36))
    second = builder.take()
    assert [found[0] for found in records(first)] == list(range(100, 100 + fitted))
    assert page_data(second)[0] == 100 + fitted


@pytest.mark.parametrize("gap", [(1 << 27) - 1, 1 << 27, 3 * SECOND, 1 << 58])
def test_a_long_gap_keeps_its_exact_length(gap: int) -> None:
    """A gap of 2^27 ns and more takes a time extend of 8 bytes; the time is exact either way."""
    builder = PageBuilder()
    assert builder.append(SECOND, BODY)
    assert builder.append(SECOND + gap, BODY)
    assert len(builder) == 32 + (8 if gap >= 1 << 27 else 0)
    assert [found[0] for found in records(builder.take())] == [SECOND, SECOND + gap]


def test_a_gap_longer_than_a_time_extend_can_say_needs_another_page() -> None:
    """2^59 ns do not fit, so the record opens a new page, whose stamp is its time."""
    builder = PageBuilder()
    assert builder.append(1, BODY)
    assert not builder.append(1 + (1 << 59), BODY)


def test_time_never_goes_back_within_a_builder() -> None:
    """A late record gets the time of the one before it, also across pages, and is counted."""
    builder = PageBuilder()
    builder.append(50, BODY)
    builder.append(40, BODY)
    first = builder.take()
    builder.append(45, BODY)
    assert [found[0] for found in records(first)] == [50, 50]
    assert page_data(builder.take())[0] == 50
    assert builder.late == 2


@pytest.mark.parametrize(("lost", "read"), [(0, 0), (-1, -1), (37, 37)])
def test_lost_records_are_marked_before_a_page(lost: int, read: int) -> None:
    """Bit 31 says that some were lost, bit 30 that their number follows the data."""
    builder = PageBuilder()
    builder.append(1, BODY)
    page = builder.take(missed=lost)
    assert missed(page) == read
    assert len(list(records(page))) == 1


def test_a_loss_count_that_has_no_room_becomes_a_mark_without_a_number() -> None:
    """In a page full to the last byte there is nowhere to put the number."""
    builder = PageBuilder()
    builder.append(1, bytes(MAX_BODY_SIZE))
    assert missed(builder.take(missed=37)) == -1


def test_padding_with_no_delta_ends_the_page() -> None:
    """What follows it is never looked at."""
    data = _word(3, 0) + BODY + _word(29, 0) + b"\xff" * 8
    assert len(list(records(_page(5, data)))) == 1


def test_a_discarded_record_is_skipped_and_adds_no_time() -> None:
    """The kernel's readers leave out its delta too."""
    discarded = _word(29, 7) + struct.pack("<I", 12) + bytes(8)
    data = _word(3, 0) + BODY + discarded + _word(3, 10) + BODY
    page = _page(5, data)
    assert [found[0] for found in records(page)] == [5, 15]
    assert not walk(page_data(page)[1], 5).is_plain


def test_an_absolute_stamp_keeps_the_top_bits_of_the_time_before_it() -> None:
    """It holds 59 bits; a result before the last time means that they have wrapped."""
    base = (3 << 59) + 100
    stamp = struct.pack("<II", (7 << 5) | 31, 0)
    assert [found[0] for found in records(_page(base, stamp + _word(3, 1) + BODY))] == [(4 << 59) + 8]


def test_records_before_the_start_are_left_out_and_their_times_count() -> None:
    """A reader that has had the first part of a page goes on where it stopped."""
    builder = PageBuilder()
    for number in range(4):
        builder.append(100 + number, BODY)
    page = builder.take()
    assert [found[0] for found in records(page, start=32)] == [102, 103]


def test_a_page_taken_over_whole_begins_with_delta_0() -> None:
    """A page recorded from its middle has its own stamp afterwards, and all the same records."""
    data = _word(30, 5) + struct.pack("<I", 1) + _word(3, 9) + BODY + _word(3, 2) + BODY
    found = walk(data, 1000)
    page = whole_page(data, found)
    assert [entry[0] for entry in records(page)] == found.times
    assert page_data(page)[0] == found.times[0]
    assert page[16:20] == _word(3, 0)


BROKEN = {
    "shorter than its header": b"\0" * 15,
    "more data than there is": struct.pack("<QQ", 1, 5000).ljust(PAGE_SIZE, b"\0"),
    "a record past the data": _page(1, _word(28, 0) + bytes(8)),
    "a record too short for its header": _page(1, _word(1, 0) + bytes(4)),
    "a length of nothing": _page(1, struct.pack("<II", 0, 0) + bytes(8)),
    "a length that is odd": _page(1, struct.pack("<II", 0, 17) + bytes(20)),
    "a length beyond the page": _page(1, struct.pack("<II", 0, 1 << 31) + bytes(8)),
    "half a word": _page(1, _word(3, 0) + BODY + b"\0\0"),
    "a time after the end of time": _page(1 << 63, _word(3, 0) + BODY),
    "an extend past the end of time": _page((1 << 63) - 1, struct.pack("<II", 0xFFFFFFFE, 0xFFFFFFFF) + bytes(8)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_page_of_nonsense_is_malformed(what: str) -> None:
    """Nothing is read past what the page holds."""
    with pytest.raises(Malformed):
        list(records(BROKEN[what]))


@given(st.binary(max_size=200), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_hostile_pages_are_decoded_or_malformed(data: bytes, ts_ns: int, commit: int) -> None:
    """Any bytes give records inside the page, with times of 64 bits that never go back, or Malformed."""
    page = struct.pack("<QQ", ts_ns, commit & 0xC00000FF) + data
    last = 0
    try:
        for found_ns, body, length in records(page):
            assert 16 <= body <= body + length <= len(page)
            assert length >= 8
            assert last <= found_ns < 1 << 64
            last = found_ns
    except Malformed:
        pass


@given(
    st.lists(st.tuples(st.integers(0, 1 << 28), st.integers(0, 400)), max_size=40),
    st.lists(st.integers(0, 39), max_size=6),
)
def test_records_come_back_as_they_went_in(steps: list[tuple[int, int]], cuts: list[int]) -> None:
    """Any times and lengths, over any number of pages: same times, same bodies, padded to four bytes."""
    builder = PageBuilder()
    pages, wanted, now = [], [], SECOND
    for number, (step, length) in enumerate(steps):
        now += step
        body = number.to_bytes(8, "little") + bytes([number]) * length
        wanted.append((now, body))
        if number in cuts and len(builder):
            pages.append(builder.take())
        if not builder.append(now, body):
            pages.append(builder.take())
            assert builder.append(now, body)
    pages.append(builder.take())
    found = [(ts_ns, page[at : at + length]) for page in pages for ts_ns, at, length in records(page)]
    assert [ts_ns for ts_ns, _ in found] == [ts_ns for ts_ns, _ in wanted]
    assert all(got.startswith(body) for (_, got), (_, body) in zip(found, wanted, strict=True))
    assert all(len(got) - len(body) < 5 for (_, got), (_, body) in zip(found, wanted, strict=True) if len(body) != 8)


@given(
    st.lists(st.tuples(st.integers(0, 1 << 28), st.integers(8, 300)), min_size=1, max_size=30), st.integers(0, 1 << 28)
)
def test_moving_walked_records_keeps_times_and_bytes(steps: list[tuple[int, int]], lead: int) -> None:
    """Records copied from one page behind another record are the same there, whether one by one or together."""
    source, now, count = PageBuilder(), SECOND, 0
    for step, length in steps:
        now += step
        if not source.append(now, bytes([count]) * length):
            break
        count += 1
    data = bytes(page_data(source.take())[1])
    found = walk(data, SECOND + steps[0][0])
    mixed = [(ts_ns, 0, start, _Holder(data)) for ts_ns, start in zip(found.times, found.starts, strict=True)]
    for together in (True, False):
        target, pages, first = PageBuilder(), [], 0
        target.append(max(found.times[0] - lead, 0), BODY)
        while first < count:
            if together:
                first = target.append_walked(data, found, first, count)
            else:
                first = target.append_mixed(mixed, first, count)
            if first < count:
                pages.append(target.take())
        pages.append(target.take())
        got = [(ts_ns, page[at : at + length]) for page in pages for ts_ns, at, length in records(page)][1:]
        assert [ts_ns for ts_ns, _ in got] == found.times
        assert [body[:8] for _, body in got] == [bytes([number]) * 8 for number in range(count)]


class _Holder:
    """A page as `append_mixed` wants it."""

    def __init__(self, data: bytes) -> None:
        self.data = data


@given(
    st.lists(st.tuples(st.integers(-50, 1 << 28), st.binary(min_size=4, max_size=4)), min_size=1, max_size=600),
    st.sampled_from([9, 12, 30, 112, 113]),
)
def test_records_of_one_size_at_once_are_as_one_after_the_other(found: list[tuple[int, bytes]], size: int) -> None:
    """The quick way makes the same pages; what it leaves is for the other one."""
    times = [1 << 30]
    for step, _ in found[1:]:
        times.append(times[-1] + step)
    bodies = [bytes(8) + content * (size // 4) for _, content in found]
    bodies = [(body + bytes(size))[:size] for body in bodies]

    def pages(*, at_once: bool) -> list[bytes]:
        builder, made, first = PageBuilder(), [], 0
        while first < len(bodies):
            stop = builder.append_alike(times, bodies, first) if at_once else first
            if stop < len(bodies):
                if not builder.append(times[stop], bodies[stop]):
                    made.append(builder.take())
                    builder.append(times[stop], bodies[stop])
                stop += 1
            first = stop
        return [*made, builder.take()]

    assert pages(at_once=True) == pages(at_once=False)
