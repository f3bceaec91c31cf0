"""What a file says of its clocks: it is believed as far as a clock can show it."""

from pathlib import Path
from typing import Any

import pytest

from tests.formats.maker import Maker
from tests.formats.test_hosts import SECOND, batch, brought_together, host, of_host
from userevents.buffer.stream import pack_header
from userevents.errors import Unusable
from userevents.formats import host_clock, open_trace
from userevents.formats.export import Endpoint, export
from userevents.formats.host_clock import HostClock, Sample
from userevents.formats.sql import Database


def test_of_many_comparisons_of_clocks_those_at_the_end_count_as_those_at_the_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A recording of days compares more often than is kept: the best of each few, over all of its time."""
    monkeypatch.setattr(host_clock, "MAX_SAMPLES", 10)
    found = [Sample(at * SECOND + 1000, at * SECOND, 900 if at % 3 else 5) for at in range(30)]
    found += [
        Sample(at * SECOND + 1000 + (at - 29) * 50_000, at * SECOND, 900 if at % 3 else 5) for at in range(30, 60)
    ]
    clock = HostClock(found)
    assert len(clock.samples) == 10
    assert clock.at(54 * SECOND).shift_ns == 1000 + 25 * 50_000
    assert (clock.at(24 * SECOND).shift_ns, clock.at(24 * SECOND).uncertainty_ns) == (1000, 5)


@pytest.mark.parametrize(
    "facts",
    [
        {"mono_ns": 5, "real_ns": 10**30},
        {"mono_ns": 5, "real_ns": 2**63},
        {"mono_ns": True, "real_ns": 1},
        {"mono_ns": -5, "real_ns": 7},
        {"mono_ns": "5", "real_ns": [7]},
    ],
    ids=str,
)
def test_moments_that_no_clock_shows_are_as_none(tmp_path: Path, facts: dict[str, Any]) -> None:
    """The trace is queried and exported as one that does not say when it was."""
    maker = Maker()
    maker.frames[1] = pack_header({**facts, "boot_ns": 2**64 - 1, "cpus": 1})
    session = maker.session(7, "prog")
    session.add_values(1000, 20, 1)
    session.close()
    maker.trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        database = Database(trace)
        assert list(database.query("SELECT ts_ns, time FROM events").rows) == [(1000, None)]
        database.close()
        for to in ("perfetto", "perf", "ctf"):
            assert export(trace, to, str(tmp_path / f"x.{to}")).records == 1
        with pytest.raises(Unusable, match="does not say when it was recorded"):
            export(trace, "otlp", Endpoint("http://127.0.0.1:9"))


def test_a_hosts_clock_cannot_be_so_far_ahead_that_no_number_holds_it(tmp_path: Path) -> None:
    """Neither by its date, nor by a comparison with the trace's clock."""
    maker = Maker()
    maker.frames[1] = pack_header({"mono_ns": 1, "real_ns": 2**64 - 1, "cpus": 1})
    session = maker.session(7, "prog")
    session.add_values(2**62 + 1000, 20, 1)
    session.close()
    sample = (2**64 - 1, 10 * SECOND, 100)
    path = tmp_path / "trace.dat.part"
    path.write_bytes(brought_together(host(1, "web", sample), batch(1, 1, of_host(maker))))
    with open_trace(str(path)) as trace:
        assert len(list(trace.records())) == 1
