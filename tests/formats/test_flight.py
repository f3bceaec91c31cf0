"""Flight rules in trace files: written into the recording, kept in the trace, shown wherever it is looked at."""

from pathlib import Path

from tests.formats.maker import Maker
from tests.formats.readers import perfetto
from userevents.buffer import stream as wire
from userevents.formats import Recording, merge, open_trace
from userevents.formats.export import export
from userevents.formats.flight import Flight, read_flight
from userevents.formats.page import picture

T = 10**12
RULE = "begin if id > 5"
SHORT = {"pid": 100, "comm": "shop", "held_ns": T - 300}


def made(tmp_path: Path) -> Path:
    """A trace with a window, in which two rules held, three times."""
    maker = Maker()
    session = maker.session(100, "shop", {20: "begin u32 id"})
    for number in range(20):
        session.add_values(T + number * 10, 20, number)
    session.close()
    window = {"since_ns": T - 1000, "until_ns": T + 500, "short": [SHORT, "nonsense", {"pid": "x"}]}
    maker.frames.append(wire.pack_end("captured", T + 600, window))
    for rule, at, what in (("death of shop", T + 490, "killed by SIGKILL"), (RULE, T + 60, "begin id=6")):
        maker.frames.append(wire.pack_rule({"rule": rule, "mono_ns": at, "what": what, "pid": 100, "comm": "sh\x1bop"}))
    maker.frames.append(wire.pack_rule({"more": 1, "cut": "the recording ended"}))
    merge(Recording.of(maker.data(end=False)), str(tmp_path / "t.dat"))
    return tmp_path / "t.dat"


def test_rules_and_window_go_into_the_trace(tmp_path: Path) -> None:
    """In the order of time, whatever order they were told in; what is untrusted is escaped."""
    with open_trace(str(made(tmp_path))) as trace:
        flight = trace.flight
    assert [(each.rule, each.ts_ns, each.pid) for each in flight.instants] == [
        (RULE, T + 60, 100),
        ("death of shop", T + 490, 100),
    ]
    assert (flight.since_ns, flight.until_ns, flight.more, flight.cut) == (T - 1000, T + 500, 1, "the recording ended")
    assert [each.held_ns for each in flight.short] == [T - 300, 0]
    assert not flight.is_complete
    assert flight.lines()[:5] == [
        f"RULE: '{RULE}' held at 1000.000000: begin id=6 of sh\\eop (100)",
        "RULE: 'death of shop' held at 1000.000000: killed by SIGKILL of sh\\eop (100)",
        "RULE: and 1 more time",
        "WINDOW: 0.000 s before to 0.000 s after",
        "WINDOW: ended early: the recording ended",
    ]


def test_a_trace_without_rules_says_nothing_of_them() -> None:
    """Nor does one whose facts are nonsense."""
    assert read_flight([], None) == Flight()
    assert read_flight([{"rule": 7, "mono_ns": "x", "more": -3}], {"short": 5, "since_ns": -1}).lines() == []


def test_perfetto_shows_each_instant_with_its_rule(tmp_path: Path) -> None:
    """A track of its own: the window is a slice, the times are instants within it."""
    path = made(tmp_path)
    with open_trace(str(path)) as trace:
        export(trace, "perfetto", str(tmp_path / "x.pftrace"))
        shown = picture(trace)
    (rows,) = perfetto.query(
        tmp_path / "x.pftrace",
        "select s.ts, s.dur, s.name, t.name from slice s join track t on s.track_id = t.id order by s.ts, s.dur desc",
    )
    assert [(int(at), int(span), name, track) for at, span, name, track in rows] == [
        (T - 1000, 1500, f"window of {RULE}, death of shop", "flight rules"),
        (T + 60, 0, RULE, "flight rules"),
        (T + 490, 0, "death of shop", "flight rules"),
    ]
    assert shown["rules"] == [[RULE, 60], ["death of shop", 490]]
    start, width, bins = shown["bounds"]
    assert start <= T + 490 < start + width * bins, "behind the last record, and drawn"
    assert shown["flight"][0].startswith(f"RULE: '{RULE}'")
