"""Tracers come and go: attached late, killed, replaced, two at once; the programs notice nothing."""

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from userevents.formats.trace import open_trace
from userevents.session import layout
from userevents.session.producer import Declared, Session

from .conftest import Userevents

NONE = ("--provider", "none")
TRACERS = int(os.environ.get("USEREVENTS_TRACERS", "5"))
Wait = Callable[[Callable[[], bool]], None]

STEADY = """
import sys, time
print("go", flush=True)
a = 0
while True:
    emit(a, a + 10)
    a += 10
    time.sleep(0.002)
"""


def steady(userevents: Userevents) -> "subprocess.Popen[str]":
    """Start a program that emits some thousand events a second until it is killed."""
    program = userevents.python(STEADY)
    assert program.stdout is not None
    program.stdout.readline()
    return program


def values(path: Path) -> list[int]:
    """Return field `a` of every event, in order."""
    with open_trace(str(path)) as trace:
        return [record.values["a"] for record in trace.records()]  # type: ignore[misc]


def follows(before: list[int], after: list[int]) -> bool:
    """Whether nothing is missing between two recordings of one program, and nothing in both."""
    assert is_run(before)
    assert is_run(after)
    assert before[-1] + 1 == after[0], (before[-1], after[0])
    return True


def is_run(found: list[int]) -> bool:
    """Whether these are consecutive numbers; shows where they are not."""
    breaks = [(before, after) for before, after in itertools.pairwise(found) if after != before + 1]
    assert not breaks, f"{len(breaks)} breaks: {breaks[:5]}"
    return True


def stop(program: "subprocess.Popen[str]") -> None:
    """Kill a program and wait for it."""
    program.kill()
    program.wait()


def test_a_program_that_was_started_before_the_tracer_is_recorded(userevents: Userevents) -> None:
    """Attaching needs no restart, and detaching gives the program its silence back."""
    program = steady(userevents)
    done = userevents("record", "--duration", "500ms")
    assert done.returncode == 0, done.stderr
    found = values(userevents.directory / "trace.dat")
    assert len(found) > 100
    assert is_run(found)
    assert " off " in userevents("list").stdout
    stop(program)
    userevents("record", "--duration", "100ms", "-q")


def test_a_tracer_killed_and_replaced_records_again_within_a_second(userevents: Userevents) -> None:
    """Nothing to restart; what the killed one had not kept is in the next one's file, and none is doubled."""
    program = steady(userevents)
    first = userevents.record("-o", "first.dat")
    time.sleep(0.6)
    first.kill()
    first.wait()
    killed = time.monotonic()
    second = userevents.record("-o", "second.dat")
    time.sleep(max(0.0, 1.0 - (time.monotonic() - killed)) + 0.3)
    said = userevents.end(second)
    stop(program)
    done = userevents("recover", "first.dat.part")
    assert done.returncode == 0, done.stderr
    before, after = values(userevents.directory / "first.dat"), values(userevents.directory / "second.dat")
    assert len(before) > 50, said
    assert len(after) > 50, said
    assert follows(before, after)
    userevents("record", "--duration", "100ms", "-q")


@pytest.mark.time_limit(60 + 12 * TRACERS)
def test_tracers_killed_in_the_middle_of_draining_double_nothing_and_lose_nothing(userevents: Userevents) -> None:
    """One after the other is killed while a program writes on; together their files have each event once.

    USEREVENTS_TRACERS asks for more of them.
    """
    program = userevents.python(
        """
        import sys, time
        print("go", flush=True)
        for a in range(0, 1 << 40, 10):
            emit(a, a + 10)
            time.sleep(0.001)
        """
    )
    assert program.stdout is not None
    program.stdout.readline()
    chance = random.Random(3)
    found: list[int] = []
    for number in range(TRACERS):
        recorder = userevents.record("-o", f"{number}.dat", "--buffer-size", "16M", *NONE)
        time.sleep(chance.uniform(0.1, 0.4))
        if number < TRACERS - 1:
            recorder.kill()
            recorder.wait()
            assert userevents("recover", f"{number}.dat.part").returncode == 0
        else:
            userevents.end(recorder)
        some = values(userevents.directory / f"{number}.dat")
        assert some
        found += some
    stop(program)
    assert is_run(found)
    userevents("record", "--duration", "100ms", "-q")


def test_a_second_recorder_uses_the_first_ones_tracer(userevents: Userevents) -> None:
    """Both record the same program at once; the first stays until the second is done."""
    program = steady(userevents)
    first = userevents.record("-o", "first.dat")
    time.sleep(0.2)
    second = userevents.record("-o", "second.dat")
    time.sleep(0.4)
    first.send_signal(signal.SIGINT)
    time.sleep(0.4)
    assert first.poll() is None, "the tracer must outlive its own recording"
    userevents.end(second)
    _, said = first.communicate(timeout=20)
    assert "1 other recorder" in said
    stop(program)
    mine, yours = values(userevents.directory / "first.dat"), values(userevents.directory / "second.dat")
    assert is_run(mine)
    assert is_run(yours)
    assert mine[0] < yours[0] <= mine[-1] < yours[-1]
    userevents("record", "--duration", "100ms", "-q")


def test_recorders_that_start_at_the_same_moment_all_record(userevents: Userevents) -> None:
    """One becomes the tracer, the others wait until it answers and join it."""
    program = steady(userevents)
    recorders = [userevents.start("record", "--duration", "700ms", "-q", "-o", f"{n}.dat") for n in range(4)]
    for recorder in recorders:
        _, said = recorder.communicate(timeout=30)
        assert recorder.returncode == 0, said
    for number in range(4):
        assert is_run(values(userevents.directory / f"{number}.dat"))
    stop(program)
    userevents("record", "--duration", "100ms", "-q")


def test_events_of_programs_that_died_while_nobody_looked_are_drained_by_the_next_tracer(
    userevents: Userevents, runtime_dir: Path
) -> None:
    """The tracer is killed, then the program ends: its last events are in its ring, and the next tracer takes them."""
    program = steady(userevents)
    first = userevents.record("-o", "first.dat")
    time.sleep(0.4)
    first.kill()
    first.wait()
    time.sleep(0.3)
    stop(program)
    userevents("record", "--duration", "300ms", "-o", "second.dat")
    userevents("recover", "first.dat.part")
    before, after = values(userevents.directory / "first.dat"), values(userevents.directory / "second.dat")
    assert len(after) > 50
    assert follows(before, after)


def test_a_tracer_that_is_gone_costs_a_program_nothing_in_the_end(userevents: Userevents) -> None:
    """Once its ring is full a program finds that nobody comes, and puts its own words out."""
    program = userevents.python(
        """
        import sys, time
        bool(tick)
        print("go", flush=True)
        sys.stdin.readline()
        emit(0, 200000)
        print(bool(tick), tick.stats["ring_full"], flush=True)
        sys.stdin.readline()
        """
    )
    first = userevents.record()
    assert program.stdout is not None
    assert program.stdin is not None
    program.stdout.readline()
    time.sleep(0.3)
    first.kill()
    first.wait()
    program.stdin.write("\n")
    program.stdin.flush()
    listening, dropped = program.stdout.readline().split()
    assert listening == "False"
    assert 0 < int(dropped) < 200000
    assert f"lost: {int(dropped):,} ring full" in userevents("list").stdout
    assert json.loads(userevents("list", "--json").stdout)["dropped_by"] == {"ring_full": int(dropped)}
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.wait(20) == 0
    userevents("record", "--duration", "100ms", "-q", "-o", "rest.dat")


def test_a_process_that_is_not_instrumented_is_said_to_be_so(userevents: Userevents) -> None:
    """-p with a pid that has no session tells why and what to do."""
    other = userevents.popen(["sleep", "60"])
    done = userevents("record", "-p", str(other.pid))
    assert done.returncode == 1
    assert f"process {other.pid} (sleep 60) runs '" in done.stderr
    assert "which is no Python" in done.stderr
    assert "userevents run -- PROGRAM" in done.stderr
    done = userevents("record", "-p", "4194305")
    assert "there is no process 4194305" in done.stderr


def test_only_the_process_asked_for_is_recorded(userevents: Userevents) -> None:
    """-p picks one of two; the other is not even enabled."""
    chosen, other = steady(userevents), steady(userevents)
    recorder = userevents.record("-p", str(chosen.pid))
    time.sleep(0.3)
    listed = userevents("list").stdout
    userevents.end(recorder)
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        assert {record.pid for record in trace.records()} == {chosen.pid}
    states = {line.split()[2]: line.split()[1] for line in listed.splitlines()[1:] if line.startswith("tick")}
    assert states == {str(chosen.pid): "on", str(other.pid): "off"}
    stop(chosen)
    stop(other)
    userevents("record", "--duration", "100ms", "-q")


def test_list_needs_no_tracer(userevents: Userevents) -> None:
    """It reads the programs' own files, and says who declares what."""
    program = steady(userevents)
    listed = userevents("list", "--json").stdout
    (event,) = [json.loads(line) for line in listed.splitlines()]
    assert (event["event"], event["state"], event["pid"]) == ("tick", "off", program.pid)
    assert event["fields"] == "u32 a; u64 b; __rel_loc char[] s"
    stop(program)
    userevents("record", "--duration", "100ms", "-q")


def test_files_that_are_no_sessions_are_named_and_harm_nobody(userevents: Userevents, runtime_dir: Path) -> None:
    """Noise, a version of the future, a FIFO: the tracer says so and goes on with the others."""
    (runtime_dir / "1-00.session").write_bytes(os.urandom(30000))
    os.mkfifo(runtime_dir / "2-00.session")
    future = Session(str(runtime_dir))
    future.declare(Declared(b"future", 0))
    with open(future.path, "r+b") as raw:
        raw.seek(8)
        raw.write(b"\x63\0\0\0")
    done = userevents("record", *NONE, "--", sys.executable, "-c", userevents.code("emit(0, 100)"))
    assert done.returncode == 0
    assert "no session file" in done.stderr
    assert "version 99" in done.stderr
    assert values(userevents.directory / "trace.dat") == list(range(100))
    future.unlink()
    (runtime_dir / "1-00.session").unlink()
    (runtime_dir / "2-00.session").unlink()


NOISE = """
    with open(path, "r+b") as raw:
        raw.seek(random.randrange(30000))
        raw.write(os.urandom(64))
"""
SHRINK = """
    os.truncate(path, random.choice((0, 100, 1024, 5000)))
"""
SWAP = """
    os.unlink(path)
    os.mkfifo(path)
"""


@pytest.mark.parametrize("deed", [NOISE, SHRINK, SWAP], ids=["noise", "shrink", "swap"])
def test_a_hostile_program_harms_neither_the_tracer_nor_the_others(
    userevents: Userevents, runtime_dir: Path, deed: str
) -> None:
    """It writes noise over its files, shrinks them, or puts others in their place, while others write."""
    hostile = userevents.python(
        """
        import glob, os, random, time
        def deed(path):
            DEED
        bool(tick)
        print("go", flush=True)
        while True:
            for path in glob.glob(os.environ["USEREVENTS_DIR"] + f"/**/{os.getpid()}-*", recursive=True):
                try:
                    deed(path)
                except OSError:
                    pass
            time.sleep(0.001)
        """.replace("DEED", deed.strip().replace("\n", "\n        "))
    )
    assert hostile.stdout is not None
    assert hostile.stdout.readline() == "go\n"
    good = steady(userevents)
    recorder = userevents.record()
    time.sleep(0.8)
    said = userevents.end(recorder)
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        found = [record.values["a"] for record in trace.records() if record.pid == good.pid]
    assert len(found) > 100, said
    assert is_run(found)  # type: ignore[arg-type]
    stop(hostile)
    stop(good)
    userevents("record", "--duration", "200ms", "-q")
    for left in runtime_dir.rglob(f"{hostile.pid}-*"):
        left.unlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_runtime_directory_of_somebody_else_turns_tracing_off(userevents: Userevents, runtime_dir: Path) -> None:
    """The recorder says so before it starts anything; the program runs on without tracing."""
    os.chown(runtime_dir, 12345, 12345)
    done = userevents("record", "--", "true")
    assert done.returncode == 1
    assert "belongs to uid 12345" in done.stderr
    program = userevents.popen([sys.executable, "-c", userevents.code("emit(0, 10)\nprint(bool(tick))")])
    out, err = program.communicate(timeout=20)
    assert (out, err, program.returncode) == ("False\n", "", 0)
    os.chown(runtime_dir, 0, 0)


def test_nothing_is_left_behind_by_programs_that_nobody_traced(userevents: Userevents, runtime_dir: Path) -> None:
    """A clean end takes the session away; a kill leaves it to the next program that starts."""
    run = [sys.executable, "-c", userevents.code("emit(0, 10)")]
    subprocess.run(run, check=True)
    assert not list(runtime_dir.glob(f"*{layout.SESSION_SUFFIX}"))
    killed = steady(userevents)
    stop(killed)
    assert len(list(runtime_dir.glob(f"*{layout.SESSION_SUFFIX}"))) == 1
    subprocess.run(run, check=True)
    assert not list(runtime_dir.glob(f"*{layout.SESSION_SUFFIX}"))
