"""What the FUSE door costs: a write and a registration beside a server that only answers, and one enable of many.

Both servers are mounted and asked in turn, so that what slows the machine slows both. The one that only answers is
pure Python, ours has its C extensions unless USEREVENTS_NATIVE=0 asks for none. Servers and clients share one CPU: to
wake an idle one takes a virtual machine 60 us, more than any of the calls, and whether it happens is the scheduler's
to choose. The two writers are measured on all CPUs, too. Prints ratios of the medians; needs root, /dev/fuse and gcc.
One case enables an event that 1,000 processes have registered, beside 1,000 bare ``process_vm_writev`` to the same
processes; one compiles a C file within `userevents run` and without.
"""

import contextlib
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from userevents.host import remote
from userevents.host.remote import RemoteMemory

ROUNDS = 11
CALLS = {"write": 3000, "reg": 300}
GOALS = {"write": 1.5, "reg": 1.5, "enable": 2.0, "compile": 1.05}
COMPILES = 40
WRITES_PER_S = 100_000
PROCESSES = 1000
ROOT = Path(__file__).resolve().parent.parent
WORKERS = ROOT / "bench" / "workers"
SERVERS = {"floor": WORKERS / "fuse_floor.py", "ours": ROOT / "tools" / "fuse_server.py"}


class Client:
    """A native client of a mounted file."""

    def __init__(self, program: str, mounted: Path) -> None:
        self._process = subprocess.Popen(
            [program, mounted / "user_events_data"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def begin(self, verb: str, calls: int) -> None:
        """Have it make calls."""
        assert self._process.stdin is not None
        print(verb, calls, file=self._process.stdin, flush=True)

    def end(self) -> tuple[int, int, int]:
        """Fastest and median call in ns, all in us."""
        assert self._process.stdout is not None
        fastest, median, all_us = (int(word) for word in self._process.stdout.readline().split())
        return fastest, median, all_us

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@contextlib.contextmanager
def served(script: Path) -> Iterator[Path]:
    """A server's mount."""
    with tempfile.TemporaryDirectory(prefix="userevents-bench-") as directory:
        command = [sys.executable, "-P", str(script), directory]
        environment = os.environ | ({"USEREVENTS_NATIVE": "0"} if script == SERVERS["floor"] else {})
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            if not server.stdout.readline():
                sys.exit("nothing could be mounted: that needs root and /dev/fuse")
            try:
                yield Path(directory)
            finally:
                server.stdin.close()


def latency(program: str, mounts: dict[str, Path]) -> None:
    """Print how many times the floor's a write and a registration take."""
    clients = {name: Client(program, mounted) for name, mounted in mounts.items()}
    enable(mounts["ours"], 1)
    for verb, calls in CALLS.items():
        medians: dict[str, list[int]] = {name: [] for name in clients}
        for _ in range(ROUNDS):
            for name, client in clients.items():
                client.begin(verb, calls)
                medians[name].append(client.end()[1])
        ratios = [ours / floor for ours, floor in zip(medians["ours"], medians["floor"], strict=True)]
        best = {name: min(times) / 1000 for name, times in medians.items()}
        print(
            f"{verb:8} {statistics.median(ratios):.2f} x the floor's ({min(ratios):.2f} to {max(ratios):.2f}),"
            f" goal {GOALS[verb]}; {best['ours']:.1f} us and {best['floor']:.1f} us"
        )
    for client in clients.values():
        client.close()


def throughput(program: str, mounts: dict[str, Path], where: str) -> None:
    """Print how many writes a second two writers make together."""
    pairs = {name: [Client(program, mounted) for _ in range(2)] for name, mounted in mounts.items()}
    enable(mounts["ours"], 1)
    rates: dict[str, list[float]] = {name: [] for name in mounts}
    for _ in range(ROUNDS):
        for name, writers in pairs.items():
            for writer in writers:
                writer.begin("write", 10_000)
            rates[name].append(sum(10_000 / writer.end()[2] * 1e6 for writer in writers))
    ratios = [ours / floor for ours, floor in zip(rates["ours"], rates["floor"], strict=True)]
    best = {name: max(found) for name, found in rates.items()}
    median = statistics.median(rates["ours"])
    print(
        f"two writers, {where}: {best['ours']:,.0f} writes/s, median {median:,.0f}, goal {WRITES_PER_S:,}; the floor"
        f" {best['floor']:,.0f}; {statistics.median(ratios):.2f} of it ({min(ratios):.2f} to {max(ratios):.2f})"
    )
    for writer in itertools.chain.from_iterable(pairs.values()):
        writer.close()


def enable(mounted: Path, value: int) -> float:
    """Switch the event; returns the seconds it took."""
    path = mounted / "events/user_events/bench/enable"
    began = time.perf_counter()
    path.write_text(str(value), encoding="ascii")
    return time.perf_counter() - began


def enable_many(mounted: Path) -> None:
    """Print how many times as long as bare writes the enabling of an event takes that many processes registered."""
    pipe, end = os.pipe()
    code = (
        "import ctypes, fcntl, os, struct, sys\n"
        f"for _ in range({PROCESSES}):\n"
        " if not os.fork():\n"
        "  fd = os.open(sys.argv[1], os.O_RDWR)\n"
        "  word = ctypes.c_uint64()\n"
        "  name = ctypes.create_string_buffer(b'bench u32 a; u32 b')\n"
        "  at = ctypes.addressof(word)\n"
        "  call = bytearray(struct.pack('<IBBHQQI', 28, 0, 4, 0, at, ctypes.addressof(name), 0))\n"
        "  fcntl.ioctl(fd, 0xC0082A00, call)\n"
        f"  os.write({end}, struct.pack('<QQ', os.getpid(), at))\n"
        "  os.read(0, 1); os._exit(0)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, mounted / "user_events_data"], stdin=subprocess.PIPE, pass_fds=[end]
    )
    told = b""
    while len(told) < 16 * PROCESSES:
        told += os.read(pipe, 65536)
    words = [
        (int.from_bytes(told[at : at + 8], "little"), int.from_bytes(told[at + 8 : at + 16], "little"))
        for at in range(0, len(told), 16)
    ]
    remote.native = None  # bare writes are made in pure Python, as the floor's answers are
    memories = [(RemoteMemory(pid), address + 4) for pid, address in words]
    enable(mounted, 0)
    ratios, best = [], 9.9
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for memory, address in memories:
            memory.write(address, b"\0")
        bare = time.perf_counter() - began
        ours = enable(mounted, 1)
        enable(mounted, 0)
        ratios.append(ours / bare)
        best = min(best, ours)
    print(
        f"enable of {len(words)}: {statistics.median(ratios):.2f} x bare writes"
        f" ({min(ratios):.2f} to {max(ratios):.2f}), goal {GOALS['enable']}; {best * 1000:.1f} ms"
    )
    parent.communicate(b"")


def compile_in_turn() -> None:
    """Print how many times as long a compiler takes within `userevents run`, where its calls meet our mounts."""
    runs: dict[str, list[str]] = {
        "plain": [],
        "within": [sys.executable, "-P", "-m", "userevents", "run", "--door", "fuse", "-q", "--"],
    }
    times: dict[str, list[tuple[int, ...]]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        worker = [sys.executable, str(WORKERS / "compile.py"), directory]
        workers = {name: stack.enter_context(_piped([*run, *worker])) for name, run in runs.items()}
        for turn in range(COMPILES + 1):
            for name, process in workers.items():
                assert process.stdin is not None
                assert process.stdout is not None
                if turn:
                    print(file=process.stdin, flush=True)
                told = process.stdout.readline()
                if turn:
                    times[name].append(tuple(int(word) for word in told.split()))
        for process in workers.values():
            process.communicate()
    for what, within, plain in zip(
        ("time", "CPU"), zip(*times["within"], strict=True), zip(*times["plain"], strict=True), strict=True
    ):
        median = statistics.median(within) / statistics.median(plain)
        best = min(within) / min(plain)
        print(f"compile  {median:.3f} x the {what} without a door, of minima {best:.3f}; goal {GOALS['compile']}")


def _piped(command: list[str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Compile the client, mount both servers, measure."""
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/client"
        subprocess.run(["gcc", "-O2", "-o", program, WORKERS / "fuse_client.c"], check=True)
        cpus = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {max(cpus)})
        with contextlib.ExitStack() as stack:
            mounts = {name: stack.enter_context(served(script)) for name, script in SERVERS.items()}
            latency(program, mounts)
            throughput(program, mounts, "one CPU")
        os.sched_setaffinity(0, cpus)
        with contextlib.ExitStack() as stack:
            mounts = {name: stack.enter_context(served(script)) for name, script in SERVERS.items()}
            throughput(program, mounts, "all CPUs")
            enable_many(mounts["ours"])
    compile_in_turn()


if __name__ == "__main__":
    main()
