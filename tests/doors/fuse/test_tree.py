"""Every file of the mounted tree, read and written: what comes of it is what the same tree says in this process."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.kernel.world import CPUS, FIRST_MULTI_ID
from tools import door_vectors
from userevents.engine import PROFILES, Group
from userevents.errors import Refused
from userevents.host.clocks import TraceClocks
from userevents.instance import Machine
from userevents.tracefs import Caller, PlainSystem, Tree

ROOT: Final = Caller(0, 0, perfmon=True)
VARIES: Final = re.compile(r"\d+\.\d+|\d{8,}|<\.\.\.>-\d+|\S+-\d+ ")
"""Times, and who wrote a mark: in the other tree, nobody that it knows."""
WRITTEN: Final = (
    b"0\n",
    b"1\n",
    b"nonsense\n",
    b"16\n",
    b"mono\n",
    b"walk\n",
    b"a > 3\n",
    b"!traceoff\n",
    b"traceoff\n",
)
FOR_OTHERS: Final = (
    "user_events_data",
    "userevents/stream",
    "trace_marker",
    "trace_marker_raw",
    "saved_cmdlines",
    "saved_tgids",
)
"""What needs to know who writes, and what tells who did."""


class Mounted:
    """A tree behind a mount."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def names(self, path: str) -> list[str]:
        """The names in a directory."""
        return sorted(os.listdir(self.place / path))

    def mode(self, path: str) -> int:
        """Kind and permissions."""
        return (self.place / path).stat().st_mode

    def read(self, path: str) -> str:
        """What cat prints, or the errno it fails with."""
        return _tried(lambda: self._with(path, os.O_RDONLY | os.O_NONBLOCK, _read_all))

    def write(self, path: str, data: bytes) -> str:
        """What comes of echo."""
        return _tried(lambda: self._with(path, os.O_WRONLY | os.O_TRUNC, lambda fd: str(os.write(fd, data))))

    def _with(self, path: str, flags: int, use: Callable[[int], str]) -> str:
        fd = os.open(self.place / path, flags)
        try:
            return use(fd)
        finally:
            os.close(fd)


class InProcess:
    """The same tree in this process."""

    def __init__(self) -> None:
        group = Group(PROFILES["v6.12"])
        group.next_multi_id = FIRST_MULTI_ID
        self.tree = Tree(PlainSystem(group, Machine(clock=TraceClocks(), cpus=CPUS, has_other_events=True)))

    def names(self, path: str) -> list[str]:
        """The names in a directory."""
        return sorted(self.tree.listdir(path))

    def mode(self, path: str) -> int:
        """Kind and permissions."""
        return self.tree.stat(path).mode

    def read(self, path: str) -> str:
        """What cat prints, or the errno it fails with."""

        def run() -> str:
            node = self.tree.open(path, os.O_RDONLY, ROOT)
            try:
                pieces = []
                while piece := node.read(1 << 16):
                    pieces.append(piece)
                return b"".join(pieces).decode("latin-1")
            finally:
                node.close()

        return _tried(run)

    def write(self, path: str, data: bytes) -> str:
        """What comes of echo."""

        def run() -> str:
            node = self.tree.open(path, os.O_WRONLY | os.O_TRUNC, ROOT)
            try:
                return str(node.write(data))
            finally:
                node.close()

        return _tried(run)


def _read_all(fd: int) -> str:
    pieces = []
    while piece := os.read(fd, 1 << 16):
        pieces.append(piece)
    return b"".join(pieces).decode("latin-1")


def _tried(call: Callable[[], str]) -> str:
    try:
        return call()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    except Refused as refused:
        return refused.name


Pair = tuple[Mounted, InProcess]


@pytest.fixture
def pair(fuse: None) -> Iterator[Pair]:
    """Both, with one event and one instance."""
    with door_vectors.tree("v6.12") as place:
        both = Mounted(place), InProcess()
        for one in both:
            assert one.write("dynamic_events", b"u:walk u32 a; char[20] b\n") == "25"
        (place / "instances" / "other").mkdir()
        both[1].tree.mkdir("instances/other")
        yield both


def files(pair: Pair, path: str = "") -> Iterator[str]:
    """Every file, once the directories above it were found to be the same."""
    mounted, ours = pair
    assert mounted.names(path) == ours.names(path), path
    assert mounted.mode(path) == ours.mode(path), path
    for name in ours.names(path):
        below = f"{path}/{name}" if path else name
        if stat.S_ISDIR(ours.mode(below)):
            yield from files(pair, below)
        else:
            yield below


def test_every_file_reads_as_the_tree_in_process(pair: Pair) -> None:
    """Names, modes and contents, or the errno that cat shows."""
    seen = 0
    for path in files(pair):
        mounted, ours = pair
        assert mounted.mode(path) == ours.mode(path), path
        assert VARIES.sub("N", mounted.read(path)) == VARIES.sub("N", ours.read(path)), path
        seen += 1
    assert seen > 150


def test_every_file_takes_what_the_tree_in_process_takes(pair: Pair) -> None:
    """echo succeeds or fails alike, and all files are alike in the end."""
    taken = refused = 0
    for path in tuple(files(pair)):
        if path.endswith(FOR_OTHERS):
            continue
        for data in WRITTEN:
            told = [one.write(path, data) for one in pair]
            assert told[0] == told[1], f"{path}: {data!r}"
            taken += told[0].isdigit()
            refused += not told[0].isdigit()
    assert taken > 100
    assert refused > 100
    for path in files(pair):
        if not path.endswith(FOR_OTHERS):
            texts = [VARIES.sub("N", one.read(path)) for one in pair]
            assert texts[0] == texts[1], path
