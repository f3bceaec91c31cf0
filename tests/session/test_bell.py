"""When a writer wakes its reader: both cursors, in C and in pure Python, by the same rule."""

import mmap
import time
from itertools import pairwise
from typing import Any

import pytest

from userevents.client import native
from userevents.session import cursor, layout

PAGES = 64
CURSORS = [cursor.Cursor] + ([native.Cursor] if native.native else [])
BODY = bytes(3000)


class Ring:
    """A ring that nobody reads but the test, and a cursor in it."""

    def __init__(self, make: Any, mode: int = layout.MODE_OVERWRITE) -> None:
        lines = memoryview(bytearray(layout.HEADER_SIZE)).cast("I")
        lines[layout.RING_GENERATION // 4] = 1
        lines[layout.RING_PAGES // 4] = PAGES
        self.memory = mmap.mmap(-1, layout.ring_size(PAGES))
        self.cursor = make(lines, memoryview(bytearray(64)).cast("Q"))
        self.cursor.enter(self.memory, PAGES, layout.ring_data_offset(PAGES), mode == layout.MODE_OVERWRITE, 1)
        self.cursor.put(0, BODY)  # page 0

    def set(self, field: int, value: int) -> None:
        """Store what the reader stores."""
        self.memory[field : field + 4] = value.to_bytes(4, "little")

    def open_pages(self, count: int) -> list[int]:
        """Open so many pages; say which of them rang, counted from 1."""
        outcomes = [self.cursor.put(0, BODY) for _ in range(count)]
        assert set(outcomes) <= {cursor.WRITTEN, cursor.READER_WAITS}
        return [number for number, outcome in enumerate(outcomes, 1) if outcome == cursor.READER_WAITS]


@pytest.fixture(params=CURSORS, ids=lambda made: "C" if made is not cursor.Cursor else "Python")
def ring(request: pytest.FixtureRequest) -> Ring:
    """A ring written by one cursor or the other."""
    return Ring(request.param)


def test_a_reader_that_looks_by_itself_is_not_woken(ring: Ring) -> None:
    """It has stored 0."""
    assert ring.open_pages(200) == []


def test_a_reader_is_woken_when_as_much_is_unread_as_it_said(ring: Ring) -> None:
    """Not before; and what it has given back counts no more."""
    ring.set(layout.RING_READER_WAITING, 8)
    assert ring.open_pages(8) == [8]
    ring.set(layout.RING_TAIL, 8)
    assert ring.open_pages(7) == []
    assert ring.open_pages(1) == [1]


def test_a_burst_does_not_ring_for_each_of_its_pages(ring: Ring) -> None:
    """Once at first, then for each eighth of the ring, or after a millisecond."""
    ring.set(layout.RING_READER_WAITING, 1)
    start = time.monotonic()
    rung = ring.open_pages(200)
    longest = time.monotonic() - start
    assert rung[0] == 1
    assert 200 // 8 <= len(rung) <= 200 // 8 + 1 + longest * 1000
    assert max(later - earlier for earlier, later in pairwise(rung)) <= 8
    time.sleep(0.002)
    assert ring.open_pages(1) == [1]
