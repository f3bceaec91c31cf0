"""Events on a kernel that has user_events: registered by ioctl, written by one system call each.

The kernel keeps bit 0 of each event's word in this process's memory, and takes records through a descriptor. What
the process itself may do to either has shaped this file:

* Memory. The kernel writes to a word until the process is gone, so the words' pages are never given back.
* Threads. What is registered by a thread belongs to it and to the threads it starts, and goes when the last of them
  ends. Only the main thread surely lasts; for others a thread of our own registers, which does nothing but last.
* fork. A child gets copies of its forking thread's registrations only, and a bit that changes meanwhile may be stale
  in the copy. So it registers anew, in the other half of the words, before it lets go of the copies.
* Descriptors. Programs close those they do not know, and then get the same numbers for files of their own. Ours has a
  number that is given out last, and its identity is looked at whenever a write fails and after a fork.

Source: user_events contract, abi.md section 5, write.md, lifecycle.md section 6.
"""

import errno
import fcntl
import mmap
import os
from _thread import RLock, allocate_lock, get_native_id, start_new_thread
from collections.abc import Callable, Sequence
from resource import RLIMIT_NOFILE, getrlimit
from struct import Struct, pack, pack_into
from typing import Protocol

from ..abi.ring_buffer import RECORD_HEADER_SIZE
from ..abi.user_events import (
    DIAG_IOCSREG,
    DIAG_IOCSUNREG,
    MAX_USER_EVENTS,
    USER_REG,
    USER_REG_SIZE,
    USER_REG_WRITE_INDEX_OFFSET,
    USER_UNREG,
    USER_UNREG_SIZE,
)
from ..errors import Refused, Unusable
from ..fields import Field
from ..session import layout
from ..session.body import CutBody
from ..session.layout import COUNTER_NAMES
from ..session.producer import Declared
from .kernel_file import open_data

_WORD_SIZE = 4
_HALF = MAX_USER_EVENTS * _WORD_SIZE
_HIGHEST_FD = (1 << 14) - 1
_U32 = Struct("<I")


class Registrable(Protocol):
    """An event as the kernel backend sees it: its declaration, and where to tell it which word is its own."""

    declared: Declared
    fields: tuple[Field, ...]

    def bind(self, writer: "KernelWriter", words: "memoryview[int]", index: int) -> None:
        """Use this writer and word from now on."""


class KernelWriter:
    """This process's events in the kernel's user_events, whose open file is `fd`.

    A registration that the kernel refuses is kept in `refused` by the event's number, and its word stays 0. Safe for
    threads, signal handlers and destructors.
    """

    def __init__(self, fd: int) -> None:
        self._fd = _out_of_reach(fd)
        self._identity = _identity(self._fd)
        self._memory, self._address = _lasting_memory(2 * _HALF)
        self._half = 0
        self._lock = RLock()
        self._keeper: _Keeper | None = None
        self._events: list[Registrable] = []
        self._indices: list[bytes] = []
        self._ends: list[Callable[[bytes], int]] = []
        self._counters: list[list[int]] = []
        self.refused: dict[int, Refused] = {}

    def declare(self, event: Registrable) -> None:
        """Register an event, and tell it where; raises `Unusable` when there are too many."""
        index = len(self._events)
        if index == MAX_USER_EVENTS:
            raise Unusable(f"a process can register {MAX_USER_EVENTS} events with the kernel, and no more")
        self._events.append(event)
        self._indices.append(b"")
        self._ends.append(payload_end(event.fields))
        self._counters.append([0] * len(COUNTER_NAMES))
        if self._has_descriptor() or not self._recover():
            self._in_a_lasting_thread(lambda: self._register(index))
        event.bind(self, self._words(), index)

    def bind_all(self) -> None:
        """Tell every event once more that it writes here."""
        for index, event in enumerate(self._events):
            event.bind(self, self._words(), index)

    def _words(self) -> "memoryview[int]":
        """The enable words in use: of each event the one with its number, 1 while somebody listens."""
        return self._memory[self._half * _HALF : (self._half + 1) * _HALF].cast("I")

    # What an event calls.

    def commit(self, index: int, body: bytes) -> None:
        """Write one record of event `index`: of `body` (common header, payload, padding) the payload alone.

        Nothing is counted when the last listener has left since the word was looked at.
        """
        if not self._write(index, body[RECORD_HEADER_SIZE : self._ends[index](body)]):
            return
        with self._lock:
            self._counters[index][layout.ATTEMPTS] += 1
            if type(body) is CutBody:
                self._counters[index][layout.CUT] += body.cuts

    def drop(self, index: int, reason: int) -> None:
        """Count one attempt of event `index` that was dropped for `reason` (a counter of layout.py)."""
        with self._lock:
            self._counters[index][layout.ATTEMPTS] += 1
            self._counters[index][reason] += 1

    def await_answer(self, index: int) -> int:
        """Return the word of event `index`: the kernel has answered before the declaration ended."""
        return self._words()[index]

    def stats(self, index: int) -> dict[str, int]:
        """Return what was counted of event `index` in this process, by the names of its counters."""
        return dict(zip(COUNTER_NAMES, self._counters[index], strict=True))

    def after_fork_in_child(self) -> None:
        """Register all events for this process, with the bits as they are now."""
        self._lock = RLock()
        self._keeper = None
        self._counters = [[0] * len(COUNTER_NAMES) for _ in self._counters]
        inherited = self._address_of(0)
        self._half ^= 1
        words, can_register = self._words(), self._has_descriptor() or self._open_again()
        for index, event in enumerate(self._events):
            if can_register:
                self._register(index)
            event.bind(self, words, index)
            self._unregister(inherited + index * _WORD_SIZE)

    # Writing.

    def _write(self, index: int, payload: bytes) -> bool:
        """Whether the record was written; what it was dropped for is counted."""
        for again in (True, False):
            try:
                os.write(self._fd, self._indices[index] + payload)
                return True
            except OSError as error:
                if again and not self._has_descriptor() and self._recover():
                    continue
                if error.errno != errno.EBADF:
                    self.drop(index, layout.INVALID if error.errno in _BAD_DATA else layout.TRACER_GONE)
                elif not self._has_descriptor():
                    self.drop(index, layout.TRACER_GONE)
                return False
        return False

    def _recover(self) -> bool:
        """Open the file again, which somebody closed, and register everything with it; False if it cannot be had."""
        recovered = False

        def register_all() -> None:
            nonlocal recovered
            if self._has_descriptor():  # another thread was faster
                recovered = True
            elif self._open_again():
                recovered = True
                for index in range(len(self._events)):
                    self._unregister(self._address_of(index))
                    self._register(index)

        self._in_a_lasting_thread(register_all)
        return recovered

    def _has_descriptor(self) -> bool:
        return _identity(self._fd) == self._identity

    def _open_again(self) -> bool:
        try:
            self._fd = _out_of_reach(open_data())
        except Unusable:
            return False
        self._identity = _identity(self._fd)
        return True

    # Registering.

    def _address_of(self, index: int) -> int:
        return self._address + self._half * _HALF + index * _WORD_SIZE

    def _register(self, index: int) -> None:
        declared = self._events[index].declared
        text, text_address = _c_string(declared.text)
        request = bytearray(USER_REG_SIZE)
        pack_into(
            USER_REG, request, 0, USER_REG_SIZE, 0, _WORD_SIZE, declared.flags, self._address_of(index), text_address, 0
        )
        try:
            fcntl.ioctl(self._fd, DIAG_IOCSREG, request, True)
        except OSError as error:
            self.refused[index] = Refused(error.errno or 0, _why_refused(declared.text, error))
            return
        finally:
            del text  # it had to live as long as the call
        self.refused.pop(index, None)
        self._indices[index] = bytes(request[USER_REG_WRITE_INDEX_OFFSET:])

    def _unregister(self, address: int) -> None:
        try:
            fcntl.ioctl(self._fd, DIAG_IOCSUNREG, pack(USER_UNREG, USER_UNREG_SIZE, 0, 0, 0, address))
        except OSError:  # there is none: the forking thread had none, or registering it was refused
            pass

    def _in_a_lasting_thread(self, work: Callable[[], None]) -> None:
        with self._lock:
            if self._keeper is None and get_native_id() != os.getpid():
                try:
                    self._keeper = _Keeper()
                except RuntimeError:  # the interpreter is ending: nothing has to last any more
                    pass
            if self._keeper is None or get_native_id() == os.getpid():
                work()
            else:
                self._keeper.do(work)


class _Keeper:
    """A thread that lasts as long as the process, and does what it is given."""

    def __init__(self) -> None:
        self._given = allocate_lock()
        self._done = allocate_lock()
        self._given.acquire()
        self._done.acquire()
        self._work: Callable[[], None] = _nothing
        start_new_thread(self._run, ())

    def do(self, work: Callable[[], None]) -> None:
        """Have `work` done, and wait for it; one caller at a time."""
        self._work = work
        self._given.release()
        self._done.acquire()

    def _run(self) -> None:
        while True:
            self._given.acquire()
            try:
                self._work()
            finally:
                self._work = _nothing
                self._done.release()


_BAD_DATA = (errno.EFAULT, errno.EINVAL)


def _nothing() -> None:
    """No work."""


def _identity(fd: int) -> tuple[int, int] | None:
    try:
        found = os.fstat(fd)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _out_of_reach(fd: int) -> int:
    """Return the descriptor under the number that is given out last, or, where that is far, after 16383 others."""
    last = getrlimit(RLIMIT_NOFILE)[0] - 1
    try:
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, last if 0 < last < _HIGHEST_FD else _HIGHEST_FD)
    except OSError:  # somebody has it
        return fd
    os.close(fd)
    return high


def _lasting_memory(size: int) -> tuple["memoryview[int]", int]:
    """Return private zeroed memory that is never unmapped, and its address."""
    try:
        import ctypes
    except ImportError as error:
        raise Unusable(f"the address of memory cannot be had without Python's ctypes: {error}") from None
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(memory))  # for good
    return memoryview(memory), ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _c_string(text: bytes) -> tuple[object, int]:
    """Return a NUL-terminated string and its address, valid as long as the string lives."""
    import ctypes

    buffer = ctypes.create_string_buffer(text)
    return buffer, ctypes.addressof(buffer)


def payload_end(fields: Sequence[Field]) -> Callable[[bytes], int]:
    """Return what finds the end of the payload in a record's body, which may be padded: after the last dynamic data."""
    end = RECORD_HEADER_SIZE + sum(field.size for field in fields)
    dynamic = [field for field in fields if field.ctype.startswith(("__data_loc ", "__rel_loc "))]
    if not dynamic:
        return lambda body: end
    last = dynamic[-1]
    at = last.offset
    base = 0 if last.ctype.startswith("__data_loc ") else at + _WORD_SIZE

    def end_of_last(body: bytes) -> int:
        (location,) = _U32.unpack_from(body, at)
        return int(base + (location & 0xFFFF) + (location >> 16))

    return end_of_last


def _why_refused(text: bytes, error: OSError) -> str:
    shown = text.decode("utf-8", "replace")
    if error.errno == errno.EADDRINUSE:
        return f"the kernel has another event of this name; this declaration says '{shown}' (multi_format keeps both)"
    if error.errno == errno.EPERM:
        return f"the kernel lets '{shown}' persist only for a process with CAP_PERFMON"
    return f"the kernel does not register '{shown}': {error.strerror}"
