"""OTLP logs over HTTP: a log record for each event, sent to a collector in requests of a few hundred KiB.

Source: opentelemetry-proto 1.x (logs/v1, common/v1; field numbers), the OTLP/HTTP specification (paths, retries).
"""

import http.client
import re
import socket
import time
from collections.abc import Mapping
from struct import pack
from typing import Final
from urllib.parse import urlsplit

from ...errors import Unusable
from ...fields.payload import FLOAT, INTEGER
from .. import facts
from .. import transcode as steps
from ..cursor import varint_fields
from ..decoder import Decoder
from ..transcode import Coding, Step, literal, message, sized, step, varint
from .job import Endpoint, Job

_INFO, _WARN = 9, 13
_RETRIED: Final = (429, 502, 503, 504)
_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0)
_PAUSE_MAX_S: Final = 30.0
_TIMEOUT_S: Final = 30.0
_ANSWER_MAX: Final = 1 << 16
_PATH: Final = "/v1/logs"
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t -~\xa0-\xff]*")


def write(job: Job, endpoint: Endpoint) -> None:
    """Send every record, then a warning for each thing that was lost."""
    shift = job.real_shift_ns
    if shift is None:
        raise Unusable(f"'{job.trace.path}' does not say when it was recorded, and OTLP wants dates: it cannot be sent")
    sender = _Sender(job, endpoint)
    last_ns = shift
    for piece in job.pieces(Coding(_steps, _who, shift_ns=shift)):
        sender.send(piece.data, piece.records)
        last_ns = piece.last_ns if piece.records else last_ns
    if job.losses:
        sender.send(b"".join(_loss(text, last_ns) for text in job.losses), len(job.losses))
    sender.close()


def _attribute(number: int, key: str, value: str | int) -> bytes:
    """Return a KeyValue as a field of another message."""
    found = b"\x18" + varint(value) if isinstance(value, int) else message(1, value.encode("utf-8", "replace"))
    return message(number, message(1, key.encode()) + message(2, found))


def _who(pid: int | None, tid: int, comm: str) -> bytes:
    process = b"" if pid is None else _attribute(6, "process.pid", pid)
    return process + _attribute(6, "thread.id", tid) + _attribute(6, "thread.name", comm)


def _steps(decoder: Decoder) -> list[Step]:
    """Return one LogRecord: times, severity, the event's name, and an attribute for each value that is there."""
    event = decoder.event
    name = event.name.encode("utf-8", "replace")
    found: list[Step] = [literal(b"\x09"), step(steps.TIME_U64), literal(b"\x59"), step(steps.TIME_U64)]
    found += [literal(pack("BB", 0x10, _INFO) + message(5, message(1, name)) + message(12, name))]
    found += [literal(_attribute(6, "userevents.system", event.system)), step(steps.WHO)]
    for number, (key, (kind, start, end, signed)) in enumerate(zip(event.keys, decoder.readings, strict=True)):
        name_of = literal(message(1, key.encode("utf-8", "replace")))
        if kind == INTEGER and end - start == 8 and not signed:
            # Integers are signed there: what is too large goes as text.
            as_text = _put(name_of, literal(b"\x0a"), *sized(step(steps.DECIMAL, number)))
            as_number = _put(name_of, literal(b"\x18"), step(steps.VARINT, number))
            found += [step(steps.IF_HIGH, number, len(as_text)), *as_text]
            found += [step(steps.IF_LOW, number, len(as_number)), *as_number]
            continue
        if kind == INTEGER:
            value = [literal(b"\x18"), step(steps.VARINT, number)]
        elif kind == FLOAT:
            value = [literal(b"\x21"), step(steps.RAW, number)]
        else:
            value = [literal(b"\x0a" if kind & 1 else b"\x3a"), *sized(step(steps.PLAIN, number))]
        put = _put(name_of, *value)
        found += [step(steps.IF_PRESENT, number, len(put)), *put]
    return [literal(b"\x12"), *sized(*found)]


def _put(name: Step, *value: Step) -> list[Step]:
    return [literal(b"\x32"), *sized(name, literal(b"\x12"), *sized(*value))]


def _loss(text: str, at_ns: int) -> bytes:
    body = message(5, message(1, text.encode("utf-8", "replace"))) + message(12, b"userevents.losses")
    return message(2, b"\x09" + pack("<Q", at_ns) + b"\x59" + pack("<Q", at_ns) + pack("BB", 0x10, _WARN) + body)


class _Sender:
    """A connection to a collector, made again when it breaks."""

    def __init__(self, job: Job, endpoint: Endpoint) -> None:
        self._job = job
        self._sent = 0
        self._url = endpoint.url
        self._headers = {"content-type": "application/x-protobuf", **endpoint.headers}
        try:
            parts = urlsplit(endpoint.url)
            self._host, self._port = parts.hostname or "", parts.port
            self._host.encode("idna")  # as looking it up does
        except ValueError as error:
            raise Unusable(f"'{endpoint.url}' is no endpoint: {error}") from None
        if not endpoint.url.isascii():
            raise Unusable(f"'{endpoint.url}' is no endpoint: in an address other letters than ASCII's stand as %XX")
        if parts.scheme not in ("http", "https") or not self._host:
            raise Unusable(f"'{endpoint.url}' is no endpoint: write a URL such as http://localhost:4318{_PATH}")
        _check_headers(endpoint)
        self._make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._path = (parts.path if parts.path not in ("", "/") else _PATH) + (f"?{parts.query}" if parts.query else "")
        self._connection: http.client.HTTPConnection | None = None
        self._resource = message(1, b"".join(_attribute(1, *each) for each in _resource(job, endpoint).items()))
        self._scope = message(1, message(1, b"userevents"))

    def send(self, records: bytes, number: int) -> None:
        """Send LogRecords, again if the collector or the way there has no room now. Raises Unusable saying why."""
        if not number:
            return
        body = message(1, self._resource + message(2, self._scope + records))
        self._job.size += len(body)
        problem = ""
        for pause_s in (*_PAUSES_S, None):
            try:
                status, answer, wait_s = self._post(body)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                status, answer, wait_s = 0, b"", None
                problem = str(getattr(error, "strerror", None) or error) or type(error).__name__
            if status == 200:
                self._sent += number
                self._note_rejected(answer)
                return
            if status:
                problem = f"HTTP {status} {_reason(answer)}".strip()
            if (status and status not in _RETRIED) or pause_s is None:
                break
            time.sleep(min(wait_s or pause_s, _PAUSE_MAX_S))
        raise Unusable(f"'{self._url}' takes no logs: {problem} ({self._sent:,} records were sent before)")

    def _post(self, body: bytes) -> tuple[int, bytes, float | None]:
        """Post once; return the status, the answer, and how long the collector asks to wait."""
        if self._connection is None:
            self._connection = self._make(self._host, self._port, timeout=_TIMEOUT_S)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read(_ANSWER_MAX)
        if response.read(1):
            self.close()
        after = response.getheader("retry-after", "")
        return response.status, answer, float(after) if after.isdecimal() else None

    def _note_rejected(self, answer: bytes) -> None:
        """Note what the collector took the request of, but not all records (ExportLogsPartialSuccess)."""
        for number, value in varint_fields(answer):
            if number == 1 and isinstance(value, bytes):
                found = dict(varint_fields(value))
                rejected, said = found.get(1, 0), found.get(2, b"")
                if rejected and isinstance(rejected, int):
                    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else ""
                    self._job.notes.append(f"the collector rejected {rejected:,} records: {text or 'it says not why'}")

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _check_headers(endpoint: Endpoint) -> None:
    """Raise `Unusable` for what HTTP does not take as a header, before anything is sent."""
    for name, value in endpoint.headers.items():
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Unusable(f"'{name}: {value}' is no header: a name is of letters, digits and -, a value one line")


def _reason(answer: bytes) -> str:
    """Return what an answer says, as text: a Status message's text, or the body as it is."""
    for number, value in varint_fields(answer):
        if number == 2 and isinstance(value, bytes):
            return value.decode("utf-8", "replace")[:500]
    text = answer.decode("utf-8", "replace").strip()
    return text[:500] if text.isprintable() else ""


def _resource(job: Job, endpoint: Endpoint) -> Mapping[str, str | int]:
    """Return what is said of where the records come from; what the caller says goes first."""
    header = job.trace.header
    said: dict[str, str | int] = {"service.name": "userevents"}
    for key, fact in (("host.name", "host"), ("os.version", "release"), ("host.arch", "machine")):
        if text := facts.text(header, fact):
            said[key] = text
    said["os.type"] = "linux"
    said["userevents.records_lost"] = job.lost
    return {**said, **endpoint.resource}
