"""Walked pages: which records there are, and choosing among them by event and by CPU; natively and in pure Python."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from tests.buffer.made import STEP, facts_of, needs_native, page_of, pages
from userevents.buffer import walk
from userevents.buffer.native import native
from userevents.buffer.run import PureRun, Run, cpu_in, pure_runs_in, runs_in

IDS = st.lists(st.integers(19, 25), max_size=4, unique=True)


def _packed(numbers: list[int]) -> bytes:
    return struct.pack(f"<{len(numbers)}H", *numbers)


@given(pages(), st.integers(0, 4095))
def test_a_run_says_what_walking_its_page_says(page: tuple[bytes, int], cpu: int) -> None:
    """Times, places and what is wrong are those of `walk`, whatever the bytes."""
    data, ts_ns = page
    run, found = Run(data, ts_ns, cpu), walk(data, ts_ns)
    assert (list(run.times), list(run.starts), run.problem) == (found.times, found.starts, found.problem)
    assert (run.is_plain, run.has_long, run.is_whole) == (
        found.is_plain,
        found.has_long,
        found.is_plain and not found.problem,
    )
    assert sum(count for count, _, _ in run.heads().values()) == len(run)


@needs_native
@given(pages(), st.integers(0, 4095), IDS, st.lists(st.tuples(st.integers(19, 25), st.integers(0, 65535)), max_size=3))
def test_both_forms_find_and_choose_the_same_in_any_page(
    page: tuple[bytes, int], cpu: int, ids: list[int], renamed: list[tuple[int, int]]
) -> None:
    """Every attribute is equal, also after choosing by event and CPU and giving other ids."""
    assert native is not None
    data, ts_ns = page
    both = PureRun(data, ts_ns, cpu, "tag"), native.Run(data, ts_ns, cpu, "tag")
    assert facts_of(both[0]) == facts_of(both[1])
    pairs = _packed([number for pair in renamed for number in pair])
    tids = [int.from_bytes(head[4:], "little") for head in both[0].heads()]
    threads = b"".join(
        struct.pack("<II", tid, (tid + place) & 0xFFFFFFFF) for place, tid in enumerate([*tids, *tids], 7)
    )
    for cpus in (None, b"", _packed([0, 1]), _packed(ids)):
        for moved, drift in ((b"", 0.0), (threads, 0.0), (b"", 3.3e-5), (threads[:-3], -1e-4)):
            chosen = [
                run.select(cpu=7, dropped=_packed(ids), renamed=pairs, cpus=cpus, threads=moved, drift=drift)
                for run in both
            ]
            assert facts_of(chosen[0]) == facts_of(chosen[1])


@given(st.lists(STEP, min_size=1, max_size=60), st.sets(st.integers(0, 3)))
def test_records_are_chosen_by_the_cpu_in_their_headers(steps: list[tuple[int, int, int]], wanted: set[int]) -> None:
    """Those of the wanted CPUs stay, in their order, and their headers hold zeros where the CPU stood."""
    data, ts_ns = page_of(steps)
    run = Run(data, ts_ns, 3)
    chosen = run.select(cpu=1, cpus=_packed(sorted(wanted)))
    kept = [
        (time, start)
        for time, start, (_, which, _) in zip(run.times, run.starts, steps, strict=False)
        if which in wanted
    ]
    assert list(zip(chosen.times, chosen.starts, strict=True)) == kept
    assert chosen.cpu == 1
    assert {cpu_in(head) for head in chosen.heads()} <= {0}
    assert {cpu_in(head) for head in run.heads()} == {which for _, which, _ in steps[: len(run)]}


@needs_native
@given(
    st.lists(st.tuples(pages(), st.integers(0, 1 << 21)), max_size=5),
    st.integers(16, 400),
    st.sampled_from([-1, 20, 21, 9]),
)
def test_both_forms_walk_pages_that_lie_behind_each_other(
    found: list[tuple[tuple[bytes, int], int]], page_size: int, only: int
) -> None:
    """The same runs, of one event or all, and the same words for what is wrong, whatever the bytes."""
    lot = b"".join(
        struct.pack("<QQ", ts_ns, len(data) if claim & 1 else claim) + data for (data, ts_ns), claim in found
    )
    both = [walked(lot, page_size, 3, only) for walked in (pure_runs_in, runs_in)]
    assert both[0][1] == both[1][1]
    assert [facts_of(run) for run in both[0][0]] == [facts_of(run) for run in both[1][0]]


@given(pages(), st.sampled_from([20, 21, 9]))
def test_a_run_of_one_event_has_its_records_alone(page: tuple[bytes, int], only: int) -> None:
    """At the times they have among all; nothing that copies whole pages takes it for one."""
    data, ts_ns = page
    every, one = Run(data, ts_ns), Run(data, ts_ns, 0, None, only)
    chosen = every.select(dropped=_packed([number for number in range(65536) if number != only]))
    assert (list(one.times), list(one.starts), one.problem) == (list(chosen.times), list(chosen.starts), every.problem)
    assert one.is_whole == (every.is_whole and len(one) == len(every))
