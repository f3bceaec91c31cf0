"""Traces of stock tools: what trace-cmd and perf write, in each of its forms, is the same trace to us."""

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.formats.corpus import corpus, told_apart
from tests.formats.kernel_trace import v6
from tests.formats.trace_files import option, v7
from userevents.buffer import PageBuilder
from userevents.errors import Malformed
from userevents.fields import format_text, parse_fields
from userevents.formats import open_trace, tracedat_parts
from userevents.formats.export import export
from userevents.formats.model import Record

TICK = format_text("tick", 20, parse_fields("u32 a; char[4] c"))
VECTORS = ROOT / "tests" / "vectors" / "linux-6.18" / "perf"


def page(*times: int, lost: int = 0) -> bytes:
    """Return a page of ticks."""
    builder = PageBuilder()
    for number, ts_ns in enumerate(times):
        builder.append(ts_ns, struct.pack("<HBBiI4s", 20, 0, 0, 77, number, b"abcd"))
    return builder.take(missed=lost)


BUFFERS = {"": [[page(100, 200), page(400)], [page(150)]], "shop": [[page(120)], []], "bar": [[], [page(300, 301)]]}
FOUND = [
    *((100, 0, "bash", 0), (120, 0, "shop: bash", 0), (150, 1, "bash", 0), (200, 0, "bash", 1)),
    *((300, 1, "bar: bash", 0), (301, 1, "bar: bash", 1), (400, 0, "bash", 0)),
]


def read(path: Path) -> list[Record]:
    """Return the records of a trace."""
    with open_trace(str(path)) as trace:
        return list(trace.records())


def told(path: Path) -> list[tuple[Any, ...]]:
    """Return what is checked of a trace of ticks."""
    return [(record.ts_ns, record.cpu, record.comm, record.values["a"]) for record in read(path)]


def zstd(data: bytes) -> bytes:
    """Return data compressed."""
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


def converted(trace_cmd: str, path: Path, *options: str) -> Path:
    """Return what trace-cmd makes of a file."""
    out = path.with_name(f"{path.stem}-{'-'.join(options).strip('-')}.dat")
    done = subprocess.run([trace_cmd, "convert", *options, "-i", str(path), "-o", str(out)], capture_output=True)
    assert done.returncode == 0, done.stderr
    return out


def test_all_instances_of_a_version_7_file_are_read(tmp_path: Path) -> None:
    """In order of time over all; the name of an instance stands before the thread's, as trace-cmd shows it."""
    (tmp_path / "x.dat").write_bytes(v7(BUFFERS, {"user_events": [TICK]}))
    assert told(tmp_path / "x.dat") == FOUND
    (tmp_path / "z.dat").write_bytes(v7(BUFFERS, {"user_events": [TICK]}, name="zstd", compress=zstd))
    assert told(tmp_path / "z.dat") == FOUND


def test_all_instances_are_read_in_every_form_that_trace_cmd_makes(tmp_path: Path, trace_cmd: str) -> None:
    """Its own version 6 and its own compression, of our version 7."""
    (tmp_path / "x.dat").write_bytes(v7(BUFFERS, {"user_events": [TICK]}))
    assert told(converted(trace_cmd, tmp_path / "x.dat", "--file-version", "6")) == FOUND
    assert told(converted(trace_cmd, tmp_path / "x.dat", "--compression", "zstd")) == FOUND


def test_a_trace_that_trace_cmd_compressed_or_converted_is_the_same(tmp_path: Path, trace_cmd: str) -> None:
    """Random declarations and values, many pages; our own section is not kept by trace-cmd."""
    records = corpus(tmp_path / "trace.dat", 60)
    meant = [(r.ts_ns, r.cpu, r.tid, r.event.id, repr(list(r.values.values()))) for r in records]
    for options in (("--compression", "zstd"), ("--file-version", "6")):
        found = read(converted(trace_cmd, tmp_path / "trace.dat", *options))
        floats = {r.event.id for r in records if any(isinstance(v, float) for v in r.values.values())}
        values = [(r.ts_ns, r.cpu, r.tid, r.event.id, repr(list(r.values.values()))) for r in found]
        assert (
            told_apart(
                [each for each in values if each[3] not in floats], [each for each in meant if each[3] not in floats]
            )
            == ""
        )
        assert len(values) == len(meant)


def test_losses_before_a_page_are_known_in_a_compressed_file_too(tmp_path: Path) -> None:
    """The marks of pages are read from what is unpacked."""
    pages = {"": [[page(100), page(200, lost=7)]]}
    (tmp_path / "z.dat").write_bytes(v7(pages, {"user_events": [TICK]}, name="zstd", compress=zstd))
    with open_trace(str(tmp_path / "z.dat")) as trace:
        assert trace.losses() == ["records were lost before 1 of the pages, 7 records or more"]


def test_a_perf_file_of_ours_is_the_same_trace(tmp_path: Path) -> None:
    """There and back: times, CPUs, processes, threads, values and dates."""
    records = corpus(tmp_path / "trace.dat")
    with open_trace(str(tmp_path / "trace.dat")) as trace:
        export(trace, "perf", str(tmp_path / "x.data"))
    with open_trace(str(tmp_path / "x.data")) as trace:
        found = list(trace.records())
        assert (trace.clock, trace.header["host"], trace.header["mono_ns"], trace.header["real_ns"]) == (
            "mono", "box", 1, 2,
        )  # fmt: skip
        assert trace.losses() == ["12 records were lost, as perf counted"]

    def plain(record: Record) -> tuple[Any, ...]:
        values = repr(list(record.values.values()))
        return record.ts_ns, record.cpu, record.pid, record.tid, record.comm, record.event.id, values

    floats = {r.event.id for r in records if any(isinstance(v, float) for v in r.values.values())}
    assert (
        told_apart(
            [plain(record) for record in found if record.event.id not in floats],
            [plain(record) for record in records if record.event.id not in floats],
        )
        == ""
    )
    assert len(found) == len(records)


def test_a_perf_file_of_a_real_kernel_is_read_as_perf_reads_it() -> None:
    """Linux 6.18: three kinds of samples with call chains, of which two are tracepoints."""
    meant = json.loads((VECTORS / "openat.json").read_text())
    with open_trace(str(VECTORS / "openat.data")) as trace:
        found = list(trace.records())
        assert (trace.clock, trace.header["host"], trace.losses()) == ("mono", "box", [])
        assert trace.format_text(found[0].event.id) is not None
    for record, (ts_ns, cpu, pid, tid, comm, name, fields) in zip(found, meant, strict=True):
        assert (record.ts_ns, record.cpu, record.pid, record.tid) == (ts_ns, cpu, pid, tid)
        assert f"{record.event.system}__{record.event.name}" == name
        assert comm in ("sh", "cat", "env", "perf", "perf-exec")
        for key, value in record.values.items():
            wanted = (
                bytes.fromhex(fields[key]["hex"]).rstrip(b"\0").decode()
                if isinstance(fields[key], dict)
                else fields[key]
            )
            assert value == wanted or (isinstance(value, int) and value % 2**32 == wanted % 2**32), key


@pytest.mark.parametrize("to", ["perfetto", "perf", "ctf", "json"])
def test_a_perf_file_of_a_real_kernel_goes_through_every_exporter(to: str, tmp_path: Path) -> None:
    """Kernel events have types of their own: long, pointers, arrays."""
    with open_trace(str(VECTORS / "openat.data")) as trace:
        done = export(trace, to, str(tmp_path / "x"))
    assert done.records == len(json.loads((VECTORS / "openat.json").read_text()))
    if to == "perf":
        with open_trace(str(tmp_path / "x")) as again, open_trace(str(VECTORS / "openat.data")) as trace:
            assert [r._replace(comm="") for r in again.records()] == [r._replace(comm="") for r in trace.records()]


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _claiming(data: bytes) -> bytes:
    """Return a perf.data whose attrs, three of them, all claim the same 524,288 ids, which are there."""
    attr_size, place = struct.unpack_from("<QQ", data, 16)
    attr = data[place : place + attr_size - 16] + struct.pack("<QQ", len(data), 8 << 19)
    found = data + bytes(8 << 19)
    return _patched(found, 24, struct.pack("<QQ", len(found), 3 * attr_size)) + 3 * attr


def test_what_cannot_be_read_says_why_and_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with what was found."""
    good = (VECTORS / "openat.data").read_bytes()
    compressed = v7(BUFFERS, {"user_events": [TICK]}, name="zstd", compress=zstd)
    plain = v7(BUFFERS, {"user_events": [TICK]})
    cases = {
        _patched(good, 8, struct.pack("<Q", 16)): "written to a pipe cannot be read",
        b"2ELIFREP" + good[8:]: "perf.data of another kind of machine .* at byte 0",
        good[:50]: "written to a pipe cannot be read|is cut",
        _patched(good, 16, struct.pack("<Q", 7)): "claims attrs of 7 bytes",
        compressed.replace(b"zstd\0", b"lzma\0", 1): "compressed with 'lzma'.*trace-cmd convert",
        _patched(plain, 12, b"\x01"): "another kind of machine",
        _claiming(good): "claims 1572864 ids or more, more than 1048576",
    }
    for number, (data, words) in enumerate(cases.items()):
        (tmp_path / str(number)).write_bytes(data)
        with pytest.raises(Malformed, match=words):
            read(tmp_path / str(number))
    monkeypatch.setattr(tracedat_parts, "_zstd", lambda: None)
    (tmp_path / "z").write_bytes(compressed)
    with pytest.raises(Malformed, match=r"needs the package zstandard \(pip install 'userevents\[zstd\]'\)"):
        read(tmp_path / "z")


def test_a_damaged_chunk_ends_its_cpu_with_a_note(tmp_path: Path) -> None:
    """The other CPUs are read, and the note says which chunk at which byte."""
    data = bytearray(v7({"": [[page(100)], [page(150)]]}, {"user_events": [TICK]}, name="zstd", compress=zstd))
    at = data.index(struct.pack("<I", 4096) + b"\x28\xb5\x2f\xfd") + 8
    data[at : at + 4] = b"\xff\xff\xff\xff"
    (tmp_path / "z.dat").write_bytes(data)
    with open_trace(str(tmp_path / "z.dat")) as trace:
        assert [record.ts_ns for record in trace.records()] == [150]
        assert "the pages of CPU 0 end early: a chunk of CPU 0's pages cannot be decompressed" in trace.notes[0]


def test_a_frame_that_claims_more_than_its_chunk_costs_no_memory(tmp_path: Path) -> None:
    """A small file must not unpack into gigabytes."""
    import zstandard

    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 28))
    (tmp_path / "z.dat").write_bytes(v7(BUFFERS, {"user_events": [TICK]}, name="zstd", compress=lambda _: bomb))
    with pytest.raises(Malformed, match="cannot be decompressed"):
        read(tmp_path / "z.dat")


def test_instances_of_a_version_6_file_have_tables_of_their_own(tmp_path: Path) -> None:
    """An option names the place; a place that holds no table is an error with its byte."""
    option_data = struct.pack("<Q", 40) + b"shop\0"
    (tmp_path / "x.dat").write_bytes(v6([[page(100)]], {"user_events": [TICK]}, options=option(3, option_data)))
    with pytest.raises(Malformed, match=r"an instance's data should be .* at byte 40"):
        read(tmp_path / "x.dat")
