"""Writers of trace.dat version 7 as trace-cmd lays it out: several instances, plain or compressed."""

import struct
from collections.abc import Callable, Mapping, Sequence
from itertools import count

from userevents.abi.ring_buffer import HEADER_EVENT_TEXT, HEADER_PAGE_TEXT
from userevents.formats import tracedat as layout

Compress = Callable[[bytes], bytes]


def sized(text: str) -> bytes:
    """Return a u64 size and the text."""
    data = text.encode("latin-1")
    return struct.pack("<Q", len(data)) + data


def option(number: int, data: bytes) -> bytes:
    """Return one option."""
    return struct.pack("<HI", number, len(data)) + data


def _chunks(pages: Sequence[bytes], compress: Compress, at_once: int = 10) -> bytes:
    """Return pages in compressed chunks, behind their number."""
    groups = [b"".join(pages[at : at + at_once]) for at in range(0, len(pages), at_once)]
    body = b"".join(struct.pack("<II", len(compress(group)), len(group)) + compress(group) for group in groups)
    return struct.pack("<I", len(groups)) + body


def v7(
    buffers: Mapping[str, Sequence[Sequence[bytes]]],
    formats: Mapping[str, Sequence[str]],
    *,
    name: str = "none",
    compress: Compress | None = None,
    cmdlines: str = "77 bash\n",
) -> bytes:
    """Return a version 7 file of buffers (instance name to pages by CPU; "" is the top one)."""
    file = bytearray(layout.MAGIC + b"7\0" + struct.pack("<BBI", 0, 8, 4096) + name.encode() + b"\0\0")
    options_at = len(file)
    file += bytes(8)
    options = b""

    def section(number: int, body: bytes) -> int:
        at = len(file)
        packed = body
        if compress:
            packed = struct.pack("<II", len(compress(body)), len(body)) + compress(body)
        file.extend(layout.SECTION.pack(number, int(compress is not None), 0, len(packed)) + packed)
        return at

    events = struct.pack("<I", len(formats))
    for system, texts in formats.items():
        events += system.encode() + b"\0" + struct.pack("<I", len(texts)) + b"".join(map(sized, texts))
    bodies = {
        layout.SECTION_HEADERS: b"header_page\0"
        + sized(HEADER_PAGE_TEXT)
        + b"header_event\0"
        + sized(HEADER_EVENT_TEXT),
        layout.SECTION_FTRACE: struct.pack("<I", 0),
        layout.SECTION_EVENTS: events,
        layout.SECTION_KALLSYMS: struct.pack("<I", 0),
        layout.SECTION_PRINTK: struct.pack("<I", 0),
        layout.SECTION_CMDLINES: sized(cmdlines),
    }
    for number, body in bodies.items():
        options += option(number, struct.pack("<Q", section(number, body)))
    for instance, cpus in buffers.items():
        options += option(layout.OPTION_BUFFER, _buffer(file, instance, cpus, compress))
    options += option(layout.OPTION_TRACECLOCK, b"[mono]\0")
    options += option(layout.OPTION_CPUCOUNT, struct.pack("<I", max(map(len, buffers.values()))))
    options += option(layout.OPTION_DONE, bytes(8))
    section(layout.SECTION_STRINGS, b"\0")
    file[options_at : options_at + 8] = struct.pack("<Q", len(file))
    file += layout.SECTION.pack(layout.SECTION_OPTIONS, 0, 0, len(options)) + options
    return bytes(file)


def _buffer(file: bytearray, instance: str, cpus: Sequence[Sequence[bytes]], compress: Compress | None) -> bytes:
    """Append a buffer; return the data of its option."""
    at = len(file)
    file += bytes(layout.SECTION.size)
    places = []
    for pages in cpus:
        if not compress:
            file += bytes(-len(file) % 4096)
        data = _chunks(pages, compress) if compress else b"".join(pages)
        places.append((len(file), len(data) - (4 if compress else 0)))  # as trace-cmd says it
        file += data
    head = layout.SECTION.pack(
        layout.SECTION_BUFFER, int(compress is not None), 0, len(file) - at - layout.SECTION.size
    )
    file[at : at + layout.SECTION.size] = head
    found = struct.pack("<Q", at) + instance.encode() + b"\0mono\0" + struct.pack("<II", 4096, len(cpus))
    return found + b"".join(layout.CPU_PAGES.pack(cpu, *place) for cpu, place in zip(count(), places, strict=False))
