"""`record --flight` and `dump`: only the newest is held, in memory, and whenever it is asked for the sums add up."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from userevents.formats.ledger import Ledger
from userevents.formats.trace import open_trace
from userevents.session import layout

from .conftest import Userevents

NONE = ("--provider", "none")
SMALL = ("--flight", "--buffer-size", "64K", *NONE)
Wait = Callable[[Callable[[], bool]], None]
DUMPS = int(os.environ.get("USEREVENTS_DUMPS", "3"))
"""How many dumps are taken of programs that write flat out; more for a long look."""
FLAT_OUT = """
    import os
    parent, a = os.getppid(), 0
    print("go", flush=True)
    while os.getppid() == parent:  # whatever becomes of the test, nobody writes on after it
        emit(a, a + 1000)
        a += 1000
"""


def read(path: Path) -> tuple[list[int], Ledger]:
    """Return field `a` of every event in order, and the ledger, which has to balance."""
    with open_trace(str(path)) as trace:
        values = [record.values["a"] for record in trace.records()]
        ledger = trace.ledger
    assert ledger is not None
    assert ledger.is_balanced, ledger
    assert ledger.total("delivered") == len(values)
    return values, ledger  # type: ignore[return-value]


def test_a_flight_recording_writes_the_newest_at_the_end(userevents: Userevents) -> None:
    """Of many events the last ones are there, without a gap, and the others are counted as overwritten."""
    done = userevents("record", *SMALL, "--", sys.executable, "-c", userevents.code("emit(0, 30000)"))
    assert done.returncode == 0, done.stderr
    found, ledger = read(userevents.directory / "trace.dat")
    assert 500 < len(found) < 10000
    assert found == list(range(30000 - len(found), 30000))
    assert ledger.total("overwritten") == 30000 - len(found)
    assert f"{30000 - len(found):,} older events had been overwritten" in done.stderr
    assert "overwritten" in userevents("report", "trace.dat").stdout.splitlines()[0]
    assert os.listdir(userevents.directory) == ["trace.dat"]


def test_a_program_that_is_killed_leaves_its_last_events_to_the_dump(userevents: Userevents) -> None:
    """The flight recorder is there for crashes: what led to SIGKILL is in the file."""
    program = userevents.code("import os, signal\nemit(0, 20000)\nos.kill(os.getpid(), signal.SIGKILL)")
    done = userevents("record", *SMALL, "--", sys.executable, "-c", program)
    assert done.returncode == 128 + signal.SIGKILL
    found, ledger = read(userevents.directory / "trace.dat")
    assert found[-1] == 19999
    assert ledger.total("committed") == 20000


def test_dumps_are_taken_while_the_recording_goes_on(userevents: Userevents, wait_until: Wait) -> None:
    """Each dump is a whole trace of what was held then; nothing is written before the first."""
    recorder = userevents.record(*SMALL)
    program = userevents.python(
        """
        import sys
        print("go", flush=True)
        for line in sys.stdin:
            emit(*map(int, line.split()))
            print("done", flush=True)
        """
    )
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdout.readline()

    def emit(start: int, stop: int) -> None:
        print(start, stop, file=program.stdin, flush=True)
        assert program.stdout is not None
        program.stdout.readline()

    emit(0, 100)
    assert os.listdir(userevents.directory) == []
    assert userevents("dump", "-o", "one.dat").returncode == 0
    emit(100, 12000)
    told = json.loads(userevents("dump", "--json", "-o", "two.dat").stdout)
    time.sleep(2)
    began = time.monotonic()
    emit(12000, 12050)
    assert userevents("dump", "--last", "2s", "-o", "three.dat").returncode == 0
    is_in_time = time.monotonic() - began < 2
    program.kill()
    program.wait()
    assert userevents("dump", "-o", "four.dat").returncode == 0
    userevents.end(recorder)
    one, two, three, four, last = (
        read(userevents.directory / f"{name}.dat") for name in ("one", "two", "three", "four", "trace")
    )
    assert one[0] == list(range(100))
    assert two[0] == list(range(12000 - len(two[0]), 12000))
    assert (told["delivered"], told["overwritten"], told["balanced"]) == (len(two[0]), 12000 - len(two[0]), True)
    assert three[0] == list(range(12050 - len(three[0]), 12050))
    assert len(three[0]) == 50 or (len(three[0]) < 50 and not is_in_time)
    assert three[1].total("other") + three[1].total("overwritten") == 12050 - len(three[0])
    assert four[0] == last[0]
    assert four[0][-1] == 12049


@pytest.mark.parametrize("writer", ["c", "python"])
@pytest.mark.time_limit(60 + 3 * DUMPS)
def test_dumps_of_programs_that_write_flat_out_balance(
    userevents: Userevents, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    """The rings are copied while they are overwritten: no half page, no gap, and the sums add up each time."""
    monkeypatch.setenv("USEREVENTS_NATIVE", "1" if writer == "c" else "0")
    recorder = userevents.record("--flight", "--buffer-size", "256K", *NONE)
    programs = [userevents.python(FLAT_OUT) for _ in range(2)]
    try:
        for program in programs:
            assert program.stdout is not None
            program.stdout.readline()
        ends: dict[int, int] = {}
        empty = 0
        for number in range(DUMPS):
            last = ("--last", "50ms") if number % 3 == 2 else ()
            done = userevents("dump", "-o", "now.dat", *last)
            assert done.returncode == 0, done.stderr
            found = examine_dump(userevents.directory / "now.dat", ends)
            assert last or set(found) == {program.pid for program in programs}, "the newest is always held"
            empty += 2 - len(found)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    userevents.end(recorder)
    counts = examine_dump(userevents.directory / "trace.dat", ends)
    print(f"{writer}: {DUMPS} dumps, {empty} times nothing of a program's last 50 ms, {counts} records at the end")


def examine_dump(path: Path, ends: dict[int, int]) -> dict[int, int]:
    """Hold a dump to be whole, and no older than the one before; return how many records it has of each program."""
    found: dict[int, list[int]] = {}
    with open_trace(str(path)) as trace:
        for record in trace.records():
            found.setdefault(record.pid or 0, []).append(record.values["a"])  # type: ignore[arg-type]
        assert not trace.notes, trace.notes
        ledger = trace.ledger
    assert ledger is not None
    assert ledger.is_balanced, ledger
    for process in ledger.processes:
        numbers = found.get(process.pid, [])
        assert process.delivered == len(numbers), process
        if numbers:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), process
            assert process.committed == numbers[-1] + 1, process
        assert process.committed > ends.get(process.pid, 0), process
        ends[process.pid] = process.committed
    return {pid: len(numbers) for pid, numbers in found.items()}


def test_a_normal_recording_beside_a_flight_records_everything(userevents: Userevents) -> None:
    """Both see the program: the one what it wrote since it came, the other the newest."""
    flight = userevents.record("--flight", *NONE)
    program = userevents.python(
        "import sys\nemit(0, 500)\nprint('go', flush=True)\nsys.stdin.readline()\nemit(500, 900)"
    )
    assert program.stdout is not None
    program.stdout.readline()
    normal = userevents.record("-o", "normal.dat", *NONE)
    program.communicate("\n", timeout=20)
    userevents.end(normal)
    userevents.end(flight)
    assert read(userevents.directory / "normal.dat")[0] == list(range(500, 900))
    assert read(userevents.directory / "trace.dat")[0] == list(range(900))


def test_programs_that_ended_are_kept_and_the_oldest_are_given_up_first(userevents: Userevents) -> None:
    """So many dead are kept, of the others the counts: the ledger of a dump has all of them."""
    script = """
        import os
        for n in range(230):
            pid = os.fork()
            if pid == 0:
                emit(n, n + 1)
                os._exit(0)
            os.waitpid(pid, 0)
        """
    done = userevents("record", *SMALL, "--", sys.executable, "-c", userevents.code(script))
    assert done.returncode == 0, done.stderr
    found, ledger = read(userevents.directory / "trace.dat")
    assert ledger.total("committed") == 230
    assert len(found) == 230 - ledger.total("overwritten")
    assert len(found) >= 190
    assert sorted(found)[-1] == 229


def test_a_flight_recorder_that_is_killed_leaves_the_rings_to_the_next(userevents: Userevents) -> None:
    """One program goes on, one ended meanwhile: the next recorder's dump has both, counted from the start."""
    first = userevents.record(*SMALL)
    program = "import sys\nbool(tick)\nemit(0, 9000)\nprint('go', flush=True)\nsys.stdin.read()"
    ended, alive = userevents.python(program), userevents.python(program)
    for each in (ended, alive):
        assert each.stdout is not None
        each.stdout.readline()
    first.kill()
    first.wait()
    ended.kill()
    ended.wait()
    done = userevents("record", *SMALL, "--duration", "300ms", "-o", "second.dat")
    assert done.returncode == 0, done.stderr
    found, ledger = read(userevents.directory / "second.dat")
    assert {process.pid for process in ledger.processes} == {ended.pid, alive.pid}
    for process in ledger.processes:
        assert process.committed == 9000
        assert process.delivered > 500
    assert found.count(8999) == 2
    alive.communicate(timeout=20)


def test_a_program_and_its_recorder_that_end_at_once_leave_no_session(
    userevents: Userevents, runtime_dir: Path
) -> None:
    """A program leaves its rings to the tracer and is not gone yet when that one leaves: one of both removes them."""
    recorder = userevents.record("--flight")
    program = userevents.python(
        """
        import os, time
        class Last:
            def __del__(self, sleep=time.sleep, write=os.write):
                write(1, b"ending\\n")
                sleep(1.5)
        last = Last()
        emit(0, 10)
        """
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "ending\n"
    said = userevents.end(recorder)
    assert program.poll() is None
    assert "10 events" in said
    assert program.wait(20) == 0
    assert not [name for name in os.listdir(runtime_dir) if name.endswith(layout.SESSION_SUFFIX)]


def test_without_a_flight_recording_dump_says_how_to_start_one(userevents: Userevents) -> None:
    """Also beside a tracer that has none."""
    done = userevents("dump")
    assert (done.returncode, "record --flight" in done.stderr) == (1, True)
    recorder = userevents.record(*NONE)
    done = userevents("dump")
    assert (done.returncode, "record --flight" in done.stderr) == (1, True)
    userevents.end(recorder)
    assert os.listdir(userevents.directory) == ["trace.dat"]


def test_the_rings_memory_is_given_back_when_the_tracer_leaves(userevents: Userevents, wait_until: Wait) -> None:
    """A program that goes on, idle, keeps its mapping; of the 16 MiB ring a few pages stay."""
    recorder = userevents.record("--buffer-size", "16M", *NONE)
    program = userevents.python(
        "import sys\nemit(0, 200000)\nprint('go', flush=True)\nsys.stdin.readline()\nemit(0, 5)"
    )
    assert program.stdout is not None
    program.stdout.readline()
    before = ring_memory(program.pid)
    userevents.end(recorder)
    after = ring_memory(program.pid)
    assert before > 4 << 20
    assert after <= 32 << 10
    second = userevents.record("-o", "second.dat", *NONE)
    _, said = program.communicate("\n", timeout=20)
    assert program.returncode == 0, said
    userevents.end(second)
    assert read(userevents.directory / "second.dat")[0] == list(range(5))


def test_the_rings_memory_is_given_back_when_the_last_recording_ends(userevents: Userevents, wait_until: Wait) -> None:
    """The tracer stays for another recording; a program that this one does not select keeps no ring for it."""
    idle, other = (userevents.python("import sys\nemit(0, 9)\nprint('go', flush=True)\nsys.stdin.read()") for _ in "ab")
    for program in (idle, other):
        assert program.stdout is not None
        program.stdout.readline()
    first = userevents.record("-p", str(other.pid), *NONE)
    second = userevents.record("-o", "second.dat", *NONE)
    wait_until(lambda: "on" in userevents("list", "-p", str(idle.pid)).stdout)
    userevents.end(second)
    wait_until(lambda: file_memory(idle.pid) <= 32 << 10)
    assert file_memory(other.pid) >= 2 << 20
    for program in (idle, other):
        program.communicate(timeout=20)
    userevents.end(first)


def file_memory(pid: int) -> int:
    """Return the bytes that the files of a process's rings take, whether it maps them or not."""
    found = Path(os.environ["USEREVENTS_DIR"], layout.RINGS).glob(f"{pid}-*")
    return sum(path.stat().st_blocks * 512 for path in found)


def ring_memory(pid: int) -> int:
    """Return the bytes of shared memory that the files of a process's rings take, deleted ones too."""
    total, name = 0, ""
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        name = line.split(None, 5)[5] if len(line.split(None, 5)) > 5 else ""
        if f"/{layout.RINGS}/" in name:
            total += os.stat(f"/proc/{pid}/map_files/{line.split()[0]}").st_blocks * 512
    return total
