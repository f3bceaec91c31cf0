"""Exports as OTLP logs, as a collector gets them: decoded by OpenTelemetry's own protocol classes."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as service

from tests.formats.corpus import corpus, same
from tests.formats.kernel_trace import kernel_trace
from tests.formats.maker import Maker
from userevents.buffer.stream import pack_header
from userevents.errors import Unusable
from userevents.formats import open_trace
from userevents.formats.export import Endpoint, export
from userevents.formats.export import otlp as exporter
from userevents.formats.model import Record, Value

REAL_SHIFT_NS = 1  # tests.formats.maker: mono_ns 1 is real_ns 2


class Collector:
    """What a test collector got, and the answers it still has to give: (status, headers, body)."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.url = ""

    def records(self) -> list[Any]:
        """Return the log records of all requests, in order."""
        return [
            record
            for request in self.requests
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
        ]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen as a collector does."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers, answer = collector.answers.pop(0) if collector.answers else (200, {}, b"")
            if status == 200:
                request = service.ExportLogsServiceRequest()
                request.ParseFromString(body)
                collector.requests.append(request)
                collector.headers.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            self.send_response(status)
            for key, value in {"content-length": str(len(answer)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def value_of(found: Any) -> Value:
    """Return an AnyValue's value."""
    value: Value = getattr(found, found.WhichOneof("value"))
    return value


def meant(record: Record) -> list[tuple[str, Value]]:
    """Return the attributes that a record should have: integers from 2^63 on as text."""
    who: list[tuple[str, Value]] = [] if record.pid is None else [("process.pid", record.pid)]
    values = [
        (key, str(value) if isinstance(value, int) and value >> 63 > 0 else value)
        for key, value in record.values.items()
    ]
    thread: list[tuple[str, Value]] = [("thread.id", record.tid), ("thread.name", record.comm)]
    return [("userevents.system", record.event.system), *who, *thread, *values]


def sent(path: Path, collector: Collector, **said: dict[str, str]) -> list[Record]:
    """Send a trace and return its records."""
    with open_trace(str(path)) as trace:
        export(trace, "otlp", Endpoint(collector.url, **said))
        return list(trace.records())


def test_every_event_arrives_with_its_values(tmp_path: Path) -> None:
    """Random declarations and values, in order; the last record says what was lost."""
    corpus(tmp_path / "trace.dat")
    with collecting() as collector:
        records = sent(tmp_path / "trace.dat", collector, headers={"x-key": "k"}, resource={"service.name": "shop"})
        found = collector.records()
    *events, loss = found
    assert len(events) == len(records)
    for one, record in zip(events, records, strict=True):
        assert (one.time_unix_nano, one.event_name) == (record.ts_ns + REAL_SHIFT_NS, record.event.name)
        assert one.body.string_value == record.event.name
        attributes = [(each.key, value_of(each.value)) for each in one.attributes]
        wanted = meant(record)
        assert [key for key, _ in attributes] == [key for key, _ in wanted]
        assert all(same(value, other) for (_, value), (_, other) in zip(attributes, wanted, strict=True))
    assert (loss.event_name, loss.body.string_value) == ("userevents.losses", "12 records were lost: 12 ring full")
    resource = {each.key: value_of(each.value) for each in collector.requests[0].resource_logs[0].resource.attributes}
    assert resource["service.name"] == "shop"
    assert (resource["host.name"], resource["userevents.records_lost"]) == ("box", 12)
    assert {(each["path"], each["x-key"]) for each in collector.headers} == {("/v1/logs", "k")}


def test_pages_of_a_real_kernel_are_sent_or_it_is_said_why_not(tmp_path: Path) -> None:
    """A kernel's trace does not say when it was: without dates there is nothing to send."""
    kernel_trace(tmp_path / "trace.dat")
    with collecting() as collector, pytest.raises(Unusable, match="does not say when it was recorded"):
        sent(tmp_path / "trace.dat", collector)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trace of one record, and hardly a pause between tries."""
    monkeypatch.setattr(exporter, "_PAUSES_S", (0.01, 0.01))
    maker = Maker()
    maker.frames[1] = pack_header({"mono_ns": 5, "real_ns": 1_700_000_000 * 10**9, "cpus": 1})
    session = maker.session(7, "prog")
    session.add_values(10**9, 20, 1)
    session.close()
    maker.trace(tmp_path / "trace.dat")
    return tmp_path / "trace.dat"


def test_a_busy_collector_is_asked_again(small: Path) -> None:
    """503 and its like come and go; each record arrives once."""
    with collecting() as collector:
        collector.answers = [(503, {}, b""), (429, {"retry-after": "0"}, b"slow down")]
        sent(small, collector)
        assert len(collector.records()) == 1


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([(400, {}, b"\x12\x07no good")], "HTTP 400 no good"),
        ([(401, {}, b"who are you?\n")], r"HTTP 401 who are you\?"),
        ([(404, {}, b"\xff\xfe\0")], "HTTP 404"),
        ([(503, {}, b"")] * 3, "HTTP 503"),
    ],
)
def test_a_refusal_says_what_the_collector_said(
    small: Path, answers: list[tuple[int, dict[str, str], bytes]], told: str
) -> None:
    """The status, its reason if there is one, and how much was sent before."""
    with collecting() as collector:
        collector.answers = answers
        with pytest.raises(Unusable, match=rf"{told}.* \(0 records were sent before\)"):
            sent(small, collector)


def test_records_that_a_collector_rejects_are_told(small: Path) -> None:
    """It took the request, and not all that is in it."""
    answer = service.ExportLogsServiceResponse()
    answer.partial_success.rejected_log_records = 1
    answer.partial_success.error_message = "too old"
    with collecting() as collector, open_trace(str(small)) as trace:
        collector.answers = [(200, {}, answer.SerializeToString())]
        done = export(trace, "otlp", Endpoint(collector.url))
    assert done.notes == ["the collector rejected 1 records: too old"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:9", "takes no logs: Connection refused"),
        ("localhost:4318", "is no endpoint: write a URL such as"),
        ("ftp://host/", "is no endpoint"),
        ("http://host:port/", "is no endpoint"),
        ("http://[::1", "is no endpoint"),
        ("http://a..b/", "is no endpoint"),
        ("http://127.0.0.1:9/\u2603", "other letters than ASCII's stand as %XX"),
    ],
)
def test_an_endpoint_that_cannot_serve_is_told(small: Path, url: str, told: str) -> None:
    """What was asked for, what came of it, how to write it."""
    with open_trace(str(small)) as trace, pytest.raises(Unusable, match=told):
        export(trace, "otlp", Endpoint(url))


@pytest.mark.parametrize(("name", "value"), [("a", "b\nc"), ("a\n", "b"), ("a b", "c"), ("\xe9", "c"), ("a", "\u2603")])
def test_what_is_no_header_is_told_before_anything_is_sent(small: Path, name: str, value: str) -> None:
    """HTTP takes neither line ends nor letters outside of Latin-1."""
    with open_trace(str(small)) as trace, pytest.raises(Unusable, match="is no header"):
        export(trace, "otlp", Endpoint("http://127.0.0.1:9", headers={name: value}))


def test_losses_that_a_collector_refuses_are_no_records(tmp_path: Path) -> None:
    """All records had been sent by then."""
    maker = Maker()
    session = maker.session(7, "prog")
    for number in range(3):
        session.add_values(10**9 + number, 20, number)
    session.close(drops={20: {"ring_full": 1}})
    maker.trace(tmp_path / "trace.dat")
    with collecting() as collector:
        collector.answers = [(200, {}, b""), (400, {}, b"")]
        with pytest.raises(Unusable, match=r"\(3 records were sent before\)"):
            sent(tmp_path / "trace.dat", collector)
