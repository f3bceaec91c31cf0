"""What a recorder leaves word of: the next tracer learns how far its file goes, whatever became of both."""

import fcntl
import os
import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from userevents.buffer import stream
from userevents.session.recorder_note import SUFFIX, Notes, RecorderNote, settle_notes
from userevents.session.ring_file import Position

NONCE = "ab" * 16
SESSION = f"1-{NONCE}.session"
NAME = "record-1-ab12cd"


def begun(directory: Path, part: Path) -> tuple[RecorderNote, bytes]:
    """Return the note of a recorder that has written the start of its file, and that start."""
    start = stream.pack_start() + stream.pack_header({}) + stream.pack_stream(3, {"nonce": NONCE})
    part.write_bytes(start)
    note = RecorderNote(str(directory), NAME, str(part))
    note.add_stream(3, NONCE)
    with note.writing(len(start), part.stat().st_ino) as may_write:
        assert may_write
    return note, start


def part_frame(seq: int = 11, size: int = 400) -> bytes:
    """Return a frame with some of a page of the stream."""
    return stream.pack_part(3, 1, 0, seq, 5, 0, bytes(size))


def left(directory: Path) -> list[str]:
    """Return the notes in a directory."""
    return [name for name in os.listdir(directory) if name.endswith(SUFFIX)]


def looked(directory: Path, own: str = "") -> Notes:
    """Return what a tracer finds that starts there and has this instance."""
    notes = Notes(own.__eq__, lambda _: nullcontext(), lambda level, text: None)
    notes.look([str(directory)])
    return notes


def test_what_was_written_last_is_found_behind_what_was_given_back(tmp_path: Path) -> None:
    """Parts and runs count, up to the last whole frame; and the note is taken away once that was asked for."""
    part = tmp_path / "out.part"
    begun(tmp_path, part)
    written = stream.pack_run(3, 1, 7, bytes(32), bytes(8192)) + stream.pack_part(3, 2, 0, 40, 5, 100, bytes(24))
    page = (1).to_bytes(8, "little") + (16).to_bytes(8, "little") + bytes(4080)
    written += stream.pack_run(3, 1, 9, bytes(16), page) + stream.pack_part(4, 1, 0, 99, 5, 0, bytes(24))
    with part.open("ab") as file:
        file.write(written + part_frame()[:100])
    notes = looked(tmp_path)
    notes.forget()
    assert len(left(tmp_path)) == 1, "what was not asked for yet is kept, for this tracer may be killed, too"
    assert notes.of("1-cd.session") == {}
    assert notes.of(SESSION) == looked(tmp_path).of(SESSION) == {1: Position(9, 16), 2: Position(40, 124)}
    notes.forget()
    assert left(tmp_path) == []


def test_a_recorder_of_this_tracer_is_left_alone(tmp_path: Path) -> None:
    """Its note is named after an instance that the tracer has."""
    note, _ = begun(tmp_path, tmp_path / "out.part")
    looked(tmp_path, NAME)
    with note.writing(100, 1) as may_write:
        assert may_write
    note.remove()
    assert left(tmp_path) == []


def test_a_recorder_whose_note_was_taken_writes_no_more(tmp_path: Path) -> None:
    """What the next tracer found not written it takes from the rings itself."""
    note, _ = begun(tmp_path, tmp_path / "out.part")
    notes = looked(tmp_path)
    with note.writing(100, 1) as may_write:
        assert not may_write
    assert notes.of(SESSION) == {}


def test_what_a_recorder_is_just_writing_waits_for_that(tmp_path: Path) -> None:
    """Nobody can say whether it will be in the file; sessions that it does not record wait for nothing."""
    part = tmp_path / "out.part"
    note, start = begun(tmp_path, part)
    with note.writing(len(start), part.stat().st_ino):
        notes = looked(tmp_path)
        assert notes.of(SESSION) is None
        assert notes.of("1-cd.session") == {}
        with part.open("ab") as file:
            file.write(part_frame())
    assert notes.of(SESSION) == {1: Position(11, 400)}


@pytest.mark.parametrize("who", ["the recorder", "who moves the file of a killed one"])
def test_a_note_tells_itself_what_is_in_a_file_that_goes(tmp_path: Path, who: str) -> None:
    """Also of a file that was renamed; what another file holds that has its name does not count, nor what is older."""
    part, moved = tmp_path / "out.part", tmp_path / "moved.part"
    note, start = begun(tmp_path, part)
    for seq in (11, 12):
        with part.open("ab") as file:
            file.write(part_frame(seq))
        if who == "the recorder":
            note.settle()
        else:
            part.rename(moved)
            settle_notes([str(tmp_path), "/nowhere"], str(moved))
            moved.rename(part)
        size = (tmp_path / left(tmp_path)[0]).stat().st_size
        with note.writing(len(start), part.stat().st_ino):
            pass
    note.settle()
    assert (tmp_path / left(tmp_path)[0]).stat().st_size == size, "what is said again takes no more room"
    part.rename(moved)
    part.write_bytes(start + part_frame(50))
    assert looked(tmp_path).of(SESSION) == {1: Position(12, 400)}


def test_a_file_that_was_removed_by_hand_tells_nothing(tmp_path: Path) -> None:
    """Nor does one of another recorder that has got its name."""
    part = tmp_path / "out.part"
    _, start = begun(tmp_path, part)
    part.rename(tmp_path / "mine")
    part.write_bytes(start + part_frame())
    assert looked(tmp_path).of(SESSION) == {}


@pytest.mark.parametrize(
    "text", [b"", b"x\ny\n", b"00000000000000000000 1\n[]\n", b"\xff\xfe\n\n\n", b"1 1\n/nowhere\n3 x y z\n"]
)
def test_a_note_that_makes_no_sense_is_removed(tmp_path: Path, text: bytes) -> None:
    """It must not stand in the way."""
    (tmp_path / f"record-4194305-00{SUFFIX}").write_bytes(text)
    assert looked(tmp_path).of(SESSION) == {}
    assert left(tmp_path) == []


def test_a_size_that_no_file_has_is_no_trouble(tmp_path: Path) -> None:
    """Notes are other processes' words."""
    part = tmp_path / "out.part"
    note, _ = begun(tmp_path, part)
    with note.writing(10**20 - 1, part.stat().st_ino):
        pass
    assert looked(tmp_path).of(SESSION) == {}


def test_what_is_no_file_of_ours_is_left_where_it_is(tmp_path: Path) -> None:
    """A pipe, a link, a directory with the name of a note."""
    os.mkfifo(tmp_path / f"pipe{SUFFIX}")
    (tmp_path / f"link{SUFFIX}").symlink_to("/etc/passwd")
    (tmp_path / f"directory{SUFFIX}").mkdir()
    looked(tmp_path).forget()
    assert len(left(tmp_path)) == 3
    assert not stat.S_IMODE(os.stat("/etc/passwd").st_mode) & 0o022


def test_a_directory_that_cannot_be_written_is_no_trouble_to_the_recorder(tmp_path: Path) -> None:
    """The note is help for others; a recorder records without it."""
    note = RecorderNote(str(tmp_path / "missing"), NAME, "out.part")
    note.add_stream(1, NONCE)
    with note.writing(100, 1) as may_write:
        assert may_write
    note.settle()
    note.leave()
    note.remove()


def test_two_recorders_of_one_program_count_both(tmp_path: Path) -> None:
    """The one that came further says where to go on."""
    for name, seq in (("a", 5), ("b", 7), ("c", 6)):
        directory, part = tmp_path / "notes", tmp_path / f"{name}.part"
        directory.mkdir(exist_ok=True)
        begun(directory, part)
        os.rename(directory / f"{NAME}{SUFFIX}", directory / f"{name}{SUFFIX}")
        with part.open("ab") as file:
            file.write(part_frame(seq))
    assert looked(tmp_path / "notes").of(SESSION) == {1: Position(7, 400)}


def test_a_killed_recorder_leaves_no_lock(tmp_path: Path) -> None:
    """Killed in the middle of writing: the kernel gives its lock back, and the file says what was written."""
    part = tmp_path / "out.part"
    note, start = begun(tmp_path, part)
    pid = os.fork()
    if pid == 0:
        note = RecorderNote(str(tmp_path), "record-2-00", str(part))
        note.add_stream(3, NONCE)
        with note.writing(len(start), part.stat().st_ino), part.open("ab", buffering=0) as file:
            file.write(part_frame() + part_frame(12)[:100])
            os.kill(os.getpid(), 9)
    os.waitpid(pid, 0)
    note.remove()
    with part.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert looked(tmp_path).of(SESSION) == {1: Position(11, 400)}


def test_a_recorder_of_native_programs_alone_leaves_no_note(tmp_path: Path) -> None:
    """Their records lie in no ring, so there is nothing that the next tracer could record once more."""
    part = tmp_path / "out.part"
    part.write_bytes(stream.pack_start())
    RecorderNote(str(tmp_path), NAME, str(part)).leave()
    assert left(tmp_path) == []
    note, _ = begun(tmp_path, part)
    note.leave()
    assert len(left(tmp_path)) == 1
