"""docs/formats/session.md says the same as layout.py."""

import re
from pathlib import Path

from userevents.session import layout

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats" / "session.md"


def offsets() -> dict[str, int]:
    """Return each table row's offset by the first words of its field, asterisks left out."""
    rows = re.findall(r"^\| (\d+) \| [^|]+ \| ([^|]+) \|", PAGE.read_text(), re.M)
    return {field.replace("*", "").split(":")[0].split(",")[0].strip(): int(offset) for offset, field in rows}


def test_the_document_gives_the_offsets_of_the_code() -> None:
    """Every named place of the session and ring files stands in the document where the code puts it."""
    said = offsets()
    assert said["event count"] == layout.EVENT_COUNT
    assert said["generation of the ring the program writes"] == layout.GENERATION_IN_USE
    assert said["bytes of text used"] == layout.TEXT_USED
    assert said["leaving"] == layout.LEAVING
    assert said["answers that did not come within 200 ms"] == layout.LATE_ANSWERS
    assert said["ring generation to use"] == layout.RING_GENERATION
    assert said["enable words"] == layout.HEADER_SIZE == layout.geometry(128).words
    assert said["head"] == layout.RING_HEAD
    assert said["tail"] == layout.RING_TAIL
    assert said["bytes of that page's data that are consumed already"] == layout.RING_TAIL_OFFSET
    assert said["the tracer sleeps"] == layout.RING_READER_WAITING
    assert said["magic `UEVTRNG1`"] == layout.RING_IDENTITY
    assert said["page table"] == layout.RING_TABLE


def test_the_document_gives_the_geometry_of_the_code() -> None:
    """The offsets that depend on the capacity."""
    place = layout.geometry(128)
    assert (place.answers, place.counters, place.text) == (1024 + 4 * 128, 1024 + 8 * 128, 1024 + 72 * 128)
    assert place.text_size == 128 * 128
    assert "offset of the text, 1024 + 72 N" in PAGE.read_text()
