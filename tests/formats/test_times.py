"""What a file says of its clocks: it is believed as far as a clock can show it."""

from pathlib import Path
from typing import Any

import pytest

from tests.formats.maker import Maker
from tests.formats.test_hosts import SECOND, batch, brought_together, host, of_host
from userevents.buffer.stream import pack_header
from userevents.errors import Unusable
from userevents.formats import open_trace
from userevents.formats.export import Endpoint, export
from userevents.formats.sql import Database


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
