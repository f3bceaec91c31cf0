"""What /proc tells about a process: its name, ancestors, threads and privilege. Nothing here raises."""

import ctypes
import functools
import os
from struct import Struct

_AUXV = Struct("@NN")
_YAMA = "/proc/sys/kernel/yama/ptrace_scope"
_AT_RANDOM = 25
_STAT_SIZE = 4096
_CPU_PLACE = 36
"""Field 39 of a stat file, counted from the one behind the name, which is the third."""
CAP_SYS_ADMIN = 21
CAP_PERFMON = 38
_CAPABILITY_VERSION = 0x20080522
_WORDS_A_SET = 3
_EFFECTIVE = 0
_libc = ctypes.CDLL(None)
_capabilities = (ctypes.c_uint32 * (2 * _WORDS_A_SET))()
"""What capget stores: effective, permitted and inheritable, the low words of each and then the high ones."""


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _read(path: str, size: int = 4096) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def comm(pid: int) -> str:
    """Return the process's name as the kernel keeps it (15 bytes at most), "" if it is gone."""
    return _read(f"/proc/{pid}/comm").rstrip(b"\n").decode("utf-8", "replace")


def comm_and_cpu(pid: int, tid: int) -> tuple[str, int]:
    """Return a thread's name, and the CPU on which it runs or ran last; "" and 0 if it is gone.

    Source: proc_pid_stat(5), fields 2 and 39. One read of it takes as long as one of ``comm``.
    """
    try:
        fd = os.open(f"/proc/{pid}/task/{tid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return "", 0
    try:
        name, _, rest = os.read(fd, _STAT_SIZE).partition(b"(")[2].rpartition(b") ")
    except OSError:
        return "", 0
    finally:
        os.close(fd)
    return name.decode("utf-8", "replace"), int(rest.split(b" ", _CPU_PLACE + 1)[_CPU_PLACE])


def uid(pid: int) -> int:
    """Return whose process it is, root's if it is gone."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return 0


def parent(pid: int) -> int:
    """Return the parent's pid, 0 if unknown."""
    text = _read(f"/proc/{pid}/stat")
    fields = text[text.rfind(b")") + 2 :].split()
    return int(fields[1]) if len(fields) > 1 else 0


def ancestors(pid: int, known_parent: int = 0) -> tuple[int, ...]:
    """Return the pids of the parent, its parent and so on; `known_parent` serves where `pid` is gone already."""
    found: list[int] = []
    current = parent(pid) or known_parent
    while current > 0 and current not in found and len(found) < 64:
        found.append(current)
        current = parent(current)
    return tuple(found)


def threads(pid: int) -> dict[int, str]:
    """Return {thread id: name} of a live process."""
    try:
        ids = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (OSError, ValueError):
        return {}
    names = {tid: _read(f"/proc/{pid}/task/{tid}/comm").rstrip(b"\n").decode("utf-8", "replace") for tid in ids[:4096]}
    return {tid: name for tid, name in names.items() if name}


def thread_ids(pid: int) -> list[int]:
    """Return the thread ids of a process, none if it is gone."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except (OSError, ValueError):
        return []


def leader(tid: int) -> int:
    """Return the process that a thread belongs to, 0 if it is gone."""
    for line in _read(f"/proc/{tid}/status").splitlines():
        if line.startswith(b"Tgid:"):
            return int(line.split()[1])
    return 0


def children(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    found: list[int] = []
    for tid in thread_ids(pid):
        found += [int(word) for word in _read(f"/proc/{pid}/task/{tid}/children", 1 << 20).split()]
    return found


def is_same_program(one: int, other: int) -> bool:
    """Whether two processes run the same exec: a fork has the random bytes of its parent at the same address."""
    auxv = _read(f"/proc/{one}/auxv")
    return bool(auxv) and auxv == _read(f"/proc/{other}/auxv") and _random_bytes(one) == _random_bytes(other) != b""


def _random_bytes(pid: int) -> bytes:
    """Return the 16 random bytes that the kernel gave the program at its start (AT_RANDOM)."""
    words = _AUXV.iter_unpack(_whole(_read(f"/proc/{pid}/auxv"), _AUXV.size))
    address = next((value for kind, value in words if kind == _AT_RANDOM), 0)
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            return os.pread(memory.fileno(), 16, address) if address else b""
    except OSError:
        return b""


def _whole(data: bytes, size: int) -> bytes:
    return data[: len(data) // size * size]


def ptrace_scope() -> int:
    """Return Yama's setting: 0 where users may look at all their processes, and where there is no Yama."""
    try:
        with open(_YAMA, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 0


def is_privileged(tid: int) -> bool:
    """Whether a thread has CAP_PERFMON or CAP_SYS_ADMIN in our own user namespace."""
    return is_perfmon(tid) and _user_namespace(tid) == _own_user_namespace() != 0


@functools.cache
def _own_user_namespace() -> int:
    return _user_namespace("self")


def _user_namespace(tid: int | str) -> int:
    try:
        return os.stat(f"/proc/{tid}/ns/user").st_ino
    except OSError:
        return 0


def is_perfmon_with(pid: int, inode: int) -> bool:
    """Whether a process is perfmon and seen to have a file of this inode mapped: a pid alone may be borrowed."""
    if not is_perfmon(pid):
        return False
    wanted = str(inode).encode()
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return any(len(parts := line.split(None, 5)) > 4 and parts[4] == wanted for line in file)
    except OSError:
        return False


def thread_name(pid: int, tid: int) -> str:
    """Return the name of a thread of a process as the kernel keeps it, "" if it is gone."""
    return _read(f"/proc/{pid}/task/{tid}/comm").rstrip(b"\n").decode("utf-8", "replace")


def is_perfmon(pid: int) -> bool:
    """Whether the process has CAP_PERFMON or CAP_SYS_ADMIN, which persistent events ask for."""
    header = _CapabilityHeader(_CAPABILITY_VERSION, pid)
    if _libc.capget(ctypes.byref(header), _capabilities):
        return False
    low, high = _capabilities[_EFFECTIVE], _capabilities[_EFFECTIVE + _WORDS_A_SET]
    effective = high << 32 | low
    return bool(effective >> CAP_PERFMON & 1 or effective >> CAP_SYS_ADMIN & 1)
