"""The FUSE door: the tree mounted as a file system, for programs and tools that know only the kernel's files."""

from .door import FuseDoor
from .mount import Mounted, mount, unmount
from .private import DetachedMount, PrivateMount

__all__ = ["DetachedMount", "FuseDoor", "Mounted", "PrivateMount", "mount", "unmount"]
