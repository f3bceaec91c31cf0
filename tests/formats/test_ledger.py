"""The ledger: what adds up, what does not and by how much, from a recording and back out of its trace."""

from pathlib import Path

from tests.formats.maker import Maker, Session
from userevents.formats import Ledger, open_trace
from userevents.formats.ledger import EventLedger, ProcessLedger, from_json, to_json
from userevents.formats.summary import ledger_lines, ledger_verdict


def _settled(tmp_path: Path, maker: Maker) -> Ledger:
    """Return the ledger of a finished recording, after making sure that the file and the raw stream tell the same."""
    part, out = tmp_path / "x.part", tmp_path / "x.dat"
    part.write_bytes(maker.data())
    done = maker.trace(out)
    for path in (part, out):
        with open_trace(str(path)) as trace:
            assert trace.ledger == done.ledger
    assert from_json(to_json(done.ledger)) == done.ledger
    return done.ledger


def _session(maker: Maker, records: int) -> Session:
    one = maker.session(1)
    for number in range(records):
        one.add_values(1000 + number, 20, number)
    return one


def test_a_recording_without_losses_balances(tmp_path: Path) -> None:
    """Every attempt was committed, every committed record is there."""
    maker = Maker()
    _session(maker, 10).close()
    ledger = _settled(tmp_path, maker)
    assert ledger.is_balanced
    assert ledger.losses() == []
    assert ledger_lines(ledger) == [("attempts", 10), ("committed", 10), ("delivered", 10), ("lost", 0)]


def test_every_reason_of_a_loss_is_counted_by_event_and_shown(tmp_path: Path) -> None:
    """Dropped before the ring by five reasons, overwritten in it, missed by the reader; cut strings are no loss."""
    maker = Maker()
    one = _session(maker, 10)
    reasons = {"ring_full": 5, "too_large": 4, "reentry": 3, "invalid": 2, "tracer_gone": 1, "cut": 9}
    one.close(drops={20: {**reasons, "attempts": 10 + 15 + 7}}, committed=17, overwritten=3, missed=4)
    ledger = _settled(tmp_path, maker)
    (process,) = ledger.processes
    assert process.events[0].dropped == {reason: number for reason, number in reasons.items() if reason != "cut"}
    assert (process.events[0].cut, process.events[0].delivered, process.lost) == (9, 10, 22)
    assert ledger.is_balanced
    assert ledger.losses() == [
        "22 records were lost: 5 ring full, 4 too large, 3 re-entry, 2 invalid argument, 1 tracer gone, "
        "3 overwritten, 4 missed"
    ]


def test_one_record_in_flight_is_accounted_for_when_its_process_died(tmp_path: Path) -> None:
    """A process killed inside a write has one attempt more than it committed, as has one that stood still in it.

    One that was counted at one moment with its records must not.
    """
    for alive, exact in ((False, True), (True, False), (True, True)):
        maker = Maker()
        _session(maker, 10).close(drops={20: {"attempts": 11}}, alive=alive, exact=exact)
        ledger = _settled(tmp_path, maker)
        in_flight = not (alive and exact)
        assert (ledger.is_balanced, ledger.total("in_flight")) == (in_flight, int(in_flight))


def test_a_ledger_that_does_not_add_up_says_by_how_much(tmp_path: Path) -> None:
    """Two attempts and one committed record too many are shown as such, not spread over anything."""
    maker = Maker()
    _session(maker, 10).close(drops={20: {"attempts": 13}}, committed=11)
    ledger = _settled(tmp_path, maker)
    assert ledger.unexplained == (2, 1)
    assert ledger_verdict(ledger) == "not balanced: 2 attempts and 1 committed records are unaccounted for"
    assert ledger.losses() == ["the ledger is off by 2 attempts and 1 committed records"]


def test_off_sums_of_two_processes_do_not_cancel_out(tmp_path: Path) -> None:
    """One too many here and one too few there are two faults."""
    maker = Maker()
    one, two = maker.session(1), maker.session(2)
    for session in (one, two):
        for number in range(5):
            session.add_values(1000 + number, 20, number)
    one.close(committed=6, drops={20: {"attempts": 6}})
    two.close(committed=4, drops={20: {"attempts": 4}})
    ledger = _settled(tmp_path, maker)
    assert ledger.unexplained == (0, 2)
    assert not ledger.is_balanced


def test_a_session_without_counts_is_named(tmp_path: Path) -> None:
    """Its records are there, and what it lost is not known."""
    maker = Maker()
    _session(maker, 3).flush()
    ledger = _settled(tmp_path, maker)
    assert not ledger.is_balanced
    assert ledger.losses() == ["no counts arrived from prog (1): what they lost is not known"]
    assert ledger_verdict(ledger) == "not closed: some processes left no counts"


def test_a_killed_recorder_leaves_an_open_ledger(tmp_path: Path) -> None:
    """Records that came after the last count count as well; what was dropped then is not known, which is said."""
    maker = Maker()
    one = _session(maker, 10)
    one.close(drops={20: {"attempts": 14, "ring_full": 3}})
    one.add_values(5000, 20, 1)
    one.flush()
    part = tmp_path / "x.part"
    part.write_bytes(maker.data(end=False))
    with open_trace(str(part)) as trace:
        assert trace.ledger is not None
        assert not trace.ledger.complete
        assert trace.ledger.is_balanced
        figures = [trace.ledger.total(name) for name in ("attempts", "committed", "delivered")]
        assert figures == [14, 11, 11]
        assert ledger_verdict(trace.ledger).endswith("counted before the recorder was killed is accounted for")
        assert trace.losses() == [
            "3 records were lost: 3 ring full",
            "the recorder was killed before its last count: what was dropped after the one before is not known",
        ]


def test_a_stored_ledger_of_nonsense_counts_as_nothing() -> None:
    """The file may come from anybody."""
    noise = {"processes": [7, {"pid": "x", "events": {"a": 1}, "committed": -5, "missed": 1 << 80, "counted": 1}]}
    ledger = from_json(noise)
    assert ledger.total("committed") == ledger.total("missed") == 0
    assert not ledger.is_balanced


def test_strings_that_were_cut_are_told_below_the_losses() -> None:
    """Their records are delivered, but not whole: a reader must be able to know."""
    event = EventLedger("open", 3, 3, {}, cut=2)
    process = ProcessLedger(1, "python", (event,), committed=3, delivered=3)
    assert ledger_lines(Ledger((process,), True))[-1] == ("delivered with strings cut to fit", 2)
