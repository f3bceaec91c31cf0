"""The socket door: the tree's calls over the wire, and nothing a client does hurting anybody else."""

import errno
import os
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.doors.conftest import RawClient, Server
from userevents.abi import socket as wire
from userevents.abi.tracefs import O_NONBLOCK, O_WRONLY
from userevents.buffer.stream import NOTE, pack_frame

Connect = Callable[..., RawClient]


def read(handle: int, size: int = 4096, offset: int = wire.OWN_POSITION) -> bytes:
    """Arguments of a read."""
    return wire.READ_ARGS.pack(handle, size, offset)


def test_a_file_is_opened_read_and_closed(server: Server, client: RawClient) -> None:
    """Handles are small numbers, and a closed one is EBADF."""
    server.loop.call(lambda: server.world.register("tick u32 a"))
    handle = client.open("user_events_status")
    assert handle == 0
    assert client.ask(wire.OP_READ, read(handle, 5)) == (5, b"tick\n")
    assert client.ask(wire.OP_READ, read(handle)) == (19, b"\nActive: 1\nBusy: 0\n")
    assert client.ask(wire.OP_READ, read(handle)) == (0, b"")
    assert client.ask(wire.OP_READ, read(handle, 4, 0)) == (4, b"tick")
    assert client.ask(wire.OP_CLOSE, struct.pack("<I", handle)) == (0, b"")
    assert client.ask(wire.OP_CLOSE, struct.pack("<I", handle))[0] == -errno.EBADF
    assert client.open("README") == 0


def test_a_write_reaches_the_tree(server: Server, client: RawClient) -> None:
    """And says how much was taken."""
    server.loop.call(lambda: server.world.register("tick u32 a"))
    handle = client.open("set_event", O_WRONLY)
    assert client.ask(wire.OP_WRITE, struct.pack("<I", handle) + b"tick\ntock") == (5, b"")
    assert server.loop.call(lambda: server.world.memory.words[0x1000]) == 1


def test_a_refusal_carries_errno_and_reason(client: RawClient) -> None:
    """The words that the tree found for it."""
    result, reason = client.ask(wire.OP_OPEN, struct.pack("<I", 0) + b"events/nope")
    assert (result, reason) == (-errno.ENOENT, b"'events/nope' does not exist")


def test_directories_are_listed_in_pieces_and_looked_at(server: Server, client: RawClient) -> None:
    """Names end with a NUL; the rest is asked for by how many one has."""

    def declare() -> None:
        for number in range(3000):
            server.world.register(f"{'n' * 100}{number}", addr=8 * number)

    server.loop.call(declare)
    names: list[bytes] = []
    while True:
        body = struct.pack("<I", len(names)) + b"events/user_events"
        result, listing = client.ask(wire.OP_LISTDIR, body)
        assert result == 0
        assert len(listing) <= wire.MAX_LISTING_SIZE + 512
        if not listing:
            break
        assert listing.endswith(b"\0")
        names += listing[:-1].split(b"\0")
    assert len(names) == len(set(names)) == 3002
    assert client.ask(wire.OP_STAT, b"events") == (0, struct.pack("<IQ", 0o40755, 0))


def test_several_requests_may_be_under_way(server: Server, client: RawClient) -> None:
    """A read that waits holds up nothing; answers carry the tag of their request."""
    handle = client.open("userevents/stream")
    client.send(wire.OP_READ, read(handle), tag=7)
    client.send(wire.OP_STAT, b"README", tag=8)
    assert client.answer()[:2] == (8, 0)
    frame = pack_frame(NOTE, 0, b"{}")
    server.loop.call(lambda: server.system.instances[""].stream.push(frame, None, 0))
    assert client.answer() == (7, len(frame), frame)


def test_a_read_that_may_not_wait_is_eagain(client: RawClient) -> None:
    """O_NONBLOCK at the opening decides."""
    handle = client.open("userevents/stream", O_NONBLOCK)
    assert client.ask(wire.OP_READ, read(handle))[0] == -errno.EAGAIN


def test_closing_a_file_ends_the_reads_that_wait_on_it(client: RawClient) -> None:
    """They are answered with EBADF."""
    handle = client.open("userevents/stream")
    client.send(wire.OP_READ, read(handle), tag=7)
    client.send(wire.OP_CLOSE, struct.pack("<I", handle), tag=8)
    assert {client.answer()[:2] for _ in range(2)} == {(7, -errno.EBADF), (8, 0)}


def test_a_finished_stream_ends_the_read_that_waits(server: Server, client: RawClient) -> None:
    """With nothing: the end."""
    handle = client.open("userevents/stream")
    client.send(wire.OP_READ, read(handle), tag=7)
    server.loop.call(lambda: server.system.instances[""].stream.finish())
    assert client.answer() == (7, 0, b"")


def test_what_a_client_had_open_is_closed_when_it_goes(server: Server, connect: Connect, client: RawClient) -> None:
    """Its stream has no reader then, and what it had read and not acknowledged is read again."""
    frame = pack_frame(NOTE, 0, b"{}")
    server.loop.call(lambda: server.system.instances[""].stream.push(frame, None, 0))
    assert client.ask(wire.OP_READ, read(client.open("userevents/stream"))) == (len(frame), frame)
    other = connect()
    other.hello()
    assert other.open("userevents/stream") == -errno.EBUSY
    client.close()
    server.wait_for(lambda: server.door.clients == 1)
    assert other.ask(wire.OP_READ, read(other.open("userevents/stream"))) == (len(frame), frame)


def test_an_instance_goes_with_the_connection_that_made_it(server: Server, client: RawClient) -> None:
    """Unless it was asked to be kept."""
    assert client.ask(wire.OP_MKDIR, b"instances/mine") == (0, b"")
    assert client.ask(wire.OP_MKDIR, b"instances/kept", flags=wire.MKDIR_KEEP) == (0, b"")
    assert client.open("instances/mine/set_event") == 0
    client.close()
    server.wait_for(lambda: server.door.clients == 0)
    assert server.loop.call(lambda: server.tree.listdir("instances")) == ["kept"]


def test_an_orphaned_instance_that_is_in_use_goes_when_it_is_closed(
    server: Server, connect: Connect, client: RawClient
) -> None:
    """Somebody else may be reading it."""
    client.ask(wire.OP_MKDIR, b"instances/mine")
    other = connect()
    other.hello()
    handle = other.open("instances/mine/set_event")
    client.close()
    server.wait_for(lambda: server.door.clients == 1)
    assert server.loop.call(lambda: server.tree.listdir("instances")) == ["mine"]
    other.ask(wire.OP_CLOSE, struct.pack("<I", handle))
    server.wait_for(lambda: server.tree.listdir("instances") == [])


def test_an_instance_made_anew_by_somebody_else_is_theirs(server: Server, connect: Connect, client: RawClient) -> None:
    """The first owner's end must not take the second one's instance of the same name."""
    client.ask(wire.OP_MKDIR, b"instances/night")
    other = connect()
    other.hello()
    assert other.ask(wire.OP_RMDIR, b"instances/night") == (0, b"")
    assert other.ask(wire.OP_MKDIR, b"instances/night") == (0, b"")
    client.close()
    server.wait_for(lambda: server.door.clients == 1)
    assert server.loop.call(lambda: server.tree.listdir("instances")) == ["night"]
    other.close()
    server.wait_for(lambda: server.tree.listdir("instances") == [])


def test_a_killed_client_leaves_nothing_behind(server: Server) -> None:
    """SIGKILL of a real process that has an instance, files and a waiting read."""
    program = """
import sys, time
from userevents.control import SocketAccess, Tracer
tracer = Tracer(SocketAccess(sys.argv[1]))
instance = tracer.create_instance("doomed")
instance.set_patterns(["*"])
stream = instance.stream()
stream.read(timeout=0.01)
print("ready", flush=True)
time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, server.path],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        server.loop.call(lambda: server.world.register("tick"))
        assert server.loop.call(lambda: server.world.event("tick").status) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    server.wait_for(lambda: server.tree.listdir("instances") == [])
    assert server.loop.call(lambda: server.world.event("tick").status) == 0
    assert server.clients() == 0


BAD_HELLOS = {
    "noise": b"\xff" * 16,
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "almost": b"UEVTDOOS" + bytes(8),
}


@pytest.mark.parametrize("hello", BAD_HELLOS.values(), ids=BAD_HELLOS)
def test_a_client_that_speaks_something_else_is_hung_up_on(server: Server, connect: Connect, hello: bytes) -> None:
    """Without a word."""
    stranger = connect(hello)
    assert stranger.is_closed()
    server.wait_for(lambda: server.door.clients == 0)


def test_a_client_of_another_version_is_told_which_one_is_spoken(connect: Connect) -> None:
    """So that its message can name both."""
    future = connect(wire.HELLO.pack(wire.MAGIC, 9, 0))
    assert future.hello() == (wire.MAGIC, wire.VERSION, -errno.EPROTONOSUPPORT)
    assert future.is_closed()


BAD_REQUESTS = {
    "too long": wire.REQUEST.pack(wire.MAX_REQUEST_SIZE + 1, 1, wire.OP_STAT, 0),
    "no such operation": wire.REQUEST.pack(0, 1, 99, 0),
    "no arguments": wire.REQUEST.pack(0, 1, wire.OP_OPEN, 0),
    "short arguments": wire.REQUEST.pack(3, 1, wire.OP_READ, 0) + b"abc",
    "long arguments": wire.REQUEST.pack(20, 1, wire.OP_READ, 0) + bytes(20),
}


@pytest.mark.parametrize("request_bytes", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_malformed_request_ends_its_connection_and_no_other(
    server: Server, connect: Connect, client: RawClient, request_bytes: bytes
) -> None:
    """The next client is served as if nothing had been."""
    client.sock.sendall(request_bytes)
    assert client.is_closed()
    other = connect()
    other.hello()
    assert other.open("README") == 0
    assert any("closing a connection" in line for line in server.log)


def test_a_tag_of_a_waiting_read_cannot_be_used_again(client: RawClient) -> None:
    """Its answer could not be told from the other one."""
    handle = client.open("userevents/stream")
    client.send(wire.OP_READ, read(handle), tag=7)
    client.send(wire.OP_STAT, b"README", tag=7)
    assert client.is_closed()


def test_random_bytes_after_a_good_hello_hurt_nobody(server: Server, connect: Connect) -> None:
    """Noise, and requests cut and altered at random; afterwards the door serves as before."""
    chance = random.Random(7)
    good = wire.REQUEST.pack(10, 1, wire.OP_OPEN, 0) + struct.pack("<I", 2) + b"README"
    for _ in range(60):
        stranger = connect()
        stranger.hello()
        data = bytearray(good * 3)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            stranger.sock.sendall(data[: chance.randrange(len(data))] + chance.randbytes(chance.randrange(64)))
        except OSError:
            pass
        stranger.close()
    server.wait_for(lambda: server.door.clients == 0)
    last = connect()
    last.hello()
    assert last.open("README") == 0


def test_a_frame_may_come_a_byte_at_a_time(client: RawClient) -> None:
    """Streams have no message boundaries."""
    for byte in wire.REQUEST.pack(6, 5, wire.OP_STAT, 0) + b"README":
        client.sock.sendall(bytes([byte]))
    assert client.answer()[:2] == (5, 0)


def test_a_client_that_never_reads_is_bounded_and_ended(server: Server, connect: Connect, client: RawClient) -> None:
    """It asks for much and takes nothing: its requests wait, then it is hung up on; others are served meanwhile."""

    def fill() -> None:
        stream = server.system.instances[""].stream
        frame = pack_frame(NOTE, 0, bytes(1 << 19))
        for _ in range(40):
            stream.push(frame, None, 0)

    server.loop.call(fill)
    handle = client.open("userevents/stream")
    client.sock.settimeout(5)
    flood = b"".join(wire.REQUEST.pack(16, tag, wire.OP_READ, 0) + read(handle, 1 << 20) for tag in range(200_000))
    with pytest.raises(ConnectionError):
        client.sock.sendall(flood)
    other = connect()
    other.hello()
    assert other.open("README") == 0
    server.wait_for(lambda: server.door.clients == 1)
    assert any("does not read its answers" in line for line in server.log)


def test_a_slow_reader_gets_everything(server: Server, client: RawClient) -> None:
    """More than the socket holds: the rest follows as it reads."""
    frame = pack_frame(NOTE, 0, os.urandom(1 << 19))

    def fill() -> None:
        for _ in range(16):
            server.system.instances[""].stream.push(frame, None, 0)

    server.loop.call(fill)
    handle = client.open("userevents/stream")
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for tag in range(16):
        client.send(wire.OP_READ, read(handle, 1), tag=tag)
    assert server.loop.call(lambda: server.system.instances[""].stream.size) > 0
    for tag in range(16):
        assert client.answer() == (tag, len(frame), frame)


def test_handles_and_waiting_reads_are_limited(client: RawClient) -> None:
    """EMFILE beyond that, and the connection goes on."""
    for number in range(wire.MAX_HANDLES):
        assert client.open("README") == number
    assert client.open("README") == -errno.EMFILE
    client.ask(wire.OP_CLOSE, struct.pack("<I", 3))
    stream = client.open("userevents/stream")
    assert stream == 3
    for tag in range(100, 100 + wire.MAX_PARKED_READS):
        client.send(wire.OP_READ, read(stream), tag=tag)
    assert client.ask(wire.OP_READ, read(stream), tag=99)[0] == -errno.EMFILE


def test_a_client_is_turned_away_when_no_descriptor_is_left_for_it(server: Server, connect: Connect) -> None:
    """It is told so at once: one left waiting would keep the tracer's loop from ever sleeping again."""
    waiting = socket.socket(socket.AF_UNIX)
    waiting.settimeout(10)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        waiting.connect(server.path)
        hello = waiting.recv(wire.HELLO.size)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        waiting.close()
    assert wire.HELLO.unpack(hello) == (wire.MAGIC, wire.VERSION, -errno.EMFILE)
    assert connect().hello()[2] == 0
    assert any("cannot be served: Too many open files" in line for line in server.log)


def test_another_user_is_turned_away(server: Server) -> None:
    """Only root and the tracer's own user are served; the peer's credentials come from the kernel."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root")
    directory, name = os.path.split(server.path)
    os.chmod(directory, 0o711)
    os.chmod(server.path, 0o777)
    program = f"""
import os, socket
os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX); sock.connect({name!r})
print(sock.recv(16).hex())
"""
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, capture_output=True, check=True, cwd=directory).stdout
    assert wire.HELLO.unpack(bytes.fromhex(said.decode())) == (wire.MAGIC, wire.VERSION, -errno.EACCES)
    assert server.clients() == 0


def test_closing_the_door_ends_every_connection(server: Server, client: RawClient) -> None:
    """Clients see the end of the stream, and nobody can connect any more."""
    client.open("README")
    server.loop.call(server.door.close)
    assert client.is_closed()
    with pytest.raises(ConnectionRefusedError):
        RawClient(server.path)
