"""docs/formats/recording.md and tracedat.md say the same as the code."""

import re
from pathlib import Path

from tests.formats.test_tracedat import V7
from userevents.buffer import stream as wire
from userevents.formats import recording
from userevents.formats import tracedat as layout

DOCS = Path(__file__).resolve().parents[2] / "docs" / "formats"
RECORDING = (DOCS / "recording.md").read_text(encoding="utf-8")
TRACEDAT = (DOCS / "tracedat.md").read_text(encoding="utf-8")


def test_the_document_names_every_frame_with_its_number() -> None:
    """The table of frame types is that of the code."""
    said = {name: int(number) for number, name in re.findall(r"^\| (\d) \| ([A-Z]+) \|", RECORDING, re.MULTILINE)}
    kinds = {name: getattr(wire, name) for name in said if name not in ("PART", "RUN")}
    assert said == {**kinds, "PART": wire.PAGE_PART, "RUN": wire.PAGE_RUN}
    assert len(said) == 9


def test_the_document_gives_the_offsets_of_frames_and_parts() -> None:
    """The last fixed field of each head ends where the code's struct ends."""
    rows = [(int(at), size) for at, size in re.findall(r"^\| (\d+) \| (u\d\d|\d|length) \|", RECORDING, re.MULTILINE)]
    assert (12, "u32") in rows
    assert wire.START.size == wire.FRAME.size == 16
    assert (28, "u32") in rows
    assert (32, "length") in rows
    assert wire.PART.size == 32
    for limit in (recording.MAX_STREAMS, recording.MAX_EVENTS, recording.MAX_THREADS, recording.MAX_NOTES):
        assert f"{limit} " in RECORDING


def test_the_document_lists_the_sections_in_the_order_of_the_file() -> None:
    """Walking over a file of ours meets the ids of the table, one after the other."""
    said = [int(number, 0) for number in re.findall(r"^\| \d+ \| (\w+) \| \**[a-z]", TRACEDAT, re.MULTILINE)]
    found, at = [], 32
    while at < len(V7):
        number, _, _, size = layout.SECTION.unpack_from(V7, at)
        found.append(number)
        at += layout.SECTION.size + size
    assert found == said
    assert at == len(V7)


def test_the_document_names_every_option_of_the_file() -> None:
    """And the file has no other; no option names our own section."""
    at = int.from_bytes(V7[24:32], "little") + layout.SECTION.size
    found = []
    while True:
        number, size = layout.OPTION.unpack_from(V7, at)
        found.append(number)
        at += layout.OPTION.size + size
        if number == layout.OPTION_DONE:
            break
    options = TRACEDAT.split("| option | content |")[1].split("\n\n")[0]
    said = {
        int(number)
        for row in re.findall(r"^\| ([^|]+) \|", options, re.MULTILINE)
        for number in re.findall(r"\d+", row)
    }
    assert set(found) == said
    assert layout.SECTION_USEREVENTS not in found
