"""Numbers and names of trace.dat, versions 6 and 7, and of the section in it that is ours. docs/formats/tracedat.md.

Source: user_events contract, ringbuffer.md sections 8 and 9.
"""

from struct import Struct
from typing import Final

MAGIC: Final = b"\x17\x08\x44tracing"
LITTLE_ENDIAN: Final = 0
LONG_SIZE: Final = 8

SECTION: Final = Struct("<HHIQ")
"""id, flags (1: compressed), offset of a description in the strings section, bytes that follow."""
SECTION_COMPRESSED: Final = 1
OPTION: Final = Struct("<HI")
"""id, bytes of data that follow."""
CPU_PAGES: Final = Struct("<IQQ")
"""cpu, file offset of its pages, their size in bytes."""

OPTION_DONE: Final = 0
OPTION_DATE: Final = 1
OPTION_CPUSTAT: Final = 2
OPTION_BUFFER: Final = 3
OPTION_TRACECLOCK: Final = 4
OPTION_UNAME: Final = 5
OPTION_OFFSET: Final = 7
OPTION_CPUCOUNT: Final = 8
OPTION_VERSION: Final = 9
OPTION_TRACEID: Final = 11
OPTION_TIME_SHIFT: Final = 12
OPTION_TSC2NSEC: Final = 14

SECTION_OPTIONS: Final = 0
SECTION_BUFFER: Final = 3
SECTION_STRINGS: Final = 15
SECTION_HEADERS: Final = 16
SECTION_FTRACE: Final = 17
SECTION_EVENTS: Final = 18
SECTION_KALLSYMS: Final = 19
SECTION_PRINTK: Final = 20
SECTION_CMDLINES: Final = 21

SECTION_USEREVENTS: Final = 0x7565
"""Ours: no option names it, so that stock tools never look at it. JSON: ledger, processes, events, notes."""
SECTION_USEREVENTS_VERSION: Final = 1
