"""A tree over an empty group, and short ways to read and write its files."""

from collections.abc import Callable

import pytest

from tests.engine.world import ROOT, World
from userevents.abi import tracefs as abi
from userevents.tracefs import Caller, PlainSystem, Tree


class Shell:
    """The tree as cat and echo see it."""

    def __init__(self, tree: Tree, world: World) -> None:
        self.tree = tree
        self.world = world

    def cat(self, path: str, caller: Caller = ROOT) -> str:
        """Read a file to its end, in small pieces."""
        node = self.tree.open(path, abi.O_RDONLY, caller)
        try:
            pieces = []
            while piece := node.read(7):
                pieces.append(piece)
            return b"".join(pieces).decode("latin-1")
        finally:
            node.close()

    def echo(self, path: str, text: str | bytes, flags: int = 0, caller: Caller = ROOT) -> int:
        """Write to a file, without truncating it unless told so."""
        node = self.tree.open(path, abi.O_WRONLY | flags, caller)
        try:
            return node.write(text if isinstance(text, bytes) else text.encode("latin-1"))
        finally:
            node.close()


@pytest.fixture
def shell() -> Shell:
    """An empty tree that checks no permissions."""
    world = World()
    return Shell(Tree(PlainSystem(world.group)), world)


@pytest.fixture
def declare(shell: Shell) -> Callable[..., None]:
    """Register events, each with a bit of its own."""

    def register(*texts: str, flags: int = 0) -> None:
        for text in texts:
            shell.world.register(text, bit=len(shell.world.mm.enablers), flags=flags)

    return register
