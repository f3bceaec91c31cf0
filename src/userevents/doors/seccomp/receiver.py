"""Records from a socket, many at a time: what was written, when, and by which process.

The kernel stamps each datagram as it is written and says who wrote it, so that it does not matter when it is read.
"""

import ctypes
import socket
import struct
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

from ...host.bulk import Written

BATCH: Final = 256
"""Records taken at most at a time: what a socket of the usual size holds."""
_INDEX: Final = 4
_ROOM: Final = 4096 + 192
"""Bytes of a record that are kept: none that is larger fits a page of any ring."""
_CONTROL: Final = 64
"""The control messages of a datagram: SCM_TIMESTAMPNS and SCM_CREDENTIALS, each 16 bytes and 16."""
_HEADER: Final = 64
_SO_TIMESTAMPNS: Final = 35
_CLOCK_LOOKS: Final = 3


class Batch(NamedTuple):
    """Records as columns, in the order in which they were written."""

    indices: list[int]
    sizes: list[int]
    """Bytes written, the index included."""
    payloads: Sequence[bytes]
    """What followed the index, as far as it is kept."""
    times_ns: list[int]
    """CLOCK_MONOTONIC."""
    pids: list[int]

    def rows(self, first: int, stop: int | None) -> "Batch":
        """Some of the records."""
        part = slice(first, stop)
        return Batch(self.indices[part], self.sizes[part], self.payloads[part], self.times_ns[part], self.pids[part])

    def between(self, first: int, stop: int) -> Written:
        """These records, without whose they are."""
        return Written(self.sizes[first:stop], self.payloads[first:stop], self.times_ns[first:stop])

    def chosen(self, rows: Sequence[int]) -> Written:
        """These records, without whose they are."""
        columns = [self.sizes[row] for row in rows], [self.payloads[row] for row in rows]
        return Written(*columns, [self.times_ns[row] for row in rows])


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """``struct mmsghdr``."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("padding", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("end", ctypes.c_uint32),
    )


def prepare(ours: socket.socket) -> None:
    """Have a socket tell when each datagram was written, and by whom."""
    ours.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


class Receiver:
    """Buffers for receiving, used for one socket after another. Not thread safe."""

    def __init__(self) -> None:
        assert ctypes.sizeof(_Message) == _HEADER
        self._call = ctypes.CDLL(None, use_errno=True).recvmmsg
        self._indices = ctypes.create_string_buffer(BATCH * _INDEX)
        self._data = ctypes.create_string_buffer(BATCH * _ROOM)
        self._control = ctypes.create_string_buffer(BATCH * _CONTROL)
        self._vectors = (_Vector * (2 * BATCH))()
        self._messages = (_Message * BATCH)()
        for number in range(BATCH):
            index, data = self._vectors[2 * number], self._vectors[2 * number + 1]
            index.base, index.size = ctypes.addressof(self._indices) + _INDEX * number, _INDEX
            data.base, data.size = ctypes.addressof(self._data) + _ROOM * number, _ROOM
            message = self._messages[number]
            message.vectors, message.vector_count = ctypes.addressof(index), 2
            message.control, message.control_size = ctypes.addressof(self._control) + _CONTROL * number, _CONTROL
        self._fresh = bytes(self._messages)
        self._headers = memoryview(self._messages).cast("B").cast("I")
        self._index_view = memoryview(self._indices).cast("B").cast("i")
        self._data_view = memoryview(self._data).cast("B")
        self._words = memoryview(self._control).cast("B").cast("I")
        self._longs = memoryview(self._control).cast("B").cast("Q")

    def receive(self, fd: int) -> Batch | None:
        """What waits in a socket, `BATCH` records at most, perhaps none; None once nobody can write to it any more."""
        ctypes.memmove(self._messages, self._fresh, len(self._fresh))
        count = self._call(fd, self._messages, BATCH, socket.MSG_DONTWAIT | socket.MSG_TRUNC, None)
        if count <= 0:
            return Batch([], [], [], [], [])
        step = _HEADER // 4
        controls = self._headers[10 : step * count : step].tolist()
        if not controls[-1]:  # without control messages it was not written by anybody: that is the end
            count = controls.index(0)
            if not count:
                return None
        sizes = self._headers[14 : step * count : step].tolist()
        return Batch(self._index_view[:count].tolist(), sizes, self._payloads(sizes), *self._origins(count))

    def _payloads(self, sizes: list[int]) -> Sequence[bytes]:
        """What follows the indices; mostly all have one size, and are taken in one step."""
        data, first = self._data_view, sizes[0] - _INDEX
        if 0 <= first <= _ROOM and sizes.count(sizes[0]) == len(sizes):
            return struct.unpack_from(f"{first}s{_ROOM - first}x" * len(sizes), data)
        return [
            bytes(data[at : at + size - _INDEX]) if size <= _ROOM + _INDEX else bytes(data[at : at + _ROOM])
            for at, size in zip(range(0, _ROOM * len(sizes), _ROOM), sizes, strict=True)
        ]

    def _origins(self, count: int) -> tuple[list[int], list[int]]:
        """When each record was written, and by which process."""
        seconds = self._longs[2 : 8 * count : 8].tolist()
        parts = self._longs[3 : 8 * count : 8].tolist()
        behind = _real_to_monotonic_ns()
        times = [second * 1_000_000_000 + part - behind for second, part in zip(seconds, parts, strict=True)]
        return times, self._words[12 : 16 * count : 16].tolist()


def _real_to_monotonic_ns() -> int:
    """How far CLOCK_REALTIME, of which the stamps are, is ahead of CLOCK_MONOTONIC now."""
    looks = [(time.monotonic_ns(), time.time_ns(), time.monotonic_ns()) for _ in range(_CLOCK_LOOKS)]
    before, real, after = min(looks, key=lambda look: look[2] - look[0])
    return real - (before + after) // 2
