"""Many runs in one time order, and their records in pages again; natively and in pure Python."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.buffer.made import STEP, needs_native, page_of, pages
from userevents.buffer import merge as merging
from userevents.buffer import missed, page_data, records
from userevents.buffer.encode import Encoder, PureEncoder
from userevents.buffer.merge import Merge, PureMerge, interleave, interleave_lots
from userevents.buffer.native import native
from userevents.buffer.run import PureRun, Run

Pages = list[tuple[list[tuple[int, int, int]], int, int, bool]]
"""steps, begin, cpu, whether pages before it are missing"""
PAGES = st.lists(
    st.tuples(st.lists(STEP, min_size=1, max_size=30), st.integers(1, 3000), st.integers(0, 2), st.booleans()),
    max_size=24,
)


def runs_of(made: Pages, kind: Any = None) -> list[Any]:
    """Return the runs of these pages in the order of their stamps."""
    found = []
    for steps, start_ns, cpu, has_gap in made:
        data, ts_ns = page_of(steps, start_ns)
        run = (kind or Run)(data, ts_ns, cpu)
        run.has_gap = has_gap
        found.append(run)
    return sorted(found, key=lambda run: run.since)


def drained(merge: Any, runs: list[Any]) -> list[Any]:
    """Return all batches of a merge into which these runs are pushed as `interleave` does."""
    found = []
    for number, run in enumerate(runs, 1):
        if number % 16 == 0:
            while (batch := merge.drain(run.since)) is not None:
                found.append(batch)
        merge.push(run)
    while (batch := merge.drain(None)) is not None:
        found.append(batch)
    return found


@given(PAGES)
def test_records_of_all_runs_come_in_time_order(made: Pages) -> None:
    """Equal times come by CPU, then in the order of the runs; nothing is left out."""
    runs = runs_of(made)
    order = {id(run): number for number, run in enumerate(runs)}
    got = [entry for batch in interleave(runs) for entry in batch.records()]
    keys = [(time, run.cpu, order[id(run)], start) for time, start, run in got]
    assert keys == sorted(keys)
    assert len(keys) == sum(map(len, runs))
    assert sum(map(len, interleave(runs))) == len(keys)


@needs_native
@given(PAGES)
def test_both_forms_merge_and_encode_to_the_same_bytes(made: Pages) -> None:
    """The same order, the same pages copied, the same pages built, the same counts."""
    assert native is not None
    outputs = []
    for merge, encoder, kind in (
        (PureMerge(), PureEncoder(), PureRun),
        (native.Merge(), native.Encoder(), native.Run),
    ):
        batches = drained(merge, runs_of(made, kind))
        order = [(time, start, run.data) for batch in batches for time, start, run in batch.records()]
        written = [page for batch in batches for page in encoder.add(batch)] + encoder.finish()
        counts = (encoder.records, encoder.copied, encoder.built, encoder.late, encoder.first_ns, encoder.last_ns)
        outputs.append((order, written, counts))
    assert outputs[0] == outputs[1]


@given(st.lists(pages(), max_size=20))
def test_hostile_pages_are_merged_and_encoded_as_far_as_they_hold(found: list[tuple[bytes, int]]) -> None:
    """What comes out are pages whose records are those that could be read, never going back in time."""
    runs = sorted((Run(data, ts_ns) for data, ts_ns in found), key=lambda run: run.since)
    encoder = Encoder()
    written = [page for batch in interleave(runs) for page in encoder.add(batch)] + encoder.finish()
    times = [time for page in written for time, _, _ in records(page)]
    assert len(times) == encoder.records == sum(map(len, runs))
    assert times == sorted(times)


@needs_native
@given(PAGES, st.integers(1, 9))
def test_both_forms_let_the_runs_go_that_end_first(made: Pages, number: int) -> None:
    """What is left of them comes in order; the others stay."""
    assert native is not None
    outputs = []
    for merge, kind in ((PureMerge(), PureRun), (native.Merge(), native.Run)):
        for run in runs_of(made, kind):
            merge.push(run)
        merge.drain(1500)
        gone = merge.let_go(number)
        left = len(merge)
        rest = [entry for batch in drained(merge, []) for entry in batch.records()]
        outputs.append(
            ([(entry[0], entry[1]) for entry in gone.records()] if gone else None, left, [entry[:2] for entry in rest])
        )
    assert outputs[0] == outputs[1]


def test_a_gap_begins_a_page_that_says_so() -> None:
    """Also where its records are mixed with those of another run."""
    steps = [(10, 0, 8)] * 20
    runs = runs_of([(steps, 100, 0, False), (steps, 105, 0, True)])
    encoder = Encoder()
    written = [page for batch in interleave(runs) for page in encoder.add(batch)] + encoder.finish()
    assert [missed(page) for page in written] == [0, -1]
    assert [page_data(page)[0] for page in written] == [110, 115]


@given(PAGES, st.integers(1, 5))
def test_runs_that_come_in_lots_come_out_in_the_same_order(made: Pages, size: int) -> None:
    """Each CPU's runs are a source of their own: what is earlier in another is waited for, and no more."""
    made = [each for each in made if each[2] < 2]
    by_cpu = [[run for run in runs_of(made) if run.cpu == cpu] for cpu in range(3)]
    asked = [0, 0, 0]

    def lots(cpu: int) -> Iterator[list[Any]]:
        for at in range(0, len(by_cpu[cpu]), size):
            asked[cpu] = at + size
            yield by_cpu[cpu][at : at + size]

    got = []
    for batch in interleave_lots(map(lots, range(3))):
        for time, start, run in batch.records():
            got.append((time, run.cpu, run.data, start))
            left = [runs[done].since for runs, done in zip(by_cpu, asked, strict=True) if done < len(runs)]
            assert all(time <= since for since in left)
    wanted = [entry for batch in interleave(runs_of(made)) for entry in batch.records()]
    assert got == [(time, run.cpu, run.data, start) for time, start, run in wanted]


def test_memory_stays_bounded_when_all_pages_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many open runs those that end first are let go, out of order."""
    monkeypatch.setattr(merging, "MAX_OPEN", 40)
    monkeypatch.setattr(merging, "AT_ONCE", 10)
    runs = runs_of([([(1, 0, 0), (10_000, 0, 0)], 100 + number, 0, False) for number in range(100)])
    got = [entry for batch in interleave(runs) for entry in batch.records()]
    assert len(got) == 200
    assert [entry[0] for entry in got] != sorted(entry[0] for entry in got)


def test_a_merge_takes_nothing_but_runs() -> None:
    """The extension reads a run's memory: anything else is refused, not trusted."""
    with pytest.raises((TypeError, AttributeError)):
        Merge().push("run")  # type: ignore[arg-type]
    with pytest.raises((TypeError, AttributeError)):
        Merge().extend(["run"])  # type: ignore[list-item]
    with pytest.raises((TypeError, AttributeError)):
        Encoder().add([])  # type: ignore[arg-type]
