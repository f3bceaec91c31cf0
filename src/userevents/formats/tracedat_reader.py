"""Reading trace.dat, versions 6 and 7, plain or compressed: ours, and trace-cmd's, all instances in it.

Opening reads what describes the trace (formats, names, where the pages are); pages are read when asked for, a few
at a time, so that a file may be larger than memory. Whatever the bytes say ends in a trace or in `Malformed`.
"""

import json
from collections.abc import Callable, Iterator
from struct import unpack_from
from typing import NamedTuple

from ..errors import Malformed
from . import facts
from . import tracedat as layout
from .cursor import MAX_BLOB, MAX_NAME, Cursor, ReadAt
from .tracedat_parts import Decompress, Descriptions, decompressor, plain

MAX_CPUS = 65536
MAX_SECTIONS = 1000
MAX_OPTIONS = 100_000
MAX_CHUNKS = 1 << 24
MAX_SHIFT_NS = 1 << 62
_PAGES_OF_A_LOT = 32

Options = list[tuple[int, bytes, int]]
"""(option id, data, where the data stands in the file)."""


class CpuData(NamedTuple):
    """Where one CPU's pages of one buffer lie; `instance` is empty for the top one's."""

    cpu: int
    offset: int
    size: int
    instance: str = ""


class TraceDat(Descriptions):
    """An opened trace.dat. Raises `Malformed` for what is none, or cannot be read, with the way out if there is one."""

    def __init__(self, read_at: ReadAt, size: int, name: str) -> None:
        super().__init__(name)
        self.size = size
        self._read_at = read_at
        self._decompress: Decompress | None = None
        self.cpus: list[CpuData] = []
        self.clock = ""
        self.uname = ""
        self.statistics: list[str] = []
        self.notes: list[str] = []
        self.ts_offset = 0
        self.section: dict[str, object] | None = None
        cursor = Cursor(read_at, 0, size, name)
        cursor.expect(layout.MAGIC, "its beginning")
        version = cursor.name_text("its version")
        self.version = int(version) if version in ("6", "7") else 0
        if not self.version:
            raise Malformed(
                name, f"is a trace.dat of version {version!r}, and versions 6 and 7 can be read", len(layout.MAGIC)
            )
        endian, long_size = cursor.take(2, "its byte order")
        if endian != layout.LITTLE_ENDIAN or long_size != layout.LONG_SIZE:
            raise Malformed(
                name, f"comes from another kind of machine (byte order {endian}, {long_size}-byte long)", cursor.at - 2
            )
        self.page_size = cursor.u32("its page size")
        if not 4096 <= self.page_size <= 1 << 20 or self.page_size & (self.page_size - 1):
            raise Malformed(name, f"claims pages of {self.page_size} bytes", cursor.at - 4)
        if self.version == 6:
            self._read_v6(cursor)
        else:
            self._read_v7(cursor)
        self._check_cpus()

    def _read_v6(self, cursor: Cursor) -> None:
        self._read_headers(cursor)
        self._read_ftrace(cursor)
        self._read_events(cursor)
        cursor.skip(cursor.u32("the size of kallsyms"), "kallsyms")
        cursor.skip(cursor.u32("the size of the printk formats"), "the printk formats")
        self._read_cmdlines(cursor)
        cpus = self._cpu_count(cursor)
        kind = cursor.take(10, "the kind of its data")
        options: Options = []
        if kind == b"options  \0":
            while (number := cursor.u16("an option")) != layout.OPTION_DONE:
                size, at = cursor.u32("the size of an option"), cursor.at
                options.append((number, cursor.take(size, "an option"), at))
                self._check_count(len(options), MAX_OPTIONS, "options", at)
            kind = cursor.take(10, "the kind of its data")
        if kind != b"flyrecord\0":
            raise Malformed(
                self.name, f"holds {kind.rstrip(bytes(1))!r} data, and only flyrecord pages can be read", cursor.at - 10
            )
        for cpu in range(cpus):
            self.cpus.append(CpuData(cpu, cursor.u64("an offset of pages"), cursor.u64("a size of pages")))
        self._read_options(options)
        self._read_v6_clock(cursor)
        for number, data, at in options:
            if number == layout.OPTION_BUFFER:
                self._read_v6_instance(Cursor(self._read_at, at, at + len(data), self.name), cpus)

    def _read_v6_instance(self, option: Cursor, cpus: int) -> None:
        """Read where an instance's pages are: a table of its own, of as many CPUs."""
        offset, instance = option.u64("the place of an instance"), option.name_text("the name of an instance")
        cursor = Cursor(self._read_at, offset, self.size, self.name)
        cursor.expect(b"flyrecord\0", "an instance's data")
        self._check_count(len(self.cpus) + cpus, MAX_CPUS, "CPUs", offset)
        for cpu in range(cpus):
            place = cursor.u64("an offset of pages"), cursor.u64("a size of pages")
            self.cpus.append(CpuData(cpu, *place, instance))

    def _read_v6_clock(self, cursor: Cursor) -> None:
        """Take the clock that follows the table of pages; files with and without it exist."""
        head = self._read_at(cursor.at, 8 + MAX_NAME)
        size = int.from_bytes(head[:8], "little")
        if len(head) > 8 and 0 < size <= len(head) - 8 and not self.clock:
            self.clock = _chosen(head[8 : 8 + size].rstrip(b"\0").decode("latin-1"))

    def _read_v7(self, cursor: Cursor) -> None:
        at = cursor.at
        compression = cursor.name_text("its compression")
        cursor.name_text("the version of its compression")
        self._decompress = decompressor(compression, self.name, at)
        first = cursor.u64("the place of its options")
        ours = cursor.at
        options = self._collect_options(first)
        named = ((number, unpack_from("<Q", data)[0]) for number, data, _ in options if len(data) >= 8)
        for number, offset in dict.fromkeys(each for each in named if each[0] in _SECTIONS):
            _SECTIONS[number](self, self._section(offset, number))
        for number, data, at in options:
            if number == layout.OPTION_BUFFER:
                self._read_buffer(Cursor(self._read_at, at, at + len(data), self.name))
        self._read_options(options)
        self._find_ours(ours)

    def _collect_options(self, offset: int) -> Options:
        options: Options = []
        seen: set[int] = set()
        while offset and offset not in seen and len(seen) < MAX_SECTIONS:
            seen.add(offset)
            cursor = self._section(offset, layout.SECTION_OPTIONS)
            offset = 0
            while cursor.at < cursor.end:
                number, size, at = cursor.u16("an option"), cursor.u32("the size of an option"), cursor.at
                data = cursor.take(size, "an option")
                if number == layout.OPTION_DONE:
                    offset = unpack_from("<Q", data)[0] if size >= 8 else 0
                    break
                options.append((number, data, at))
                self._check_count(len(options), MAX_OPTIONS, "options", at)
        return options

    def _section(self, offset: int, wanted: int) -> Cursor:
        """Return a cursor over the body of the section at `offset`."""
        if offset + layout.SECTION.size > self.size:
            raise Malformed(self.name, f"is cut: section {wanted} begins at byte {offset}, the file ends", self.size)
        head = Cursor(self._read_at, offset, self.size, self.name).take(layout.SECTION.size, f"section {wanted}")
        number, flags, _, size = layout.SECTION.unpack(head)
        start = offset + layout.SECTION.size
        if number != wanted:
            raise Malformed(self.name, f"has section {number} where section {wanted} should be", offset)
        if size > self.size - start:
            raise Malformed(self.name, f"is cut inside section {number}, which claims {size} bytes", start)
        cursor = Cursor(self._read_at, start, start + size, self.name)
        if not flags & layout.SECTION_COMPRESSED:
            return cursor
        if self._decompress is None:
            raise Malformed(self.name, f"has a compressed section {number} in an uncompressed file", offset)
        data = plain(cursor, self._decompress, f"section {number}")
        return Cursor(lambda at, size: data[at : at + size], 0, len(data), f"{self.name}, section {number} unpacked")

    def _read_buffer(self, cursor: Cursor) -> None:
        cursor.u64("the section of a buffer")
        instance = cursor.name_text("the name of a buffer")
        clock = cursor.name_text("the clock of a buffer")
        self.clock = clock if not self.clock or not instance else self.clock
        size = cursor.u32("the page size of a buffer")
        if size != self.page_size:
            raise Malformed(
                self.name, f"has a buffer with pages of {size} bytes in a file with {self.page_size}", cursor.at - 4
            )
        for _ in range(self._cpu_count(cursor)):
            cpu, offset, length = layout.CPU_PAGES.unpack(cursor.take(layout.CPU_PAGES.size, "a CPU's pages"))
            if cpu >= MAX_CPUS:
                raise Malformed(self.name, f"has pages of CPU {cpu}", cursor.at - layout.CPU_PAGES.size)
            self.cpus.append(CpuData(cpu, offset, length, instance))
        self._check_count(len(self.cpus), MAX_CPUS, "CPUs", cursor.at)

    def _cpu_count(self, cursor: Cursor) -> int:
        return self._count(cursor, MAX_CPUS, "CPUs")

    def _read_options(self, options: Options) -> None:
        for number, data, _ in options:
            text = data.rstrip(b"\0").decode("utf-8", "backslashreplace")
            if number == layout.OPTION_TRACECLOCK:
                self.clock = self.clock or _chosen(text)
            elif number == layout.OPTION_UNAME:
                self.uname = text
            elif number == layout.OPTION_CPUSTAT:
                self.statistics.append(text)
            elif number == layout.OPTION_OFFSET:
                self.ts_offset += _offset(text)
            elif number == layout.OPTION_DATE:
                self.ts_offset += 1000 * _offset(text)
            elif number in (layout.OPTION_TIME_SHIFT, layout.OPTION_TSC2NSEC):
                self.notes.append("times are shown as recorded: the file's conversion of its clock is not applied")

        if abs(self.ts_offset) >= MAX_SHIFT_NS:
            self.notes.append(f"times are shown as recorded: the file would move them by {self.ts_offset} ns")
            self.ts_offset = 0

    def _find_ours(self, offset: int) -> None:
        """Look for our own section: no option names it, so walk over all sections from the first one."""
        for _ in range(MAX_SECTIONS):
            if offset + layout.SECTION.size > self.size:
                return
            head = Cursor(self._read_at, offset, self.size, self.name).take(layout.SECTION.size, "a section")
            number, flags, _, size = layout.SECTION.unpack(head)
            offset += layout.SECTION.size
            if number == layout.SECTION_USEREVENTS and not flags:
                self._read_ours(Cursor(self._read_at, offset, min(self.size, offset + size), self.name), size)
                return
            offset += size

    def _read_ours(self, cursor: Cursor, size: int) -> None:
        try:
            section = json.loads(cursor.take(size, "its userevents section")) if size <= MAX_BLOB else None
        except (ValueError, RecursionError):
            section = None
        if not isinstance(section, dict):
            self.notes.append("the file's userevents section cannot be read: no ledger, no processes")
        elif facts.whole(section, "version") != layout.SECTION_USEREVENTS_VERSION:
            self.notes.append(f"the file's userevents section is of version {section.get('version')!r}: no ledger")
        else:
            self.section = section

    def _check_cpus(self) -> None:
        if not self.cpus:
            raise Malformed(self.name, "holds no pages: it names no buffer", self.size)
        for cpu, offset, size, _ in self.cpus:
            if size and (offset > self.size or size > self.size - offset):
                ends = f"the pages of CPU {cpu} end at byte {offset + size}, the file"
                raise Malformed(self.name, f"is cut: {ends}", self.size)

    def lots(self, data: CpuData) -> Iterator[bytes]:
        """Yield one CPU's pages, a few at a time. Damaged chunks end them early, with a note."""
        if self._decompress is not None:
            yield from self._unpacked(data)
            return
        end = data.offset + data.size
        for at in range(data.offset, end, self.page_size * _PAGES_OF_A_LOT):
            yield self._read_at(at, min(self.page_size * _PAGES_OF_A_LOT, end - at))

    def _unpacked(self, data: CpuData) -> Iterator[bytes]:
        assert self._decompress is not None
        end = min(data.offset + data.size + 4, self.size)  # trace-cmd does not count the number of chunks
        cursor = Cursor(self._read_at, data.offset, end, self.name)
        try:
            for _ in range(self._count(cursor, MAX_CHUNKS, "chunks")):
                lot = plain(cursor, self._decompress, f"a chunk of CPU {data.cpu}'s pages")
                if len(lot) % self.page_size:
                    raise Malformed(self.name, f"has a chunk of {len(lot)} bytes, which are no whole pages", cursor.at)
                yield lot
        except Malformed as problem:
            note = f"the pages of CPU {data.cpu} end early: {problem.problem} at byte {problem.offset}"
            if note not in self.notes:
                self.notes.append(note)

    def pages(self, data: CpuData) -> Iterator[bytes]:
        """Yield one CPU's pages."""
        for lot in self.lots(data):
            for start in range(0, len(lot), self.page_size):
                yield lot[start : start + self.page_size]


_SECTIONS: dict[int, Callable[[TraceDat, Cursor], None]] = {
    layout.SECTION_HEADERS: TraceDat._read_headers,
    layout.SECTION_FTRACE: TraceDat._read_ftrace,
    layout.SECTION_EVENTS: TraceDat._read_events,
    layout.SECTION_CMDLINES: TraceDat._read_cmdlines,
}


def _chosen(clocks: str) -> str:
    """Return the clock in brackets, of a list of clocks or of one alone."""
    _, bracket, rest = clocks.partition("[")
    return rest.partition("]")[0] if bracket else clocks.strip()


def _offset(text: str) -> int:
    """Return what an OFFSET option (nanoseconds) or a DATE option (microseconds) adds to every time."""
    try:
        value = int(text.strip()[:32], 0)
    except ValueError:
        return 0
    return value if abs(value) < 1 << 63 else 0
