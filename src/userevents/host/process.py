"""What /proc tells about a process: its name, ancestors, threads and privilege. Nothing here raises."""

import os

CAP_SYS_ADMIN = 21
CAP_PERFMON = 38


def _read(path: str, size: int = 4096) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def comm(pid: int) -> str:
    """Return the process's name as the kernel keeps it (15 bytes at most), "" if it is gone."""
    return _read(f"/proc/{pid}/comm").rstrip(b"\n").decode("utf-8", "replace")


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


def is_perfmon(pid: int) -> bool:
    """Whether the process has CAP_PERFMON or CAP_SYS_ADMIN, which persistent events ask for."""
    for line in _read(f"/proc/{pid}/status", 65536).splitlines():
        if line.startswith(b"CapEff:"):
            effective = int(line.split()[1], 16)
            return bool(effective >> CAP_PERFMON & 1 or effective >> CAP_SYS_ADMIN & 1)
    return False
