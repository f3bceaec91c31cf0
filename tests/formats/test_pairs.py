"""Pairs of events as spans, from rows as a trace gives them."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.maker import Maker
from userevents.errors import Unusable
from userevents.formats import open_trace
from userevents.formats.decoder import Decoder
from userevents.formats.model import make_event
from userevents.formats.pairs import Matcher, Pair, PairChoice, Span, Tally, check
from userevents.formats.rows import Row

BEGIN = Decoder(make_event(1, "user_events", "job_begin", ()), 1)
END = Decoder(make_event(2, "user_events", "job_end", ()), 2)
JOB = Pair.parse("job_begin:job_end")


def traced(path: Path) -> None:
    """Write a trace of two processes that use the same ids at the same time."""
    maker = Maker()
    events = {20: "job_begin u32 id; u32 kind", 21: "job_end u32 kind; u32 id", 22: "other u32 id"}
    for number, pid in enumerate((100, 200)):
        session = maker.session(pid, f"prog{pid}", events)
        session.add_values(1000 + number, 20, 7, 1)
        session.add_values(2000 + number, 20, 8, 2)
        session.add_values(2500 + number, 22, 7)
        session.add_values(3000 + 10 * number, 21, 1, 7)
        session.add_values(4000 + number, 21, 9, 9)
        session.close()
    maker.trace(path)


def spans_of(path: Path, *texts: str) -> tuple[list[Span], Matcher]:
    """Return the spans of a trace and what found them."""
    pairs = [Pair.parse(text) for text in texts]
    matcher = Matcher(pairs)
    with open_trace(str(path)) as trace:
        check(pairs, trace.events.values())
        return list(matcher.spans(trace.rows(PairChoice(pairs)))), matcher


def test_equal_ids_of_two_processes_are_two_spans(tmp_path: Path) -> None:
    """Two workers count their requests from 1, each for itself; what finds no partner is counted."""
    traced(tmp_path / "trace.dat")
    spans, matcher = spans_of(tmp_path / "trace.dat", "job_begin:job_end:id")
    assert [(span.start_ns, span.duration_ns, span.key, span.begin[3][0]) for span in spans] == [
        (1000, 2000, (7,), 100),
        (1001, 2009, (7,), 200),
    ]
    assert list(matcher.tallies.values()) == [Tally(spans=2, begins_alone=2, ends_alone=2)]


def test_partners_anywhere_in_the_trace_are_found_where_asked_for(tmp_path: Path) -> None:
    """The latest begin of a key is the partner of an end, in whatever process."""
    traced(tmp_path / "trace.dat")
    spans, _ = spans_of(tmp_path / "trace.dat", "job_begin:job_end:id:trace")
    assert [(span.start_ns, span.begin[3][0], span.end[3][0]) for span in spans] == [(1001, 200, 100), (1000, 100, 200)]


def test_keys_may_be_several_and_stand_in_any_order(tmp_path: Path) -> None:
    """Fields are found by name in each event."""
    traced(tmp_path / "trace.dat")
    spans, _ = spans_of(tmp_path / "trace.dat", "job_begin:job_end:kind,id,pid")
    assert [span.key for span in spans] == [(1, 7, 100), (1, 7, 200)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("job_begin", "no pair"),
        ("job_begin:", "no pair"),
        (":job_end:id", "no pair"),
        ("job_begin:job_end:id:galaxy", "no pair"),
        ("job_begin:finished:id", "no event 'finished': it has job_begin, job_end, other"),
        ("job_begin:job_done:id", "no event 'job_done': did you mean 'job_end'"),
        ("job_begin:job_end:idd", "no field 'idd': its fields are id, kind"),
        ("job_begin:other:kind", "'other' has no field 'kind'"),
    ],
)
def test_what_is_no_pair_of_the_trace_is_told_with_what_there_is(tmp_path: Path, text: str, told: str) -> None:
    """The message says what was asked and what the trace has."""
    traced(tmp_path / "trace.dat")
    with pytest.raises(Unusable, match=told):
        spans_of(tmp_path / "trace.dat", text)


def row(ts_ns: int, decoder: Decoder, tid: int = 1) -> Row:
    """Return a row without values."""
    return ts_ns, 0, tid, (1, "p"), decoder, ()


def test_spans_of_one_thread_nest() -> None:
    """Without keys an end closes the latest begin of its thread."""
    matcher = Matcher([JOB])
    rows = [row(1, BEGIN), row(2, BEGIN), row(3, BEGIN, tid=2), row(4, END), row(5, END), row(6, END)]
    assert [(span.start_ns, span.duration_ns, span.lane) for span in matcher.spans(rows)] == [(2, 2, 1), (1, 4, 0)]
    assert matcher.tallies[JOB] == Tally(2, 1, 1)


def test_a_begin_that_waits_too_long_is_given_up() -> None:
    """Memory stays bounded: the oldest goes when there are too many."""
    matcher = Matcher([JOB], open_max=2)
    rows = [row(at, BEGIN, tid=at) for at in range(1, 5)] + [row(9, END, tid=at) for at in range(1, 5)]
    assert [span.start_ns for span in matcher.spans(rows)] == [3, 4]
    assert matcher.tallies[JOB] == Tally(2, 2, 2)


def test_begins_given_up_are_the_oldest_however_many_wait_on_one_thread() -> None:
    """Also beyond what a list is taken for: the oldest goes, the latest is closed first."""
    matcher = Matcher([JOB], open_max=10_000)
    begins = [row(at, BEGIN) for at in range(1, 20_001)]
    assert not list(matcher.spans(begins))
    found = [span.start_ns for span in matcher.spans(row(200_000, END) for _ in range(12_000))]
    assert found == list(range(20_000, 10_000, -1))
    assert matcher.tallies[JOB] == Tally(10_000, 10_000, 2_000)


def test_an_event_may_be_its_own_partner() -> None:
    """Every second record of a thread ends what the one before began."""
    matcher = Matcher([Pair.parse("job_begin:job_begin")])
    rows = [row(1, BEGIN), row(3, BEGIN), row(6, BEGIN)]
    assert [(span.start_ns, span.duration_ns) for span in matcher.spans(rows)] == [(1, 2)]
    assert matcher.tallies[matcher.pairs[0]] == Tally(1, 1, 0)


def test_the_end_of_one_pair_may_begin_another() -> None:
    """A chain of states: each change ends one and begins the next."""
    pairs = [JOB, Pair.parse("job_end:job_begin")]
    rows = [row(1, BEGIN), row(3, END), row(6, BEGIN)]
    assert [(span.pair, span.start_ns, span.duration_ns) for span in Matcher(pairs).spans(rows)] == [
        (pairs[0], 1, 2),
        (pairs[1], 3, 3),
    ]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 3)), max_size=60))
def test_spans_of_one_lane_never_overlap(steps: list[tuple[bool, int]]) -> None:
    """Whatever begins and ends, a lane holds one span at a time, and every record is in one place."""
    pair = Pair.parse("job_begin:job_end:tid")
    matcher = Matcher([pair])
    spans = list(matcher.spans(row(at, BEGIN if begins else END, tid) for at, (begins, tid) in enumerate(steps)))
    by_lane: dict[int, list[Span]] = {}
    for span in spans:
        by_lane.setdefault(span.lane, []).append(span)
    for lane in by_lane.values():
        lane.sort(key=lambda span: span.start_ns)
        assert all(one.start_ns + one.duration_ns < other.start_ns for one, other in pairwise(lane))
    tally = matcher.tallies[pair]
    assert tally.spans == len(spans)
    assert 2 * tally.spans + tally.begins_alone + tally.ends_alone == len(steps)
