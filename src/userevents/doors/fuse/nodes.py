"""Which number the kernel knows a path of the tree by, and for how long.

The kernel keeps a node until it says that it forgot it. A name whose file went and came back is another node: an
event that was deleted and registered anew must not be served through what was known of its predecessor.
"""

from typing import Final

from ...abi.fuse import ROOT


class Nodes:
    """The nodes the kernel knows."""

    def __init__(self) -> None:
        self._next: int = ROOT + 1
        self._paths: Final[dict[int, str]] = {ROOT: ""}
        self._current: Final[dict[str, tuple[int, object]]] = {}
        """By path: its node and whose file that is."""
        self._lookups: Final[dict[int, int]] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, node: int) -> str | None:
        """The path of a node; None for one that was never given."""
        return self._paths.get(node)

    def look_up(self, path: str, owner: object) -> int:
        """Return the node of a path that belongs to `owner` (an event, an instance), and remember that it was asked."""
        known = self._current.get(path)
        if known is not None and known[1] is owner:
            node = known[0]
        else:
            node = self._next
            self._next += 1
            self._paths[node] = path
            self._current[path] = node, owner
        self._lookups[node] = self._lookups.get(node, 0) + 1
        return node

    def is_current(self, node: int, owner: object) -> bool:
        """Whether what stands at the node's path now is what the node was given for."""
        if node == ROOT:
            return True
        known = self._current.get(self._paths[node])
        return known is not None and known[0] == node and known[1] is owner

    def forget(self, node: int, lookups: int) -> None:
        """The kernel forgot `lookups` of its look-ups of a node."""
        left = self._lookups.get(node, 0) - lookups
        if left > 0:
            self._lookups[node] = left
            return
        self._lookups.pop(node, None)
        path = self._paths.get(node)
        if node == ROOT or path is None:
            return
        del self._paths[node]
        if self._current.get(path, (0, None))[0] == node:
            del self._current[path]
