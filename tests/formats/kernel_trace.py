"""The recorded pages of a real kernel as one trace.dat: each scenario on a CPU and with ids of its own."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.buffer import recorded
from userevents.abi.ring_buffer import HEADER_EVENT_TEXT, HEADER_PAGE_TEXT
from userevents.buffer.page import page_data
from userevents.buffer.run import PureRun
from userevents.formats import tracedat as layout


def _sized(text: str) -> bytes:
    data = text.encode("latin-1")
    return struct.pack("<Q", len(data)) + data


def v6(pages: Sequence[Sequence[bytes]], formats: Mapping[str, Sequence[str]], *, options: bytes = b"") -> bytes:
    """Return a version 6 file of pages by CPU and formats by system, as trace-cmd lays one out."""
    head = layout.MAGIC + b"6\0" + struct.pack("<BBI", 0, 8, 4096)
    head += b"header_page\0" + _sized(HEADER_PAGE_TEXT) + b"header_event\0" + _sized(HEADER_EVENT_TEXT)
    head += struct.pack("<II", 0, len(formats))
    for system, texts in formats.items():
        head += system.encode() + b"\0" + struct.pack("<I", len(texts)) + b"".join(map(_sized, texts))
    head += struct.pack("<II", 0, 0) + _sized("77 bash\n") + struct.pack("<I", len(pages))
    head += b"options  \0" + options + struct.pack("<H", 0) + b"flyrecord\0"
    clock = _sized("[mono]\0")
    at = (len(head) + 16 * len(pages) + len(clock) + 4095) & ~4095
    table, body = b"", b""
    for cpu in pages:
        table += struct.pack("<QQ", at + len(body), 4096 * len(cpu))
        body += b"".join(cpu)
    return (head + table + clock).ljust(at, b"\0") + body


def _renamed(page: bytes, ids: dict[int, int]) -> bytes:
    ts_ns, view = page_data(page)
    words = b"".join(struct.pack("<HH", old, new) for old, new in ids.items())
    data = PureRun(bytes(view), ts_ns).select(renamed=words).data
    return page[:16] + data + page[16 + len(data) :]


def kernel_trace(path: Path) -> None:
    """Write the file: CPU n holds the pages of scenario n of `recorded.NAMES`."""
    pages, formats = [], []
    for number, name in enumerate(recorded.NAMES):
        found = json.loads((recorded.PAGES / f"{name}.json").read_text(encoding="utf-8"))
        ids: dict[int, int] = {}
        for text in found["formats"].values():
            text = text["latin1"] if isinstance(text, dict) else text
            head, _, rest = text.partition("ID: ")
            old, newline, rest = rest.partition("\n")
            ids[int(old)] = 1000 + 10 * number + len(ids)
            formats.append(f"{head}ID: {ids[int(old)]}{newline}{rest}")
        pages.append([_renamed(bytes.fromhex(page), ids) for page in found["pages"]])
    path.write_bytes(v6(pages, {"user_events": formats}))
