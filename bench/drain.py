"""How fast the records of one program, writing flat out, come to disk, and whether any is lost on the way.

A child writes prefabricated pages into its ring by the protocol of docs/formats/session.md, as fast as a native writer
that has a core of its own: 10 and 15 million events a second.
`userevents record` drains it. Each round runs every case once. A rate is of wall time: on a machine whose cores are
busy with other things it says little; on an idle one with two cores, what can be drained.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from results import Row, keep, print_rows, wait_until_quiet

from userevents.abi.ring_buffer import PAGE_HEADER_SIZE, PAGE_SIZE
from userevents.buffer.page import PageBuilder
from userevents.formats import open_trace
from userevents.session import layout
from userevents.session.producer import Declared, Session
from userevents.session.ring import Ring

ROUNDS = 10
SECONDS = 1.0
RING = "16M"
SETTLE_S = 3.0
"""Between runs: a virtual machine that gives free memory back to its host does so two seconds after a run has freed
half a gigabyte, and takes one of two CPUs for it, which would be in the middle of the next run."""
CATCH_UP_S = 0.001
RATES = {"10 M/s": 10e6, "15 M/s": 15e6}
GOAL_FOR = "10 M/s"
RATE_GOAL = 8
WHOLE_GOAL = 0.9
DECLARATION = b"bench_event u32 number; u64 total; char[20] text"


class Run(NamedTuple):
    """One run: events written and lost, and the seconds of writing."""

    written: int
    lost: int
    seconds: float


def prefabricated(event_id: int) -> tuple[bytes, int]:
    """Return a full page of records, and how many they are."""
    builder = PageBuilder()
    count = 0
    body = event_id.to_bytes(2, "little") + bytes(2) + os.getpid().to_bytes(4, "little") + bytes(32)
    while builder.append(count, body):
        count += 1
    return builder.take(), count


def produce(rate: float) -> None:
    """Write pages for SECONDS at `rate` events a second, and print what was written and lost."""
    session = Session(os.environ["USEREVENTS_DIR"], run=os.environ["USEREVENTS_RUN"].encode())
    session.declare(Declared(DECLARATION, 0), word=layout.WORD_PENDING)
    session.ring_bell()
    while session.words[0] & (layout.WORD_PENDING | layout.WORD_ENABLED) != layout.WORD_ENABLED:
        time.sleep(0.001)
    generation = session.lines[layout.RING_GENERATION // 4]
    name = layout.ring_name(session.name, generation)
    ring = Ring(f"{session.directory}/{name}", generation=generation, nonce=session.nonce)
    session.lines[layout.GENERATION_IN_USE // 4] = generation
    page, count = prefabricated(session.words[0] >> layout.WORD_ID_SHIFT)
    words = memoryview(ring.map).cast("Q")
    counters = session.counters
    size = int.from_bytes(page[8:16], "little")
    lines = memoryview(ring.map).cast("I")
    pages = full = rung_at = 0
    rung = 0.0
    interval = count / rate
    start = due = time.perf_counter()
    while due - start < SECONDS:
        counters[layout.ATTEMPTS] += count
        if pages - words[layout.RING_TAIL // 8] >= ring.pages:
            full += 1
            counters[layout.RING_FULL] += count
        else:
            slot = pages & (ring.pages - 1)
            at = ring.data + slot * PAGE_SIZE
            words[layout.RING_OPENING // 8] = pages
            layout.RING_TABLE_ENTRY.pack_into(ring.map, layout.RING_TABLE + 16 * slot, pages * count, 0, 0)
            words[at // 8 + 1] = 0
            words[layout.RING_HEAD // 8] = pages
            words[at // 8] = time.monotonic_ns()
            ring.map[at + PAGE_HEADER_SIZE : at + PAGE_SIZE] = page[PAGE_HEADER_SIZE:]
            words[at // 8 + 1] = size
            pages += 1
            waits_for = lines[layout.RING_READER_WAITING // 4]
            unread = pages - words[layout.RING_TAIL // 8]
            if waits_for and unread >= waits_for and (due - rung >= 0.001 or pages - rung_at >= ring.pages >> 3):
                session.ring_bell()
                rung, rung_at = due, pages
        due += interval
        if (now := time.perf_counter()) - due > CATCH_UP_S:
            due = now  # it had no core for a while: no writer makes up for that by writing faster than flat out
        while time.perf_counter() < due:
            pass
    seconds = time.perf_counter() - start
    print(json.dumps([pages * count, full * count, seconds]), flush=True)


def run(directory: str, rate: float) -> Run:
    """Record one producer, and check its ledger."""
    out = f"{directory}/t.dat"
    command = [sys.executable, "-m", "userevents", "record", "-q", "--provider", "none", "--buffer-size", RING]
    child = [sys.executable, __file__, "produce", str(rate)]
    env = {**os.environ, "USEREVENTS_DIR": f"{directory}/run"}
    os.makedirs(env["USEREVENTS_DIR"], 0o700, exist_ok=True)
    done = subprocess.run([*command, "-o", out, "--", *child], env=env, check=True, stdout=subprocess.PIPE)
    written, lost, seconds = json.loads(done.stdout)
    with open_trace(out) as trace:
        ledger = trace.ledger
        assert ledger is not None
        assert ledger.is_balanced, ledger
        assert (ledger.total("delivered"), ledger.total("lost")) == (written, lost), (ledger, written, lost)
    return Run(written, lost, seconds)


def rows_of(found: dict[str, list[Run]]) -> Iterator[Row]:
    """Yield the rates, and in how many runs nothing was lost."""
    for name, runs in found.items():
        rates = [each.written / each.seconds / 1e6 for each in runs]
        case = f"drain, one producer at {name}"
        yield Row(case, "", max(rates), statistics.median(rates), min(rates), max(rates), RATE_GOAL, True, "M events/s")
        whole = sum(not each.lost for each in runs) / len(runs)
        goal = WHOLE_GOAL if name == GOAL_FOR else None
        yield Row(f"{case}: runs without loss", "", whole, whole, whole, whole, goal, True, "of the runs")


def main() -> None:
    """Run all cases in turn, ROUNDS times, and print what came of them."""
    began = time.monotonic()
    notes = [wait_until_quiet(), f"ring {RING}; the ledger was exact in every run"]
    found: dict[str, list[Run]] = {name: [] for name in RATES}
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory:
        for _ in range(int(sys.argv[1]) if sys.argv[1:] else ROUNDS):
            for name, rate in RATES.items():
                found[name].append(run(directory, rate))
                time.sleep(SETTLE_S)
    for name, runs in found.items():
        worst = max(each.lost / (each.lost + each.written) for each in runs)
        notes.append(f"{name}: of the worst run {worst:.1%} was lost")
    rows = list(rows_of(found))
    print_rows(rows)
    print(*notes, sep="\n")
    keep("drain", rows, notes=notes, seconds=time.monotonic() - began)


if __name__ == "__main__":
    if sys.argv[1:2] == ["produce"]:
        produce(float(sys.argv[2]))
    else:
        main()
