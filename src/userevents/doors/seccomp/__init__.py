"""The seccomp door: a supervisor that hands files of the tree to a program which opens them; no namespace, no root."""

from .door import SeccompDoor
from .filtered import FilteredProgram
from .fuse_files import FuseFiles
from .socket_files import SocketFiles

__all__ = ["FilteredProgram", "FuseFiles", "SeccompDoor", "SocketFiles"]
