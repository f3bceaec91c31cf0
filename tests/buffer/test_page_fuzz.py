"""Pages that nearly are pages: good ones with bytes changed, cut and moved, given to every reader of pages."""

import struct
from contextlib import suppress

import hypothesis.strategies as st
from hypothesis import example, given, settings

from userevents.abi.ring_buffer import PAGE_SIZE
from userevents.buffer import PageBuilder, missed, page_data, records, walk
from userevents.errors import Malformed

HEADER = 16

steps = st.lists(
    st.tuples(st.sampled_from([0, 1, 1000, 1 << 27, 1 << 40]), st.integers(8, 200)), min_size=1, max_size=30
)
changes = st.lists(st.tuples(st.integers(0, PAGE_SIZE - 1), st.binary(min_size=1, max_size=8)), max_size=6)


def good_page(wanted: list[tuple[int, int]], lost: int) -> bytes:
    """A page that a writer could have made: records with gaps, long bodies and a loss before them."""
    builder, now = PageBuilder(), 1_000_000_000
    for step, length in wanted:
        now += step
        if not builder.append(now, bytes(length)):
            break
    return builder.take(missed=lost)


def read_with_everything(page: bytes) -> None:
    """Every reader: records inside the page and in order of time, or Malformed."""
    with suppress(Malformed):
        assert missed(page) >= -1
    with suppress(Malformed):
        ts_ns, data = page_data(page)
        assert 0 <= len(data) <= len(page) - HEADER
        found = walk(data, ts_ns)
        assert len(found.times) == len(found.starts)
        assert sorted(found.times) == found.times
        assert sorted(set(found.starts)) == found.starts
        assert all(0 <= start < len(data) for start in found.starts)
    last = 0
    with suppress(Malformed):
        for ts_ns, body, length in records(page):
            assert HEADER <= body <= body + length <= len(page)
            assert last <= ts_ns < 1 << 64
            last = ts_ns


@given(wanted=steps, lost=st.sampled_from([0, 1, 1 << 40]), changed=changes, cut=st.none() | st.integers(0, PAGE_SIZE))
@example(wanted=[(0, 8)], lost=0, changed=[(8, b"\xff" * 8)], cut=None)
@settings(max_examples=300)
def test_a_damaged_page_is_read_as_far_as_it_holds_or_malformed(
    wanted: list[tuple[int, int]], lost: int, changed: list[tuple[int, bytes]], cut: int | None
) -> None:
    """Changed bytes lie anywhere, most often in the records' headers and lengths, since there are few other bytes."""
    page = bytearray(good_page(wanted, lost))
    for at, noise in changed:
        near = HEADER + at % max(struct.unpack_from("<I", page, 8)[0] & 0xFFFF, 1) if at % 2 else at
        page[near : near + len(noise)] = noise
    read_with_everything(bytes(page[:cut]))


@given(st.binary(max_size=PAGE_SIZE), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1))
def test_any_bytes_are_read_as_a_page_or_malformed(data: bytes, ts_ns: int, commit: int) -> None:
    """Headers that promise anything, before data that is anything."""
    read_with_everything(data)
    read_with_everything(struct.pack("<QQ", ts_ns, commit) + data)
    read_with_everything(struct.pack("<QQ", ts_ns >> 3, len(data)) + data)


@given(st.binary(max_size=300), st.integers(0, (1 << 63) - 1))
def test_walking_any_bytes_ends_in_records_or_a_problem(data: bytes, ts_ns: int) -> None:
    """It never raises, and says why it stopped."""
    for given_data in (data, bytearray(data), memoryview(data)):
        found = walk(given_data, ts_ns)
        assert len(found.times) == len(found.starts)
        assert all(0 <= start < len(data) for start in found.starts)
        assert isinstance(found.problem, str)
