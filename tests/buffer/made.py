"""Pages made for tests: whole ones of any records, hostile ones, and both forms of what reads them."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from tests.buffer import recorded
from userevents.buffer import PageBuilder, page_data
from userevents.buffer.native import native

STEP = st.tuples(st.sampled_from([0, 0, 1, 900, 1 << 27, 1 << 40]), st.integers(0, 3), st.integers(0, 200))
"""time since the record before, which of four events and threads, bytes of payload"""

needs_native = pytest.mark.skipif(native is None, reason="_pages was not built, or USEREVENTS_NATIVE=0")


def page_of(steps: list[tuple[int, int, int]], start_ns: int = 10**9) -> tuple[bytes, int]:
    """Return the data of a page of these records, as many as fit, and its time stamp."""
    builder, now = PageBuilder(), start_ns
    for step, which, length in steps:
        now += step
        head = struct.pack("<HHi", 20 + which, which, 100 + which)
        if not builder.append(now, head + bytes(length)):
            break
    ts_ns, data = page_data(builder.take())
    return bytes(data), ts_ns


@st.composite
def pages(draw: st.DrawFn) -> tuple[bytes, int]:
    """A page as a writer makes it, a kernel's, one of these damaged, or noise."""
    kind = draw(st.sampled_from(["made", "kernel", "flipped", "cut", "noise"]))
    if kind == "noise":
        return draw(st.binary(max_size=300)), draw(st.integers(0, (1 << 64) - 1))
    data, ts_ns = page_of(draw(st.lists(STEP, max_size=40)))
    if kind == "kernel" or (kind != "made" and draw(st.booleans())):
        data, ts_ns = draw(st.sampled_from(KERNEL_PAGES))
    if kind == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    if kind == "flipped" and data:
        damaged = bytearray(data)
        for bit in draw(st.lists(st.integers(0, 8 * len(data) - 1), min_size=1, max_size=6)):
            damaged[bit >> 3] ^= 1 << (bit & 7)
        data = bytes(damaged)
    return data, ts_ns


def _kernel_pages() -> Iterator[tuple[bytes, int]]:
    for name in recorded.NAMES:
        for page in recorded.load(name).pages:
            ts_ns, data = page_data(page)
            yield bytes(data), ts_ns


KERNEL_PAGES = list(_kernel_pages())


def facts_of(run: Any) -> tuple[Any, ...]:
    """Return all that is to be known of a run."""
    return (
        run.data,
        run.since,
        run.cpu,
        run.tag,
        list(run.times),
        list(run.starts),
        len(run),
        run.problem,
        run.is_plain,
        run.has_long,
        run.is_whole,
        run.has_gap,
        run.heads(),
    )
