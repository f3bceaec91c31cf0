"""Records as bytes of other formats: both forms put the same, and hold what their programs may not do."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.buffer.made import needs_native, pages
from tests.formats.corpus import corpus
from tests.formats.test_text import EVENT
from userevents.buffer.merge import Merge, PureMerge
from userevents.buffer.native import native
from userevents.buffer.run import PureRun, Run
from userevents.formats import open_trace
from userevents.formats import transcode as steps
from userevents.formats.decoder import Decoder
from userevents.formats.export import json_lines, perfetto
from userevents.formats.text import json_line
from userevents.formats.transcode import Coding, PureTranscoder, Step, Transcoder, joined, literal, sized, step

ALL_STEPS: list[Step] = [
    *(step(code) for code in (steps.TIME_VARINT, steps.TIME_U64, steps.TIME_DECIMAL, steps.CPU_U32, steps.CPU_DECIMAL)),
    *(step(steps.WHO), step(steps.SIZE_U16, number=7), step(steps.PADDED_BODY)),
    *(literal("+" * 200), *sized(literal("a" * 130), *sized(step(steps.WHO), width=4))),
]


def coded(decoder: Decoder) -> tuple[Step, ...]:
    """Return steps of every kind for the fields of an event."""
    found = list(ALL_STEPS)
    for number, (kind, _, _, _) in enumerate(decoder.readings):
        codes = [steps.PLAIN, steps.HEX, steps.JSON]
        codes += (
            [steps.VARINT, steps.RAW, steps.DECIMAL] if kind == 0 else [steps.RAW, steps.DECIMAL] if kind == 1 else []
        )
        for code in codes if kind > 1 else codes[2:]:
            found += [step(steps.IF_PRESENT, number, 1), step(code, number), step(steps.IF_ABSENT, number, 1)]
            found += [literal("?")]
            found += sized(step(code, number))
        if kind == 0:
            found += [step(steps.IF_HIGH, number, 1), literal("high")]
    return joined(found)


def transcoded(coder: Any, merge: Any, runs: Sequence[Any]) -> tuple[list[tuple[Any, ...]], int]:
    """Return the pieces of runs, and how many records were left out."""
    for run in runs:
        merge.push(run)
    while (batch := merge.drain(None)) is not None:
        coder.add(batch)
    return [tuple(piece) for piece in coder.take()], coder.left_out


@needs_native
@given(st.lists(st.tuples(pages(), st.integers(0, 2), st.sampled_from([0, 0, -1, 7])), max_size=5), st.booleans())
def test_both_forms_put_the_same_bytes(drawn: list[tuple[tuple[bytes, int], int, int]], by_cpu: bool) -> None:
    """Whatever the pages hold: well-formed records, damaged ones, noise."""
    assert native is not None

    def plan(event_id: int) -> Any:
        decoder = Decoder(EVENT if event_id == EVENT.id else None, event_id)
        return None if event_id == 23 else (coded(decoder), decoder.readings, decoder)

    def who(_tag: object, cpu: int, tid: int, _ts_ns: int) -> tuple[bytes | None, bool]:
        return (b"%d-%d" % (cpu, tid) if tid % 5 else None), bool(tid & 1)

    def quote(value: str | float) -> bytes:
        return json.dumps(str(value)).encode()

    results = []
    for make_run, merge, make in (
        (native.Run, native.Merge(), native.Transcoder),
        (PureRun, PureMerge(), PureTranscoder),
    ):
        runs = []
        for (data, ts_ns), cpu, missed in drawn:
            run = make_run(data, ts_ns, cpu)
            run.has_gap, run.missed = bool(missed), max(missed, 0)
            runs.append(run)
        results.append(transcoded(make(plan, who, quote, 5, by_cpu, by_cpu), merge, runs))
    assert results[0] == results[1]


def test_json_lines_are_those_of_a_report(tmp_path: Path) -> None:
    """Two ways to the same line: by a program of steps, and by Python's json."""
    records = corpus(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        coding = Coding(json_lines._steps, json_lines._who, json_lines._quote)
        lines = b"".join(piece.data for pieces in trace.pieces(coding) for piece in pieces).decode()
    for line, record in zip(lines.splitlines(), records, strict=True):
        assert line == json_line(record)


@pytest.mark.parametrize("make", [PureTranscoder, *([Transcoder] if Transcoder is not PureTranscoder else [])])
def test_pieces_are_cut_where_records_were_lost(make: Any) -> None:
    """What came before a gap and what after it are two pieces, and the second says how many were lost."""
    bodies = [b"\x14\0\0\0\1\0\0\0" + bytes(24)] * 3
    is_pure = make is PureTranscoder
    merge = PureMerge() if is_pure else Merge()
    for number in range(3):
        data = b"".join((len(body) >> 2 | 1 << 5).to_bytes(4, "little") + body for body in bodies)
        run = (PureRun if is_pure else Run)(data, 1000 * number, number % 2)
        run.has_gap, run.missed = number == 2, 9
        merge.push(run)
    coder = make(planned_steps, lambda *_: (b"", True), lambda _: b"", 0, True)
    while (batch := merge.drain(None)) is not None:
        coder.add(batch)
    assert [(piece[:5]) for piece in coder.take()] == [(0, 3, 1, 3, 0), (1, 3, 1001, 1003, 0), (0, 3, 2001, 2003, 9)]
    assert coder.take() == []


@pytest.mark.parametrize("make", [PureTranscoder, *([Transcoder] if Transcoder is not PureTranscoder else [])])
def test_gaps_without_records_wait_to_be_taken_too(make: Any) -> None:
    """A file may be nothing but marks of lost records before records that nobody asked for."""
    is_pure = make is PureTranscoder
    coder = make(lambda _: None, lambda *_: (b"", True), lambda _: b"", 0, True)
    data = (2 | 1 << 5).to_bytes(4, "little") + b"\x14\0\0\0\1\0\0\0"
    waiting = 0
    for number in range(3):
        merge = PureMerge() if is_pure else Merge()
        run = (PureRun if is_pure else Run)(data, 1000 * number, 0)
        run.has_gap = True
        merge.push(run)
        before, waiting = waiting, coder.add(merge.drain(None))
        assert waiting > before
    assert [piece[1] for piece in coder.take()] == [0, 0, 0]


def planned_steps(event_id: int) -> Any:
    """Return a program of one step."""
    decoder = Decoder(EVENT, event_id)
    return ((literal("x"),), decoder.readings, decoder)


@needs_native
@pytest.mark.parametrize(
    "program",
    [
        [(99, 0, 0, b"")],
        [(-1, 0, 0, b"")],
        [step(steps.VARINT, 99)],
        [step(steps.BEGIN)],
        [step(steps.END)],
        [step(steps.BEGIN, 0, 3)],
        [step(steps.IF_PRESENT, 0, 2), literal("x")],
        [step(steps.RAW, 3)],
        [step(steps.BEGIN)] * 9 + [step(steps.END)] * 9,
        ["LITERAL"],
    ],
)
def test_a_program_that_makes_no_sense_is_refused(program: list[Any]) -> None:
    """A mistake in an exporter is an error in Python, not a crash."""
    assert native is not None
    decoder = Decoder(EVENT, EVENT.id)
    assert decoder.readings[3][0] > 1, "the test wants a field that is no number"
    coder = native.Transcoder(lambda _: (tuple(program), decoder.readings, decoder), lambda *_: (b"", True), str)
    merge = native.Merge()
    body = EVENT.id.to_bytes(2, "little") + bytes(62)
    merge.push(native.Run((len(body) >> 2).to_bytes(4, "little") + body, 5))
    with pytest.raises((ValueError, TypeError)):
        coder.add(merge.drain(None))


def test_formats_are_made_of_steps_that_both_forms_know() -> None:
    """The programs of the exporters hold for an event of every kind of field."""
    decoder = Decoder(EVENT, EVENT.id)
    for make in (perfetto._steps, json_lines._steps):
        found = make(decoder)
        assert sum(code == steps.BEGIN for code, _, _, _ in found) == sum(code == steps.END for code, _, _, _ in found)
