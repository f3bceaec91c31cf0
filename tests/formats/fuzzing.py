"""Mutated trace files through everything that reads them: records, losses, a summary, and an export.

`./dev fuzz formats [--runs N] [--seed S]` runs many, some thousands run with the tests. Every input must end in records
or in one of our errors, soon, and in little memory; whatever else comes is told with the seed that repeats it.
"""

import argparse
import os
import random
import resource
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

from tests.formats.kernel_trace import v6
from tests.formats.maker import Maker
from tests.formats.trace_files import v7
from userevents.buffer import PageBuilder
from userevents.errors import Malformed
from userevents.fields import format_text, parse_fields
from userevents.formats import Recording, Trace
from userevents.formats.export import export
from userevents.formats.perfdata_reader import PerfData
from userevents.formats.perfdata_source import PerfSource
from userevents.formats.sources import RecordingSource, Source, TraceDatSource
from userevents.formats.tracedat_reader import TraceDat

SECONDS_MAX: Final = 5.0
"""For one input of a few KiB; a hang, or work that grows with a claimed number, takes longer."""
MEMORY_MAX: Final = 200 << 20
"""How much more may be in use at its peak than at the beginning."""
RECORDS_MAX: Final = 100_000
EDGES: Final = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 40,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
VECTOR: Final = Path(__file__).resolve().parent.parent / "vectors" / "linux-6.18" / "perf" / "openat.data"

Seed = tuple[str, bytes]
"""A kind of file and a good one."""


def _page(*times: int) -> bytes:
    builder = PageBuilder()
    for number, ts_ns in enumerate(times):
        body = struct.pack("<HBBiIHH", 20, 0, 0, 77, number, 4, 3 << 0) + b"abc\0"
        builder.append(ts_ns, body if number % 2 else struct.pack("<HBBiId", 21, 0, 0, 78, 5, 0.5))
    return builder.take(missed=3)


@cache
def seeds() -> tuple[Seed, ...]:
    """Return small good files of every kind."""
    import zlib

    import zstandard

    texts = [
        format_text("tick", 20, parse_fields("u32 a; __rel_loc char[] c")),
        format_text("tock", 21, parse_fields("u32 a; struct f64 r 8")),
    ]
    buffers = {"": [[_page(100, 200, 10**9), _page(10**9 + 5)], [_page(150)]], "shop": [[_page(120)], []]}
    formats = {"user_events": texts}
    maker = Maker()
    for pid in (70, 80):
        session = maker.session(pid, "prog", {20: "tick u32 a; __rel_loc char[] c", 21: "tock u8 b; __data_loc u8[] d"})
        for number in range(4):
            session.add_values(100 * number + pid, 20, number, "x" * number)
            session.add_values(100 * number + pid, 21, number, b"\1" * number, cpu=1)
        session.close(drops={20: {"ring_full": 2}})
    ours = _written(maker)
    perf = _perf(ours)
    return (
        ("trace.dat 6", v6([[_page(100, 200)], [_page(150)]], formats)),
        ("trace.dat 7", v7(buffers, formats)),
        ("trace.dat 7 zstd", v7(buffers, formats, name="zstd", compress=zstandard.ZstdCompressor().compress)),
        ("trace.dat 7 zlib", v7(buffers, formats, name="zlib", compress=zlib.compress)),
        ("trace.dat ours", ours),
        ("recording", maker.data()),
        ("perf.data ours", perf),
        ("perf.data kernel", VECTOR.read_bytes()),
    )


def _written(maker: Maker) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        maker.trace(Path(directory) / "x")
        return (Path(directory) / "x").read_bytes()


def _perf(ours: bytes) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        export(opened("trace.dat", ours), "perf", f"{directory}/x")
        return Path(directory, "x").read_bytes()


def opened(kind: str, data: bytes) -> Trace:
    """Open bytes as a file of a kind."""

    def read_at(offset: int, size: int) -> bytes:
        assert size <= 1 << 27, f"{size} bytes at once"
        return data[offset : offset + size]

    source: Source
    if kind.startswith("perf"):
        source = PerfSource(PerfData(read_at, len(data), "fuzz"))
    elif kind.startswith("trace"):
        source = TraceDatSource(TraceDat(read_at, len(data), "fuzz"))
    else:
        source = RecordingSource(Recording.of(data))
    return Trace("fuzz", source, lambda: None)


def mutated(random_of: random.Random, data: bytes, other: bytes) -> bytes:
    """Return a file with a few things wrong with it."""
    file = bytearray(data)
    for _ in range(random_of.choice((1, 1, 1, 2, 3, 8))):
        if not file:
            break
        at = random_of.randrange(len(file))
        for _ in range(4):  # much of a page is zeros that nobody looks at
            at = at if file[at] else random_of.randrange(len(file))
        match random_of.randrange(8):
            case 0:
                file[at] ^= 1 << random_of.randrange(8)
            case 1:
                file[at] = random_of.randrange(256)
            case 2:
                width = random_of.choice((1, 2, 4, 8))
                at &= -width
                file[at : at + width] = (random_of.choice(EDGES) & (1 << 8 * width) - 1).to_bytes(width, "little")
            case 3:
                width = random_of.choice((2, 4, 8))
                at &= -width
                number = int.from_bytes(file[at : at + width], "little") + random_of.choice((-8, -4, -1, 1, 4, 8, 4096))
                file[at : at + width] = (number & (1 << 8 * width) - 1).to_bytes(width, "little")
            case 4:
                del file[at:]
            case 5:
                del file[at : at + random_of.choice((1, 4, 8, 100))]
            case 6:
                file[at:at] = random_of.randbytes(random_of.choice((1, 4, 8, 100)))
            case _:
                start = random_of.randrange(len(other))
                size = random_of.choice((4, 8, 64))
                file[at : at + size] = other[start : start + size]
    return bytes(file)


class _Nowhere:
    def write(self, _data: bytes) -> None:
        """Forget it."""


def once(seed: int) -> str:
    """Read one mutated file in every way; return what came of it."""
    random_of = random.Random(seed)
    kind, data = random_of.choice(seeds())
    file = mutated(random_of, data, random_of.choice(seeds())[1])
    try:
        trace = opened(kind, file)
        ways: list[Callable[[], object]] = [
            lambda: sum(1 for _ in islice(trace.records(), RECORDS_MAX)),
            trace.losses,
            trace.summary,
            lambda: export(trace, random_of.choice(("perfetto", "json")), _Nowhere()),
        ]
        for way in random_of.sample(ways, 2):
            way()
    except Malformed as error:
        refusal = error
    else:
        return f"{kind}: read with notes" if trace.notes else f"{kind}: read"
    assert refusal.offset is not None, f"no offset: {refusal}"
    return f"{kind}: refused"


def run(seeds_of: Iterator[int]) -> Counter[str]:
    """Read one file for each seed; what is wrong is raised with the seed that repeats it."""
    found: Counter[str] = Counter()
    seeds()
    before = _peak()
    for seed in seeds_of:
        began = time.process_time()
        try:
            found[once(seed)] += 1
            took = time.process_time() - began
            assert took < SECONDS_MAX, f"took {took:.1f} s"
        except BaseException as error:
            error.add_note(f"python -m tests.formats.fuzzing --seed {seed} --runs 1 repeats it")
            raise
    grown = _peak() - before
    assert grown < MEMORY_MAX or "ASAN_OPTIONS" in os.environ, f"{grown >> 20} MiB more were in use"
    return found


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Run as many as asked for."""
    parser = argparse.ArgumentParser(prog="./dev fuzz formats", description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100_000, help="how many files [default: 100000]")
    parser.add_argument("--seed", type=int, default=None, help="the first one's seed [default: random]")
    asked = parser.parse_args()
    first = asked.seed if asked.seed is not None else random.SystemRandom().getrandbits(40)
    if asked.runs > 1:
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    found: Counter[str] = Counter()
    began = time.monotonic()
    for start in range(0, asked.runs, 5000):
        found += run(iter(range(first + start, first + min(start + 5000, asked.runs))))
        took = time.monotonic() - began
        done = found.total()
        print(f"\r{done:,} files in {took:.0f} s ({done / took:,.0f}/s)", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    for what, number in sorted(found.items()):
        print(f"{what:<36}{number:>10,}")
    took = time.monotonic() - began
    print(f"{found.total():,} files from seed {first} on, {took:.0f} s, {_peak() >> 20} MiB")


if __name__ == "__main__":
    os.nice(5)
    main()
