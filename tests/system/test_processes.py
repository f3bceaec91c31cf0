"""Forks, threads, kills and closed descriptors: every process tells its own events, once, whatever befalls it."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from userevents.formats.ledger import Ledger
from userevents.formats.trace import open_trace

from .conftest import Userevents

NONE = ("--provider", "none")


def read(path: Path) -> tuple[dict[int, list[tuple[int, int, str]]], Ledger]:
    """Return each process's values in order, and the ledger."""
    found: dict[int, list[tuple[int, int, str]]] = {}
    with open_trace(str(path)) as trace:
        for record in trace.records():
            values = record.values
            found.setdefault(record.pid or 0, []).append((values["a"], values["b"], values["s"]))  # type: ignore[arg-type]
        assert trace.ledger is not None
        return found, trace.ledger


def expected(start: int, stop: int) -> list[tuple[int, int, str]]:
    """Return what `emit(start, stop)` writes."""
    return [(a, a << 20, f"n{a}") for a in range(start, stop)]


def test_forked_and_spawned_children_each_tell_their_own_events(userevents: Userevents) -> None:
    """os.fork, multiprocessing by fork and by spawn, subprocess: own pid, none doubled, none lost."""
    script = userevents.directory / "family.py"
    script.write_text(
        userevents.code(
            """
            import multiprocessing, os, subprocess, sys
            if __name__ == "__main__":
                emit(0, 10)
                pid = os.fork()
                if pid == 0:
                    emit(100, 120)
                    os._exit(0)
                os.waitpid(pid, 0)
                for number, method in enumerate(("fork", "spawn")):
                    start = 200 + 100 * number
                    child = multiprocessing.get_context(method).Process(target=emit, args=(start, start + 30))
                    child.start()
                    child.join()
                subprocess.run([sys.executable, "-c", "import family; family.emit(400, 440)"])
                emit(10, 20)
            """
        )
    )
    done = userevents("record", *NONE, "--", sys.executable, "family.py")
    assert done.returncode == 0, done.stderr
    found, ledger = read(userevents.directory / "trace.dat")
    runs = sorted([*map(tuple, found.values())])
    assert runs == [
        tuple(expected(0, 20)),
        *(tuple(expected(a, b)) for a, b in ((100, 120), (200, 230), (300, 330), (400, 440))),
    ]
    assert ledger.is_balanced


def test_a_fork_of_a_fork_under_load_keeps_every_event(userevents: Userevents) -> None:
    """Many generations of children, all emitting at once while they fork."""
    program = userevents.code(
        """
        import os
        def grow(depth, number):
            emit(number * 1000, number * 1000 + 200)
            children = []
            if depth:
                for branch in range(2):
                    pid = os.fork()
                    if pid == 0:
                        grow(depth - 1, number * 2 + branch + 1)
                        os._exit(0)
                    children.append(pid)
            emit(number * 1000 + 200, number * 1000 + 300)
            for pid in children:
                os.waitpid(pid, 0)
        grow(3, 0)
        """
    )
    userevents("record", *NONE, "--", sys.executable, "-c", program)
    found, ledger = read(userevents.directory / "trace.dat")
    assert sorted(run[0][0] // 1000 for run in found.values()) == list(range(15))
    for run in found.values():
        first = run[0][0]
        assert run == expected(first, first + 300)
    assert ledger.is_balanced


def test_eight_threads_lose_nothing(userevents: Userevents) -> None:
    """Other threads wait for the lock: nothing is dropped, and each thread's events stay in its order."""
    program = userevents.code(
        """
        import threading
        threads = [threading.Thread(target=emit, args=(n * 10000, n * 10000 + 2500)) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    userevents("record", *NONE, "--", sys.executable, "-c", program)
    by_thread: dict[int, list[int]] = {}
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        for record in trace.records():
            by_thread.setdefault(record.tid, []).append(record.values["a"])  # type: ignore[arg-type]
        assert trace.ledger is not None
        assert trace.ledger.is_balanced
    assert sorted(by_thread.values()) == [list(range(n * 10000, n * 10000 + 2500)) for n in range(8)]


def test_signals_in_the_middle_of_writes_corrupt_nothing(userevents: Userevents) -> None:
    """A handler that emits itself, thousands of times a second: written or counted as re-entry, never lost."""
    program = userevents.code(
        """
        import signal, time
        from userevents import register
        inner = register("inner u32 n")
        seen = 0
        def handler(number, frame):
            global seen
            seen += 1
            inner(seen)
            if going:
                signal.setitimer(signal.ITIMER_REAL, 0.0001)
        going = True
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0001)
        written = 0
        while seen < 300:
            emit(written, written + 100)
            written += 100
            time.sleep(0.0002)  # nobody wants a full ring here
        going = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        print(seen, written)
        """
    )
    done = userevents("record", *NONE, "--", sys.executable, "-c", program)
    seen, written = map(int, done.stdout.split())
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        counts = Counter(record.event.name for record in trace.records() if record.event is not None)
        assert trace.ledger is not None
        assert trace.ledger.is_balanced
        dropped = trace.ledger.dropped["reentry"]
    assert seen >= 300
    assert counts["tick"] == written
    assert counts["inner"] + dropped == seen


def test_a_killed_program_leaves_every_event_it_had_committed(userevents: Userevents) -> None:
    """SIGKILL in the middle of a million events: all up to the kill, in order, and the sums add up."""
    recorder = userevents.record(*NONE)
    program = userevents.python(
        """
        import time
        print("go", flush=True)
        for a in range(0, 1000000, 500):
            emit(a, a + 500)
            time.sleep(0.0005)  # a tracer that has to wait for a core still keeps up
        """
    )
    assert program.stdout is not None
    program.stdout.readline()
    time.sleep(0.3)
    program.kill()
    program.wait()
    said = userevents.end(recorder)
    found, ledger = read(userevents.directory / "trace.dat")
    (run,) = found.values()
    assert 0 < len(run) < 1000000, said
    assert run == expected(0, len(run))
    (process,) = ledger.processes
    assert process.is_balanced
    assert process.committed == len(run) == process.attempts - process.in_flight


def test_a_daemonizer_that_closes_every_descriptor_goes_on_being_recorded(userevents: Userevents) -> None:
    """The mapping stays; no byte of ours goes into the files that now have our descriptors' numbers."""
    program = userevents.code(
        """
        import os
        emit(0, 100)
        os.closerange(3, 256)
        files = [open(f"file{n}", "wb", buffering=0) for n in range(40)]
        emit(100, 5000)
        late = event(name="late")(lambda: None)
        late()
        for file in files:
            assert os.fstat(file.fileno()).st_size == 0
        """
    )
    done = userevents("record", *NONE, "--", sys.executable, "-c", program)
    assert done.returncode == 0, done.stderr
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        counts = Counter(record.event.name for record in trace.records() if record.event is not None)
    assert counts == {"tick": 5000, "late": 1}
    assert {os.stat(userevents.directory / f"file{n}").st_size for n in range(40)} == {0}


def test_a_program_that_execs_another_is_two_programs(userevents: Userevents) -> None:
    """After exec the pid lives on, the session does not; both images' events are there."""
    then = userevents.code("emit(50, 60)")
    program = userevents.code(
        f"import os, sys\nemit(0, 10)\nos.execv(sys.executable, [sys.executable, '-c', {then!r}])"
    )
    userevents("record", *NONE, "--", sys.executable, "-c", program)
    found, ledger = read(userevents.directory / "trace.dat")
    assert list(found.values()) == [expected(0, 10) + expected(50, 60)]
    assert ledger.is_balanced


def test_a_full_memory_file_system_lets_the_program_run_on(tmp_path: Path, userevents: Userevents) -> None:
    """No session, no ring, no SIGBUS: tracing is off, and the program neither knows nor fails."""
    small = tmp_path / "small"
    small.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k,mode=0700", "none", str(small)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a small tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        env = {**os.environ, "USEREVENTS_DIR": str(small)}
        program = userevents.code("emit(0, 20000)\nprint(tick.stats)")
        (small / "rings").mkdir(mode=0o700)
        with open(small / "filler", "wb") as filler:
            filler.write(bytes(200 << 10))
        done = userevents("record", *NONE, "--", sys.executable, "-c", program, env=env)
        assert done.returncode == 0, done.stderr
        (small / "filler").unlink()
        with open(small / "filler", "wb") as filler:
            while True:
                try:
                    os.write(filler.fileno(), bytes(4096))
                except OSError:
                    break
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "'attempts': 0" in done.stdout
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_program_is_not_changed_by_being_recorded(userevents: Userevents) -> None:
    """Output, errors and exit code of a small program are the same with and without."""
    program = (
        "import sys, threading; print(sys.argv, threading.active_count()); print('err', file=sys.stderr); sys.exit(4)"
    )
    plain = subprocess.run([sys.executable, "-c", program, "x"], capture_output=True, text=True, check=False)
    done = userevents("record", "-q", "--", sys.executable, "-c", program, "x")
    assert (done.stdout, done.stderr, done.returncode) == (plain.stdout, plain.stderr, plain.returncode)
