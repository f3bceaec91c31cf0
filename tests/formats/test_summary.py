"""Summaries: counts and rates by process, the highest values, and which records are asked for."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from userevents.formats.model import Record, Value, make_event
from userevents.formats.summary import Pattern, Row, Summary, Top, chosen

EVENTS = {name: make_event(number, "user_events", name, ()) for number, name in enumerate(("request", "reply", "ev.0"))}


def record(ts_ns: int, event: str = "request", pid: int | None = 7, tid: int = 70, **values: Value) -> Record:
    """Return a record."""
    return Record(ts_ns, 0, tid, pid, "worker", EVENTS[event], values)


def _summed(records: Iterable[Record], names: dict[int, str]) -> list[Row]:
    summary = Summary()
    for each in records:
        summary.add(each, names)
    return summary.by_process()


def test_events_are_counted_by_process_with_their_rate() -> None:
    """The rate is between the first and the last record; a single one has none."""
    second = 10**9
    records = [record(number * second // 2) for number in range(5)] + [record(9 * second, "reply")]
    rows = _summed(records, {7: "server"})
    assert [(row.process, row.pid, row.event, row.count, row.rate) for row in rows] == [
        ("server", 7, "request", 5, 2.0),
        ("server", 7, "reply", 1, None),
    ]
    assert (rows[0].first_ns, rows[0].last_ns) == (0, 2 * second)


def test_without_processes_the_thread_stands_for_them() -> None:
    """trace-cmd's files know thread ids and names only."""
    rows = _summed([record(1, pid=None), record(2, pid=None, tid=71)], {})
    assert [(row.process, row.pid) for row in rows] == [("worker", 70), ("worker", 71)]


@given(
    st.lists(st.integers(-5, 5) | st.floats(allow_nan=True, width=16) | st.text(max_size=2) | st.none()),
    st.integers(1, 6),
)
def test_the_top_is_the_head_of_the_sorted_values(values: list[Value], limit: int) -> None:
    """Numbers only, the earlier record first where they are equal, whatever else stands in the field."""
    top = Top("request", "x", limit)
    records = [record(number, x=value) for number, value in enumerate(values)]
    for each in records:
        top.add(each)
    numbers = [
        each for each in records if isinstance(each.values["x"], int | float) and each.values["x"] == each.values["x"]
    ]
    assert top.records() == sorted(numbers, key=lambda each: -float(each.values["x"] or 0))[:limit]
    assert top.seen == len(numbers)


def test_records_are_chosen_by_pattern_and_process() -> None:
    """Globs over event and system, any of several; a PID or a thread id, any of several; nothing asked: all."""
    records = [record(1), record(2, "reply"), record(3, "ev.0", pid=8, tid=80), record(4, pid=None, tid=90)]

    def times(patterns: tuple[str, ...], pids: frozenset[int] = frozenset()) -> list[int]:
        return [each.ts_ns for each in chosen(records, map(Pattern.parse, patterns), pids)]

    assert times(()) == [1, 2, 3, 4]
    assert times(("re*",)) == [1, 2, 4]
    assert times(("reply", "ev.?")) == [2, 3]
    assert times(("user_events:ev*",)) == [3]
    assert times(("other:*",)) == []
    assert times((), frozenset({8, 90})) == [3, 4]
    assert times(("re*",), frozenset({7})) == [1, 2]
