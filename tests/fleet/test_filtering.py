"""Filters of the fleet: what does not pass is not in the trace, and everything else is as it was."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.formats.maker import Maker
from userevents.buffer import PageBuilder
from userevents.buffer import stream as wire
from userevents.fields import Field, parse_fields
from userevents.fields.filter import parse_filter
from userevents.fleet.filtering import Chosen, Filtering
from userevents.fleet.merged import Sample
from userevents.fleet.sequence import Head, Ready
from userevents.formats import open_trace

EVENTS = {20: "tick u32 a; __rel_loc char[] path", 21: "tock u32 a"}


def _maker() -> Maker:
    """Two programs, one with a CPU in each record, pages in several parts, a thread with a name of its own."""
    maker = Maker()
    for pid, has_cpus in ((1, False), (2, True)):
        one = maker.session(pid, f"prog{pid}", EVENTS)
        one.has_cpus = has_cpus
        maker.frames.append(wire.pack_threads(one.number, {90: "worker"}))
        for number in range(40):
            ts_ns = 1000 + number * 7 + (1 << 40) * (number > 20)  # a time extend in the middle of a page
            tid = 90 if number % 3 == 0 else pid
            one.add_values(ts_ns, 20, number, f"/{number}", tid=tid, cpu=number % 2 if has_cpus else None)
            one.add_values(ts_ns, 21, number)
        one.close()
    return maker


def _records(maker: Maker, tmp_path: Path, filters: list[tuple[str, str]]) -> tuple[list[str], Filtering]:
    """What a trace of this recording holds when it went through filters; its ledger must balance."""
    filtering = Filtering()
    filtering.set(filters)
    part = tmp_path / "x.part"
    part.write_bytes(filtering.through(maker.data()))
    with open_trace(str(part)) as trace:
        assert trace.ledger is not None
        assert trace.ledger.is_balanced
        shown = [
            f"{each.ts_ns} {each.cpu} {each.event.name} {each.values['a']!r} {each.pid}" for each in trace.records()
        ]
    return shown, filtering


def test_what_passes_is_there_as_it_was_and_nothing_else(tmp_path: Path) -> None:
    """By fields, by thread and by CPU; the last filter that matches decides; the rest keeps its times and CPUs."""
    everything, untouched = _records(_maker(), tmp_path, [])
    assert len(everything) == 160
    assert untouched.rejected == 0
    cases: list[tuple[list[tuple[str, str]], Callable[[str, int], bool]]] = [
        ([("tick", "a < 10")], lambda name, a: name == "tock" or a < 10),
        ([("*", "a == 7"), ("tock", "")], lambda name, a: name == "tock" or a == 7),
        ([("t*", 'comm == "worker"')], lambda name, a: name == "tick" and a % 3 == 0),
        ([("tick", 'path ~ "/1*"')], lambda name, a: name == "tock" or str(a).startswith("1")),
    ]
    for filters, passes in cases:
        wanted = []
        for line in everything:
            _, _, name, a, _ = line.split()
            if passes(name, int(a)):
                wanted.append(line)
        found, filtering = _records(_maker(), tmp_path, filters)
        assert found == wanted, filters
        assert filtering.rejected == len(everything) - len(wanted)


def test_a_filter_that_an_event_cannot_have_is_told_and_leaves_the_event_alone(tmp_path: Path) -> None:
    """One that lacks the field passes whole, as in the kernel, and others of the pattern are filtered."""
    found, filtering = _records(_maker(), tmp_path, [("*", 'path == "/3"')])
    assert sum(" tock " in line for line in found) == 80
    assert sum(" tick " in line for line in found) == 2
    assert list(filtering.refused) == ["user_events:tock"]
    filtering.set([])
    assert filtering.refused == {}


def test_nothing_of_a_rejected_record_is_left(tmp_path: Path) -> None:
    """Its payload is not sent either: what a filter keeps back may be a secret."""
    maker = Maker()
    one = maker.session(1, "prog", EVENTS)
    one.add_values(1, 20, 5, "secret")
    one.close()
    filtering = Filtering()
    filtering.set([("tick", "a != 5")])
    data = filtering.through(maker.data())
    assert b"secret" in maker.data()
    assert b"secret" not in data
    assert len(data) == len(maker.data())


@given(st.lists(st.integers(0, 2**32 - 1), max_size=60), st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_whole_pages_are_filtered_record_by_record(values: list[int], limit: int, cuts: int) -> None:
    """Runs of pages give the same as asking the filter of each record, and filters may change between reads."""
    builder, pages = PageBuilder(), []
    fields: tuple[Field, ...] = parse_fields("u32 a")
    for number, value in enumerate(values):
        assert builder.append(1000 + number, _body(20, value))
        if number % cuts == 0:
            pages.append(builder.take())
    table = bytes(16 * len(pages))
    maker = Maker()
    maker.session(1, "prog", {20: "tick u32 a"})
    run = wire.pack_run(1, 1, 0, table, b"".join(pages))
    filtering = Filtering()
    filtering.through(b"".join(maker.frames))
    assert filtering.through(run) == run
    filtering.set([("tick", f"a < {limit}")])
    cleaned = filtering.through(run)
    chosen = parse_filter(f"a < {limit}", fields)
    written = values[: (len(values) - 1) // cuts * cuts + 1] if values else []
    kept = [value for value in written if chosen.matches(_body(20, value), cpu=0, comm="")]
    assert filtering.rejected == len(written) - len(kept)
    assert len(cleaned) == len(run)
    assert sum(_body(20, value) in cleaned for value in set(kept)) == len(set(kept))


def _body(number: int, value: int) -> bytes:
    return number.to_bytes(2, "little") + bytes(2) + (1).to_bytes(4, "little") + value.to_bytes(4, "little")


class _Kept:
    """A sink that keeps what comes."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def host(self, scope: int, name: str, number: int, run: str) -> None:
        """Nothing."""

    def clock(self, scope: int, sample: Sample) -> None:
        """Nothing."""

    def batch(self, scope: int, ready: Ready, stored: int, upto: int) -> None:
        """Keep it."""
        self.payloads.append(ready.payload)


def _sent(payload: bytes) -> Ready:
    return Ready(Head("r", 1, 1, 1, 0, 0, 0, 0), payload)


def test_who_looks_on_gets_what_passes_and_nothing_of_an_event_that_lacks_a_field(tmp_path: Path) -> None:
    """As the local tail leaves out an event to which its filter cannot be applied, and says why."""
    kept = _Kept()
    chosen = Chosen(kept, ["t*"], 'path ~ "/1*"')
    chosen.host(1, "web", 1, "r")
    chosen.batch(1, _sent(_maker().data()), 1, 0)
    part = tmp_path / "x.part"
    part.write_bytes(kept.payloads[0])
    with open_trace(str(part)) as trace:
        found = [(each.event.name, int(str(each.values["a"]))) for each in trace.records()]
    assert set(found) == {("tick", a) for a in range(40) if str(a).startswith("1")}
    assert "Field not found" in chosen.refused()["user_events:tock"]
    assert len(chosen.refused()) == 1


@given(st.data())
def test_what_a_hostile_host_sends_is_left_out_and_harms_nobody(data: st.DataObject) -> None:
    """Frames of any bytes end in time, without an error."""
    raw = bytearray(_DATA)
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(wire.START.size, len(raw) - 1))] = data.draw(st.integers(0, 255))
    kept = _Kept()
    chosen = Chosen(kept, ["*"], "a < 10")
    chosen.host(1, "web", 1, "r")
    chosen.batch(1, _sent(bytes(raw[wire.START.size :])), 1, 0)
    assert len(kept.payloads) + chosen.unreadable == 1


_DATA = _maker().data()
