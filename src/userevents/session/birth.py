"""Bringing a file into a runtime directory all at once: complete under its name, or not there at all.

A process may be killed between any two calls, and files must not pile up: so the file has no name until it is ready.
"""

import os
from collections.abc import Callable


def make_file(path: str, prepare: Callable[[int], None]) -> int:
    """Make a file of mode 0600, let `prepare` fill it, give it its name; return its open descriptor.

    Raises `FileExistsError` if the name is taken, and whatever `prepare` raises; then nothing is left.
    """
    directory = os.path.dirname(path)
    try:
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except (IsADirectoryError, NotADirectoryError, FileNotFoundError):
        raise
    except OSError:
        return _make_named(path, prepare)
    try:
        prepare(fd)
        try:
            # A directory descriptor, of whatever kind, makes os.link call linkat, which follows the link.
            os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
        except FileNotFoundError:  # no /proc here
            os.close(fd)
            return _make_named(path, prepare)
    except BaseException:
        _close(fd)
        raise
    return fd


def _make_named(path: str, prepare: Callable[[int], None]) -> int:
    """The same where files without a name cannot be had: made under another name first."""
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        prepare(fd)
        os.link(temporary, path)
    except BaseException:
        _close(fd)
        raise
    finally:
        os.unlink(temporary)
    return fd


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass
