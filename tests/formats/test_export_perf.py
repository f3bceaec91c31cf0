"""Exports as perf.data, as perf reads them."""

import struct
from pathlib import Path
from typing import Any

from tests.formats.corpus import PIDS, corpus, told_apart
from tests.formats.kernel_trace import kernel_trace
from tests.formats.readers import perf
from userevents.formats import open_trace
from userevents.formats.export import export
from userevents.formats.model import Record, Value
from userevents.formats.stock_text import stock_name


def meant(record: Record) -> tuple[Any, ...]:
    """Return what a record should be read as: field values in their order, since names are made words."""
    values = [
        _shown(value, field.size) for value, field in zip(record.values.values(), record.event.fields, strict=True)
    ]
    name = f"{record.event.system}__{stock_name(record.event.name)}".removesuffix("_2")
    pid = record.tid if record.pid is None else record.pid
    return record.ts_ns, record.cpu, pid, record.tid, name, values


def _shown(value: Value, size: int) -> Any:
    if isinstance(value, int):
        return value % (1 << 8 * size)
    if isinstance(value, float):
        return struct.unpack("<Q", struct.pack("<d", value))[0]
    return value


def read(found: perf.Found, record: Record) -> tuple[Any, ...]:
    """Return what was read, in the same form: perf gives signs as it likes, and text as bytes where it is dynamic."""
    values = []
    for value, field, wanted in zip(found.fields.values(), record.event.fields, record.values.values(), strict=True):
        if isinstance(value, int):
            value %= 1 << 8 * field.size
        elif isinstance(value, dict):
            data = bytes.fromhex(value["hex"])
            value = data.partition(b"\0")[0].decode("utf-8", "backslashreplace") if isinstance(wanted, str) else data
        elif isinstance(wanted, bytes):
            # What looks like text is given as text, without the NULs at its end.
            value = value.encode() + wanted[len(value.encode()) :].translate(None, bytes(range(1, 256)))
        values.append(value)
    # A second event of one name is called so.
    return found.ts_ns, found.cpu, found.pid, found.tid, found.name.removesuffix("_2"), values


def test_every_event_is_there_with_its_values(tmp_path: Path) -> None:
    """Random declarations and values: time, CPU, process, thread, name and every field, in the same order."""
    records = corpus(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        done = export(trace, "perf", str(tmp_path / "x.data"))
    found = perf.samples(tmp_path / "x.data")
    assert len(found) == len(records) == done.records
    assert told_apart([read(*pair) for pair in zip(found, records, strict=True)], list(map(meant, records))) == ""
    comms = {(each.pid, each.tid): each.comm for each in found}
    assert {comms.get((pid, pid)) for pid in PIDS} == {"main"}
    assert {comm for (pid, tid), comm in comms.items() if tid == pid + 1} == {"thread 1"}


def test_losses_are_told_by_perf(tmp_path: Path) -> None:
    """What the ledger knows, and the marks in a kernel's pages."""
    corpus(tmp_path / "trace.dat", 3)
    kernel_trace(tmp_path / "kernel.dat")
    lost = {}
    for name in ("trace", "kernel"):
        with open_trace(str(tmp_path / f"{name}.dat")) as trace:
            records = list(trace.records())
            export(trace, "perf", str(tmp_path / f"{name}.data"))
        lines = perf.lines(tmp_path / f"{name}.data")
        lost[name] = [line.split()[-1] for line in lines if "PERF_RECORD_LOST" in line]
        assert len(lines) >= len(records)
    assert lost["trace"] == ["12"]
    assert lost["kernel"]


def test_pages_of_a_real_kernel_are_read(tmp_path: Path) -> None:
    """Pages recorded on Linux 6.12, of each scenario on a CPU of its own."""
    kernel_trace(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        records = list(trace.records())
        export(trace, "perf", str(tmp_path / "x.data"))
    found = perf.samples(tmp_path / "x.data")
    assert told_apart([read(*pair) for pair in zip(found, records, strict=True)], list(map(meant, records))) == ""
