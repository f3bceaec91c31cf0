"""The tree of a tracer in another process: what somebody enables there shows there, beside what is recorded."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from userevents.control import SocketAccess, read_file, write_file
from userevents.formats.trace import open_trace
from userevents.session import layout

from .conftest import Userevents

TICK = "events/user_events/tick/"
OBEYING = """
import sys
print("go", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""
Wait = Callable[[Callable[[], bool]], None]


class Tree:
    """The tree behind a tracer's socket."""

    def __init__(self, path: Path) -> None:
        self.access = SocketAccess(str(path))

    def read(self, path: str) -> str:
        """What is in a file."""
        return read_file(self.access, path).decode("latin-1")

    def write(self, path: str, text: str) -> None:
        """Write to a file."""
        write_file(self.access, path, text.encode() + b"\n")

    def values(self, path: str) -> list[int]:
        """The field `a` of each record of a trace."""
        return [int(found[1]) for found in re.finditer(r" a=0x[0-9a-f]+ \((\d+)\)", self.read(path))]


class Obeying:
    """A program that emits when it is told to."""

    def __init__(self, userevents: Userevents) -> None:
        self.process = userevents.python(OBEYING)
        self._answer()

    def do(self, statement: str) -> None:
        """Have it do something, and wait until that is done."""
        assert self.process.stdin is not None
        self.process.stdin.write(statement + "\n")
        self.process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() in ("go\n", "done\n")


@pytest.fixture
def tree(userevents: Userevents, runtime_dir: Path) -> Iterator[Tree]:
    """The tree of a tracer that records `nothing*` meanwhile."""
    recorder = userevents.record("-e", "nothing*", "-o", "other.dat")
    made = Tree(runtime_dir / layout.SOCKET_NAME)
    yield made
    made.access.close()
    userevents.end(recorder)


def test_an_event_enabled_in_the_tree_shows_there_whoever_writes_it(
    tree: Tree, userevents: Userevents, wait_until: Wait
) -> None:
    """trace, a histogram, a filter in an instance of its own; a killed program's last records; then silence."""
    one, other = Obeying(userevents), Obeying(userevents)
    tree.access.mkdir("instances/odd")
    tree.write("instances/odd/" + TICK + "filter", 'a & 1 && s != "n3"')
    tree.write("instances/odd/" + TICK + "enable", "1")
    tree.write(TICK + "trigger", "hist:keys=common_pid")
    tree.write(TICK + "enable", "1")
    one.do("emit(0, 3)")
    other.do("emit(3, 6)")
    assert tree.values("trace") == [0, 1, 2, 3, 4, 5]
    assert tree.values("instances/odd/trace") == [1, 5]
    hist = tree.read(TICK + "hist")
    for program in (one, other):
        assert re.search(rf"common_pid: +{program.process.pid} }} hitcount: +3\n", hist), hist
    one.do("emit(6, 9)")
    one.process.kill()
    one.process.wait()
    assert tree.values("trace") == list(range(9))
    tree.write(TICK + "trigger", "!hist:keys=common_pid")
    tree.write(TICK + "enable", "0")
    tree.access.rmdir("instances/odd")
    other.do("emit(9, 10); assert not tick")
    assert tree.values("trace") == list(range(9))
    other.process.send_signal(signal.SIGKILL)
    wait_until(lambda: "tick" not in tree.read("available_events"))


def test_a_reader_of_the_pipe_waits_at_the_socket(tree: Tree, userevents: Userevents) -> None:
    """Its read is answered when somebody writes, and consumes what it returns."""
    program = Obeying(userevents)
    tree.write(TICK + "enable", "1")
    pipe = tree.access.open("trace_pipe")
    assert pipe.read(4096, 0.1) is None
    program.do("emit(7, 8)")
    piece = pipe.read(4096, 10.0)
    assert piece is not None
    assert b" tick: a=0x7 (7)" in piece
    assert tree.values("trace") == []
    program.process.kill()
    program.process.wait()


def test_a_recording_and_the_tree_do_not_disturb_each_other(userevents: Userevents, runtime_dir: Path) -> None:
    """Both get every record of the same program, and the recording's ledger balances."""
    recorder = userevents.record()
    tree = Tree(runtime_dir / layout.SOCKET_NAME)
    program = Obeying(userevents)
    program.do("emit(0, 100)")
    tree.write(TICK + "enable", "1")
    program.do("emit(100, 700)")
    tree.write(TICK + "enable", "0")
    program.do("emit(700, 800)")
    assert tree.values("trace") == list(range(100, 700))
    (instance,) = tree.access.listdir("instances")
    assert tree.values(f"instances/{instance}/trace") == []
    program.process.kill()
    program.process.wait()
    tree.access.close()
    said = userevents.end(recorder)
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        assert [record.values["a"] for record in trace.records()] == list(range(800)), said
        assert trace.ledger is not None
        assert trace.ledger.is_balanced


def test_a_recording_that_joins_a_program_under_the_tree_begins_there_and_is_exact(
    tree: Tree, userevents: Userevents
) -> None:
    """What the tree's instances had of the program before, and have of it meanwhile, is not the recording's matter."""
    program = Obeying(userevents)
    tree.write(TICK + "enable", "1")
    program.do("emit(0, 100)")
    recorder = userevents.record("-o", "late.dat")
    program.do("emit(100, 200)")
    userevents.end(recorder)
    program.do("emit(200, 300)")
    assert tree.values("trace") == list(range(300))
    with open_trace(str(userevents.directory / "late.dat")) as trace:
        assert [record.values["a"] for record in trace.records()] == list(range(100, 200))
        assert trace.ledger is not None
        assert trace.ledger.is_balanced
    program.process.kill()
    program.process.wait()
