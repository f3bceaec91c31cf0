"""What requests ask about names: look-ups, attributes, directories."""

import errno
from collections.abc import Mapping
from typing import Final

from ...abi import fuse, tracefs
from ...errors import Refused
from ...tracefs import NodeStat, Tree
from .channel import Operation, Request
from .nodes import Nodes

_BLOCK: Final = 4096
_FOREVER: Final = 1 << 40
"""The size shown of a file of pages: splice reads no further than that."""


class Names:
    """The names of `tree`, whose files belong to `uid` and `gid` until somebody changes that."""

    def __init__(self, tree: Tree, uid: int, gid: int) -> None:
        self._tree = tree
        self._uid = uid
        self._gid = gid
        self._nodes = Nodes()
        self.operations: Mapping[int, Operation] = {
            fuse.LOOKUP: self._look_up,
            fuse.FORGET: self._forget,
            fuse.BATCH_FORGET: self._batch_forget,
            fuse.GETATTR: self._getattr,
            fuse.SETATTR: self._setattr,
            fuse.MKNOD: self._refuse_creation,
            fuse.CREATE: self._refuse_creation,
            fuse.SYMLINK: self._refuse_change,
            fuse.LINK: self._refuse_change,
            fuse.UNLINK: self._refuse_change,
            fuse.RENAME: self._refuse_change,
            fuse.RENAME2: self._refuse_change,
            fuse.MKDIR: self._mkdir,
            fuse.RMDIR: self._rmdir,
            fuse.STATFS: self._statfs,
            fuse.OPENDIR: self._opendir,
            fuse.READDIR: self._readdir,
            fuse.RELEASEDIR: self._nothing,
        }

    def stat(self, node: int) -> tuple[str, NodeStat]:
        """Path and attributes of a node; ENOENT once its file is gone, also if a namesake came."""
        path = self._path(node)
        stat = self._tree.stat(path)
        if not self._nodes.is_current(node, stat.owner):
            raise Refused(errno.ENOENT, f"'{path}' is gone")
        return path, stat

    def _path(self, node: int) -> str:
        path = self._nodes.path(node)
        if path is None:
            raise Refused(errno.ESTALE, f"node {node} is not known")
        return path

    def _child(self, request: Request, offset: int = 0) -> str:
        return _joined(self._path(request.node), request.name(offset))

    def _look_up(self, request: Request) -> bytes:
        return self._entry(self._child(request))

    def _entry(self, path: str) -> bytes:
        """Name and attributes, neither to be kept: the tree changes by itself."""
        stat = self._tree.stat(path)
        node = self._nodes.look_up(path, stat.owner)
        return fuse.ENTRY_OUT.pack(node, 0, 0, 0, 0, 0) + self._attributes(node, path, stat)

    def _forget(self, request: Request) -> None:
        self._nodes.forget(request.node, *fuse.FORGET_IN.unpack_from(request.body))

    def _batch_forget(self, request: Request) -> None:
        count, _ = fuse.BATCH_FORGET_IN.unpack_from(request.body)
        size = fuse.FORGET_ONE.size
        entries = request.body[fuse.BATCH_FORGET_IN.size :]
        for node, lookups in fuse.FORGET_ONE.iter_unpack(entries[: min(count, len(entries) // size) * size]):
            self._nodes.forget(node, lookups)

    def _getattr(self, request: Request) -> bytes:
        path, stat = self.stat(request.node)
        return fuse.ATTR_OUT.pack(0, 0, 0) + self._attributes(request.node, path, stat)

    def _setattr(self, request: Request) -> bytes:
        path, _ = self.stat(request.node)
        valid, *_, mode, _, uid, gid, _ = fuse.SETATTR_IN.unpack_from(request.body)
        if valid & fuse.SETATTR_MODE:
            self._tree.chmod(path, mode)
        if valid & (fuse.SETATTR_UID | fuse.SETATTR_GID):
            self._tree.chown(path, uid if valid & fuse.SETATTR_UID else None, gid if valid & fuse.SETATTR_GID else None)
        return self._getattr(request)

    def _attributes(self, node: int, path: str, stat: NodeStat) -> bytes:
        links = 2 if _is_directory(stat) else 1
        size = _FOREVER if path.endswith(tracefs.TRACE_PIPE_RAW) else 0
        uid = self._uid if stat.uid is None else stat.uid
        gid = self._gid if stat.gid is None else stat.gid
        return fuse.ATTR.pack(node, size, 0, 0, 0, 0, 0, 0, 0, stat.mode, links, uid, gid, 0, _BLOCK, 0)

    def _statfs(self, request: Request) -> bytes:
        return fuse.STATFS_OUT.pack(0, 0, 0, 0, 0, _BLOCK, tracefs.NAME_MAX, _BLOCK, 0)

    def _refuse_creation(self, request: Request) -> bytes:
        raise Refused(errno.EACCES, "files are not made by hand here")

    def _refuse_change(self, request: Request) -> bytes:
        raise Refused(errno.EPERM, "the tree is not changed by hand")

    def _mkdir(self, request: Request) -> bytes:
        path = self._child(request, fuse.MKDIR_IN.size)
        self._tree.mkdir(path)
        return self._entry(path)

    def _rmdir(self, request: Request) -> bytes:
        self._tree.rmdir(self._child(request))
        return b""

    def _opendir(self, request: Request) -> bytes:
        self.stat(request.node)
        return fuse.OPEN_OUT.pack(0, 0, 0)

    def _nothing(self, request: Request) -> bytes:
        return b""

    def _readdir(self, request: Request) -> bytes:
        path = self._path(request.node)
        _, offset, size, *_ = fuse.READ_IN.unpack_from(request.body)
        entries = bytearray()
        names = [".", "..", *self._tree.listdir(path)]
        for number, name in enumerate(names[offset:], offset + 1):
            raw = name.encode("latin-1", "backslashreplace")
            kind = fuse.DT_DIR if name in (".", "..") else self._kind(_joined(path, name))
            entry = fuse.DIRENT.pack(request.node, number, len(raw), kind) + raw
            entry += bytes(-len(entry) % 8)
            if len(entries) + len(entry) > size:
                break
            entries += entry
        return bytes(entries)

    def _kind(self, path: str) -> int:
        try:
            stat = self._tree.stat(path)
        except Refused:
            return 0
        return fuse.DT_DIR if _is_directory(stat) else fuse.DT_REG


def _joined(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name


def _is_directory(stat: NodeStat) -> bool:
    return stat.mode & tracefs.S_IFMT == tracefs.S_IFDIR
