"""Summaries: counts and rates by process, the highest values, and which records are asked for."""

from collections.abc import Iterable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from tests.formats.maker import Maker
from userevents.formats.choice import Choice, Pattern
from userevents.formats.model import Process
from userevents.formats.sources import RecordingSource
from userevents.formats.summary import Summary, Top
from userevents.formats.trace import Trace

SECOND = 10**9
EVENTS = {20: "request struct f64 x 8", 21: "reply u32 x", 22: "ev s64 x; char[4] text"}
NAMES = {"request": 20, "reply": 21, "ev": 22}


class Strangers(RecordingSource):
    """A recording read like a trace of somebody else's: whose process a thread is, nobody says."""

    def who(self, process: Process | None, tid: int, ts_ns: int) -> tuple[int | None, str, bool]:
        """Return a name by thread that holds for this time only."""
        return None, "worker", False


def trace_of(records: Iterable[tuple[int, str, int]], source: type[RecordingSource] = RecordingSource) -> Trace:
    """Return a trace of (time, event, PID); the thread is ten times the PID, the value the record's number."""
    maker = Maker()
    sessions = {pid: maker.session(pid, "server", EVENTS) for pid in (7, 8)}
    for number, (ts_ns, event, pid) in enumerate(records):
        values = (float(number),) if event == "request" else (number,) if event == "reply" else (-number, "t")
        sessions[pid].add_values(ts_ns, NAMES[event], *values, tid=10 * pid)
    for session in sessions.values():
        session.close()
    return Trace("memory", source(maker.recording()), lambda: None)


def rows_of(summary: Summary) -> list[tuple[str, int, str, int, float | None]]:
    """Return what a summary shows."""
    return [(row.process, row.pid, row.event, row.count, row.rate) for row in summary.by_process()]


def test_events_are_counted_by_process_with_their_rate() -> None:
    """The rate is between the first and the last record; a single one has none."""
    records = [(SECOND + number * SECOND // 2, "request", 7) for number in range(5)]
    summary = trace_of([*records, (9 * SECOND, "reply", 7), (9 * SECOND + 1, "reply", 8)]).summary()
    assert rows_of(summary) == [
        ("server", 7, "request", 5, 2.0),
        ("server", 7, "reply", 1, None),
        ("server", 8, "reply", 1, None),
    ]
    assert (summary.records, summary.first_ns, summary.last_ns) == (7, SECOND, 9 * SECOND + 1)


def test_without_processes_the_thread_stands_for_them() -> None:
    """trace-cmd's files know thread ids and names only."""
    records = [(1, "request", 7), (2, "request", 8), (5, "request", 7)]
    assert rows_of(trace_of(records, Strangers).summary()) == [
        ("worker", 70, "request", 2, SECOND / 4),
        ("worker", 80, "request", 1, None),
    ]


@given(st.lists(st.tuples(st.integers(1, 99), st.sampled_from(sorted(NAMES)), st.sampled_from([7, 8])), max_size=40))
def test_a_summary_counts_what_the_records_say(records: list[tuple[int, str, int]]) -> None:
    """It never decodes a record, and must come to the same, chosen or not."""
    records.sort()
    for choice in (Choice(), Choice([Pattern.parse("re*")]), Choice(pids=frozenset({8, 70}))):
        found = trace_of(records).summary(choice)
        shown = list(trace_of(records).records(choice))
        wanted: dict[tuple[int | None, str], list[int]] = {}
        for each in shown:
            wanted.setdefault((each.pid, each.event.name), []).append(each.ts_ns)
        assert {(row.pid, row.event): (row.count, row.first_ns, row.last_ns) for row in found.rows.values()} == {
            key: (len(times), times[0], times[-1]) for key, times in wanted.items()
        }
        assert found.records == len(shown)


@given(st.lists(st.floats(width=16), max_size=30), st.integers(1, 6))
def test_the_top_is_the_head_of_the_sorted_values(values: list[float], limit: int) -> None:
    """Numbers only, the earlier record first where they are equal; what is no number is not ranked."""
    maker = Maker()
    one = maker.session(7, "server", EVENTS)
    for number, value in enumerate(values):
        one.add_values(1000 + number, 20, value)
    one.close()
    top = Top("request", "x", limit)
    for row in Trace("memory", RecordingSource(maker.recording()), lambda: None).rows(Choice([top.pattern])):
        top.add(row)
    ranked = sorted((-value, 1000 + number) for number, value in enumerate(values) if value == value)
    assert [(-float(str(one.values["x"])), one.ts_ns) for one in top.records()] == ranked[:limit]
    assert top.seen == len(ranked)


def test_a_field_of_another_name_or_of_text_has_no_top() -> None:
    """One event has the field, another has not, and text is no number."""
    trace = trace_of([(1, "request", 7), (2, "ev", 7)])
    found: Mapping[str, int] = {key: _seen(trace, key) for key in ("x", "text", "gone")}
    assert found == {"x": 2, "text": 0, "gone": 0}


def _seen(trace: Trace, key: str) -> int:
    top = Top("*", key, 5)
    for row in trace.rows():
        top.add(row)
    return top.seen


def test_records_are_chosen_by_pattern_and_process() -> None:
    """Globs over event and system, any of several; a PID or a thread id, any of several; nothing asked: all."""
    trace = trace_of([(1, "request", 7), (2, "reply", 7), (3, "ev", 8)])

    def times(patterns: tuple[str, ...], pids: frozenset[int] = frozenset()) -> list[int]:
        choice = Choice(map(Pattern.parse, patterns), pids)
        return [each.ts_ns for each in trace.records(choice)]

    assert times(()) == [1, 2, 3]
    assert times(("re*",)) == [1, 2]
    assert times(("reply", "e?")) == [2, 3]
    assert times(("user_events:ev*",)) == [3]
    assert times(("other:*",)) == []
    assert times((), frozenset({8, 90})) == [3]
    assert times((), frozenset({70})) == [1, 2]
    assert times(("reply", "ev"), frozenset({7})) == [2]
    narrowed = Choice(map(Pattern.parse, ("re*", "ev")), frozenset({7})).only(Pattern.parse("reply"))
    assert [each.ts_ns for each in trace.records(narrowed)] == [2]
