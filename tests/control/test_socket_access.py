"""The client's end of the socket: answers, refusals, waits, and every way a tracer can fail to be there."""

import errno
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doors.conftest import Server
from userevents.abi import socket as wire
from userevents.abi.tracefs import O_NONBLOCK
from userevents.buffer.stream import NOTE, pack_frame
from userevents.control import SocketAccess, read_file, write_file
from userevents.errors import NoTracer, Refused


def test_files_are_read_and_written_through_the_socket(server: Server, access: SocketAccess) -> None:
    """Whole files, however many reads and writes they take."""
    server.loop.call(lambda: [server.world.register(f"e{number}", bit=number) for number in range(20)])
    write_file(access, "set_event", b"e3\ne5\n e7")
    assert read_file(access, "set_event") == b"user_events:e7\nuser_events:e5\nuser_events:e3\n"
    assert len(access.listdir("events/user_events")) == 22


def test_a_listing_may_be_larger_than_one_answer(server: Server, access: SocketAccess) -> None:
    """Thousands of long names arrive complete."""
    names = [f"{'n' * 200}{number}" for number in range(4000)]
    server.loop.call(lambda: [server.world.register(name, addr=8 * at) for at, name in enumerate(names)])
    assert access.listdir("events/user_events") == ["enable", "filter", *names]


def test_names_are_kernel_text(server: Server, access: SocketAccess) -> None:
    """One character a byte, both ways."""
    name = "größe".encode().decode("latin-1")
    server.loop.call(lambda: server.world.register(name))
    assert access.listdir("events/user_events") == ["enable", "filter", name]
    assert read_file(access, f"events/user_events/{name}/enable") == b"0\n"


def test_what_the_tree_refuses_is_refused_here(access: SocketAccess) -> None:
    """With its errno and its words."""
    with pytest.raises(Refused, match="'events/nope' does not exist") as refusal:
        access.open("events/nope")
    assert refusal.value.errno == errno.ENOENT
    with pytest.raises(Refused, match="EPERM"):
        access.mkdir("events/mine")
    with pytest.raises(Refused, match="ENOENT"):
        access.rmdir("instances/nope")


def test_a_read_that_times_out_goes_on_with_the_next_one(server: Server, access: SocketAccess) -> None:
    """Nothing that arrives in between is lost, and other calls work meanwhile."""
    stream = access.open("userevents/stream")
    assert stream.read(timeout=0.01) is None
    frame = pack_frame(NOTE, 0, b"{}")
    server.loop.call(lambda: server.system.instances[""].stream.push(frame, None, 0))
    assert read_file(access, "user_events_status") == b"\nActive: 0\nBusy: 0\n"
    assert stream.read(timeout=5) == frame
    assert stream.read(timeout=0) is None
    server.loop.call(lambda: server.system.instances[""].stream.finish())
    assert stream.read() == b""


def test_a_frame_longer_than_a_read_arrives_whole(server: Server, access: SocketAccess) -> None:
    """A ledger of thousands of events is one frame."""
    frame = pack_frame(NOTE, 0, os.urandom(3 << 20))
    server.loop.call(lambda: server.system.instances[""].stream.push(frame, None, 0))
    assert access.open("userevents/stream").read(4096, timeout=5) == frame


def test_closing_a_file_with_a_read_under_way_leaves_the_connection_usable(
    server: Server, access: SocketAccess
) -> None:
    """The late answer is thrown away."""
    stream = access.open("userevents/stream")
    assert stream.read(timeout=0) is None
    stream.close()
    again = access.open("userevents/stream", O_NONBLOCK)
    with pytest.raises(Refused, match="EAGAIN"):
        again.read()
    assert access.listdir("instances") == []


def test_a_write_of_more_than_a_request_is_cut_and_continued(access: SocketAccess) -> None:
    """The tree decides how much it takes of each piece."""
    handle = access.open("set_event", os.O_WRONLY)
    with pytest.raises(Refused, match="at most 127"):
        handle.write(b"x" * (3 << 20))
    assert handle.write(b" " * (3 << 20)) == wire.MAX_REQUEST_SIZE - 4


def test_nobody_listening_is_no_tracer(tmp_path: Path) -> None:
    """No socket, no directory, or a socket that a killed tracer left behind."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "left.sock"))
    left.close()
    for path in ("left.sock", "none.sock", "nowhere/tracer.sock"):
        with pytest.raises(NoTracer, match=path):
            SocketAccess(str(tmp_path / path))


def test_a_path_longer_than_a_socket_address_is_reached(tmp_path: Path) -> None:
    """Test directories and containers have deep paths; sun_path holds 107 bytes."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    server = _short_server(tmp_path, deep)
    try:
        access = SocketAccess(str(deep / "tracer.sock"))
        assert access.listdir("instances") == []
        access.close()
    finally:
        server.stop()


def _short_server(tmp_path: Path, deep: Path) -> Server:
    """A server whose socket lies in `deep`, bound by a short name."""
    here = os.getcwd()
    os.chdir(deep)
    try:
        server = Server(Path("tracer.sock"))
    finally:
        os.chdir(here)
    return server


def test_a_tracer_that_goes_away_is_no_tracer(server: Server, access: SocketAccess) -> None:
    """In the middle of a wait, and at the next call; closing what was open does not fail."""
    stream = access.open("userevents/stream")
    assert stream.read(timeout=0) is None
    server.loop.call(server.door.close)
    with pytest.raises(NoTracer, match="went away"):
        stream.read(timeout=5)
    with pytest.raises(NoTracer):
        access.listdir("")
    stream.close()


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Callable[[bytes], str]]:
    """Listens, says the given bytes to whoever comes, and hangs up once they hang up."""
    threads: list[threading.Thread] = []
    listener = socket.socket(socket.AF_UNIX)
    path = str(tmp_path / "impostor.sock")
    listener.bind(path)
    listener.listen()

    def start(says: bytes) -> str:
        def run() -> None:
            client, _ = listener.accept()
            client.settimeout(10)
            client.sendall(says)
            client.shutdown(socket.SHUT_WR)
            try:
                while client.recv(4096):
                    pass
            except OSError:
                pass
            client.close()

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return path

    yield start
    for thread in threads:
        thread.join(10)
    listener.close()


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (b"", "does not speak"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian", "does not speak"),
        (wire.HELLO.pack(wire.MAGIC, 2, -errno.EPROTONOSUPPORT), "speaks version 2 .* this program version 1"),
        (wire.HELLO.pack(wire.MAGIC, 1, 0) + b"\xff" * 12, "answer of 4294967295 bytes"),
        (wire.HELLO.pack(wire.MAGIC, 1, 0) + b"\x01", "went away"),
    ],
)
def test_what_is_no_tracer_is_said_to_be_none(impostor: Callable[[bytes], str], says: bytes, message: str) -> None:
    """Another service, another version, nonsense: a clear message, never a hang."""
    path = impostor(says)
    with pytest.raises(NoTracer, match=message):
        SocketAccess(path, timeout=5).listdir("")


def test_a_tracer_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    """After the access's timeout, with a message that says how long it waited."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "mute.sock"))
    listener.listen()
    began = time.monotonic()
    with pytest.raises(NoTracer, match=r"mute\.sock"):
        SocketAccess(str(tmp_path / "mute.sock"), timeout=0.05)
    assert time.monotonic() - began < 5
    listener.close()


def test_a_tracer_of_another_user_refuses(impostor: Callable[[bytes], str]) -> None:
    """EACCES with the reason: it is there, but not for us."""
    path = impostor(wire.HELLO.pack(wire.MAGIC, 1, -errno.EACCES))
    with pytest.raises(Refused, match="does not serve uid") as refusal:
        SocketAccess(path, timeout=5)
    assert refusal.value.errno == errno.EACCES
