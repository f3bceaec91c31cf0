"""Events under stress: nothing leaks and nothing is lost, whatever threads, signals and forks do meanwhile."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

import userevents
from tests.client.conftest import Listener, bound
from tests.conftest import PATIENCE, require_native
from userevents.buffer.page import walk
from userevents.client.event import Event
from userevents.client.native import ring_per_thread
from userevents.session import layout, producer
from userevents.session.lanes import LanedWriter
from userevents.session.writer import Writer

MILLIONS = float(os.environ.get("USEREVENTS_LEAK_MILLIONS", "0.3"))
_IMMORTAL = 1 << 30
"""From Python 3.12 on, None and small numbers are; extensions for 3.11 still count them, up or down."""
"""How many events the leak test writes; 10 for a long look."""


@pytest.fixture(autouse=True)
def _native() -> None:
    require_native()


@pytest.mark.time_limit(60 + 30 * MILLIONS)
def test_nothing_is_leaked_by_a_million_calls(listener: Listener, make_of_events: str) -> None:
    """Reference counts and memory stand where they stood, on the fast path and on every slow one."""
    tick = userevents.register("tick u64 a; char[8] b; __rel_loc char[] c; __rel_loc u8[] d; struct f64 e 8")
    listener.attach(layout.MODE_OVERWRITE)  # so that every event is written, not dropped
    listener.enable(0)
    values = (1 << 63, "abcdefgh", "a string", b"some bytes", 2.5)
    odd = (1 << 70, "abcdefghi", "nul \0 inside", bytearray(b"x"), 1)
    call = {"a": 1 << 63, "b": "k" * 6, "c": "v" * 9, "d": b"w" * 9, "e": 3.5}
    with pytest.warns(RuntimeWarning):
        tick(*odd)

    def work(count: int) -> None:
        for _ in range(count):
            tick(*values)
            tick.write(**call)

    def fail(count: int) -> None:
        for _ in range(count):
            tick(*odd)
            tick(1, *odd[1:])
            tick()

    work(2000)
    fail(2000)
    gc.collect()
    tracemalloc.start()
    counted = [value for value in (*values, *odd, *call.values(), None) if sys.getrefcount(value) < _IMMORTAL]
    before = [sys.getrefcount(value) for value in counted]
    grown = []
    for _ in range(3):  # the first rounds also replace what was there before memory was traced
        memory = tracemalloc.get_traced_memory()[0]
        work(2000)
        fail(2000)
        gc.collect()
        grown.append(tracemalloc.get_traced_memory()[0] - memory)
    after = [sys.getrefcount(value) for value in counted]
    tracemalloc.stop()
    more = {repr(value): now - then for value, then, now in zip(counted, before, after, strict=True) if now != then}
    assert abs(more.pop("None", 0)) < 60
    assert not more
    assert min(grown) < 16000, "one object for each event would be three times that"
    resident = _resident()
    count = int(MILLIONS * (500_000 if make_of_events == "native" else 50_000))
    work(count)
    fail(count // 1000)
    assert tick.stats["ring_full"] == 0
    if PATIENCE == 1:  # valgrind keeps what is freed
        assert _resident() - resident < 1 << 20


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


@pytest.mark.skipif("t" in sys.abiflags and sys.version_info < (3, 14), reason="here events stay for good")
@pytest.mark.usefixtures("directory")
def test_events_that_go_take_everything_with_them() -> None:
    """Types, tables, buffers and cycles are collected."""

    def make() -> None:
        made: Event[...] = Event("event u32 a; __rel_loc char[] b", 0, None, None)
        bound(made)
        made(1, "x")
        made.itself = made  # type: ignore[attr-defined]

    from userevents.client.runtime import runtime

    make()
    runtime._undeclared.clear()
    gc.collect()
    count = len(gc.get_objects())
    for _ in range(100):
        make()
        runtime._undeclared.clear()
    gc.collect()
    assert abs(len(gc.get_objects()) - count) < 20


@pytest.fixture
def tracer_lives(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it once events are declared: a full ring then finds that its tracer lives."""
    return lambda: monkeypatch.setattr("userevents.session.locks.tracer_lives", lambda directory: True)


@pytest.mark.skipif(ring_per_thread, reason="each thread has a ring of its own: tests/session/test_lanes.py")
def test_threads_that_are_switched_all_the_time_lose_nothing(
    listener: Listener, tracer_lives: Callable[[], None]
) -> None:
    """The interpreter's lock is the writer's: each thread's events come whole and in its order."""
    tick = userevents.register("tick u32 thread; u32 number; __rel_loc char[] text")
    listener.enable(0)
    tracer_lives()
    seen: list[tuple[object, ...]] = []
    interval = sys.getswitchinterval()
    going = threading.Event()

    def work(thread: int) -> None:
        going.wait()
        for number in range(3000):
            tick(thread, number, f"n{number}")
            if not number % 50:
                time.sleep(0)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    try:
        sys.setswitchinterval(1e-6)
        for thread in threads:
            thread.start()
        going.set()
        while any(thread.is_alive() for thread in threads):
            seen += listener.records(tick)
            listener.acknowledge()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    seen += listener.records(tick)
    stats = tick.stats
    assert len(seen) + stats["ring_full"] == 18000 == stats["attempts"]
    assert not stats["reentry"]
    for one in range(6):
        numbers = [number for who, number, _ in seen if who == one]
        assert numbers == sorted(set(numbers))  # type: ignore[type-var]
    assert all(text == f"n{number}" for _, number, text in seen)


def test_a_handler_that_emits_ten_thousand_times_a_second_harms_nothing(
    listener: Listener, tracer_lives: Callable[[], None]
) -> None:
    """Handlers run during conversions and between calls; every attempt is committed or counted."""
    tick = userevents.register("tick u32 a; __rel_loc char[] b")
    inner = userevents.register("inner u32 a")
    listener.enable(0)
    listener.enable(1, event_id=21)
    tracer_lives()
    calls = 0

    class Index:
        def __index__(self) -> int:
            return 7

    def handler(number: int, frame: object) -> None:
        nonlocal calls
        calls += 1
        inner(calls)
        if going:
            signal.setitimer(signal.ITIMER_REAL, 0.0001)

    going = True
    previous = signal.signal(signal.SIGALRM, handler)
    limit = signal.setitimer(signal.ITIMER_REAL, 0.0001)  # the test's own limit, for a while
    try:
        made = 0
        while calls < 1000:
            tick(Index() if made % 3 else made, "text")
            made += 1
    finally:
        going = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, *limit)
    assert listener.ring is not None
    read = 0
    while parts := listener.ring.read(1 << 20):
        for part in parts:
            columns = walk(part.data, part.ts)
            assert not columns.problem
            read += len(columns.starts)
    dropped = [sum(one.stats[name] for name in layout.COUNTER_NAMES[1:6]) for one in (tick, inner)]
    assert (tick.stats["attempts"], inner.stats["attempts"]) == (made, calls)
    assert read + sum(dropped) == made + calls


def test_what_a_signal_handler_raises_in_a_conversion_reaches_the_program(listener: Listener) -> None:
    """A job's timeout is the program's, whatever its type; the same error of an argument is not."""
    tick = userevents.register("tick u32 a")
    listener.enable(0)

    class Slow:
        def __index__(self) -> int:
            signal.raise_signal(signal.SIGUSR1)
            return 5

    class Bad:
        def __index__(self) -> int:
            raise TypeError("mine")

    def timeout(number: int, frame: object) -> None:
        raise kind("time is up")

    previous = signal.signal(signal.SIGUSR1, timeout)
    try:
        for kind in (LookupError, TypeError, KeyboardInterrupt):
            with pytest.raises(kind, match="time is up"):
                tick(Slow())
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert tick.stats["attempts"] == 0
    with pytest.warns(RuntimeWarning):
        tick(Bad())
    assert tick.stats["invalid"] == 1 == tick.stats["attempts"]


def test_an_argument_that_forks_writes_in_the_child_s_own_session(listener: Listener) -> None:
    """The values' code runs before anything is reserved, so the record goes where the process is then."""
    tick = userevents.register("tick u32 a; u32 b")
    listener.enable(0)
    tick(1, 2)
    children = []

    class Forks:
        def __index__(self) -> int:
            hooks = sys.modules["userevents.client.event"].runtime
            hooks.before_fork()
            pid = os.fork()
            children.append(pid)
            (hooks.after_fork_in_parent if pid else hooks.after_fork_in_child)()
            return os.getpid()

    tick(Forks(), 3)
    if children[0] == 0:
        assert isinstance(tick._writer, Writer | LanedWriter)
        session = tick._writer.session
        own = session.pid == os.getpid() and tick.stats["attempts"] == 1
        producer.remove(session.directory, session.name)
        os._exit(0 if own else 1)
    _, status = os.waitpid(children[0], 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert listener.records(tick) == [(1, 2), (os.getpid(), 3)]


def test_values_that_emit_while_they_are_converted_are_written_first(listener: Listener) -> None:
    """Nesting is harmless: nothing is reserved while code of the program may run."""
    tick = userevents.register("tick u32 a")
    listener.enable(0)

    class Emits:
        def __init__(self, depth: int) -> None:
            self.depth = depth

        def __index__(self) -> int:
            if self.depth:
                tick(Emits(self.depth - 1))
            return self.depth

    tick(Emits(5))
    assert listener.records(tick) == [(n,) for n in range(6)]


SUBINTERPRETER = """
import _xxsubinterpreters as interpreters
import userevents
tick = userevents.register("main u32 a")
code = '''
import userevents
from userevents.client import native
assert native.native
tick = userevents.register("inner u32 a")
assert not tick
for n in range(1000):
    tick(n)
'''
for _ in range(3):
    made = interpreters.create()
    interpreters.run_string(made, code)
    interpreters.destroy(made)
tick(1)
print("done")
"""


def test_sub_interpreters_have_events_of_their_own(runtime_dir: Path) -> None:
    """Nothing is shared between interpreters but the process."""
    code = SUBINTERPRETER
    if sys.version_info >= (3, 13):
        code = code.replace("_xxsubinterpreters", "_interpreters")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
