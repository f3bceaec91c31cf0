"""The ring of one CPU: what it keeps, what it gives up, and both ways of reading it."""

import os
import random
import subprocess
import sys

import pytest

from tests.buffer import recorded
from userevents.buffer import CpuRing, missed, page_data, pages_for, records, ring_kib

BIG = bytes(2000)
"""Two of these fit a page."""


def _filled(pages: int, count: int, *, overwrite: bool = True) -> CpuRing:
    ring = CpuRing(pages)
    for number in range(count):
        ring.write(number * 10, number.to_bytes(4, "little") + BIG[4:], overwrite=overwrite)
    return ring


def _numbers(ring: CpuRing) -> list[int]:
    return [int.from_bytes(record.body[:4], "little") for record in ring]


def test_records_come_back_in_order_and_stay() -> None:
    """Reading without consuming changes nothing, over full pages and the one being filled."""
    ring = _filled(8, 7)
    assert _numbers(ring) == list(range(7))
    assert _numbers(ring) == list(range(7))
    assert (ring.entries, ring.overrun, ring.dropped, ring.read_events) == (7, 0, 0, 0)
    assert [record.ts_ns for record in ring] == [number * 10 for number in range(7)]


def test_the_oldest_page_is_given_up_as_a_whole() -> None:
    """With overwriting, its records count as overrun; without, the new record is dropped."""
    ring = _filled(3, 8)
    assert _numbers(ring) == [2, 3, 4, 5, 6, 7]
    assert (ring.entries, ring.overrun, ring.dropped) == (6, 2, 0)
    full = _filled(3, 8, overwrite=False)
    assert _numbers(full) == [0, 1, 2, 3, 4, 5]
    assert (full.entries, full.overrun, full.dropped) == (6, 0, 2)


def test_a_record_that_fits_no_page_is_dropped_without_a_trace() -> None:
    """4072 bytes are the most; larger ones leave the ring as it was."""
    ring = CpuRing(2)
    assert ring.write(1, bytes(4072), overwrite=True)
    assert not ring.write(2, bytes(4073), overwrite=True)
    assert (ring.entries, ring.too_large) == (1, 1)


def test_consuming_takes_each_record_once_and_tells_what_was_lost_before() -> None:
    """The count of overwritten records comes with the first record after them, and once."""
    ring = _filled(3, 8)
    first = ring.peek()
    assert first is not None
    assert (first.body[0], first.lost) == (2, 2)
    taken = []
    while (record := ring.consume()) is not None:
        taken.append((record.body[0], record.lost))
    assert taken == [(2, 2), (3, 0), (4, 0), (5, 0), (6, 0), (7, 0)]
    assert (ring.entries, ring.read_events) == (0, 6)
    ring.write(1000, b"later678", overwrite=True)
    record = ring.consume()
    assert record is not None
    assert record.body[:8] == b"later678"
    assert ring.consume() is None


def test_pages_are_taken_in_the_kernels_format() -> None:
    """A page holds what was not consumed yet, marked with what was lost before it; then there is none."""
    ring = _filled(3, 8)
    ring.consume()
    ring.consume()
    seen = []
    while (page := ring.read_page()) is not None:
        assert len(page) == 4096
        seen.append((missed(page), [page[start] for _, start, _ in records(page)]))
    assert seen == [(0, [4, 5]), (0, [6, 7])]
    assert ring.entries == 0
    page = _filled(3, 8).read_page()
    assert page is not None
    assert missed(page) == 2


def test_a_partly_consumed_page_is_read_from_where_the_reader_stands() -> None:
    """Its first record has the page's time stamp, and nothing comes twice."""
    ring = _filled(8, 3)
    ring.consume()
    page = ring.read_page()
    assert page is not None
    assert [(ts_ns, page[start]) for ts_ns, start, _ in records(page)] == [(10, 1)]
    assert _numbers(ring) == [2]


def test_a_smaller_ring_keeps_the_newest_pages() -> None:
    """Resizing keeps what fits; a larger one keeps everything."""
    ring = _filled(8, 11)
    ring.resize(2)
    assert _numbers(ring) == [8, 9, 10]
    ring.resize(20)
    assert _numbers(ring) == [8, 9, 10]
    ring.reset()
    assert (_numbers(ring), ring.entries, ring.overrun, ring.oldest_ns) == ([], 0, 0, 0)


@pytest.mark.parametrize(("kib", "shown"), [(1, 7), (7, 7), (8, 11), (1408, 1410), (1410, 1410)])
def test_sizes_are_rounded_up_to_whole_pages(kib: int, shown: int) -> None:
    """As `buffer_size_kb` of 6.12 shows them; a ring has at least two pages."""
    assert ring_kib(pages_for(kib << 10)) == shown


def test_a_record_after_a_discarded_one_has_the_kernels_bytes() -> None:
    """Its time stands before it as an absolute stamp; one that begins a page needs none."""
    found = recorded.load("discard_padding")
    (page,) = found.pages
    ring = CpuRing(2)
    for ts_ns, start, length in records(page):
        assert ring.write(ts_ns, page[start : start + length], overwrite=True)
        ring.discard()
    taken = ring.read_page()
    assert taken is not None
    assert (taken[:16], bytes(page_data(taken)[1])) == (page[:16], bytes(page_data(page)[1]))
    ts_ns, start, length = next(records(page))
    assert ring.write(ts_ns + 1, page[start : start + length], overwrite=True)
    first = ring.read_page()
    assert first is not None
    assert first[16] & 31 == (length >> 2)


def test_a_stamp_that_fits_no_more_goes_to_the_next_page() -> None:
    """The page is then as full as it gets, and every record is read back at its time."""
    ring = CpuRing(3)
    body = bytes(104)
    count = 4080 // 108
    for number in range(count):
        assert ring.write(number, body, overwrite=True)
    ring.discard()
    assert ring.write(count, bytes(76), overwrite=True)
    assert [record.ts_ns for record in ring] == list(range(count + 1))
    assert ring.fills(66)


@pytest.mark.parametrize(
    ("room", "count"), [(15, 0), (16, 0), (31, 0), (32, 1), (47, 1), (48, 2), (4095, 3), (9000, 3)]
)
def test_a_small_read_takes_as_many_records_as_fit(room: int, count: int) -> None:
    """The page that it gives has its full size all the same; without room for the first record it is empty."""
    ring = CpuRing(2)
    for number in range(3):
        ring.write(number, bytes(12), overwrite=True)
    page = ring.read_page(room)
    assert page is not None
    assert len(page) == (4096 if count else 0)
    assert count == (len(list(records(page))) if page else 0)
    assert ring.entries == 3 - count


def test_other_pages_hold_about_as_much_and_forget_what_was_there() -> None:
    """What is gone counts on, as with the kernel, until the ring is emptied."""
    ring = _filled(10, 3)
    ring.change_pages(8192)
    assert (ring.pages, ring.page_size, ring.entries, ring.is_empty) == (5, 8192, 3, True)
    assert list(ring) == []
    assert ring.write(9, bytes(12), overwrite=True)
    page = ring.read_page()
    assert page is not None
    assert len(page) == 8192


@pytest.mark.parametrize("overwrite", [True, False])
def test_the_appender_writes_what_write_writes(overwrite: bool) -> None:
    """In C or in Python: whatever the sizes, the times and what happens to the ring in between."""
    luck, times = random.Random(7), [5]
    for page_size in (4096, 8192):
        one, other = CpuRing(3, page_size), CpuRing(3, page_size)
        append = one.appender(lambda: times[-1], b"1234567", 2, 4000, overwrite=overwrite)
        for _ in range(4000):
            times[-1] += luck.choice([0, 1, 90, -3, 1 << 27, 1 << 40])
            payload = luck.randbytes(luck.choice([0, 1, 2, 3, 50, 104, 105, 106, 900, 4000, 4001]))
            if append(bytearray(payload) if luck.random() < 0.5 else payload):
                other.write(times[-1], b"1234567" + payload, overwrite=overwrite)
            else:
                assert not 2 <= len(payload) <= 4000
            if luck.random() < 0.05:
                chosen = luck.choice(["consume", "discard", "read_page", "peek"])
                assert getattr(one, chosen)() == getattr(other, chosen)()
        counts = [(ring.entries, ring.overrun, ring.dropped, ring.read_events, ring.too_large) for ring in (one, other)]
        assert counts[0] == counts[1]
        assert list(one) == list(other)


def test_the_appender_hands_on_what_its_clock_raises() -> None:
    """Nothing is counted then; what is no bytes is refused."""
    ring = CpuRing(2)
    append = ring.appender(iter([1]).__next__, b"12345678", 0, 100, overwrite=True)
    assert append(b"abcd")
    with pytest.raises(StopIteration):
        append(b"abcd")
    with pytest.raises(TypeError):
        append(7)  # type: ignore[arg-type]
    assert ring.entries == 1


def test_the_twin_in_python_writes_the_same_pages() -> None:
    """Without the extension, in a process that asks for none."""
    code = (
        "import itertools, random; from userevents.buffer import CpuRing; luck = random.Random(3); ring = CpuRing(4)\n"
        "append = ring.appender(itertools.count(1).__next__, b'12345678', 1, 3000, overwrite=True)\n"
        "print([append(luck.randbytes(luck.choice([0, 4, 9, 90, 200, 3001]))) for _ in range(400)], list(ring))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"USEREVENTS_NATIVE": wanted},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for wanted in ("1", "0")
    ]
    assert said[0] == said[1]
    assert "Record(" in said[0]
