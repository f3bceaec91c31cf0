"""A tree over an empty group, and short ways to read and write its files."""

from collections.abc import Callable

import pytest

from tests.engine.world import ROOT, World
from userevents.testing import Tree
from userevents.tracefs import Caller


class Shell:
    """The tree as cat and echo see it."""

    def __init__(self, tree: Tree, world: World) -> None:
        self.tree = tree
        self.world = world

    def cat(self, path: str, caller: Caller = ROOT) -> str:
        """Read a file to its end, in small pieces."""
        return self.tree.cat(path, caller)

    def echo(self, path: str, text: str | bytes, flags: int = 0, caller: Caller = ROOT) -> int:
        """Write to a file, without truncating it unless told so."""
        return self.tree.echo(path, text, flags, caller)


@pytest.fixture
def shell() -> Shell:
    """An empty tree that checks no permissions."""
    world = World()
    return Shell(Tree(group=world.group), world)


@pytest.fixture
def declare(shell: Shell) -> Callable[..., None]:
    """Register events, each with a bit of its own."""

    def register(*texts: str, flags: int = 0) -> None:
        for text in texts:
            shell.world.register(text, bit=len(shell.world.mm.enablers), flags=flags)

    return register
