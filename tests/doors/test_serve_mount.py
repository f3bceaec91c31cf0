"""`userevents serve --mount`: the daemon's tree as files, and who may use them."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doors.servers import NOBODY, wait_for
from tests.system.conftest import COMMAND

GROUP = 65530


class Served:
    """A running daemon with a mount."""

    def __init__(self, place: Path, *options: str) -> None:
        self.place = place
        command = [*COMMAND, "serve", "--mount", str(place), *options]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        assert f"files at {place}" in said, said

    def as_member(self, *command: str, groups: tuple[int, ...] = (GROUP,)) -> "subprocess.CompletedProcess[str]":
        """Run a command as nobody, in a group."""
        return subprocess.run(
            command,
            user=NOBODY,
            group=NOBODY,
            extra_groups=groups,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

    def end(self) -> int:
        """End it in good order."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def serve(fuse: None, runtime_dir: Path, place: Path) -> Iterator[Callable[..., Served]]:
    """Starts the daemon."""
    made: list[Served] = []

    def start(*options: str) -> Served:
        made.append(Served(place, *options))
        return made[-1]

    yield start
    for served in made:
        if served.process.poll() is None:
            served.process.kill()
        served.process.communicate()


def test_the_mounted_tree_of_the_daemon_is_the_one_of_the_verbs(
    serve: Callable[..., Served], native: Callable[[str], str]
) -> None:
    """A native program registers by the mount, a verb enables it by the socket, and its records are in the file."""
    served = serve()
    ticker = subprocess.Popen(
        [native("ticker"), str(served.place / "user_events_data"), "beat"], stdout=subprocess.DEVNULL
    )
    try:
        enable = [*COMMAND, "enable", "beat"]
        wait_for(lambda: subprocess.run(enable, capture_output=True, check=False).returncode == 0)
        wait_for(lambda: (served.place / "trace").read_text(encoding="latin-1").count(": beat: ") > 10)
    finally:
        ticker.kill()
        ticker.wait()
    assert served.end() == 0
    assert not os.listdir(served.place)


@pytest.mark.parametrize(
    ("mode", "reads", "writes"), [("700", False, False), ("750", True, False), ("770", True, True)]
)
def test_a_group_may_look_or_drive_as_the_mode_says(
    serve: Callable[..., Served], mode: str, reads: bool, writes: bool
) -> None:
    """700 keeps the group out, 750 lets it look, 770 lets it do what root may; others are always kept out."""
    served = serve("--group", str(GROUP), "--mode", mode)
    read = ["cat", str(served.place / "trace")]
    write = ["sh", "-c", f"echo 0 > {served.place}/tracing_on"]
    make = ["mkdir", str(served.place / "instances/mine")]
    assert (served.as_member(*read).returncode == 0) is reads
    assert (served.as_member(*write).returncode == 0) is writes
    assert (served.as_member(*make).returncode == 0) is writes
    assert served.as_member(*read, groups=()).returncode != 0
    assert served.end() == 0


def test_a_mount_that_somebody_takes_away_ends_the_daemon(serve: Callable[..., Served]) -> None:
    """It says so and fails, for a service manager to start it again."""
    served = serve("--json")
    subprocess.run(["umount", "-l", str(served.place)], check=True)
    assert served.process.wait(20) == 1
    assert served.process.stderr is not None
    logged = [json.loads(line) for line in served.process.stderr.read().splitlines()]
    assert (logged[-1]["level"], logged[-1]["message"]) == ("error", "the mounted tree was unmounted")
