"""A tree of real files: what a mounted tracefs looks like to the same calls."""

import os
import threading
from pathlib import Path

import pytest

from userevents.control import FilesAccess, Tracer, read_file, write_file
from userevents.errors import Refused


def test_files_are_read_written_and_listed(tmp_path: Path) -> None:
    """Relative to the root, with or without a leading slash."""
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "enable").write_text("0\n")
    access = FilesAccess(str(tmp_path))
    assert read_file(access, "/events/enable") == b"0\n"
    write_file(access, "events/enable", b"1\n")
    assert (tmp_path / "events" / "enable").read_text() == "1\n"
    assert access.listdir("events") == ["enable"]
    access.mkdir("instances")
    access.mkdir("instances/night", keep=True)
    access.rmdir("instances/night")
    assert access.listdir("instances") == []
    access.close()


def test_errors_of_the_file_system_are_refusals(tmp_path: Path) -> None:
    """With errno and the path that was asked for."""
    access = FilesAccess(str(tmp_path))
    for call in (access.open, access.listdir, access.rmdir):
        with pytest.raises(Refused, match="'nope': No such file") as refusal:
            call("nope")
        assert refusal.value.name == "ENOENT"
    access.mkdir("there")
    with pytest.raises(Refused, match="EEXIST"):
        access.mkdir("there")


def test_a_file_that_blocks_is_waited_for_so_long(tmp_path: Path) -> None:
    """As reading trace_pipe_raw does: None when nothing came, the end as the end."""
    os.mkfifo(tmp_path / "pipe")
    writer: list[int] = []
    opener = threading.Thread(target=lambda: writer.append(os.open(tmp_path / "pipe", os.O_WRONLY)))
    opener.start()
    handle = FilesAccess(str(tmp_path)).open("pipe")
    opener.join()
    assert handle.read(timeout=0.01) is None
    os.write(writer[0], b"page")
    assert handle.read(timeout=5) == b"page"
    os.close(writer[0])
    assert handle.read(timeout=5) == b""
    handle.close()
    handle.close()


def test_an_empty_non_blocking_read_is_nothing_yet(tmp_path: Path) -> None:
    """EAGAIN is None, as a timeout is."""
    os.mkfifo(tmp_path / "pipe")
    access = FilesAccess(str(tmp_path))
    handle = access.open("pipe", os.O_RDWR | os.O_NONBLOCK)
    assert handle.read() is None
    handle.close()


def test_names_are_one_character_a_byte(tmp_path: Path) -> None:
    """As in the tree of ours."""
    name = "größe".encode().decode("latin-1")
    (tmp_path / "größe").write_bytes(b"x")
    access = FilesAccess(str(tmp_path))
    assert access.listdir("") == [name]
    assert read_file(access, name) == b"x"


def test_a_kernels_tree_has_no_info_and_no_holders(tmp_path: Path) -> None:
    """A tracer behind plain files says what the kernel's files say."""
    event = tmp_path / "events" / "user_events" / "tick"
    event.mkdir(parents=True)
    (event / "id").write_text("1712\n")
    (event / "format").write_text('name: tick\nID: 1712\nformat:\n\nprint fmt: ""\n')
    (tmp_path / "user_events_status").write_text("tick # Used by ftrace\n\nActive: 1\nBusy: 1\n")
    (tmp_path / "available_events").write_text("sched:sched_switch\nuser_events:gone\nuser_events:tick\n")
    tracer = Tracer(FilesAccess(str(tmp_path)))
    assert (tracer.info(), tracer.holders()) == ({}, {})
    (tick,) = tracer.events()
    assert (tick.name, tick.id, tick.used_by, tick.holders) == ("tick", 1712, ("ftrace",), ())
