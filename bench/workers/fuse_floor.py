"""fuse_floor.py DIRECTORY: a FUSE server with one file that only answers; what the FUSE door is measured against.

The same loop as the door's: one thread, one readv and one write a request. A registration is answered as any server
must: the structure and the name read from the caller's memory, the index written to it. Ends with its input.
"""

import errno
import os
import struct
import sys
import threading

from userevents.abi import fuse
from userevents.doors.fuse import mount, unmount
from userevents.host.remote import RemoteMemory

_HEADER = fuse.IN_HEADER
_ANSWER = fuse.OUT_HEADER
_WRITE = struct.Struct(_HEADER.format + fuse.WRITE_IN.format.lstrip("<"))
_WRITTEN = struct.Struct(_ANSWER.format + fuse.WRITE_OUT.format.lstrip("<"))
_FILE = 2
_memories: dict[int, RemoteMemory] = {}


def attributes(node: int) -> bytes:
    """A directory, and a file in it."""
    mode = 0o100666 if node == _FILE else 0o040755
    return fuse.ATTR.pack(node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode: int, node: int, pid: int, body: bytes) -> bytes:
    """The answer to anything but a write; nothing to what is not known."""
    if opcode == fuse.INIT:
        _, minor, _, offered = fuse.INIT_IN.unpack_from(body)
        flags = offered & (fuse.BIG_WRITES | fuse.MAX_PAGES)
        return fuse.INIT_OUT.pack(fuse.MAJOR, min(minor, fuse.MINOR), 0, flags, 64, 48, 1 << 20, 1, 256, 0, 0, 0)
    if opcode == fuse.LOOKUP:
        return fuse.ENTRY_OUT.pack(_FILE, 0, 0, 0, 0, 0) + attributes(_FILE)
    if opcode == fuse.GETATTR:
        return fuse.ATTR_OUT.pack(0, 0, 0) + attributes(node)
    if opcode == fuse.OPEN:
        stream = fuse.FOPEN_STREAM | fuse.FOPEN_PARALLEL_DIRECT_WRITES
        return fuse.OPEN_OUT.pack(1, fuse.FOPEN_DIRECT_IO | fuse.FOPEN_NOFLUSH | stream, 0)
    if opcode == fuse.IOCTL:
        _, _, command, argument, _, _ = fuse.IOCTL_IN.unpack_from(body)
        if command == 0xC0082A00:
            memory = _memories.get(pid) or _memories.setdefault(pid, RemoteMemory(pid))
            memory.read(int.from_bytes(memory.read(argument, 28)[16:24], "little"), 64)
            memory.write(argument + 24, bytes(4))
        return fuse.IOCTL_OUT.pack(0, 0, 0, 0)
    return b""


def main(directory: str) -> None:
    """Answer until the input ends."""
    fd = mount(directory).fd
    threading.Thread(target=lambda: (sys.stdin.read(), unmount(directory)), daemon=True).start()
    print("mounted", flush=True)
    buffer = bytearray((1 << 20) + 4096)
    while True:
        try:
            size = os.readv(fd, (buffer,))
        except OSError:
            return
        if buffer[4] == fuse.WRITE:
            _, _, unique, _, _, _, _, _, _, _, _, length, *_ = _WRITE.unpack_from(buffer)
            os.write(fd, _WRITTEN.pack(_WRITTEN.size, 0, unique, length, 0))
            continue
        _, opcode, unique, node, _, _, pid, _, _ = _HEADER.unpack_from(buffer)
        if opcode in (fuse.FORGET, fuse.BATCH_FORGET, fuse.INTERRUPT):
            continue
        body = answer(opcode, node, pid, bytes(buffer[_HEADER.size : size]))
        code = 0 if body or opcode == fuse.RELEASE else -errno.ENOSYS
        os.write(fd, _ANSWER.pack(_ANSWER.size + len(body), code, unique) + body)


if __name__ == "__main__":
    main(sys.argv[1])
