"""A tracer in this process, and Python programs that do as they are told."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from userevents.abi import tracefs as abi
from userevents.control import read_file, write_file
from userevents.engine import Caller, Task, Writer
from userevents.host import LocalAccess, Tracer
from userevents.tracefs import Tree

CHILD = """
import os, sys, threading
from userevents import event, u32

@event
def tick(a: u32, s: str) -> None: ...

@event
def tock(a: u32) -> None: ...

def emit(start, stop):
    for a in range(start, stop):
        tick(a, f"n{a}")

print(os.getpid(), flush=True)
for line in sys.stdin:
    print(eval(line), flush=True)
"""
TICK = "events/user_events/tick/"


class Child:
    """A program with the events `tick` and `tock`; what it is told to do is done when `do` returns."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = int(self._answer())

    def do(self, expression: str) -> str:
        """Let it evaluate an expression; returns the text of the result."""
        self.tell(expression)
        return self._answer()

    def tell(self, expression: str) -> None:
        """Let it evaluate an expression; somebody else waits."""
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        """Let it end in good order."""
        self.process.communicate(timeout=20)

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.communicate(timeout=20)


class Traced:
    """The tree of a tracer in this process, as a shell would use it."""

    def __init__(self, ring_pages: int = 512) -> None:
        self.tracer = Tracer(ring_pages=ring_pages, max_ring_pages=ring_pages)
        self.tracer.start()
        self.tree = Tree(self.tracer)
        self.access = LocalAccess(self.tracer, self.tree)
        self.children: list[Child] = []

    def child(self) -> Child:
        """Start a program, and wait until the tracer has answered its declarations."""
        child = Child()
        self.children.append(child)
        child.do("bool(tick)")
        return child

    def read(self, path: str) -> str:
        """What is in a file of the tree."""
        return read_file(self.access, path).decode("latin-1")

    def write(self, path: str, text: str, flags: int = abi.O_WRONLY) -> None:
        """Write to a file of the tree."""
        write_file(self.access, path, text.encode() + b"\n", flags)

    def mark(self, text: str) -> None:
        """Write a marker, as somebody whom a door can name."""
        task = cast("Task", cast(object, SimpleNamespace(writer=Writer(1, 1, "shell", 0))))

        def write() -> None:
            node = self.tree.open("trace_marker", abi.O_WRONLY, Caller(0, 0, perfmon=True), task)
            node.write(text.encode())
            node.close()

        self.tracer.loop.call(write)

    def lines(self, path: str = "trace") -> list[str]:
        """The records of a trace, one a line."""
        return [line for line in self.read(path).splitlines() if not line.startswith("#")]

    def values(self, path: str = "trace") -> list[int]:
        """The field `a` of each record of a trace."""
        return [int(line.partition(" a=")[2].split()[0], 16) for line in self.lines(path)]

    def end(self) -> None:
        """End the programs, then the tracer."""
        for child in self.children:
            if child.process.poll() is None:
                child.end()
        self.tracer.stop()


@pytest.fixture
def traced(runtime_dir: Path) -> Iterator[Traced]:
    """A running tracer, and what it takes to have it watch programs."""
    made = Traced()
    yield made
    made.end()


@pytest.fixture
def narrow(runtime_dir: Path) -> Iterator[Traced]:
    """The same, giving programs rings that are soon full."""
    made = Traced(ring_pages=16)
    yield made
    made.end()
