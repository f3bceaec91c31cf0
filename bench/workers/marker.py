"""The kernel's trace_marker and trace_marker_raw, written from Python: one system call an event."""

import os
import struct
import sys

from loop import serve

tracefs = sys.argv[1]
marker = os.open(f"{tracefs}/trace_marker", os.O_WRONLY)
raw = os.open(f"{tracefs}/trace_marker_raw", os.O_WRONLY)
pack = struct.Struct("<iIQ12s").pack


def formatted(count: int) -> None:
    """Write a formatted text."""
    for number in range(count):
        os.write(marker, b"bench %d %d %s" % (number, number, b"hello world!"))


def packed(count: int) -> None:
    """Write a packed record."""
    for number in range(count):
        os.write(raw, pack(1, number, number, b"hello world!"))


serve({"trace_marker": formatted, "trace_marker_raw": packed})
