"""Damaged pages through everything that reads pages, again and again: nothing crashes, and no memory stays behind.

A second long, or as many as USEREVENTS_FUZZ says; a failure names the seed that repeats it.
"""

import gc
import os
import random
import resource
import time
from typing import Any

import pytest

from tests.buffer.made import KERNEL_PAGES, page_of
from tests.formats.test_rows import planned
from tests.formats.test_text import EVENT
from userevents.buffer import records
from userevents.buffer.encode import Encoder
from userevents.buffer.merge import interleave
from userevents.buffer.native import native
from userevents.buffer.run import Run
from userevents.fields.escape import escape
from userevents.formats.columns import collect
from userevents.formats.rows import Rows
from userevents.formats.text import TABLE

SECONDS = float(os.environ.get("USEREVENTS_FUZZ", "1"))


def damaged(random_of: random.Random) -> tuple[bytes, int]:
    """Return a page with bits flipped, a piece cut out or put in, or all of it noise."""
    steps = [
        (random_of.choice((0, 1, 999, 1 << 27)), random_of.randrange(4), random_of.randrange(200)) for _ in range(30)
    ]
    data, ts_ns = random_of.choice(KERNEL_PAGES) if random_of.random() < 0.3 else page_of(steps)
    page = bytearray(data)
    for _ in range(random_of.randrange(6)):
        at = random_of.randrange(len(page) + 1)
        match random_of.randrange(4):
            case 0 if at < len(page):
                page[at] ^= 1 << random_of.randrange(8)
            case 1:
                del page[at : at + random_of.randrange(1, 40)]
            case 2:
                page[at:at] = random_of.randbytes(random_of.randrange(1, 20))
            case _:
                page[at : at + 4] = random_of.choice(
                    (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x1d\0\0\0", b"\xfe\xff\xff\xff")
                )
    if random_of.random() < 0.05:
        return random_of.randbytes(random_of.randrange(600)), random_of.getrandbits(64)
    return bytes(page), ts_ns if random_of.random() < 0.9 else random_of.getrandbits(63)


def once(seed: int) -> None:
    """Read a few damaged pages in every way there is."""
    random_of = random.Random(seed)

    def who(_tag: object, cpu: int, tid: int, _ts_ns: int) -> tuple[Any, bool]:
        return f"{cpu}-{tid}" if tid % 7 else None, bool(tid & 1)

    runs = [Run(*damaged(random_of), random_of.randrange(3)) for _ in range(random_of.randrange(1, 24))]
    runs += [run.select(cpu=1, dropped=b"\x14\0", renamed=b"\x15\0\x14\0", cpus=b"\0\0\1\0") for run in runs[:3]]
    runs.sort(key=lambda run: run.since)
    total = sum(map(len, runs))
    encoder = Encoder()
    written = [page for batch in interleave(runs) for page in encoder.add(batch)] + encoder.finish()
    assert sum(1 for page in written for _ in records(page)) == total
    rows = Rows(planned(TABLE, 23), who, escape, random_of.choice((0, -(10**12))), TABLE.time_first)
    for batch in interleave(runs):
        assert all(line.isprintable() for line in rows.lines(batch))
        rows.records(batch)
    columns = collect(EVENT, interleave(runs), lambda *_: (7, True))
    assert len(columns) <= total
    columns.__arrow_c_stream__()


@pytest.mark.time_limit(60 + SECONDS)
def test_damaged_pages_crash_nothing() -> None:
    """Whatever is in them, they are read as far as they hold."""
    end = time.monotonic() + SECONDS
    seed = random.SystemRandom().getrandbits(40)
    while time.monotonic() < end:
        seed += 1
        try:
            once(seed)
        except BaseException as error:
            error.add_note(f"tests.formats.test_fuzz.once({seed}) repeats it")
            raise


@pytest.mark.skipif(native is None, reason="memory of the extension is what is watched")
def test_reading_again_and_again_takes_no_more_memory() -> None:
    """A leak of one object a record would come to many megabytes."""
    bodies = [(1, 0, 60)] * 60

    def read_all() -> None:
        runs = [Run(*page_of(bodies, 1000 + number), number % 3, "tag") for number in range(20)]
        rows = Rows(planned(TABLE), lambda _tag, _cpu, tid, _ts_ns: (f"t{tid}", False), escape)
        for batch in interleave(runs):
            rows.lines(batch)
            rows.records(batch)
            batch.records()
        encoder = Encoder()
        for batch in interleave(runs):
            encoder.add(batch)
        columns = collect(EVENT, interleave(runs), lambda *_: (7, False))
        columns.__arrow_c_stream__()
        columns.chunks[0].__arrow_c_array__()
        for run in runs:
            run.heads()
            run.select(dropped=b"\x14\0", renamed=b"\x15\0\x16\0")

    for _ in range(10):
        read_all()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(100):
        read_all()
    gc.collect()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 6000, f"{grown} KiB more after 120,000 records read six times"
