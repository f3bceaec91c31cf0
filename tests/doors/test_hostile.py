"""The socket door and clients that mean harm: nobody else is harmed, and what they cost is bounded."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.doors.conftest import RawClient, Server
from userevents.abi import socket as wire
from userevents.buffer.stream import NOTE, pack_frame
from userevents.doors import Policy
from userevents.doors.socket import KEPT_MAX
from userevents.instance import StreamQueue
from userevents.tracefs import Tree

Connect = Callable[..., RawClient]
STRANGER, MEMBER, GROUP = 65533, 65532, 65530
HANDS = """
import os, random, socket, struct, sys
path, groups, uid = sys.argv[1], [int(word) for word in sys.argv[2].split()], int(sys.argv[3])
os.setgroups(groups); os.setgid(uid); os.setuid(uid)
HELLO, REQUEST = struct.Struct("<8sIi"), struct.Struct("<IIHH")
def connect(timeout=20):
    sock = socket.socket(socket.AF_UNIX); sock.settimeout(timeout); sock.connect(path); return sock
def greet(sock):
    try: sock.sendall(HELLO.pack(b"UEVTDOOR", 1, 0))
    except BrokenPipeError: pass
    return HELLO.unpack(sock.recv(16, socket.MSG_WAITALL))[2]
def ask(sock, op, body, tag=1):
    sock.sendall(REQUEST.pack(len(body), tag, op, 0) + body)
    size, _, result = struct.unpack("<IIi", sock.recv(12, socket.MSG_WAITALL))
    while size: size -= len(sock.recv(size))
    return result
"""
CONNECTS = (
    HANDS
    + """
kept, told = [], set()
for number in range(10000):
    sock = connect(); told.add(greet(sock)); kept.append(sock)
    if len(kept) > 300: kept.pop(0).close()
print(sorted(told))
"""
)
OPENS = (
    HANDS
    + """
sock = connect(); assert greet(sock) == 0
print(sum(ask(sock, 1, struct.pack("<I", 0) + b"README") >= 0 for _ in range(10000)))
"""
)
GARBAGE = (
    HANDS
    + """
for seed in range(300):
    random.seed(seed)
    sock = connect()
    try:
        greet(sock)
        size = random.choice([0, 1, 0xFFFFFFFF, 1 << 20, (1 << 20) + 1, random.randrange(200)])
        sock.sendall(REQUEST.pack(size, seed, random.randrange(12), random.randrange(65536)))
        sock.sendall(random.randbytes(random.randrange(5000)))
    except OSError: pass
    sock.close()
print("done")
"""
)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")


def hostile(server: Server, program: str, uid: int, *groups: int) -> "subprocess.Popen[str]":
    """Start a program as a user in these groups."""
    os.chmod(os.path.dirname(server.path), 0o711)
    os.chmod(server.path, 0o777)
    directory, name = os.path.split(server.path)
    command = [sys.executable, "-c", program, name, " ".join(map(str, groups)), str(uid)]
    return subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process: "subprocess.Popen[str]", polite: RawClient) -> str:
    """What it printed; until it ends the polite client is answered, each time within a second."""
    handle = polite.open("README")
    slowest = 0.0
    while process.poll() is None:
        began = time.monotonic()
        assert polite.ask(wire.OP_READ, wire.READ_ARGS.pack(handle, 4096, 0))[0] > 0
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.01)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert slowest < 1.0
    return out.strip()


@pytest.fixture
def guarded(server: Server) -> Server:
    """A server that lets a group look."""
    server.loop.call(server.door.close)
    os.unlink(server.path)
    server.tree = Tree(server.system, uid=0, gid=GROUP, mode=0o750)
    server.door = server.loop.call(lambda: server.open_door(Policy(0, GROUP, 0o750)))
    server.loop.turn = server.door.poke
    return server


@pytest.mark.parametrize(
    ("uid", "groups", "told"), [(STRANGER, (), [-errno.EACCES]), (MEMBER, (GROUP,), [-errno.EMFILE, 0])]
)
def test_ten_thousand_connections_of_one_user_leave_room_for_others(
    guarded: Server, connect: Connect, uid: int, groups: tuple[int, ...], told: list[int]
) -> None:
    """Who may not enter is turned away at once, who may has so many and no more; all the while others are served."""
    polite = connect()
    polite.hello()
    assert output(hostile(guarded, CONNECTS, uid, *groups), polite) == str(told)
    guarded.wait_for(lambda: guarded.door.clients == 1)


def test_ten_thousand_opens_are_refused_beyond_the_limit(guarded: Server, connect: Connect) -> None:
    """A connection holds as many files as it may, and its client alone meets the limit."""
    polite = connect()
    polite.hello()
    assert output(hostile(guarded, OPENS, MEMBER, GROUP), polite) == str(wire.MAX_HANDLES)


def test_garbage_of_another_user_ends_only_their_own_connections(guarded: Server, connect: Connect) -> None:
    """Huge sizes, unknown operations, noise in place of arguments: three hundred times, and nothing is left of it."""
    polite = connect()
    polite.hello()
    assert output(hostile(guarded, GARBAGE, MEMBER, GROUP), polite) == "done"
    guarded.wait_for(lambda: guarded.door.clients == 1)


def test_who_may_look_may_not_change_anything(guarded: Server, connect: Connect) -> None:
    """With mode 750 a member reads and lists; writing, making and removing instances is EACCES, as in a directory."""
    program = (
        HANDS
        + """
sock = connect(); assert greet(sock) == 0
print(ask(sock, 1, struct.pack("<I", 0) + b"trace") >= 0, ask(sock, 5, struct.pack("<I", 0) + b"events") >= 0,
      ask(sock, 1, struct.pack("<I", 1) + b"tracing_on"),
      ask(sock, 6, b"instances/mine"), ask(sock, 7, b"instances/its"))
"""
    )
    polite = connect()
    polite.hello()
    guarded.loop.call(lambda: guarded.system.create_instance("its"))
    refused = -errno.EACCES
    assert output(hostile(guarded, program, MEMBER, GROUP), polite) == f"True True {refused} {refused} {refused}"
    assert guarded.loop.call(lambda: sorted(guarded.system.instances)) == ["", "its"]


def test_connections_are_limited(server: Server, connect: Connect) -> None:
    """The one too many is told so, and the others go on; root has some to spare."""
    limit = wire.MAX_CLIENTS + (16 if os.geteuid() == 0 else 0)
    clients = [connect() for _ in range(limit)]
    for one in clients:
        one.hello()
    assert connect().hello()[2] == -errno.EMFILE
    assert clients[0].open("README") == 0
    clients[0].close()
    server.wait_for(lambda: server.door.clients < limit)
    again = connect()
    assert again.hello()[2] == 0


def test_who_says_no_hello_is_hung_up_on(server: Server, connect: Connect) -> None:
    """A silent or slow client loses its place after ten seconds, one that said hello may be silent for ever."""
    polite, silent, slow = connect(), connect(hello=b""), connect(hello=wire.HELLO.pack(wire.MAGIC, 1, 0)[:7])
    polite.hello()
    server.wait_for(lambda: server.door.clients == 3)
    server.time += 9
    assert polite.open("README") == 0
    assert server.clients() == 3
    server.time += 2
    assert polite.open("README") == 1
    assert (silent.is_closed(), slow.is_closed()) == (True, True)
    server.wait_for(lambda: server.door.clients == 1)


def push(stream: StreamQueue, frame: bytes) -> None:
    """Put a few frames into a stream."""
    for _ in range(8):
        stream.push(frame, None, 0)


def test_what_waits_for_clients_that_do_not_read_is_bounded(server: Server, connect: Connect) -> None:
    """Many that never read together make the door keep no more than its limit: who makes it keep most is hung up on."""
    polite = connect()
    polite.hello()
    file = polite.open("README")
    frame = pack_frame(NOTE, 0, bytes(1 << 19))
    for number in range(16):
        hog = connect()
        hog.hello()
        assert hog.ask(wire.OP_MKDIR, f"instances/hog{number}".encode())[0] == 0
        stream = server.system.instances[f"hog{number}"].stream
        server.loop.call(partial(push, stream, frame))
        handle = hog.open(f"instances/hog{number}/userevents/stream")
        for tag in range(8):
            hog.send(wire.OP_READ, wire.READ_ARGS.pack(handle, 1 << 20, wire.OWN_POSITION), tag=tag)
    server.wait_for(lambda: any("bytes wait" in line for line in server.log))
    assert server.loop.call(lambda: sum(one.kept_size for one in server.door._connections)) <= KEPT_MAX // 8
    assert polite.ask(wire.OP_READ, wire.READ_ARGS.pack(file, 100, 0))[0] > 0
