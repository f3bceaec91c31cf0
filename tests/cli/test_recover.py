"""`userevents recover`: the trace of a recorder that was killed, its exit codes, and what it never overwrites."""

import fcntl
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.formats.maker import Maker
from userevents.cli.finish import shift_files
from userevents.cli.recover import recover
from userevents.formats import open_trace


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Return what a killed recorder left behind: no end, and cut inside its last frame."""
    maker = Maker()
    one = maker.session(100, "server")
    for number in range(1000):
        one.add_values(10**9 + number, 20, number)
    one.close()
    one.add_values(10**9 + 5000, 20, 1)
    one.flush()
    path = tmp_path / "trace.dat.part"
    path.write_bytes(maker.data(end=False)[:-7])
    return path


def run(*arguments: str) -> Result:
    """Run the verb."""
    return CliRunner().invoke(recover, arguments)


def test_what_reached_the_raw_file_is_in_the_trace(part: Path) -> None:
    """FILE.part becomes FILE, and stays; how far it could be read is said."""
    before = part.read_bytes()
    done = run(str(part))
    assert done.exit_code == 0, done.stderr
    assert "1,000 events" in done.stderr
    assert "is cut" in done.stderr
    with open_trace(str(part.with_suffix(""))) as trace:
        assert len(list(trace.records())) == 1000
        assert trace.ledger is not None
        assert not trace.ledger.complete
    assert part.read_bytes() == before


def test_a_file_that_is_there_is_not_overwritten_unless_it_is_named(part: Path) -> None:
    """The default name may be taken by an earlier trace; -o says what to write."""
    older = part.with_suffix("")
    older.write_text("older")
    done = run(str(part))
    assert (done.exit_code, older.read_text()) == (2, "older")
    assert "-o" in done.stderr
    assert run(str(part), "-o", str(older)).exit_code == 0
    assert older.read_bytes()[:10] == b"\x17\x08\x44tracing"


def test_the_recording_itself_is_never_the_output(part: Path) -> None:
    """Naming it twice would lose what it holds."""
    before = part.read_bytes()
    assert run(str(part), "-o", str(part)).exit_code == 2
    assert part.read_bytes() == before


def test_a_recording_that_goes_on_is_not_called_over(part: Path) -> None:
    """Its recorder has it locked, and finishes it: a trace of what is there by now wants a name of its own."""
    with part.open("rb") as recorder:
        fcntl.flock(recorder, fcntl.LOCK_EX)
        done = run(str(part))
        assert (done.exit_code, part.with_suffix("").exists()) == (1, False)
        assert "still runs" in done.stderr
        done = run(str(part), "-o", str(part.with_name("now.dat")))
    assert done.exit_code == 0, done.stderr
    assert "what it writes from now on is not in" in done.stderr
    assert "no longer needed" not in done.stderr


def test_what_is_no_recording_is_exit_code_1(tmp_path: Path) -> None:
    """Absent, foreign, or a trace that is finished already: one sentence that names it, and no output."""
    foreign = tmp_path / "foreign.part"
    foreign.write_bytes(b"\x17\x08\x44tracing7\0" + bytes(100))
    for path in (tmp_path / "absent.part", foreign):
        done = run(str(path))
        assert done.exit_code == 1
        assert str(path) in done.stderr
    assert list(tmp_path.iterdir()) == [foreign]


def test_an_output_that_cannot_be_written_is_exit_code_1(part: Path) -> None:
    """The message names the output and not the input."""
    for place in (part.parent / "no" / "t.dat", Path("/dev/null")):
        done = run(str(part), "-o", str(place))
        assert done.exit_code == 1
        assert str(place) in done.stderr


def test_files_of_a_rotation_move_up_and_the_oldest_goes(tmp_path: Path) -> None:
    """However many are to be kept: it is the files that are there which are counted."""
    out = tmp_path / "t.dat"
    for number in range(4):
        out.write_text(str(number))
        shift_files(str(out), 3)
        assert not out.exists()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"t.dat.1": "3", "t.dat.2": "2"}
    out.write_text("4")
    shift_files(str(out), 10**17)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "t.dat.1": "4",
        "t.dat.2": "3",
        "t.dat.3": "2",
    }
