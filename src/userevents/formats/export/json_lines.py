"""JSON lines: what `report --format json` prints, behind a first line that says what the trace is and what it lost."""

import json
from collections.abc import Callable

from .. import transcode as steps
from ..decoder import Decoder
from ..hosts import Host, pids_a_host
from ..text import json_value
from ..transcode import Coding, Step, literal, step
from .job import Job, Sink


def write(job: Job, sink: Sink) -> None:
    """Write a line of metadata, then one line for each record."""
    sink.write(_dumped({"metadata": job.metadata()}) + b"\n")
    hosts = job.trace.hosts
    for piece in job.pieces(Coding(_steps, _who_with(hosts) if hosts else _who, _quote)):
        sink.write(piece.data)


def _dumped(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _quote(value: str | float) -> bytes:
    return _dumped(json_value(value))


def _who(pid: int | None, tid: int, comm: str) -> bytes:
    return _dumped({"pid": pid, "tid": tid, "comm": comm})[1:-1]


def _who_with(hosts: list[Host]) -> Callable[[int | None, int, str], bytes]:
    """Return what says who wrote a record, on which host, and what that host calls the process."""
    by_number, size = {host.number: host for host in hosts}, pids_a_host(hosts)

    def who(pid: int | None, tid: int, comm: str) -> bytes:
        host = None if pid is None else by_number.get(pid // size)
        place = {"host": host.name, "host_pid": host.pid_of(pid or 0)} if host else {"host": None, "host_pid": None}
        return _who(pid, tid, comm) + b"," + _dumped(place)[1:-1]

    return who


def _steps(decoder: Decoder) -> list[Step]:
    event = decoder.event
    found = [literal('{"ts_ns":'), step(steps.TIME_DECIMAL), literal(',"cpu":'), step(steps.CPU_DECIMAL), literal(",")]
    found += [
        step(steps.WHO),
        literal(b',"system":%b,"event":%b,"fields":{' % (_dumped(event.system), _dumped(event.name))),
    ]
    for number, key in enumerate(event.keys):
        found += [literal(b"%b%b:" % (b"," if number else b"", _dumped(key))), step(steps.JSON, number)]
    return [*found, literal("}}\n")]
