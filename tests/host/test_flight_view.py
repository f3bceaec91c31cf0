"""A dump of a program that laps its ring in the middle of it: the newest is copied all the same, and the sums hold."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.traced import Traced, finished
from userevents.formats.finish import Finished
from userevents.host import flight
from userevents.host.flight import FlightView
from userevents.host.wish import RingWish
from userevents.instance import StreamQueue
from userevents.session import layout
from userevents.session.ring_file import RingFile
from userevents.session.ring_search import seek_time

LAP = 16 * 260
"""More records than the ring holds."""


class Flying(Traced):
    """A program whose ring overwrites, and the flight recording of it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, RingWish(16, layout.MODE_OVERWRITE, may_grow=False))
        self.view = FlightView(self.instance, self.program)

    def dump(self, path: Path, since_ns: int) -> Finished:
        """Write out what is held since then."""
        queue = StreamQueue()
        self.view.dump(queue, since_ns)
        return finished(queue.read(queue.size), path)[0]


@pytest.fixture
def flying(runtime_dir: Path) -> Iterator[Flying]:
    """A traced program."""
    made = Flying(runtime_dir)
    yield made
    made.program.release(remove=True)


def test_a_dump_since_a_time_that_is_lapped_at_its_end_is_begun_anew(
    flying: Flying, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that was wanted went while its place was looked for: there is newer, and it is wanted, too."""
    laps: list[int] = []

    def seek_and_be_lapped(ring: RingFile, since_ns: int) -> int:
        left_out = seek_time(ring, since_ns)
        if not laps:
            laps.append(left_out)
            flying.emit(LAP)
        return left_out

    monkeypatch.setattr(flight, "seek_time", seek_and_be_lapped)
    flying.emit(500)
    since_ns = time.monotonic_ns()
    flying.emit(300)
    done = flying.dump(tmp_path / "trace.dat", since_ns)
    assert laps == [500]
    (ledger,) = done.ledger.processes
    assert done.records == ledger.delivered > LAP // 2
    assert ledger.is_balanced, ledger
    assert ledger.committed == 800 + LAP
