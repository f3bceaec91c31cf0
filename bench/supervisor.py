"""What the seccomp door costs: writes into a socket beside a reader that does nothing with them, and opening files.

Three cases, each in turns with its floor, so that what slows the machine slows both; needs gcc, no root. The writer
that keeps a rate says how long its longest write took: with the door `record` takes in and records every event.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from userevents.doors.seccomp.receiver import Receiver, prepare

ROUNDS = 5
WRITES = 300_000
RATE = 300_000
WRITE_GOAL_NS = 600
TAX_GOAL = 1.05
BUILDS = 8
DATA = "/sys/kernel/tracing/user_events_data"
WORKERS = Path(__file__).resolve().parent / "workers"
COMMAND = [sys.executable, "-P", "-m", "userevents"]
INCLUDES = ("stdio", "stdlib", "string", "unistd", "pthread", "sys/socket", "sys/stat", "netinet/in", "math", "time")


class Written(NamedTuple):
    """What a writer says of itself: nanoseconds of the median and the longest write, how many stalled, and of all."""

    median_ns: int
    longest_ns: int
    stalls: int
    all_ns: int


def floor(program: str, writes: int, rate: int) -> Written:
    """The writer with a reader that only reads, as the door does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    prepare(ours)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
    receiver = Receiver()

    def read() -> None:
        ours.setblocking(True)
        while receiver.receive(ours.fileno()) is not None:
            ours.recv(1, socket.MSG_PEEK)

    reader = threading.Thread(target=read)
    words = [program, f"fd:{theirs.fileno()}", str(writes), str(rate)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, pass_fds=[theirs.fileno()], text=True) as writer:
        theirs.close()
        reader.start()
        told = writer.communicate()[0]
    reader.join()
    return Written(*map(int, told.split()))


def recorded(program: str, writes: int, rate: int) -> Written:
    """The writer behind the door, recorded. Fails if an event is not in the trace."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        words = ["record", "--door", "socket", "-o", f"{directory}/trace.dat", "--", program, DATA]
        environment = os.environ | {"USEREVENTS_DIR": directory}
        done = subprocess.run(
            [*COMMAND, *words, str(writes), str(rate)], env=environment, capture_output=True, text=True, check=True
        )
    if f"{writes:,} events of 1 program" not in done.stderr or "nothing lost" not in done.stderr:
        sys.exit(f"not everything was recorded: {done.stderr}")
    return Written(*map(int, done.stdout.split()))


def writing(program: str) -> None:
    """Print how long a write takes, and how a rate is kept."""
    for rate in (0, RATE):
        floors, ours = [], []
        for _ in range(ROUNDS):
            floors.append(floor(program, WRITES, rate))
            ours.append(recorded(program, WRITES, rate))
        ratios = [our.median_ns / bare.median_ns for our, bare in zip(ours, floors, strict=True)]
        print(
            f"write at {f'{rate:,}/s' if rate else 'full speed'}: {statistics.median(ratios):.2f} x the floor's"
            f" ({min(ratios):.2f} to {max(ratios):.2f}); best {min(our.median_ns for our in ours)} ns and"
            f" {min(bare.median_ns for bare in floors)} ns, goal {WRITE_GOAL_NS}"
        )
        for name, found in (("door", ours), ("floor", floors)):
            best = max(WRITES / each.all_ns * 1e9 for each in found)
            longest = min(each.longest_ns for each in found) / 1e6
            stalls = [each.stalls for each in found]
            print(f"  {name}: {best:,.0f}/s; longest write {longest:.1f} ms at best, over 10 ms: {stalls}")


def opening() -> None:
    """Print how much longer a build of C files takes behind the door."""
    compiler = shutil.which("gcc") or sys.exit("gcc is needed")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        source = Path(directory, "a.c")
        source.write_text("".join(f"#include <{name}.h>\n" for name in INCLUDES) + "int main(void) { return 0; }\n")
        build = f"for n in 1 2 3 4 5 6 7 8; do {compiler} -o {directory}/a$n {source}; done"
        environment = os.environ | {"USEREVENTS_DIR": directory}
        shell = ["sh", "-c", f"date +%s.%N; {build}; date +%s.%N"]
        cases = {"bare": shell}
        cases |= {door: [*COMMAND, "run", "-q", "--door", door, "--", *shell] for door in ("seccomp", "socket", "fuse")}
        took: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(BUILDS):
            for name, words in cases.items():
                took[name].append(_seconds(words, environment))
    for name in [name for name in cases if name != "bare"]:
        ratios = [door / bare for door, bare in zip(took[name], took["bare"], strict=True)]
        print(
            f"build behind {name}: {statistics.median(ratios):.3f} x bare ({min(ratios):.3f} to {max(ratios):.3f});"
            f" of the best {min(took[name]) / min(took['bare']):.3f}, goal {TAX_GOAL}"
        )


def _seconds(words: list[str], environment: dict[str, str]) -> float:
    """What a shell says that its build took: starting the door is not part of it."""
    told = subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout
    before, after = told.split()
    return float(after) - float(before)


def main() -> None:
    """Compile the writer, measure."""
    with tempfile.TemporaryDirectory() as directory:
        program = f"{directory}/writer"
        subprocess.run(["gcc", "-O2", "-o", program, WORKERS / "socket_writer.c"], check=True)
        began = time.monotonic()
        writing(program)
        opening()
        print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
