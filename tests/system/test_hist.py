"""`userevents hist`: counts of a file by counting them again, and live ones equal to those of the file."""

import json
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.formats.maker import Maker
from tests.system.conftest import Userevents
from userevents.cli.hist import hist
from userevents.control.live_hist import HistKey, parse_hist
from userevents.errors import Malformed
from userevents.fields import parse_fields

Wait = Callable[[Callable[[], bool]], None]
EVENTS = {20: "request u32 id; s16 delta; __rel_loc char[] path; char[8] verb; u64 big; struct f64 took 8"}
PROGRAM = """
from userevents import event, u32, s16, u64, char8

@event
def request(id: u32, delta: s16, path: str, verb: char8, big: u64) -> None:
    "Keys of every kind."

print("go", flush=True)
input()
for number in range(500):
    request(number, number % 7 - 3, f"/{number % 5} x", ["GET", "POST"][number % 2], (1 << 63) + number)
print("done", flush=True)
input()
"""


@pytest.fixture
def trace(tmp_path: Path) -> str:
    """Return a trace whose records are easily counted."""
    maker = Maker()
    one = maker.session(100, "server", EVENTS)
    for number in range(300):
        text = "\x1b[31m" if number == 7 else f"/{number % 5}"
        one.add_values(1000 + number, 20, number, number % 7 - 3, text, "GET", 2**63 + number, 1.5)
    one.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    return str(path)


def run(*arguments: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(hist, arguments)


def rows(text: str) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Return the rows of JSON, and the totals."""
    *found, totals = map(json.loads, text.splitlines())
    return found, totals


def test_a_files_records_are_counted_by_any_field(trace: str) -> None:
    """Text and numbers, signed ones as they are, several together, with sums."""
    found, totals = rows(run(trace, "request", "--key", "delta", "--val", "id", "--val", "delta", "--json").stdout)
    wanted = Counter(number % 7 - 3 for number in range(300))
    assert {row["key"]["delta"]: row["count"] for row in found} == wanted
    assert [row["count"] for row in found] == sorted(wanted.values(), reverse=True)
    assert {row["key"]["delta"]: row["sums"]["id"] for row in found} == {
        delta: sum(number for number in range(300) if number % 7 - 3 == delta) for delta in wanted
    }
    assert all(row["sums"]["delta"] == row["count"] * row["key"]["delta"] for row in found)
    assert totals == {"records": 300, "keys": 7, "dropped": 0}
    found, _ = rows(run(trace, "request", "--key", "verb,common_pid", "--json", "--val", "big").stdout)
    assert [(row["key"], row["count"]) for row in found] == [({"verb": "GET", "common_pid": 100}, 300)]
    assert found[0]["sums"]["big"] == sum(2**63 + number for number in range(300)) % 2**64


def test_numbers_are_grouped_by_powers_of_two_or_by_a_width(trace: str) -> None:
    """In the order of the numbers."""
    found, _ = rows(run(trace, "request", "--key", "id", "--bucket", "log2", "--json").stdout)
    assert [(row["label"], row["count"]) for row in found][:4] == [("0..1", 2), ("2..2", 1), ("3..4", 2), ("5..8", 4)]
    found, _ = rows(run(trace, "request", "--key", "id", "--bucket", "100", "--json").stdout)
    assert [(row["label"], row["count"]) for row in found] == [("0..99", 100), ("100..199", 100), ("200..299", 100)]


def test_a_filter_chooses_as_the_kernels_would(trace: str) -> None:
    """Also by what stands in no field; a wrong one is shown."""
    found, _ = rows(run(trace, "request", "--key", "path", "--where", "id < 10 && comm == 'main'", "--json").stdout)
    assert {row["key"]["path"]: row["count"] for row in found}["/0"] == 2
    assert sum(row["count"] for row in found) == 10
    assert "Field not found" in run(trace, "request", "--key", "path", "--where", "zz == 1").stderr


def test_bars_are_for_people(trace: str) -> None:
    """As long as the counts, the first so many, escaped."""
    out = run(trace, "request", "--key", "path", "--top", "2").stdout.splitlines()
    assert out[0].split() == ["PATH", "COUNT"]
    assert [line.split()[:2] for line in out[1:]] == [["/0", "60"], ["/1", "60"]]
    assert out[1].count("█") == 40
    done = run(trace, "request", "--key", "path", "--where", "id == 7")
    assert done.stdout.splitlines()[1].split()[0] == "\\e[31m"
    assert "300 records, 6 keys, 4 of them not shown" in run(trace, "request", "--key", "path", "--top", "2").stderr


def test_what_cannot_be_counted_is_said(trace: str) -> None:
    """Fields that are not there, floats, text in buckets, events that are not there, and wrong words."""
    wrong: tuple[tuple[tuple[str, ...], str], ...] = (
        (("request", "--key", "nope"), "has no field 'nope': its fields are id, delta, path"),
        (("request", "--key", "took"), "no integer or text"),
        (("request", "--key", "path", "--bucket", "log2"), "only integers go into buckets"),
        (("request", "--key", "id", "--val", "path"), "only those are summed up"),
        (("nothing", "--key", "id"), "it has request"),
    )
    for words, told in wrong:
        done = run(trace, *words)
        assert (done.exit_code, told in done.stderr) == (1, True), done.output
    for bad in (("request", "--key", "id", "--bucket", "0"), ("a", "b", "--key", "id"), ("r", "--key", ",")):
        assert run(trace, *bad).exit_code == 2


def test_the_text_of_a_kernels_histogram_is_read() -> None:
    """All kinds of keys, hostile ones too; what is no number is Malformed."""
    fields = parse_fields("s32 d; __rel_loc char[] path; u64 n")
    text = (
        "# event histogram\n\n"
        f"{{ path: {'/a, d: 3 }':50}, d: 18446744073709551615 }} hitcount:          2  n: 18446744073709551615\n"
        f"{{ path: {'line' + chr(10) + '{ x':50}, d:          4 }} hitcount:          1  n:          7\n"
        "\nTotals:\n    Hits: 3\n    Entries: 2\n    Dropped: 1\n"
    )
    found = parse_hist(text, [HistKey("path"), HistKey("d")], ["n"], fields)
    assert [tuple(row) for row in found.rows] == [
        (("/a, d: 3 }", -1), 2, (2**64 - 1,)),
        (("line\n{ x", 4), 1, (7,)),
    ]
    assert (found.hits, found.dropped) == (3, 1)
    grouped = "{ n: ~ 2^4  } hitcount:          9\n{ n: ~ 2^12 } hitcount:          1\n\nTotals:\n    Hits: 10\n"
    assert [row.key for row in parse_hist(grouped, [HistKey("n", "log2")], [], fields).rows] == [(4,), (12,)]
    with pytest.raises(Malformed, match="1 entries, and 0 can be read"):
        parse_hist("{ n: x } hitcount: 1\n\nTotals:\n    Entries: 1\n", [HistKey("n")], [], fields)


ASKED: tuple[tuple[str, ...], ...] = (
    ("--key", "path"),
    ("--key", "delta", "--val", "delta", "--val", "big"),
    ("--key", "verb,delta"),
    ("--key", "id", "--bucket", "log2"),
    ("--key", "big", "--bucket", "100", "--where", "id >= 100"),
)


def test_live_and_recorded_histograms_are_equal(userevents: Userevents, wait_until: Wait) -> None:
    """The same events, counted by the tracer as they happened, in several ways at once, and from the file."""
    recorder = userevents.record("-e", "request", "--provider", "none", "-o", "t.dat")
    program = userevents.python(PROGRAM)
    assert program.stdout is not None
    assert program.stdin is not None
    assert program.stdout.readline() == "go\n"
    live = [userevents.start("hist", "request", *words, "--json") for words in ASKED]
    wait_until(lambda: userevents("info", "request").stdout.count("trigger hist:") == len(ASKED))
    program.stdin.write("\n")
    program.stdin.flush()
    assert program.stdout.readline() == "done\n"
    wait_until(lambda: _hits(userevents) == [400, 500, 500, 500, 500])
    for each in live:
        each.send_signal(signal.SIGINT)
    counted = [each.communicate(timeout=20) for each in live]
    program.communicate("\n")
    userevents.end(recorder)
    for words, each, (out, said) in zip(ASKED, live, counted, strict=True):
        assert each.returncode == 0, said
        assert rows(out) == rows(run(str(userevents.directory / "t.dat"), "request", *words, "--json").stdout)
        assert rows(out)[1]["records"] == (400 if "--where" in words else 500)


def _hits(userevents: Userevents) -> list[int]:
    """Return how many records each live histogram has counted."""
    found = []
    for name in userevents("cat", "instances").stdout.split():
        if name.startswith("hist"):
            text = userevents("cat", f"instances/{name}/events/user_events/request/hist").stdout
            found.append(int(text.partition("Hits: ")[2].split()[0]))
    return sorted(found)
