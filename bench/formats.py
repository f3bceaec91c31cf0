"""Exporting a trace of ten million events by eight programs: time, events a second and peak memory of each format.

Whole processes, each export beside `userevents report` and trace-cmd's on the same file, so that what slows the machine
slows all. A time is CPU seconds, the least of the rounds; the goals are events a second of CPU and peak memory.
What takes longest, trace-cmd's report and a page with spans, has the first tenth of the events, and is compared by the
event: all of it takes some five minutes on idle cores.
USEREVENTS_BENCH_EVENTS chooses another size, USEREVENTS_BENCH_FORMATS some of them (perfetto,html), ROUNDS how often.
Results as JSON in .cache/bench-formats.json, too, beside those of other formats of an earlier run.
"""

import json
import math
import os
import shutil
import statistics
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench import read
from bench.shared.spent import Spent, spent
from userevents.buffer import stream
from userevents.formats import finish_recording

EVENTS = int(os.environ.get("USEREVENTS_BENCH_EVENTS", "10000000"))
ROUNDS = int(os.environ.get("ROUNDS", "2"))
RATE_GOAL = 300_000
MEMORY_GOAL_MB = 300
REPORTS = ("trace-cmd report", "report")
FORMATS = ("perfetto", "perf", "ctf", "json", "parquet", "otlp")
PAGES = ("html", "html --pair")
CHOSEN = tuple(os.environ.get("USEREVENTS_BENCH_FORMATS", ",".join((*REPORTS, *FORMATS, *PAGES))).split(","))
SLOW = ("trace-cmd report", "html --pair")
"""What takes minutes for ten million events: it has a tenth of them."""
SLOW_PART = 10
PAIR = "request:tick"
"""Begin and end on one thread, as they come."""
NONE = Spent(math.nan, math.nan, math.nan)
CACHE = Path(__file__).resolve().parent.parent / ".cache"


def make(path: Path, events: int) -> int:
    """Write a recording: the million of bench/read.py, again and again, each time later; return the events."""
    part = path.with_suffix(".million")
    read.make(part)
    copies = max(events // read.EVENTS, 1)
    data = part.read_bytes()
    frames = list(_frames(data))
    start = 10**12
    length = max(ts for kind, _, ts in frames if kind == stream.PAGE_PART) - start + 10**7
    with path.open("wb") as file:
        file.write(data[:16])
        for kind, frame, _ in frames:
            if kind not in (stream.PAGE_PART, stream.END):
                file.write(frame)
        for copy in range(copies):
            for kind, frame, ts in frames:
                if kind == stream.PAGE_PART:
                    file.write(_later(frame, ts + copy * length, copy))
        file.write(stream.pack_end("done", start + copies * length))
    part.unlink()
    return copies * read.EVENTS


def _frames(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield (type, frame, time stamp of a part). docs/formats/recording.md draws them."""
    at = 16
    while at < len(data):
        size, kind = struct.unpack_from("<IH", data, at)
        frame = data[at : at + size]
        yield kind, frame, struct.unpack_from("<Q", frame, 32)[0] if kind == stream.PAGE_PART else 0
        at += size


def _later(frame: bytes, ts_ns: int, copy: int) -> bytes:
    """Return a part with another time stamp, further on in its ring."""
    (seq,) = struct.unpack_from("<Q", frame, 24)
    return frame[:24] + struct.pack("<QQ", seq + copy * 1_000_000, ts_ns) + frame[40:]


class Collector(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        left = int(self.headers["content-length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 16)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def command_of(name: str, trace: Path, place: Path, url: str) -> list[str]:
    """Return the command that is measured under a name; it writes to `place`, or to the collector at `url`."""
    ours = [sys.executable, "-m", "userevents"]
    if name == "trace-cmd report":
        return ["trace-cmd", "report", str(trace)]
    if name == "report":
        return [*ours, "report", str(trace)]
    if name in PAGES:
        pair = ["--pair", PAIR] if "pair" in name else []
        return [*ours, "html", "-q", "-o", str(place), *pair, str(trace)]
    where = ["--endpoint", url] if name == "otlp" else ["-o", str(place)]
    return [*ours, "export", str(trace), "--to", name, "-q", *where]


def measure(traces: dict[bool, Path], directory: Path, url: str) -> dict[str, list[Spent]]:
    """Run everything ROUNDS times, in turns, on one of the traces: by whether it is slow."""
    found: dict[str, list[Spent]] = {}
    for _ in range(ROUNDS):
        for name in CHOSEN:
            if name == "trace-cmd report" and not shutil.which("trace-cmd"):
                continue
            place = directory / f"out.{name.partition(' ')[0]}"
            found.setdefault(name, []).append(spent(command_of(name, traces[name in SLOW], place, url)))
            print(f"{name}: {found[name][-1].cpu_s:.1f} s of CPU", file=sys.stderr, flush=True)
            shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)
    return found


def show(found: dict[str, list[Spent]], events: dict[bool, int]) -> dict[str, dict[str, float]]:
    """Print a line for each; return the figures. `events` is how many each trace has."""
    beside = "trace-cmd report" if "trace-cmd report" in found else "report"
    base = statistics.median(each.cpu_s for each in found.get(beside) or [NONE]) / events[beside in SLOW]
    print(f"{'':<18}{'events/s':>12}{'CPU s':>8}{'s':>8}{'peak MB':>9}  / {beside:<18} goals")
    figures = {}
    for name, rounds in found.items():
        cpu, wall = min(each.cpu_s for each in rounds), min(each.wall_s for each in rounds)
        peak = max(each.peak_mib for each in rounds) * 1.048576
        size = events[name in SLOW]
        rate, ratio = size / cpu, statistics.median(each.cpu_s for each in rounds) / size / base
        goals = [] if "report" in name or peak <= MEMORY_GOAL_MB else [f"peak > {MEMORY_GOAL_MB} MB"]
        goals += [f"under {RATE_GOAL:,}/s"] if name == "perfetto" and size / wall < RATE_GOAL else []
        told = "missed: " + ", ".join(goals) if goals else ""
        print(f"{name:<18}{rate:>12,.0f}{cpu:>8.1f}{wall:>8.1f}{peak:>9.0f}{ratio:>10.2f}{'':<12}{told}")
        figures[name] = {
            "events": size,
            "events_per_cpu_s": rate,
            "cpu_s": cpu,
            "s": wall,
            "peak_mb": peak,
            "ratio": ratio,
        }
    return figures


def main() -> None:
    """Make the trace, then measure."""
    shm = "/dev/shm" if shutil.disk_usage("/dev/shm").free > 5 * 80 * EVENTS else None
    directory = Path(tempfile.mkdtemp(prefix="userevents-bench-", dir=shm))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        part = directory / "t.part"
        traces, events = {}, {}
        for is_slow, size in ((False, EVENTS), (True, EVENTS // SLOW_PART)):
            traces[is_slow] = directory / f"{'slow' if is_slow else 'all'}.dat"
            events[is_slow] = make(part, size)
            finish_recording(str(part), str(traces[is_slow]))
            part.unlink()
            print(f"{events[is_slow]:,} events, {traces[is_slow].stat().st_size / 1e6:,.0f} MB")
        figures = show(measure(traces, directory, f"http://127.0.0.1:{server.server_port}"), events)
        CACHE.mkdir(exist_ok=True)
        kept = CACHE / "bench-formats.json"
        before = json.loads(kept.read_text()) if kept.exists() else {}
        before = before if before.get("events") == events[False] else {}
        kept.write_text(json.dumps({**before, "events": events[False], **figures}, indent=1) + "\n")
    finally:
        server.shutdown()
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
