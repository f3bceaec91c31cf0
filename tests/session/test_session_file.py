"""A session file between program and tracer: what one declares the other reads, and noise harms nobody."""

import gc
import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from userevents.errors import Malformed, Unusable
from userevents.session import layout, locks, producer
from userevents.session.consumer import SessionFile
from userevents.session.producer import Declared, Session


def test_the_header_fits_the_place_kept_for_it() -> None:
    """The fixed facts end before the first line that changes."""
    assert layout.HEADER.size <= layout.PRODUCER_LINE
    assert layout.TRACER_LINE + 64 <= layout.HEADER_SIZE
    assert layout.PRODUCER_LINE % 64 == layout.TRACER_LINE % 64 == 0


def test_the_tracer_reads_what_the_program_declared(runtime_dir: Path) -> None:
    """Texts and flags come over whole, also those declared after the first look."""
    session = Session(str(runtime_dir), run=b"token")
    first, second = Declared(b"a u32 x", 0), Declared(b"b:", 3)
    session.declare(first, word=layout.WORD_PENDING)
    file = SessionFile(str(runtime_dir), session.name)
    assert list(file.new_declarations(0)) == [first]
    session.declare(second)
    assert list(file.new_declarations(1)) == [second]
    assert file.words(2) == [layout.WORD_PENDING, 0]
    assert file.header.pid == os.getpid()
    assert file.run == "token"
    assert file.comm
    file.close()
    session.unlink()


def test_the_program_sees_the_tracers_word_at_once(runtime_dir: Path) -> None:
    """The word is in the program's own memory: a store by the tracer, a load by the program."""
    session = Session(str(runtime_dir))
    session.declare(Declared(b"a", 0))
    file = SessionFile(str(runtime_dir), session.name)
    file.write_word(0, 0x00140001)
    file.write_answer(0, 20, 0)
    assert session.words[0] == 0x00140001
    assert file.answers(1) == [(20, 0)]
    file.close()
    session.unlink()


def test_a_session_says_when_it_has_no_room(runtime_dir: Path) -> None:
    """A full session refuses a declaration by None; the client then opens another."""
    session = Session(str(runtime_dir), 16)
    made = [session.declare(Declared(b"event%d" % number, 0)) for number in range(20)]
    assert made == [*range(16), None, None, None, None]
    session.unlink()


def test_a_declaration_that_outgrows_the_text_is_refused(runtime_dir: Path) -> None:
    """The text area is bounded; no declaration is ever cut."""
    session = Session(str(runtime_dir), 16)
    long = Declared(b"x" * 500, 0)
    made = [session.declare(long) for _ in range(5)]
    assert made == [0, 1, 2, 3, None]
    file = SessionFile(str(runtime_dir), session.name)
    assert list(file.new_declarations(0)) == [long] * 4
    file.close()
    session.unlink()


def test_a_living_program_is_known_by_its_lock_also_when_it_closed_all_descriptors(runtime_dir: Path) -> None:
    """The mapping keeps the lock; a pid that was given to another process is told by its start time."""
    session = Session(str(runtime_dir))
    file = SessionFile(str(runtime_dir), session.name)
    assert locks.lives(file.header, file.fd)
    close_like_a_daemonizer(runtime_dir, keep=file.fd)
    assert locks.is_locked(file.fd)
    assert locks.lives(file.header, file.fd)
    assert not locks.lives(file.header._replace(start_time=1), file.fd)
    session.abandon()
    file.close()
    session.unlink()


def test_a_program_that_went_on_by_exec_is_dead_to_its_session(runtime_dir: Path) -> None:
    """The pid lives and has the same start time; lock and mapping went with the old image."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        os.write(write, Session(str(runtime_dir)).name.encode())
        os.close(write)
        os.execv("/bin/sleep", ["sleep", "60"])
    os.close(write)
    name = os.read(read, 200).decode()
    os.close(read)
    file = SessionFile(str(runtime_dir), name)
    deadline = time.monotonic() + 10
    while locks.lives(file.header, file.fd) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not locks.lives(file.header, file.fd)
    assert locks.start_time(pid) == file.header.start_time, "it is still the same process"
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    file.close()
    producer.remove(str(runtime_dir), name)


def close_like_a_daemonizer(directory: Path, keep: int = -1) -> list[int]:
    """Close every descriptor of ours that leads into the runtime directory; return their numbers."""
    closed = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if target.startswith(str(directory)) and int(name) != keep:
            os.close(int(name))
            closed.append(int(name))
    return closed


def test_a_closed_descriptor_is_never_written_through_or_closed(runtime_dir: Path, tmp_path: Path) -> None:
    """After a daemonizer closed our descriptors, their numbers belong to somebody else's files."""
    session = Session(str(runtime_dir))
    session.declare(Declared(b"a", 0))
    numbers = close_like_a_daemonizer(runtime_dir)
    victims = [os.open(tmp_path / f"victim{n}", os.O_RDWR | os.O_CREAT) for n in range(len(numbers))]
    assert sorted(victims) == sorted(numbers), "the test needs the same descriptor numbers"
    session.ring_bell()
    session.abandon()
    session.unlink()
    del session
    gc.collect()
    for victim in victims:
        assert os.pread(victim, 10, 0) == b""
        os.close(victim)


def test_a_directory_with_no_space_is_an_unusable_one(monkeypatch: pytest.MonkeyPatch, runtime_dir: Path) -> None:
    """A full file system is found out by fallocate, and nothing is left behind."""

    def full(fd: int, offset: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(Unusable, match="No space left"):
        Session(str(runtime_dir))
    assert [name for name in os.listdir(runtime_dir) if "session" in name] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((0, b"NOTASESS"), "no session file"),
        ((8, struct.pack("<I", 2)), "version 2"),
        ((64 + 8, struct.pack("<I", 7)), "room for|geometry"),
        ((12, struct.pack("<I", 1)), "geometry"),
    ],
)
def test_a_file_that_is_no_session_is_malformed(runtime_dir: Path, change: tuple[int, bytes], words: str) -> None:
    """Magic, version and geometry are checked before anything is believed."""
    session = Session(str(runtime_dir))
    with open(session.path, "r+b") as raw:
        raw.seek(change[0])
        raw.write(change[1])
    with pytest.raises(Malformed, match=words):
        SessionFile(str(runtime_dir), session.name)
    session.unlink()


@settings(max_examples=60)
@given(noise=st.binary(min_size=1, max_size=200), at=st.integers(0, layout.geometry(128).size))
def test_noise_in_a_session_is_malformed_or_harmless(noise: bytes, at: int) -> None:
    """Any bytes anywhere: the tracer reads declarations within bounds, or says Malformed."""
    directory = Path(f"/dev/shm/userevents-noisy-{os.getpid()}")
    directory.mkdir(mode=0o700, exist_ok=True)
    session = Session(str(directory))
    for number in range(5):
        session.declare(Declared(b"event%d u32 a" % number, 0))
    with open(session.path, "r+b") as raw:
        raw.seek(at)
        raw.write(noise)
    file = None
    try:
        file = SessionFile(str(directory), session.name)
        found = list(file.new_declarations(0))
        file.words(len(found))
        file.counters(len(found))
        assert len(found) <= file.place.capacity
    except Malformed:
        pass
    finally:
        if file is not None:
            file.close()
        session.unlink()
        directory.rmdir()


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_what_is_no_regular_file_is_not_opened(runtime_dir: Path, kind: str) -> None:
    """A FIFO would block, a link could lead anywhere."""
    path = runtime_dir / "1-00.session"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.mkdir()
    with pytest.raises((Malformed, OSError)):
        SessionFile(str(runtime_dir), path.name)
    path.rmdir() if kind == "directory" else path.unlink()


def test_the_sweep_removes_the_dead_and_spares_the_living(runtime_dir: Path) -> None:
    """A program that starts takes away a few sessions that nobody will come for."""
    alive = Session(str(runtime_dir))
    pid = os.fork()
    if pid == 0:
        Session(str(runtime_dir)).declare(Declared(b"gone", 0))
        os._exit(0)
    os.waitpid(pid, 0)
    assert len([name for name in os.listdir(runtime_dir) if name.endswith(".session")]) == 2
    assert producer.sweep(str(runtime_dir)) == 1
    assert os.path.exists(alive.path)
    alive.unlink()


def test_the_sweep_keeps_what_the_next_tracer_may_still_drain(runtime_dir: Path) -> None:
    """A dead session with a ring is kept for a while; then it goes, so that files never pile up."""
    pid = os.fork()
    if pid == 0:
        session = Session(str(runtime_dir))
        session.lines[layout.RING_PAGES // 4] = 16
        os._exit(0)
    os.waitpid(pid, 0)
    assert producer.sweep(str(runtime_dir)) == 0
    assert producer.sweep(str(runtime_dir), older_than_s=-1.0) == 1
