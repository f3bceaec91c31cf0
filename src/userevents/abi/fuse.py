"""The FUSE protocol: what the kernel writes to and reads from ``/dev/fuse``. Numbers and layouts only.

All structures are little endian here; a layout's docstring names its fields in order.
Source: the kernel's own header, ``include/uapi/linux/fuse.h`` (protocol 7.45), its numbers only.
"""

from struct import Struct
from typing import Final

MAJOR: Final = 7
MINOR: Final = 38
"""The newest minor version spoken; with an older kernel, the kernel's."""

IN_HEADER: Final = Struct("<IIQQIIIHH")
"""length, opcode, unique, node, uid, gid, thread id of the caller (0: not visible), extensions, padding."""
OUT_HEADER: Final = Struct("<IiQ")
"""length, negative errno or 0, unique (0: a notification, and the second field is its kind)."""

LOOKUP: Final = 1
FORGET: Final = 2
GETATTR: Final = 3
SETATTR: Final = 4
SYMLINK: Final = 6
MKNOD: Final = 8
MKDIR: Final = 9
UNLINK: Final = 10
RMDIR: Final = 11
RENAME: Final = 12
LINK: Final = 13
OPEN: Final = 14
READ: Final = 15
WRITE: Final = 16
STATFS: Final = 17
RELEASE: Final = 18
FLUSH: Final = 25
INIT: Final = 26
OPENDIR: Final = 27
READDIR: Final = 28
RELEASEDIR: Final = 29
CREATE: Final = 35
INTERRUPT: Final = 36
DESTROY: Final = 38
IOCTL: Final = 39
POLL: Final = 40
BATCH_FORGET: Final = 42
RENAME2: Final = 45

NOTIFY_POLL: Final = 1
NOTIFY_INVAL_INODE: Final = 2

INIT_IN: Final = Struct("<IIII")
"""major, minor, max_readahead, flags."""
INIT_OUT: Final = Struct("<IIIIHHIIHHII24x")
"""major, minor, max_readahead, flags, max_background, congestion_threshold, max_write, time_gran, max_pages,
map_alignment, flags2, max_stack_depth."""
ASYNC_READ: Final = 1 << 0
ATOMIC_O_TRUNC: Final = 1 << 3
BIG_WRITES: Final = 1 << 5
PARALLEL_DIROPS: Final = 1 << 18
MAX_PAGES: Final = 1 << 22

ATTR: Final = Struct("<6Q10I")
"""ino, size, blocks, atime, mtime, ctime, their nanoseconds, mode, nlink, uid, gid, rdev, blksize, flags."""
ENTRY_OUT: Final = Struct("<QQQQII")
"""node, generation, validity of the name and of the attributes in seconds, and in nanoseconds; ATTR follows."""
ATTR_OUT: Final = Struct("<QII")
"""validity in seconds, in nanoseconds, 0; ATTR follows."""
SETATTR_IN: Final = Struct("<IIQQQQQQIIIIIIII")
"""valid, 0, fh, size, lock owner, atime, mtime, ctime, their nanoseconds, mode, 0, uid, gid, 0."""
SETATTR_MODE: Final = 1 << 0
SETATTR_UID: Final = 1 << 1
SETATTR_GID: Final = 1 << 2

OPEN_IN: Final = Struct("<II")
"""flags, open flags."""
OPEN_OUT: Final = Struct("<QII")
"""fh, FOPEN flags, 0."""
FOPEN_DIRECT_IO: Final = 1
FOPEN_NONSEEKABLE: Final = 4
FOPEN_STREAM: Final = 16
FOPEN_NOFLUSH: Final = 32
FOPEN_PARALLEL_DIRECT_WRITES: Final = 64

READ_IN: Final = Struct("<QQIIQII")
"""fh, offset, size, read flags, lock owner, flags of the open file, 0."""
READ_LOCKOWNER: Final = 2
"""Read flag of every read that does not fill the page cache."""
WRITE_IN: Final = Struct("<QQIIQII")
"""fh, offset, size, write flags, lock owner, flags of the open file, 0; the data follows."""
WRITE_OUT: Final = Struct("<II")
"""size, 0."""
RELEASE_IN: Final = Struct("<QIIQ")
"""fh, flags, release flags, lock owner."""
DIRENT: Final = Struct("<QQII")
"""ino, offset of the next entry, length of the name, kind; the name follows, padded with zeros to 8."""
DT_DIR: Final = 4
DT_REG: Final = 8
STATFS_OUT: Final = Struct("<5Q4I24x")
"""blocks, free, available, files, free files, block size, name length, fragment size, 0."""
FORGET_IN: Final = Struct("<Q")
"""look-ups to forget."""
BATCH_FORGET_IN: Final = Struct("<II")
"""number of entries, 0; each is FORGET_ONE."""
FORGET_ONE: Final = Struct("<QQ")
"""node, look-ups."""
MKDIR_IN: Final = Struct("<II")
"""mode, umask; the name follows."""
INTERRUPT_IN: Final = Struct("<Q")
"""unique of the request that shall end."""
IOCTL_IN: Final = Struct("<QIIQII")
"""fh, flags, command, argument, bytes in, bytes out."""
IOCTL_OUT: Final = Struct("<iIII")
"""result, flags, vectors in, vectors out."""
POLL_IN: Final = Struct("<QQII")
"""fh, handle for the notification, flags, events."""
POLL_SCHEDULE_NOTIFY: Final = 1
POLL_OUT: Final = Struct("<II")
"""ready events, 0."""
POLL_WAKEUP: Final = Struct("<Q")
"""handle."""

ROOT: Final = 1
"""The node of the mounted directory."""
CLONE_DEVICE: Final = 0x8004E500
"""ioctl on a fresh ``/dev/fuse``: share the connection of another descriptor."""
