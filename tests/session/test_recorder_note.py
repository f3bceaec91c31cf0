"""What a killed recorder leaves word of: the next tracer learns how far its file goes, whatever the file holds."""

import fcntl
import os
from pathlib import Path

import pytest

from userevents.buffer import stream
from userevents.session.recorder_note import SUFFIX, RecorderNote, kept_by_the_dead
from userevents.session.ring_file import Position

NONCE = "ab" * 16


def begun(directory: Path, part: Path) -> tuple[RecorderNote, bytes]:
    """Return the note of a recorder that has written the start of its file, and that start."""
    start = stream.pack_start() + stream.pack_header({}) + stream.pack_stream(3, {"nonce": NONCE})
    part.write_bytes(start)
    note = RecorderNote(str(directory), str(part))
    note.add_stream(3, NONCE)
    note.before_write(len(start))
    return note, start


def left(directory: Path) -> list[str]:
    """Return the notes in a directory."""
    return [name for name in os.listdir(directory) if name.endswith(SUFFIX)]


def test_what_was_written_last_is_found_behind_what_was_given_back(tmp_path: Path) -> None:
    """Parts and runs count, up to the last whole frame; and the note is taken away."""
    part = tmp_path / "out.part"
    _, start = begun(tmp_path, part)
    written = stream.pack_run(3, 1, 7, bytes(32), bytes(8192)) + stream.pack_part(3, 2, 0, 40, 5, 100, bytes(24))
    page = (1).to_bytes(8, "little") + (16).to_bytes(8, "little") + bytes(4080)
    written += stream.pack_run(3, 1, 9, bytes(16), page) + stream.pack_part(4, 1, 0, 99, 5, 0, bytes(24))
    part.write_bytes(start + written + stream.pack_part(3, 1, 0, 11, 5, 0, bytes(400))[:100])
    assert kept_by_the_dead(str(tmp_path)) == {(NONCE, 1): Position(9, 16), (NONCE, 2): Position(40, 124)}
    assert left(tmp_path) == []


def test_a_recorder_that_lives_is_left_alone(tmp_path: Path) -> None:
    """It holds the lock of its file."""
    part = tmp_path / "out.part"
    note, start = begun(tmp_path, part)
    part.write_bytes(start + stream.pack_part(3, 1, 0, 11, 5, 0, bytes(400)))
    with part.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert kept_by_the_dead(str(tmp_path)) == {}
        assert len(left(tmp_path)) == 1
    note.remove()
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    "text", [b"", b"x\ny\n", b"00000000000000000000\n[]\n", b"\xff\xfe\n\n\n", b"1\n/nowhere\n3 x\n"]
)
def test_a_note_that_makes_no_sense_is_removed(tmp_path: Path, text: bytes) -> None:
    """Of a process that is gone; it must not stand in the way."""
    (tmp_path / f"4194305-00{SUFFIX}").write_bytes(text)
    assert kept_by_the_dead(str(tmp_path)) == {}
    assert left(tmp_path) == []


def test_a_directory_that_cannot_be_written_is_no_trouble_to_the_recorder(tmp_path: Path) -> None:
    """The note is help for others; a recorder records without it."""
    note = RecorderNote(str(tmp_path / "missing"), "out.part")
    note.add_stream(1, NONCE)
    note.before_write(100)
    note.remove()
