"""Steps that a process makes: on its descriptors, in its memory, about itself, with perf. One function an operation."""

import os
import re
import select
import struct
from collections.abc import Callable
from typing import Final

from tests.kernel.results import Result, Step, ok, to_bytes, to_text
from tools.kernel.guest import libc
from tools.kernel.guest.files import place, read_text, write_file

_PAGE: Final = 4096
_AREA: Final = 2 * _PAGE
_ROOM: Final = 4 * _PAGE
_ADDRESS: Final = re.compile(r"([a-z]+)(\d+)([+-]\d+)?")
_REG, _DEL, _UNREG = 0xC0082A00, 0x40082A01, 0x40082A02
_WRITE_INDEX_AT: Final = 24
_FLAGS: Final = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
_MORE_FLAGS: Final = {
    "cloexec": os.O_CLOEXEC,
    "nonblock": os.O_NONBLOCK,
    "append": os.O_APPEND,
    "trunc": os.O_TRUNC,
}
_PERF_COMMANDS: Final = {"enable": 0x2400, "disable": 0x2401}
_PERF_SET_FILTER: Final = 0x40082406
_PERF_RING: Final = 8 * _PAGE
_PERF_HEAD_AT: Final = 1024
_PERF_TAIL_AT: Final = 1032
_PERF_SAMPLE: Final = 9
_COMMON_FIELDS: Final = 8


class Process:
    """What one process of a scenario has: areas of memory, and descriptors by the names that steps use."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.fds: dict[str, int] = {}
        self.rings: dict[str, int] = {}
        """Where the ring of each perf event is mapped."""
        private, shared = libc.MAP_PRIVATE | libc.MAP_ANONYMOUS, libc.MAP_SHARED | libc.MAP_ANONYMOUS
        both = libc.PROT_READ | libc.PROT_WRITE
        self._areas = {
            "word": libc.mmap(0, _AREA, both, private),
            "fresh": libc.mmap(0, _AREA, both, private),
            "shared": libc.mmap(0, _AREA, both, shared),
            "ro": libc.mmap(0, _AREA, libc.PROT_READ, private),
            "none": libc.mmap(0, _AREA, 0, private),
            "unmapped": libc.mmap(0, _AREA, both, private),
            "null": 0,
            "kernel": 0xFFFF888000000000,
            "noncanon": 0x0000800000000000,
            "top": 0x00007FFFFFFFF000,
        }
        for touched in ("word", "shared"):
            libc.store(self._areas[touched], bytes(_AREA))
        libc.munmap(self._areas["unmapped"], _AREA)

    def address(self, of: str | int) -> int:
        """The address that a name such as ``word3+4`` means."""
        if isinstance(of, int):
            return of
        found = _ADDRESS.fullmatch(of)
        if found is None:
            raise ValueError(f"'{of}' is no address")
        return (self._areas[found[1]] + 8 * int(found[2]) + int(found[3] or 0)) & 0xFFFFFFFFFFFFFFFF

    def fd(self, step: Step) -> int:
        """The descriptor that a step is about; -1 when nothing has its name."""
        name = step["fd"]
        return self.fds.get(name, -1) if isinstance(name, str) else int(name)


def _open(process: Process, step: Step) -> Result:
    flags = _FLAGS[step.get("flags", "rw")]
    for name, bit in _MORE_FLAGS.items():
        flags |= bit if step.get(name) else 0
    fd = os.open(place(step.get("path", "user_events_data")), flags)
    os.set_inheritable(fd, not step.get("cloexec"))
    process.fds[step["fd"]] = fd
    return ok()


def _close(process: Process, step: Step) -> Result:
    fd = process.fds.pop(step["fd"])
    if step["fd"] in process.rings:
        libc.munmap(process.rings.pop(step["fd"]), _PAGE + _PERF_RING)
    os.close(fd)
    return ok()


def _dup(process: Process, step: Step) -> Result:
    fd = os.dup(process.fd(step))
    os.set_inheritable(fd, True)
    process.fds[step["new"]] = fd
    return ok()


def _fd_open(process: Process, step: Step) -> Result:
    try:
        os.fstat(process.fd(step))
    except OSError:
        return ok(data=False)
    return ok(data=True)


def _text(process: Process, step: Step, name: str, otherwise: str | None = None) -> libc.Bytes:
    return libc.Bytes(to_bytes(step[name] if otherwise is None else step.get(name, otherwise)))


def _structure(packed: bytes, step: Step) -> libc.Bytes:
    data = packed + bytes.fromhex(step.get("tail", ""))
    return libc.Bytes(data, _ROOM - len(data))


def _reg(process: Process, step: Step) -> Result:
    text = _text(process, step, "name_args", "ev")
    packed = struct.pack(
        "<IBBHQQI",
        step.get("size", 28),
        step.get("enable_bit", 0),
        step.get("enable_size", 4),
        step.get("flags", 0),
        process.address(step.get("addr", "word0")),
        process.address(step["name_ptr"]) if "name_ptr" in step else text.address,
        0xFFFFFFFF,
    )
    structure = _structure(packed, step)
    at = process.address(step["struct_ptr"]) if "struct_ptr" in step else structure.address
    done = libc.ioctl(process.fd(step), _REG, at)
    return ok(done, write_index=struct.unpack_from("<I", structure.data, _WRITE_INDEX_AT)[0])


def _unreg(process: Process, step: Step) -> Result:
    packed = struct.pack(
        "<IBBHQ",
        step.get("size", 16),
        step.get("disable_bit", step.get("enable_bit", 0)),
        step.get("reserved", 0),
        step.get("reserved2", 0),
        process.address(step.get("addr", "word0")),
    )
    structure = _structure(packed, step)
    at = process.address(step["struct_ptr"]) if "struct_ptr" in step else structure.address
    return ok(libc.ioctl(process.fd(step), _UNREG, at))


def _del(process: Process, step: Step) -> Result:
    if "name_ptr" in step:
        return ok(libc.ioctl(process.fd(step), _DEL, process.address(step["name_ptr"])))
    text = _text(process, step, "name")
    return ok(libc.ioctl(process.fd(step), _DEL, text.address))


def _ioctl(process: Process, step: Step) -> Result:
    return ok(libc.ioctl(process.fd(step), step["cmd"], step.get("arg", 0)))


def _write(process: Process, step: Step) -> Result:
    return ok(os.writev(process.fd(step), [bytes.fromhex(piece) for piece in step["iov"]]))


def _write1(process: Process, step: Step) -> Result:
    return ok(os.write(process.fd(step), bytes.fromhex(step["data"])))


def _pwrite(process: Process, step: Step) -> Result:
    return ok(os.pwrite(process.fd(step), bytes.fromhex(step["data"]), step["off"]))


def _write_ptr(process: Process, step: Step) -> Result:
    return ok(libc.write(process.fd(step), process.address(step["addr"]), step["len"]))


def _read_fd(process: Process, step: Step) -> Result:
    data = os.read(process.fd(step), step.get("n", 4096))
    return ok(len(data), data=to_text(data))


def _read_len(process: Process, step: Step) -> Result:
    return ok(len(os.read(process.fd(step), step["n"])))


def _add_own_pid(_process: Process, step: Step) -> Result:
    write_file(step["path"], b"%d" % os.getpid(), append=True)
    return ok()


def _count_words(_process: Process, step: Step) -> Result:
    return ok(len(read_text(step["path"]).split()))


def _lseek(process: Process, step: Step) -> Result:
    return ok(os.lseek(process.fd(step), step["off"], os.SEEK_SET))


def _mmap_fd(process: Process, step: Step) -> Result:
    libc.mmap(0, _PAGE, step.get("prot", libc.PROT_READ), libc.MAP_SHARED, process.fd(step))
    return ok()


def _poll_fd(process: Process, step: Step) -> Result:
    poll = select.poll()
    poll.register(process.fd(step), select.POLLIN | select.POLLOUT)
    return ok(data=[events for _, events in poll.poll(0)])


# Steps about memory and credentials.


def _peek(process: Process, step: Step) -> Result:
    size = step.get("size", 4)
    return ok(int.from_bytes(libc.load(process.address(step.get("addr", "word0")), size), "little"))


def _poke(process: Process, step: Step) -> Result:
    value = int(step["value"]).to_bytes(step.get("size", 4), "little")
    libc.store(process.address(step.get("addr", "word0")), value)
    return ok()


def _page(process: Process, step: Step) -> int:
    return process.address(step["addr"]) & ~(_PAGE - 1)


def _mprotect(process: Process, step: Step) -> Result:
    libc.mprotect(_page(process, step), _PAGE, step["prot"])
    return ok()


def _munmap(process: Process, step: Step) -> Result:
    libc.munmap(_page(process, step), _PAGE)
    return ok()


def _mmap_fixed(process: Process, step: Step) -> Result:
    flags = libc.MAP_PRIVATE | libc.MAP_ANONYMOUS | libc.MAP_FIXED
    libc.mmap(_page(process, step), _PAGE, step.get("prot", libc.PROT_READ | libc.PROT_WRITE), flags)
    return ok()


def _setuid(process: Process, step: Step) -> Result:
    kept, user = step.get("caps"), step.get("uid", 1000)
    if kept:
        libc.keep_capabilities()
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    if kept:
        libc.set_capabilities(kept)
    return ok()


def _unshare(process: Process, step: Step) -> Result:
    return ok(libc.unshare(step["flags"]))


# Steps about perf.


def _perf_open(process: Process, step: Step) -> Result:
    event_id = int(read_text(f"events/{step['event']}/id"))
    fd = libc.perf_event_open(event_id, step.get("pid", 0), step.get("cpu", -1), disabled=bool(step.get("disabled")))
    process.fds[step["fd"]] = fd
    both = libc.PROT_READ | libc.PROT_WRITE
    process.rings[step["fd"]] = libc.mmap(0, _PAGE + _PERF_RING, both, libc.MAP_SHARED, fd)
    return ok()


def _perf_ioctl(process: Process, step: Step) -> Result:
    return ok(libc.ioctl(process.fd(step), _PERF_COMMANDS[step["what"]], 0))


def _perf_filter(process: Process, step: Step) -> Result:
    text = _text(process, step, "filter")
    return ok(libc.ioctl(process.fd(step), _PERF_SET_FILTER, text.address))


def _perf_drain(process: Process, step: Step) -> Result:
    at = process.rings[step["fd"]]
    head, tail = struct.unpack("<QQ", libc.load(at + _PERF_HEAD_AT, 16))
    ring = libc.load(at + _PAGE, _PERF_RING) * 2
    samples: list[dict[str, object]] = []
    while tail < head:
        start = tail % _PERF_RING
        kind, _, size = struct.unpack_from("<IHH", ring, start)
        if kind == _PERF_SAMPLE:
            (length,) = struct.unpack_from("<I", ring, start + 8)
            raw = ring[start + 12 : start + 12 + length]
            samples.append({"size": length, "payload": raw[_COMMON_FIELDS:].hex()})
        else:
            samples.append({"type": kind})
        tail += size
    libc.store(at + _PERF_TAIL_AT, struct.pack("<Q", tail))
    return ok(len(samples), samples=samples)


CALLS: Final[dict[str, Callable[[Process, Step], Result]]] = {
    "open": _open,
    "close": _close,
    "dup": _dup,
    "fd_open": _fd_open,
    "reg": _reg,
    "unreg": _unreg,
    "del": _del,
    "ioctl": _ioctl,
    "write": _write,
    "write1": _write1,
    "pwrite": _pwrite,
    "write_ptr": _write_ptr,
    "read_fd": _read_fd,
    "read_len": _read_len,
    "add_own_pid": _add_own_pid,
    "count_words": _count_words,
    "lseek": _lseek,
    "mmap_fd": _mmap_fd,
    "poll_fd": _poll_fd,
    "peek": _peek,
    "poke": _poke,
    "mprotect": _mprotect,
    "munmap": _munmap,
    "mmap_fixed": _mmap_fixed,
    "setuid": _setuid,
    "unshare": _unshare,
    "perf_open": _perf_open,
    "perf_ioctl": _perf_ioctl,
    "perf_filter": _perf_filter,
    "perf_drain": _perf_drain,
}
