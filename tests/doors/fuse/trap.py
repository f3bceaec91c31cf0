"""trap.py DIRECTORY: a file system with one file, ``file``, whose bytes never come: who needs them waits for ever."""

import os
import sys
import threading

from userevents.abi import fuse
from userevents.doors.fuse import mount, unmount

_HEADER = fuse.IN_HEADER
_FILE = 2


def attributes(node: int) -> bytes:
    """A directory, and a file in it."""
    mode, size = (0o100666, 1 << 16) if node == _FILE else (0o040755, 0)
    return fuse.ATTR.pack(node, size, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode: int, node: int, body: bytes) -> bytes | None:
    """The answer; None where there is none, now or ever."""
    if opcode == fuse.INIT:
        _, minor, _, _ = fuse.INIT_IN.unpack_from(body)
        return fuse.INIT_OUT.pack(fuse.MAJOR, min(minor, fuse.MINOR), 0, 0, 64, 48, 1 << 16, 1, 16, 0, 0, 0)
    if opcode == fuse.LOOKUP:
        return fuse.ENTRY_OUT.pack(_FILE, 0, 60, 60, 0, 0) + attributes(_FILE)
    if opcode == fuse.GETATTR:
        return fuse.ATTR_OUT.pack(60, 0, 0) + attributes(node)
    if opcode == fuse.OPEN:
        return fuse.OPEN_OUT.pack(1, 0, 0)
    return None if opcode in (fuse.READ, fuse.FORGET, fuse.BATCH_FORGET, fuse.INTERRUPT) else b""


def main(directory: str) -> None:
    """Serve until the input ends."""
    fd = mount(directory, everyone=True).fd
    threading.Thread(target=lambda: (sys.stdin.read(), unmount(directory)), daemon=True).start()
    print("mounted", flush=True)
    buffer = bytearray(1 << 18)
    while True:
        try:
            size = os.readv(fd, (buffer,))
        except OSError:
            return
        _, opcode, unique, node, *_ = _HEADER.unpack_from(buffer)
        body = answer(opcode, node, bytes(buffer[_HEADER.size : size]))
        if body is not None:
            os.write(fd, fuse.OUT_HEADER.pack(fuse.OUT_HEADER.size + len(body), 0, unique) + body)


if __name__ == "__main__":
    main(sys.argv[1])
