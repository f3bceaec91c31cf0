"""Doing something to another user's files with that user's rights, so that no trick of theirs reaches further.

A system tracer works in directories whose owners may swap a name for a link at any moment. Checks would race with
that. So every open, listing, making and removing there is done as the owner: the kernel then refuses what the owner
could not do either, and what is made belongs to the owner from the start.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator

from ..errors import Unusable
from ..session.untrusted import owned_by

_NOBODY = 0xFFFFFFFF
"""No user: setfsuid with it changes nothing, and returns who it is now."""
_libc = ctypes.CDLL(None)
for _call in (_libc.setfsuid, _libc.setfsgid):
    _call.argtypes = [ctypes.c_uint32]


@contextlib.contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Open and change files as this user, in this thread alone, until it ends; as ourselves nothing is changed.

    Supplementary groups stay ours: who acts as others must have none. Raises `Unusable` if we may not.
    """
    mine = os.geteuid()
    if uid == mine:
        yield
        return
    my_group = os.getegid()
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)
    try:
        if (_libc.setfsuid(_NOBODY), _libc.setfsgid(_NOBODY)) != (uid, gid):
            raise Unusable(f"uid {mine} may not act as uid {uid} (CAP_SETUID, CAP_SETGID)")
        with owned_by(uid):
            yield
    finally:
        _libc.setfsuid(mine)
        _libc.setfsgid(my_group)
