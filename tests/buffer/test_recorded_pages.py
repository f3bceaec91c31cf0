"""Pages of a real kernel decode to exactly what that kernel printed of them, and are built again byte by byte."""

import pytest

from tests.buffer import recorded
from userevents.buffer import PageBuilder, missed, page_data, records, walk
from userevents.fields import kernel_text

WITH_TEXT = [name for name in recorded.NAMES if name != "lost_events"]


def _as_kernel_line(found: recorded.Recorded, ts_ns: int, record: bytes) -> recorded.Line:
    event = found.formats[int.from_bytes(record[:2], "little")]
    micros = (ts_ns + 500) // 1000
    time = str(ts_ns) if "counter" in found.name else f"{micros // 1_000_000}.{micros % 1_000_000:06d}"
    return recorded.Line(int.from_bytes(record[4:8], "little"), time, kernel_text(event.name, event.fields, record))


@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_recorded_page_decodes_to_the_kernels_own_text(name: str) -> None:
    """Ids, threads, times and every value are those that the kernel itself printed."""
    found = recorded.load(name)
    lines = [
        _as_kernel_line(found, ts_ns, page[body : body + length])
        for page in found.pages
        for ts_ns, body, length in records(page)
    ]
    assert lines == found.lines


@pytest.mark.parametrize("name", ["all_scalar_types", "big_payload", "multi_format", "three_fields", "time_extend"])
def test_a_rebuilt_page_has_the_kernels_bytes(name: str) -> None:
    """The same records put into a PageBuilder give the kernel's data, length words and minimum sizes included."""
    for page in recorded.load(name).pages:
        builder = PageBuilder()
        for ts_ns, body, length in records(page):
            assert builder.append(ts_ns, page[body : body + length])
        ts_ns, data = page_data(builder.take())
        assert (ts_ns, bytes(data)) == (page_data(page)[0], bytes(page_data(page)[1]))


@pytest.mark.parametrize("name", WITH_TEXT)
def test_a_page_built_of_recorded_records_reads_the_same(name: str) -> None:
    """Times and bodies survive a rebuild also where the kernel used absolute stamps, which a builder does not."""
    for page in recorded.load(name).pages:
        builder = PageBuilder()
        wanted = [(ts_ns, page[body : body + length]) for ts_ns, body, length in records(page)]
        assert all(builder.append(ts_ns, body) for ts_ns, body in wanted)
        built = builder.take()
        assert [(ts_ns, built[body : body + length]) for ts_ns, body, length in records(built)] == wanted


def test_the_marks_of_lost_events_are_read_as_the_kernel_counted() -> None:
    """The first page after an overrun carries the number of records that the stats file calls overrun."""
    pages = recorded.load("lost_events").pages
    assert [missed(page) for page in pages] == [1275, 0, 0]
    assert sum(1 for page in pages for _ in records(page)) == 725


def test_the_recorded_pages_show_what_these_tests_are_about() -> None:
    """Among the pages are a long record, a time extend, and an absolute stamp."""
    found = {name: page_data(recorded.load(name).pages[0])[1] for name in recorded.NAMES}
    assert walk(found["big_payload"], 0).has_long
    assert found["time_extend"][16] & 31 == 30
    assert not walk(found["discard_padding"], 0).is_plain
    assert walk(found["three_fields"], 0).is_plain
