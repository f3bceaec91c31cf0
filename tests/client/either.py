"""Programs to trace, and the tracing tree they are traced through: a kernel's or ours, and no test can tell which.

Ours runs in this process. USEREVENTS_TEST_TRACEFS names the mount of a kernel's tracefs to use instead (as root).
"""

import ast
import errno
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from userevents.abi import tracefs as abi
from userevents.abi.ring_buffer import PAGE_SIZE
from userevents.buffer.page import body_start, page_data, record_end, walk
from userevents.control import Access, FilesAccess, Handle, read_file, write_file
from userevents.control.tracer import parse_status
from userevents.errors import Refused
from userevents.fields import decode, parse_format

TRACEFS: Final = os.environ.get("USEREVENTS_TEST_TRACEFS")
PATIENCE_S: Final = 20.0
_LINE: Final = re.compile(r" *(.{1,16})-(\d+) +\[\d+\] \S+ +([\d.]+): (\S+?): ?(.*)")
PROGRAM: Final = '''
import os, sys, threading
from userevents import *
from builtins import open

events = {}

def declare(text, **flags):
    made = register(text, **flags)
    events[made.name] = made

def emit(name, *values, **named):
    return events[name](*values, **named)

def in_thread(*calls):
    """Make calls in a thread of their own; its number, and what the last one gave."""
    found = []
    def run():
        found.append(threading.get_native_id())
        for function, *arguments in calls:
            found.append(function(*arguments))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0], found[-1]

def drop_privileges():
    """Lose every capability in the user namespace that counts, but not the way to user_events_data."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")

def fork(requests, answers):
    """Fork; the child serves, too, from one named pipe to another."""
    pid = os.fork()
    if pid:
        return pid
    with open(requests) as lines, open(answers, "w") as out:
        serve(lines, out)
    os._exit(0)

def serve(lines, out):
    for line in lines:
        try:
            answer = repr(eval(line))
        except Exception as error:
            answer = repr(f"raised {error!r}")
        print(answer, file=out, flush=True)

serve(sys.stdin, sys.stdout)
'''


class Record(NamedTuple):
    """One line of a trace."""

    comm: str
    tid: int
    time: float
    event: str
    text: str


class Program:
    """A program that evaluates what it is told to; `pid` is its process."""

    def __init__(self, pid: int, requests: Any, answers: Any) -> None:
        self.pid = pid
        self._requests = requests
        self._answers = answers

    def __call__(self, expression: str) -> Any:
        """The value of an expression there."""
        print(expression, file=self._requests, flush=True)
        answer = self._answers.readline()
        assert answer, f"the program ended over {expression}"
        return ast.literal_eval(answer)

    def end(self) -> None:
        """Let it end in good order."""
        self._requests.close()
        self._answers.read()
        self._answers.close()


class Tracing:
    """A tracing tree, and programs."""

    def __init__(self, access: Access, directory: Path, environment: dict[str, str]) -> None:
        self._access = access
        self._directory = directory
        self._environment = environment
        self._started: list[subprocess.Popen[str]] = []
        self._forked: list[int] = []

    # Programs.

    def program(self, *declarations: str, **variables: str) -> Program:
        """Start a program that declares events."""
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=self._environment | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started.append(process)
        started = Program(process.pid, process.stdin, process.stdout)
        for declaration in declarations:
            started(f"declare({declaration!r})")
        return started

    def fork(self, parent: Program, through: str = "fork(*{pipes})") -> Program:
        """Let a program fork; `through` is what it evaluates to that end."""
        pipes = [str(self._directory / f"{parent.pid}-{name}-{time.monotonic_ns()}") for name in ("in", "out")]
        for pipe in pipes:
            os.mkfifo(pipe)
        pid = parent(through.format(pipes=pipes))
        self._forked.append(pid)
        requests, answers = open(pipes[0], "w", encoding="utf-8"), open(pipes[1], encoding="utf-8")
        return Program(pid, requests, answers)

    def close(self) -> None:
        """Kill what still runs, and wait until it is gone: what it held goes with it."""
        for pid in self._forked:
            with suppress(ProcessLookupError):
                process_fd = os.pidfd_open(pid)
                os.kill(pid, signal.SIGKILL)
                select.select([process_fd], [], [], 10)
                os.close(process_fd)
        for process in self._started:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()

    # The tree.

    def read(self, path: str) -> str:
        """What is in a file of the tree."""
        return read_file(self._access, path).decode("latin-1")

    def write(self, path: str, text: str, flags: int = abi.O_WRONLY) -> None:
        """Write to a file of the tree."""
        write_file(self._access, path, text.encode(), flags)

    def listen(self, event: str, on: bool = True, system: str = "user_events") -> None:
        """Enable an event, or disable it."""
        self.write(f"events/{system}/{event}/enable", "1" if on else "0")

    def events(self) -> list[str]:
        """The events there are."""
        return sorted(parse_status(self.read(abi.USER_EVENTS_STATUS)).used_by)

    def records(self) -> list[Record]:
        """What the trace holds."""
        found = []
        for line in self.read(abi.TRACE).splitlines():
            if not line.startswith("#"):
                match = _LINE.fullmatch(line)
                assert match, line
                found.append(Record(match[1].strip(), int(match[2]), float(match[3]), match[4], match[5]))
        return found

    def values(self, event: str) -> list[tuple[object, ...]]:
        """The values of all records, which must be of this event, read from the rings' pages; takes them away."""
        self.write(abi.BUFFER_PERCENT, "0")  # a page can be read as soon as it holds anything
        fields = parse_format(self.read(f"events/user_events/{event}/format")).fields
        found = []
        for cpu in self._access.listdir(abi.PER_CPU):
            pages = self._access.open(f"{abi.PER_CPU}/{cpu}/{abi.TRACE_PIPE_RAW}", abi.O_RDONLY | abi.O_NONBLOCK)
            while page := _read_page(pages):
                ts_ns, data = page_data(page)
                walked = walk(data, ts_ns)
                assert not walked.problem
                for at_ns, start in zip(walked.times, walked.starts, strict=True):
                    found.append((at_ns, decode(fields, data[body_start(data, start) : record_end(data, start)])))
            pages.close()
        return [values for _, values in sorted(found, key=lambda one: one[0])]

    def texts(self) -> list[str]:
        """What the trace holds, of each record what comes after its event's name."""
        return [record.text for record in self.records()]

    def clear(self) -> None:
        """Leave nothing in the trace and nothing enabled."""
        self.write("events/enable", "0")
        self.write(abi.TRACE, "", abi.O_WRONLY | abi.O_TRUNC)


def _read_page(pages: Handle) -> bytes | None:
    try:
        return pages.read(PAGE_SIZE, timeout=0.5)
    except Refused as refused:
        if refused.errno == errno.EAGAIN:
            return None
        raise


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what comes about by itself, and soon."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"it did not come about in {PATIENCE_S:.0f} s"
        time.sleep(0.005)


@contextmanager
def kernel_tracing(mount: str, directory: Path) -> Iterator[Tracing]:
    """The kernel's tracing, mounted at `mount`."""
    tracing = Tracing(FilesAccess(mount), directory, {**os.environ, "USEREVENTS_BACKEND": "kernel"})
    try:
        yield tracing
    finally:
        tracing.close()
        wait_until(lambda: not tracing.events() or _was_cleared(tracing))


def _was_cleared(tracing: Tracing) -> bool:
    """Disable everything, and remove what persists; whether nothing is left."""
    tracing.clear()
    try:
        tracing.write(abi.DYNAMIC_EVENTS, "", abi.O_WRONLY | abi.O_TRUNC)
    except Refused:  # an event on its way out is still in use
        pass
    return not tracing.events()


@contextmanager
def our_tracing(directory: Path) -> Iterator[Tracing]:
    """Our tracing, by a tracer in this process."""
    from userevents.host import LocalAccess, Tracer
    from userevents.tracefs import Tree

    tracer = Tracer()
    tracer.start()
    tracing = Tracing(LocalAccess(tracer, Tree(tracer)), directory, {**os.environ, "USEREVENTS_BACKEND": "session"})
    try:
        yield tracing
    finally:
        tracing.close()
        tracer.stop()
