"""Programs that mean harm, or are broken: what they do is refused or theirs alone; a neighbour is served throughout."""

import errno
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PATIENCE
from tests.doors.servers import NOBODY, Mount, wait_for

NOISE: Final = """
import ctypes, os, random, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
chance = random.Random(int(sys.argv[2]))
fd = os.open(sys.argv[1], os.O_RDWR)
room = ctypes.create_string_buffer(65536)
inside = ctypes.addressof(room)
known = [0xC0082A00, 0x40082A01, 0x40082A02]
text = ctypes.create_string_buffer(b"noise __rel_loc char[] text")
good = struct.pack("<IBBHQQI", 28, 1, 4, 0, inside, ctypes.addressof(text), 0)
libc.ioctl(fd, ctypes.c_ulong(known[0]), good)
with open(os.path.dirname(sys.argv[1]) + "/events/user_events/noise/enable", "w") as enable:
    enable.write("1")
for _ in range(1500):
    room[:64] = chance.randbytes(64)
    if chance.random() < 0.5:
        size = 28 if chance.random() < 0.7 else chance.choice([0, 27, 29, 4096, 4097, 1 << 31])
        room[:4] = size.to_bytes(4, "little")
    if chance.random() < 0.5:
        room[16:24] = chance.choice([inside, inside + 65535, 0, 1 << 47, (1 << 64) - 1]).to_bytes(8, "little")
    if chance.random() < 0.5:
        room[8:16] = (inside + 8 * chance.randrange(64)).to_bytes(8, "little")
    command = chance.choice(known) if chance.random() < 0.8 else chance.getrandbits(32)
    places = [inside, inside, inside, inside + 65530, 0, 8, 1 << 47, (1 << 64) - 8, chance.getrandbits(64)]
    where = chance.choice(places)
    libc.ioctl(fd, ctypes.c_ulong(command), ctypes.c_void_p(where))
    try:
        os.write(fd, chance.randbytes(chance.choice([0, 1, 4, 8, 100, 5000])))
    except OSError:
        pass
    if chance.random() < 0.1:
        libc.ioctl(fd, ctypes.c_ulong(known[0]), good)
        room[64:68] = bytes(4)
        sizes = [4] + [chance.choice([1, 1, 1, 1, 1, 9, 1 << chance.randrange(63)])] * chance.choice([2, 300, 1023])
        bad = chance.randrange(2 * len(sizes))
        vectors = [(places[-1] if number == bad else inside + 64, size) for number, size in enumerate(sizes)]
        libc.writev(fd, b"".join(struct.pack("<QQ", *vector) for vector in vectors), len(vectors))
print("done")
"""
"""A program that makes 1,500 calls of noise, most of it nearly right."""
OPENS: Final = """
import os, sys
fds = [os.open(sys.argv[1], os.O_WRONLY) for _ in range(10000)]
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def neighbour(mounted: Mount, native: Callable[..., str]) -> Iterator[Callable[[], None]]:
    """Somebody who writes a hundred events a second; call it to see that he still does, and that nothing has failed."""
    (mounted.place / "user_events_data").chmod(0o666)
    data = mounted.place / "user_events_data"
    ticker = subprocess.Popen([native("ticker"), data, "neighbour"], stdout=subprocess.DEVNULL)
    wait_for((mounted.place / "events/user_events/neighbour").is_dir)
    mounted.write("events/user_events/neighbour/enable", "1")

    def is_served() -> None:
        mounted.write("trace", "")
        began = time.monotonic()
        wait_for(lambda: mounted.read("trace").count(" neighbour: ") >= 5)
        assert time.monotonic() - began < 2 * PATIENCE
        assert ticker.poll() is None

    yield is_served
    ticker.kill()
    ticker.communicate()
    if mounted.process.poll() is None:
        assert "please report" not in mounted.stop()


def finish(command: list[str | Path], user: int | None = None) -> str:
    """Run a program to its end; what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False, user=user, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_noise_is_refused(mounted: Mount, neighbour: Callable[[], None]) -> None:
    """Ioctls and writes of any number, pointer, size and content, in any number of vectors."""
    for _ in range(2):
        seed = str(random.randrange(1 << 32))
        assert finish([sys.executable, "-c", NOISE, mounted.place / "user_events_data", seed]) == "done\n", seed
    neighbour()


def test_memory_that_comes_and_goes_fails_calls_and_nothing_else(
    mounted: Mount, neighbour: Callable[[], None], native: Callable[..., str]
) -> None:
    """What a call needs is there or it is not: the errors are those of the contract."""
    told = finish([native("vanish"), mounted.place / "user_events_data", "1500"])
    assert set(told.split()) <= {"0", "EFAULT", "ENOMEM", "ENOENT", "EADDRINUSE", "EINVAL"}, told
    neighbour()


def test_ten_thousand_open_files_are_let_go_of(mounted: Mount, neighbour: Callable[[], None]) -> None:
    """They cost nobody else anything, and go with a murdered process: its instance can be removed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 10100:
        pytest.skip(f"a process may have only {hard} files open here")
    place = mounted.place / "instances" / "many"
    place.mkdir()
    resource.setrlimit(resource.RLIMIT_NOFILE, (10100, hard))
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", OPENS, place / "tracing_on"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert process.stdout is not None
    assert process.stdout.readline() == b"open\n"
    neighbour()
    with pytest.raises(OSError, match="busy"):
        place.rmdir()
    process.kill()
    process.communicate()

    def removed() -> bool:
        try:
            place.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    wait_for(removed)
    neighbour()


def test_a_reader_that_never_reads_stops_nobody(
    mounted: Mount, neighbour: Callable[[], None], native: Callable[..., str]
) -> None:
    """Its answer waits in the kernel, and its ring is overwritten."""
    place = mounted.place / "instances" / "lazy"
    place.mkdir()
    (place / "events/user_events/neighbour/enable").write_text("1")
    reader = subprocess.Popen([native("victim"), place, "read"], stdout=subprocess.PIPE)
    assert reader.stdout is not None
    assert reader.stdout.readline() == b"begins: 0\n"
    reader.send_signal(signal.SIGSTOP)
    neighbour()
    reader.kill()
    reader.communicate()
    (place / "events/user_events/neighbour/enable").write_text("0")


@pytest.fixture
def trap(fuse: None) -> Iterator["Trap"]:
    """A file whose bytes never come, until it is closed."""
    directory = Path(tempfile.mkdtemp(prefix="userevents-trap-"))
    directory.chmod(0o755)
    made = Trap(directory)
    yield made
    made.close()
    directory.rmdir()


class Trap:
    """A file system with one file."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "file"
        command = [sys.executable, "-P", str(Path(__file__).with_name("trap.py")), str(directory)]
        self._server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"mounted\n"

    def close(self) -> None:
        """Whoever waits for its bytes has an error."""
        self._server.communicate()


def test_memory_that_is_never_there_keeps_its_owner_and_nobody_else(
    mounted: Mount, neighbour: Callable[[], None], native: Callable[..., str], trap: Trap
) -> None:
    """Another user's call fails in time, and his next ones at once; whoever has not done that is served on.

    The owner himself may wait in his own memory, which the kernel has locked for as long as somebody waits for it.
    """
    client = subprocess.Popen(
        [native("hostile"), mounted.place / "user_events_data", trap.file],
        user=NOBODY,
        group=NOBODY,
        cwd="/",
        stdout=subprocess.PIPE,
        text=True,
    )
    began = time.monotonic()
    wait_for((mounted.place / "events/user_events/hostile").is_dir)
    assert time.monotonic() - began < 2 * PATIENCE
    neighbour()
    trap.close()
    assert client.communicate(timeout=20)[0].splitlines() == ["word: ENOMEM", "name: EFAULT", "good: EFAULT"]
    neighbour()
    assert "(user 65534) did not answer within 0.2 s" in mounted.stop()
