"""The wire format of the tracer's socket: hello, request and response headers, operations, limits.

Everything is little endian. ``docs/formats/socket.md`` tells it in full.
"""

import struct
from typing import Final

MAGIC: Final = b"UEVTDOOR"
VERSION: Final = 1
HELLO: Final = struct.Struct("<8sIi")
"""magic, version, and 0 (client) or 0 / -errno (tracer)."""
REQUEST: Final = struct.Struct("<IIHH")
"""bytes that follow this header, tag chosen by the client, operation, flags."""
RESPONSE: Final = struct.Struct("<IIi")
"""bytes that follow this header, tag of the request, result: >= 0, or -errno with the reason following."""

OP_OPEN: Final = 1
OP_READ: Final = 2
OP_WRITE: Final = 3
OP_CLOSE: Final = 4
OP_LISTDIR: Final = 5
OP_MKDIR: Final = 6
OP_RMDIR: Final = 7
OP_STAT: Final = 8

OPEN_ARGS: Final = struct.Struct("<I")
"""Linux open flags; the path follows."""
READ_ARGS: Final = struct.Struct("<IIQ")
"""handle, size, offset."""
HANDLE_ARGS: Final = struct.Struct("<I")
"""handle; for a write, the data follow."""
LISTDIR_ARGS: Final = struct.Struct("<I")
"""How many names to skip; the path follows."""
STAT_RESULT: Final = struct.Struct("<IQ")
"""mode, size."""

OWN_POSITION: Final = (1 << 64) - 1
"""As the offset of a read: go on where the last read of this handle ended."""
MKDIR_KEEP: Final = 1
"""Flag of mkdir: the instance outlives the connection that made it."""

MAX_REQUEST_SIZE: Final = 1 << 20
"""Bytes that may follow a request's header."""
MAX_READ_SIZE: Final = 1 << 20
"""A read of more returns this much at most, or one frame of the recording stream if that is longer."""
MAX_RESPONSE_SIZE: Final = 1 << 27
"""A client takes more for nonsense: no answer is longer than one frame of a recording stream."""
MAX_LISTING_SIZE: Final = 1 << 18
"""Bytes of names in one listdir answer; ask again for the rest."""
MAX_HANDLES: Final = 256
MAX_PARKED_READS: Final = 64
MAX_CLIENTS: Final = 128
MAX_PENDING_SIZE: Final = 4 << 20
"""Answers kept for a client that does not read before its requests are left waiting."""
