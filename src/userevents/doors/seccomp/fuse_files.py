"""Files of a FUSE mount that is nowhere: what the program gets is the file itself, with every errno exact."""

import os

from .listener import Call


class FuseFiles:
    """Files below `directory`, of a mount that somebody else's thread serves."""

    ioctls = False
    """They go to the file by themselves."""

    def __init__(self, directory: int) -> None:
        self._directory = directory

    def open(self, path: str, flags: int, call: Call) -> int:
        """Open for the caller; raises OSError."""
        return os.open(os.fsencode(path), flags | os.O_CLOEXEC, dir_fd=self._directory)

    def given(self, fd: int, call: Call) -> None:
        """The caller has it: ours is not needed."""
        os.close(fd)

    def ioctl(self, call: Call) -> int | None:
        """Never asked."""
        return None

    def close(self) -> None:
        """Let the mount go with its last file."""
        os.close(self._directory)
