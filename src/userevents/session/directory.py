"""The runtime directory: where sessions of one user meet their tracer, and whether a directory will do.

$USEREVENTS_DIR alone if set; else /run/userevents/UID, $XDG_RUNTIME_DIR/userevents, /dev/shm/userevents-UID:
a program uses the first that serves, a tracer looks in all of them (and in /run/user/UID, which a service
of the same user may see as its own).
"""

import os
import stat

from ..errors import Unusable
from .layout import RINGS
from .untrusted import owner

SYSTEM = "/run/userevents"
"""Where the system's tracer has its socket, and a directory for each user."""

_MEMORY_FILESYSTEMS = ("tmpfs", "ramfs")


def candidates() -> list[str]:
    """Return the directories a program of this user tries, best first."""
    chosen = os.environ.get("USEREVENTS_DIR")
    if chosen:
        return [chosen]
    uid = os.geteuid()
    found = [f"{SYSTEM}/{uid}"]
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        found.append(os.path.join(runtime, "userevents"))
    found.append(f"/dev/shm/userevents-{uid}")
    return found


def tracer_candidates() -> list[str]:
    """Return the directories a tracer of this user serves: all that any program of this user may choose."""
    found = candidates()
    if not os.environ.get("USEREVENTS_DIR"):
        logind = f"/run/user/{os.geteuid()}/userevents"
        if logind not in found and os.path.isdir(os.path.dirname(logind)):
            found.insert(-1, logind)
    return found


def of_user(uid: int) -> list[str]:
    """Return the directories that programs of a user may have chosen, for the system's tracer."""
    return [f"{SYSTEM}/{uid}", f"/run/user/{uid}/userevents", f"/dev/shm/userevents-{uid}"]


def prepare_system() -> None:
    """Make the directory of the system's tracer, or raise `Unusable` if it is not root's alone to write."""
    try:
        os.mkdir(SYSTEM, 0o755)
        os.chmod(SYSTEM, 0o755)
    except FileExistsError:
        pass
    except OSError as error:
        raise Unusable(f"'{SYSTEM}' cannot be made: {error.strerror}") from None
    found = os.lstat(SYSTEM)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid or stat.S_IMODE(found.st_mode) & 0o022:
        raise Unusable(f"'{SYSTEM}' must be a directory of root that nobody else may write to (chmod 755)")


def prepare(path: str) -> str:
    """Make `path` a runtime directory if it is not one, and return it.

    Its parent must exist. It must be a real directory of ours, closed to others (0700), in memory
    (a tmpfs: a trace must never wait for a disk, and fallocate must mean what it says).

    Raises `Unusable` saying which of these fails, with the owner, mode or file system found.
    """
    if not path.startswith(f"{SYSTEM}/"):
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise Unusable(f"runtime directory '{path}' cannot be made: {error.strerror}") from None
    check(path)
    try:
        os.mkdir(os.path.join(path, RINGS), 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise Unusable(f"runtime directory '{path}' cannot be written: {error.strerror}") from None
    return path


def check(path: str) -> None:
    """Raise `Unusable` unless `path` may serve as a runtime directory (see `prepare`); changes nothing."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise Unusable(f"runtime directory '{path}': {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise Unusable(f"runtime directory '{path}' is not a directory (a symbolic link will not do)")
    if found.st_uid != owner():
        raise Unusable(f"runtime directory '{path}' belongs to uid {found.st_uid}, not to uid {owner()}")
    if stat.S_IMODE(found.st_mode) & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise Unusable(f"runtime directory '{path}' is open to others (mode {mode:04o}); it must be 0700")
    kind = filesystem(found.st_dev)
    if kind is not None and kind not in _MEMORY_FILESYSTEMS:
        raise Unusable(f"runtime directory '{path}' is on {kind}; it must be on a tmpfs (such as /dev/shm)")


def filesystem(device: int) -> str | None:
    """Return the type of the mounted file system with this st_dev, or None where /proc does not tell."""
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                left, _, right = line.partition(" - ")
                if left.split(" ", 3)[2] == wanted:
                    return right.split(" ", 1)[0]
    except (OSError, IndexError):
        pass
    return None


def program_directory() -> str:
    """Return the first directory that serves a program of this user, made ready.

    Raises `Unusable` with the reason of each one that was tried.
    """
    reasons = []
    for path in candidates():
        try:
            return prepare(path)
        except Unusable as error:
            reasons.append(str(error))
    raise Unusable("; ".join(reasons))


def tracer_directories() -> list[str]:
    """Return every directory of this user that can be served, made ready.

    Raises `Unusable` with the reasons when there is none.
    """
    ready: list[str] = []
    reasons = []
    for path in tracer_candidates():
        try:
            ready.append(prepare(path))
        except Unusable as error:
            reasons.append(str(error))
    if not ready:
        raise Unusable("; ".join(reasons))
    return ready
