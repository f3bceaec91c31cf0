"""Stock trace-cmd reads our trace.dat: the same events, in the same order, with the same values as our own reader."""

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.maker import Maker
from userevents.formats import Record, open_trace
from userevents.formats.model import Value
from userevents.formats.text import show_time, text_line

_TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=12)
_WIDE = st.text(st.sampled_from('aé€😀 \\"%'), max_size=12)


def _integer(bits: int, signed: bool) -> st.SearchStrategy[Value]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return st.integers(low, high) | st.sampled_from([low, high, 0])


TYPES: dict[str, st.SearchStrategy[Value]] = {
    "s8": _integer(8, True),
    "u8": _integer(8, False),
    "char": _integer(8, True),
    "unsigned char": _integer(8, False),
    "s16": _integer(16, True),
    "u16": _integer(16, False),
    "short": _integer(16, True),
    "unsigned short": _integer(16, False),
    "s32": _integer(32, True),
    "int": _integer(32, True),
    "u32": _integer(32, False),
    "unsigned int": _integer(32, False),
    "s64": _integer(64, True),
    "u64": _integer(64, False),
    "char[12]": _TEXT,
    "char[8]": _TEXT.map(lambda text: text[:8]),
    "char[1]": _TEXT.map(lambda text: text[:1]),
    "unsigned char[12]": _TEXT,
    "__rel_loc char[]": _TEXT | _WIDE,
    "__data_loc char[]": _TEXT | _WIDE,
    "__rel_loc u8[]": st.binary(max_size=9),
    "__data_loc u8[]": st.binary(max_size=9),
    "struct f64 8": st.floats(width=64),
    "struct point 8": st.binary(min_size=8, max_size=8),
    "struct point 3": st.binary(min_size=3, max_size=3),
    "struct point 20": st.binary(min_size=20, max_size=20),
}
NAMES = ("id", "a", "b_2", "common_pid", "REC", "sizeof", "unsigned", "x-y", "9lives", "50%", "__get_str", "struct")


@st.composite
def declarations(draw: st.DrawFn) -> list[list[str]]:
    """Return the field types of a few events; together they have every type."""
    order = draw(st.permutations(sorted(TYPES)))
    size = draw(st.integers(1, 6))
    return [[], *(list(order[start : start + size]) for start in range(0, len(order), size))]


def _declare(number: int, types: list[str]) -> str:
    fields = []
    for place, ctype in enumerate(types):
        name = NAMES[(number + place) % len(NAMES)]
        base, _, size = ctype.rpartition(" ") if ctype.startswith("struct") else (ctype, "", "")
        fields.append(f"{base} {name} {size}".rstrip())
    return f"event_{number} " + "; ".join(fields) if fields else f"event_{number}"


def _shown(value: Value) -> str:
    """Return a value as stock trace-cmd is meant to print it: text as it is, floats as their bits."""
    if isinstance(value, float):
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:x}"
    return value.hex() if isinstance(value, bytes) else str(value)


def stock_line(record: Record) -> str:
    """Return the line that stock trace-cmd is meant to print for a record."""
    values = " ".join(
        f"{field.name}={_shown(value)}"
        for field, value in zip(record.event.fields, record.values.values(), strict=True)
    )
    who = f"{record.comm:>16}-{record.tid:<5} [{record.cpu:03d}] {show_time(record.ts_ns):>12}"
    return f"{who}: {record.event.name.replace('.', '_') + ':':<21} {values}".rstrip()


def report(trace_cmd: str, path: Path) -> list[str]:
    """Return the lines of `trace-cmd report`, its first (the number of CPUs) left out; it must not complain."""
    done = subprocess.run([trace_cmd, "report", str(path)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("utf-8", "backslashreplace").split("\n")
    assert lines[0].startswith("cpus=")
    return [line.rstrip() for line in lines[1:-1]]


@given(st.data(), declarations())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_trace_cmd_prints_the_same_events_values_and_order(
    tmp_path: Path, trace_cmd: str, data: st.DataObject, types: list[list[str]]
) -> None:
    """Every field type, several sessions and CPUs, equal times, long gaps: line by line the same."""
    maker = Maker(cpus=3)
    events = {20 + number: _declare(number, each) for number, each in enumerate(types)}
    sessions = [maker.session(100 + number, f"p{number}", events) for number in range(3)]
    now = 10**9
    for number, each in enumerate(types * 2):
        now += data.draw(st.sampled_from([0, 1, 999, 1 << 27, 10**10]))
        session = sessions[data.draw(st.integers(0, 2))]
        values = [data.draw(TYPES[ctype]) for ctype in each]
        session.add_values(now, 20 + number % len(types), *values, cpu=data.draw(st.integers(0, 2)))
    for session in sessions:
        session.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    with open_trace(str(path)) as trace:
        records = list(trace.records())
    assert len(records) == 2 * len(types)
    assert report(trace_cmd, path) == [stock_line(record) for record in records]


def test_many_pages_of_many_sessions_are_printed_in_our_order(tmp_path: Path, trace_cmd: str) -> None:
    """Copied and merged pages over two CPUs, line by line as our own text report prints them."""
    maker = Maker(cpus=2)
    sessions = [
        maker.session(100 + number, "worker", {20: "request u32 id; __rel_loc char[] path"}) for number in range(5)
    ]
    for number in range(6000):
        session = sessions[number * number % 5 if number > 2000 else 0]
        session.add_values(10**9 + 700 * number, 20, number, "/" + "x" * (number % 50), cpu=number // 700 % 2)
    for session in sessions:
        session.close()
    path = tmp_path / "t.dat"
    done = maker.trace(path)
    assert done.copied_pages
    assert done.merged_pages
    with open_trace(str(path)) as trace:
        ours = [text_line(record) for record in trace.records()]
    assert report(trace_cmd, path) == ours
    assert len(ours) == 6000


def test_multi_format_events_are_named_with_an_underscore_for_trace_cmd(tmp_path: Path, trace_cmd: str) -> None:
    """Stock tools cannot read the dot; our own reader still shows it."""
    maker = Maker()
    one = maker.session(7, "prog", {})
    one.declare(20, "ev_0 u32 a")
    one.declare(21, "ev.0 u32 a", system="user_events_multi")
    one.declare(22, "ev.1 u64 b", system="user_events_multi")
    for event_id in (20, 21, 22):
        one.add_values(10**9 + event_id, event_id, event_id)
    one.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    with open_trace(str(path)) as trace:
        names = [(record.event.system, record.event.name) for record in trace.records()]
    assert names == [("user_events", "ev_0"), ("user_events_multi", "ev.0"), ("user_events_multi", "ev.1")]
    assert [line.split()[3:] for line in report(trace_cmd, path)] == [
        ["ev_0:", "a=20"],
        ["ev_0:", "a=21"],
        ["ev_1:", "b=22"],
    ]


def test_names_that_no_tool_can_read_become_words_for_trace_cmd(tmp_path: Path, trace_cmd: str) -> None:
    """Quotes, bytes beyond ASCII and one name twice would make stock tools fail or show the wrong field."""
    maker = Maker()
    one = maker.session(7, "prog", {20: 'caf\xc3\xa9 u32 a"b; u32 \xc3\xa9; u32 n; u32 n; u32 __attribute__'})
    one.add_values(10**9, 20, 1, 2, 3, 4, 5)
    for event_id, name in ((21, "caf..2"), (22, "caf--"), (23, "caf__")):
        one.declare(event_id, f"{name} u32 a")
        one.add_values(10**9, event_id, event_id)
    one.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    lines = [line.split()[3:] for line in report(trace_cmd, path)]
    assert [line[0] for line in lines] == ["caf__:", "caf__2:", "caf___2:", "caf___3:"]
    assert lines[0] == ["caf__:", "a_b=1", "__=2", "n=3", "n=4", "__attribute__=5"]
    with open_trace(str(path)) as trace:
        record, *others = trace.records()
    assert [other.event.name for other in others] == ["caf..2", "caf--", "caf__"]
    assert record.event.name == "café"
    assert record.values == {'a"b': 1, "é": 2, "n": 3, "n_2": 4, "__attribute__": 5}


def test_lost_pages_show_in_trace_cmd_where_they_are_missing(tmp_path: Path, trace_cmd: str) -> None:
    """It prints that events were dropped before the record that follows the gap."""
    maker = Maker(cpus=1)
    one = maker.session(7)
    for seq in (0, 3):
        one.seq = seq
        one.add_values(10**9 + seq, 20, seq)
        one.flush()
    one.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    assert [line.split()[-1] if "DROPPED" not in line else line for line in report(trace_cmd, path)] == [
        "a=0",
        "CPU:0 [EVENTS DROPPED]",
        "a=3",
    ]


@pytest.mark.parametrize("version", ["6", "7"])
def test_what_trace_cmd_converts_reads_the_same(tmp_path: Path, trace_cmd: str, version: str) -> None:
    """Files written by trace-cmd itself, versions 6 and 7: the same records, without our section."""
    maker = Maker(cpus=2)
    one, two = maker.session(100, "one"), maker.session(200, "two", {21: "text __rel_loc char[] s; char[8] c; s16 n"})
    for number in range(900):
        one.add_values(10**9 + 900 * number, 20, number, cpu=number // 300 % 2)
        two.add_values(10**9 + 1000 * number, 21, f"text {number}", "12345678", -number, cpu=number // 500 % 2)
    one.close()
    two.close()
    ours, theirs = tmp_path / "ours.dat", tmp_path / "theirs.dat"
    maker.trace(ours)
    command = [trace_cmd, "convert", "-i", str(ours), "-o", str(theirs), "--file-version", version]
    done = subprocess.run(
        [*command, "--compression", "none"] if version == "7" else command, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with open_trace(str(ours)) as trace, open_trace(str(theirs)) as converted:
        assert converted.kind == f"trace.dat version {version}"
        assert converted.ledger is None
        assert converted.clock == "mono"
        wanted = [(one.ts_ns, one.cpu, one.tid, one.comm, one.event.name, one.values) for one in trace.records()]
        found = [(one.ts_ns, one.cpu, one.tid, one.comm, one.event.name, one.values) for one in converted.records()]
    assert found == wanted
    assert len(found) == 1800


def test_losses_are_told_by_the_statistics_that_stock_tools_keep(tmp_path: Path, trace_cmd: str) -> None:
    """`trace-cmd report --stat` shows them at CPU 0, and a converted file, which has no ledger, still tells of them."""
    maker = Maker(cpus=2)
    one = maker.session(100)
    one.add_values(10**9, 20, 1, cpu=1)
    one.close(drops={20: {"ring_full": 5}}, committed=8, overwritten=3, missed=4)
    ours, theirs = tmp_path / "ours.dat", tmp_path / "theirs.dat"
    maker.trace(ours)
    shown = subprocess.run(
        [trace_cmd, "report", "--stat", str(ours)], capture_output=True, text=True, check=True
    ).stdout
    assert "overrun: 7\n" in shown.split("CPU: 1\n")[0]
    assert "dropped events: 5\n" in shown.split("CPU: 1\n")[0]
    subprocess.run(
        [trace_cmd, "convert", "-i", ours, "-o", theirs, "--file-version", "6"], capture_output=True, check=True
    )
    with open_trace(str(theirs)) as trace:
        assert trace.losses() == ["CPU: 0: overrun: 7", "CPU: 0: dropped events: 5"]


def test_our_own_section_is_passed_over_without_a_word(tmp_path: Path, trace_cmd: str) -> None:
    """Stock tools report and convert a file with a ledger as if there were none."""
    maker = Maker(cpus=2)
    one = maker.session(100)
    one.add_values(10**9, 20, 1)
    one.close()
    ours = tmp_path / "ours.dat"
    maker.trace(ours)
    assert b'"ledger":' in ours.read_bytes()
    for command in (["report", str(ours)], ["convert", "-i", str(ours), "-o", "x.dat"]):
        done = subprocess.run([trace_cmd, *command], capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0
        assert not any(word in done.stdout + done.stderr for word in ("nknown", "rror", "arning"))


def test_what_trace_cmd_compresses_by_itself_is_read(tmp_path: Path, trace_cmd: str) -> None:
    """trace-cmd compresses by default where it can, as it likes."""
    maker = Maker()
    one = maker.session(7)
    one.add_values(10**9, 20, 1)
    one.close()
    ours, theirs = tmp_path / "ours.dat", tmp_path / "theirs.dat"
    maker.trace(ours)
    subprocess.run([trace_cmd, "convert", "-i", ours, "-o", theirs], capture_output=True, check=True)
    with open_trace(str(theirs)) as trace:
        assert [(record.ts_ns, record.values) for record in trace.records()] == [(10**9, {"a": 1})]
