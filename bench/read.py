"""Reading a trace of a million events by eight programs: merge, report beside trace-cmd's, summary, columns.

Whole processes for the report, ours and `trace-cmd report` alternating on one and the same trace.dat, so that what
slows the machine slows both; columns in fresh processes, beside pyarrow's; the rest in this process. Printed are ratios
with their spread over the rounds; a time is CPU time, of columns time that passed, and means nothing beyond its order.
`USEREVENTS_NATIVE=0` measures pure Python.
"""

import os
import random
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from driver import WORKERS, peer_python
from results import Row, keep, print_rows, wait_until_quiet

from userevents.buffer import PageBuilder, page_data, stream
from userevents.buffer.native import native
from userevents.formats import finish_recording, open_trace

EVENTS = 1_000_000
PROGRAMS = 8
ROUNDS = 5
SETTLE_S = 3
"""Longer than a virtual machine waits until it gives free memory back to its host."""
COLUMNS_GOAL_S = 0.1
REPORT_GOAL = 1.0
PATHS = [b"/api/items/%d\0" % number for number in range(100, 200)]


class Program:
    """One traced program of the recording: its page, and the frames it hands over."""

    def __init__(self, number: int) -> None:
        facts = {"pid": 1000 + number, "start_time": 5, "comm": f"worker{number}", "cmdline": ["worker"], "nonce": ""}
        events = {
            20: ("request", "u32 id; u64 total; __rel_loc char[] path"),
            21: ("tick", "u32 n; struct f64 ratio 8"),
        }
        self.number, self.cpu, self.seq = number, number % 2, 0
        self.head = {event: struct.pack("<HHi", event, 0, 1000 + number) for event in events}
        self.page = PageBuilder()
        self.frames = [stream.pack_stream(number, facts)]
        for event, (name, fields) in events.items():
            declared = {"id": event, "name": name, "system": "user_events", "fields": fields, "enabled": True}
            self.frames.append(stream.pack_event(number, declared))

    def write(self, ts_ns: int, event: int, payload: bytes) -> None:
        """Write a record; a full page is handed over first."""
        if not self.page.append(ts_ns, self.head[event] + payload):
            self.flush()
            self.page.append(ts_ns, self.head[event] + payload)

    def flush(self) -> None:
        """Hand the page over."""
        ts_ns, data = page_data(self.page.take())
        self.frames.append(stream.pack_part(self.number, 1, self.cpu, self.seq, ts_ns, 0, bytes(data)))
        self.seq += 1


def make(path: Path) -> None:
    """Write the recording: events of random programs, 450 ns apart on average."""
    chance = random.Random(5)
    programs = [Program(number) for number in range(1, PROGRAMS + 1)]
    now = 10**12
    for number in range(EVENTS):
        now += chance.randrange(1, 900)
        text = PATHS[number % 100]
        request = struct.pack("<IQI", number, number * 1000, len(text) << 16) + text
        is_tick = number % 4 == 0
        payload = struct.pack("<Id", number, number / 7) if is_tick else request
        programs[chance.randrange(PROGRAMS)].write(now, 21 if is_tick else 20, payload)
    header = {"mono_ns": 1, "real_ns": 2, "host": "bench", "release": "", "cpus": 2, "command": [], "tracer_pid": 1}
    with path.open("wb") as file:
        file.write(stream.pack_start() + stream.pack_header(header))
        for program in programs:
            program.flush()
            file.write(b"".join(program.frames))
        file.write(stream.pack_end("done", now))


def cpu_of(command: list[str]) -> float:
    """Run a command to its end, its output thrown away; return the CPU seconds it took."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[0]} failed with status {status}")
    return usage.ru_utime + usage.ru_stime


def here(run: Callable[[], object]) -> float:
    """Return the CPU seconds that a call takes in this process."""
    start = time.process_time()
    run()
    return time.process_time() - start


def beside(name: str, mine: list[float], peer: list[float], peer_name: str, goal: float | None = None) -> Row:
    """Return one ratio with its spread."""
    ratios = [one / other for one, other in zip(mine, peer, strict=True)]
    return Row(name, peer_name, min(mine) / min(peer), statistics.median(ratios), min(ratios), max(ratios), goal)


def main() -> None:
    """Make the recording, then measure."""
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="userevents-bench-", dir="/dev/shm"))
    part, trace, copy = directory / "t.part", directory / "t.dat", directory / "copy.dat"
    try:
        make(part)
        finish_recording(str(part), str(trace))
        python = arrow_peer(trace, directory)
        notes = [wait_until_quiet()]
        times: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, seconds in [*_round(part, trace, copy), *_columns(trace, python)]:
                times.setdefault(name, []).append(seconds)
        rows = list(_rows(times))
        form = "natively" if native else "in pure Python"
        notes.append(f"{EVENTS:,} events of {PROGRAMS} programs, read {form}; {ROUNDS} rounds; of columns wall time")
        print_rows(rows)
        print(*notes, sep="\n")
        keep("read", rows, notes=notes, seconds=time.monotonic() - began)
    finally:
        shutil.rmtree(directory)


def _round(part: Path, trace: Path, copy: Path) -> list[tuple[str, float]]:
    report = [sys.executable, "-m", "userevents", "report"]
    found = []
    if shutil.which("trace-cmd"):
        found.append(("trace-cmd", cpu_of(["trace-cmd", "report", str(trace)])))
    found.append(("report", cpu_of([*report, str(trace)])))
    found.append(("report text", cpu_of([*report, "--format", "text", str(trace)])))
    found.append(("report of raw", cpu_of([*report, str(part)])))
    found.append(("report --summary", cpu_of([*report, "--summary", str(trace)])))
    found.append(("report --top", cpu_of([*report, "--top", "request.total", str(trace)])))
    found.append(("copying", here(lambda: shutil.copyfile(part, copy))))
    found.append(("merge", here(lambda: finish_recording(str(part), str(copy)))))
    with open_trace(str(trace)) as opened:
        found.append(("records", here(lambda: deque(opened.records(), 0))))
    return found


def arrow_peer(trace: Path, directory: Path) -> str:
    """Return an interpreter that has pyarrow, with the trace's rows written beside it; none if it cannot be had."""
    worker, env = str(WORKERS / "columns.py"), {**os.environ, "PYTHONPATH": str(WORKERS.parent.parent / "src")}
    try:
        python = peer_python()
        subprocess.run([python, worker, "write", str(trace), str(directory)], env=env, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"pyarrow is left out: {error}", file=sys.stderr)
        return ""
    return python


def _columns(trace: Path, python: str) -> Iterator[tuple[str, float]]:
    """Read all columns twice in each of some fresh processes, the second time into memory that is at hand."""
    cases = [(sys.executable, "trace", str(trace))]
    if python:
        cases += [(python, kind, str(trace.parent)) for kind in ("parquet", "ipc")]
    for program, kind, place in cases:
        time.sleep(SETTLE_S)
        command = [program, str(WORKERS / "columns.py"), kind, place]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        names = (kind, f"{kind} CPU", f"{kind} again", f"{kind} again CPU")
        yield from zip(names, map(float, said), strict=True)


def _rows(times: dict[str, list[float]]) -> Iterator[Row]:
    for name in ("report", "report text", "report of raw", "report --summary", "report --top", "merge"):
        if "trace-cmd" in times:
            goal = REPORT_GOAL if name == "report" else None
            yield beside(name, times[name], times["trace-cmd"], "trace-cmd report", goal)
    yield beside("merge", times["merge"], times["copying"], "copying the file")
    for peer, name in (("parquet", "pyarrow from Parquet"), ("ipc", "pyarrow from Arrow IPC")):
        if peer in times:
            yield beside("all to Arrow columns", times["trace"], times[peer], name)
            yield beside("all to Arrow columns, memory at hand", times["trace again"], times[f"{peer} again"], name)
    cases = {
        "trace": "all to Arrow columns",
        "trace again": "all to Arrow columns, memory at hand",
        "trace CPU": "all to Arrow columns, CPU time",
        "trace again CPU": "all to Arrow columns, memory at hand, CPU time",
        "records": "all to Python objects",
    }
    for name in (*cases, "merge"):
        goal = COLUMNS_GOAL_S if name in ("trace", "trace again") else None
        found = times[name]
        case = cases.get(name, name)
        yield Row(case, "", min(found), statistics.median(found), min(found), max(found), goal, unit="s")


if __name__ == "__main__":
    main()
