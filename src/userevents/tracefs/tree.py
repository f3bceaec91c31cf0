"""The tree: paths to nodes, who may open them, and how many have an instance's files open.

Every door speaks to this class only. It never blocks: a read that has nothing yet is EAGAIN.
"""

import errno
from collections.abc import Callable
from typing import NamedTuple

from ..abi import tracefs as abi
from ..engine import Caller, Task, UserEvent
from ..errors import Refused
from ..instance import Instance
from .directories import TopDirectory
from .node import Directory, File, Node, OpenNode, Place
from .system import TOP, System

_READ, _WRITE, _SEARCH = 4, 2, 1
_OWNER_WRITES, _GROUP_WRITES = 0o200, 0o020


class NodeStat(NamedTuple):
    """What stat says of a node."""

    mode: int
    size: int = 0
    """Always 0, as in the kernel: read to find out."""
    owner: object = None
    """The event or else the instance whose file it is: another one's file of the same name is another file."""
    uid: int | None = None
    """The owner that chown gave it; None: the tree's."""
    gid: int | None = None


class _Access(NamedTuple):
    """Who may use a node, and whose file that node is."""

    mode: int
    uid: int | None
    gid: int | None
    event: UserEvent | None
    instance: Instance


class Tree:
    """The virtual file tree of one `System`. Raises `Refused` only.

    `uid` and `gid` own every node; without `uid` nobody's permissions are checked (the door has done it). `mode` is
    that of the first directory; where it lets the group write, the group may write whatever the owner may.
    """

    def __init__(
        self, system: System, *, uid: int | None = None, gid: int | None = None, mode: int = abi.MODE_ROOT
    ) -> None:
        self.system = system
        self._mode = mode & abi.MODE_BITS
        self.uid = uid
        self.gid = gid
        self._opens: dict[Instance, int] = {}
        self._changed: dict[str, _Access] = {}
        """What chmod and chown changed, by path."""

    def open(self, path: str, flags: int, caller: Caller, task: Task | None = None) -> OpenNode:
        """Open a file, for `task` where the door knows it.

        ENOENT, ENOTDIR, EISDIR or EACCES as for any file; a node may refuse, too.
        """
        self.system.catch_up(patiently=True)
        node = self._walk(path, caller)
        if not isinstance(node, File):
            raise Refused(errno.EISDIR, f"'{path}' is a directory")
        access = flags & abi.O_ACCMODE
        self._permit(node, _READ * (access != abi.O_WRONLY) | _WRITE * (access != abi.O_RDONLY), path, caller)
        instance = node.place.instance
        opened = OpenNode(node, path, flags, caller, lambda: self._closed(instance), task)
        node.opened(opened)
        self.system.settle()
        self._opens[instance] = self._opens.get(instance, 0) + 1
        return opened

    def listdir(self, path: str, caller: Caller | None = None) -> list[str]:
        """The names in a directory."""
        self.system.catch_up()
        directory = self._directory(path, caller)
        self._permit(directory, _READ, path, caller)
        return directory.names()

    def mkdir(self, path: str, caller: Caller | None = None) -> None:
        """Make a directory: in ``instances/`` that makes an instance, elsewhere it is EPERM."""
        parent, name = _split(path)
        directory = self._directory(parent, caller)
        self._permit(directory, _WRITE | _SEARCH, parent, caller)
        if len(name) > abi.NAME_MAX:
            raise Refused(errno.ENAMETOOLONG, f"a name of {len(name)} bytes; at most {abi.NAME_MAX} fit")
        if directory.child(name) is not None:
            raise Refused(errno.EEXIST, f"'{path}' exists")
        directory.make(name)

    def rmdir(self, path: str, caller: Caller | None = None) -> None:
        """Remove an instance: EBUSY while a file of it is open, EPERM for any other directory.

        Source: user_events contract, tracefs.md section 9.
        """
        parent, name = _split(path)
        directory = self._directory(parent, caller)
        self._permit(directory, _WRITE | _SEARCH, parent, caller)
        node = directory.child(name)
        if node is None:
            raise Refused(errno.ENOENT, f"'{path}' does not exist")
        if not isinstance(node, Directory):
            raise Refused(errno.ENOTDIR, f"'{path}' is a file")
        if node.place.instance is not self._top and self._opens.get(node.place.instance):
            raise Refused(errno.EBUSY, f"a file of '{path}' is open; close it first")
        directory.remove(name)
        self.system.settle()

    def exists(self, path: str) -> bool:
        """Whether `path` leads to a node."""
        try:
            self._walk(path, None)
        except Refused:
            return False
        return True

    def identity(self, path: str) -> object:
        """The instance that `path` belongs to now, for telling it from a later one of the same name; None if none."""
        try:
            return self._walk(path, None).place.instance
        except Refused:
            return None

    def stat(self, path: str, caller: Caller | None = None) -> NodeStat:
        """Kind and mode of a node."""
        self.system.catch_up()
        node = self._walk(path, caller)
        access = self._access(node, _clean(path))
        return NodeStat(
            node.mode & abi.S_IFMT | access.mode, 0, node.place.event or node.place.instance, access.uid, access.gid
        )

    def chmod(self, path: str, mode: int, caller: Caller | None = None) -> None:
        """Change who may use a node; EPERM for all but its owner and root."""
        self._change(path, caller, lambda access: access._replace(mode=mode & abi.MODE_BITS))

    def chown(self, path: str, uid: int | None, gid: int | None, caller: Caller | None = None) -> None:
        """Give a node to another user or group (None: as it is); EPERM for all but its owner and root."""

        def change(access: _Access) -> _Access:
            return access._replace(uid=access.uid if uid is None else uid, gid=access.gid if gid is None else gid)

        self._change(path, caller, change)

    def _change(self, path: str, caller: Caller | None, change: "Callable[[_Access], _Access]") -> None:
        node = self._walk(path, caller)
        access = self._access(node, _clean(path))
        if caller is not None and caller.uid not in (0, access.uid):
            raise Refused(errno.EPERM, f"'{path}' is not the user {caller.uid}'s")
        self._changed[_clean(path)] = change(access)

    def _access(self, node: Node, path: str) -> "_Access":
        """Who may use a node; what was changed for an event does not hold for its later namesake."""
        place = node.place
        changed = self._changed.get(path)
        if changed is not None and changed.event is place.event and changed.instance is place.instance:
            return changed
        mode = node.mode & abi.MODE_BITS if _clean(path) else self._mode
        if self._mode & _GROUP_WRITES:
            mode |= (mode & _OWNER_WRITES) >> 3
        return _Access(mode, self.uid, self.gid, place.event, place.instance)

    @property
    def _top(self) -> Instance:
        return self.system.instances[TOP]

    def _closed(self, instance: Instance) -> None:
        self._opens[instance] -= 1
        if not self._opens[instance]:
            del self._opens[instance]

    def _directory(self, path: str, caller: Caller | None) -> Directory:
        node = self._walk(path, caller)
        if not isinstance(node, Directory):
            raise Refused(errno.ENOTDIR, f"'{path}' is not a directory")
        return node

    def _walk(self, path: str, caller: Caller | None) -> Node:
        node: Node = TopDirectory(Place(self.system, self._top))
        here = ""
        for name in (part for part in path.split("/") if part not in ("", ".")):
            if not isinstance(node, Directory):
                raise Refused(errno.ENOTDIR, f"'{path}' goes through a file")
            self._permit(node, _SEARCH, here, caller)
            found = node.child(name)
            if found is None:
                raise Refused(errno.ENOENT, f"'{path}' does not exist")
            node = found
            here = f"{here}/{name}" if here else name
        return node

    def _permit(self, node: Node, wanted: int, path: str, caller: Caller | None) -> None:
        """EACCES unless the mode lets `caller` do all of `wanted`; root may everything."""
        if self.uid is None or caller is None or caller.uid == 0:
            return
        access = self._access(node, _clean(path))
        if caller.uid == access.uid:
            granted = access.mode >> 6
        elif caller.gid == access.gid:
            granted = access.mode >> 3
        else:
            granted = access.mode
        if wanted & ~granted:
            raise Refused(errno.EACCES, f"'{path}': the user {caller.uid} may not do this to a file of {self.uid}")


def _clean(path: str) -> str:
    """A path without needless parts."""
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def _split(path: str) -> tuple[str, str]:
    """The directory and the name; ENOENT for an empty name, ``.`` and ``..``."""
    parent, _, name = path.rstrip("/").rpartition("/")
    if name in ("", ".", ".."):
        raise Refused(errno.ENOENT, f"'{path}' names no directory to make or remove")
    return parent, name
