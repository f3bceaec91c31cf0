"""Writing trace.dat version 7, uncompressed, with our own section in it. docs/formats/tracedat.md draws it.

Everything that must be known first (formats, clock) is given at the start; pages are streamed CPU by CPU; what
is known only afterwards (command names, counts, our section) is given at the end.
"""

import json
from collections.abc import Mapping, Sequence
from struct import pack

from ..abi.ring_buffer import PAGE_SIZE
from . import tracedat as layout
from .naming import Names
from .output import OutputFile
from .recording import Declared
from .stock_text import cmdlines, headers, sized, stock_format, stock_name


def _event_formats(events: Sequence[Declared]) -> bytes:
    """Return the event formats by system, each name a word of its own that stock tools can read."""
    systems: dict[str, tuple[Names, list[str]]] = {}
    for event in events:
        names, formats = systems.setdefault(event.system.replace("\0", "") or "user_events", (Names(), []))
        formats.append(stock_format(stock_name(event.name, names), event.id, event.fields))
    pieces = [pack("<I", len(systems))]
    for system, (_, formats) in systems.items():
        pieces.append(system.encode("latin-1", "replace") + b"\0" + pack("<I", len(formats)))
        pieces += map(sized, formats)
    return b"".join(pieces)


class TraceDatWriter:
    """Writes one trace.dat: construct, then for each CPU in order `begin_cpu` and its pages, then `finish`."""

    def __init__(self, output: OutputFile, events: Sequence[Declared], cpus: int) -> None:
        self._output = output
        self._cpus = cpus
        self._cpu_offsets: list[int] = []
        self._options: list[tuple[int, bytes]] = []
        self._strings = b"\0"
        output.write(layout.MAGIC + b"7\0" + pack("<BBI", layout.LITTLE_ENDIAN, layout.LONG_SIZE, PAGE_SIZE))
        output.write(b"none\0\0")
        self._options_at = output.tell()
        output.write(bytes(8))
        self._section(layout.SECTION_HEADERS, "headers", headers(), option=True)
        self._section(layout.SECTION_FTRACE, "ftrace events", pack("<I", 0), option=True)
        self._section(layout.SECTION_EVENTS, "event formats", _event_formats(events), option=True)
        self._section(layout.SECTION_KALLSYMS, "kallsyms", pack("<I", 0), option=True)
        self._section(layout.SECTION_PRINTK, "printk", pack("<I", 0), option=True)
        self._buffer_at = output.tell()
        self._buffer_name = self._string("pages")
        output.write(bytes(layout.SECTION.size))
        output.write(bytes(-output.tell() % PAGE_SIZE))

    def _string(self, text: str) -> int:
        offset = len(self._strings)
        self._strings += text.encode() + b"\0"
        return offset

    def _section(self, section_id: int, description: str, body: bytes, *, option: bool = False) -> int:
        offset = self._output.tell()
        name = 0 if section_id == layout.SECTION_STRINGS else self._string(description)
        self._output.write(layout.SECTION.pack(section_id, 0, name, len(body)) + body)
        if option:
            self._options.append((section_id, pack("<Q", offset)))
        return offset

    def begin_cpu(self) -> None:
        """Begin the next CPU's pages; the first is CPU 0."""
        self._cpu_offsets.append(self._output.tell())

    def write_pages(self, pages: list[bytes]) -> None:
        """Append whole pages to the CPU that was begun last."""
        for page in pages:
            self._output.write(page)

    def finish(
        self,
        *,
        comms: Mapping[int, str],
        statistics: Sequence[str],
        uname: str,
        trace_id: int,
        section: Mapping[str, object],
    ) -> None:
        """Write what follows the pages: thread names, counts by CPU, our section, and the options that find them."""
        end = self._output.tell()
        body = end - self._buffer_at - layout.SECTION.size
        head = layout.SECTION.pack(layout.SECTION_BUFFER, 0, self._buffer_name, body)
        self._output.write_at(self._buffer_at, head)
        self._section(layout.SECTION_CMDLINES, "command names", cmdlines(sorted(comms.items())), option=True)
        ours = json.dumps({"version": layout.SECTION_USEREVENTS_VERSION, **section}, separators=(",", ":")).encode()
        self._section(layout.SECTION_USEREVENTS, "userevents", ours)
        self._options.append((layout.OPTION_BUFFER, self._buffer_option(end)))
        self._options.append((layout.OPTION_TRACECLOCK, b"[mono]\0"))
        self._options.append((layout.OPTION_CPUCOUNT, pack("<I", self._cpus)))
        self._options += [(layout.OPTION_CPUSTAT, text.encode() + b"\0") for text in statistics]
        self._options.append((layout.OPTION_UNAME, uname.encode("utf-8", "replace") + b"\0"))
        self._options.append((layout.OPTION_VERSION, b"userevents\0"))
        self._options.append((layout.OPTION_TRACEID, pack("<Q", trace_id)))
        self._write_options()

    def _buffer_option(self, end: int) -> bytes:
        offsets = self._cpu_offsets
        sizes = [stop - start for start, stop in zip(offsets, [*offsets[1:], end], strict=True)]
        entries = (layout.CPU_PAGES.pack(cpu, offsets[cpu], size) for cpu, size in enumerate(sizes))
        place = pack("<Q", self._buffer_at) + b"\0mono\0"
        return place + pack("<II", PAGE_SIZE, len(sizes)) + b"".join(entries)

    def _write_options(self) -> None:
        self._options.append((layout.OPTION_DONE, bytes(8)))
        body = b"".join(layout.OPTION.pack(number, len(data)) + data for number, data in self._options)
        name = self._string("options")
        self._section(layout.SECTION_STRINGS, "", self._strings)
        offset = self._output.tell()
        self._output.write(layout.SECTION.pack(layout.SECTION_OPTIONS, 0, name, len(body)) + body)
        self._output.write_at(self._options_at, pack("<Q", offset))
