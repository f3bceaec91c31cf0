"""The shortest way of one thread's records of one event into the rings of the instances that keep them as they are."""

from collections.abc import Callable
from typing import Final

from ..abi.ring_buffer import MAX_BODY_SIZE, RECORD_HEADER_SIZE
from ..buffer import CpuRing
from ..engine import UserEvent, Writer
from ..fields import checks, min_payload, passes
from .body import record_body
from .instance import Instance, Tap

Sink = Callable[[bytes | bytearray], bool]
"""Takes the payload of a written event; False where it must go the long way, and then nothing was done with it."""

_PAYLOAD_MAX: Final = MAX_BODY_SIZE - RECORD_HEADER_SIZE


def find_sink(event: UserEvent, writer: Writer) -> Sink | None:
    """Return the short way; None where there is more to an event that is written than keeping it.

    It is good for as long as nothing is changed in the tree; records, this way or another, do not change it.
    What meets a record on the long way is told in `EventFile.hit`.
    """
    places: list[tuple[CpuRing, Callable[[], int], bool]] = []
    taps: list[Tap] = []
    for probe in event.probes:
        if isinstance(probe, Instance) and probe.tap is not None and probe.streams(event) and not probe.feeds(event):
            taps.append(probe.tap)
            continue
        if not isinstance(probe, Instance) or probe.judges(event) or event not in probe.enabled:
            return None
        recorder = probe.recorder
        if probe.rings is not None:
            probe.note(writer)
            places.append((probe.rings[writer.cpu], recorder.source(), recorder.overwrite))
    if taps:
        return None if places else _tapped(event, writer, taps)
    if not places:
        return None
    header, needed, found = record_body(event.id, writer.tid, b""), min_payload(event.fields), checks(event.fields)
    if len(places) == 1 and not found:
        ((ring, now, overwrite),) = places
        return ring.appender(now, header, needed, _PAYLOAD_MAX, overwrite=overwrite)

    def put_everywhere(payload: bytes | bytearray) -> bool:
        body = header + payload
        if not needed <= len(payload) <= _PAYLOAD_MAX or not passes(found, body):
            return False
        for ring, now, overwrite in places:
            ring.write(now(), body, overwrite=overwrite)
        return True

    return put_everywhere


def _tapped(event: UserEvent, writer: Writer, taps: list[Tap]) -> Sink:
    """The short way into recordings."""
    needed, found = min_payload(event.fields), checks(event.fields)

    def put(payload: bytes | bytearray) -> bool:
        whole = bytes(payload)
        if len(whole) < needed or (found and not passes(found, record_body(event.id, writer.tid, whole))):
            return False
        for tap in taps:
            tap(event, whole, writer)
        return True

    return put


def lose_records(event: UserEvent, writer: Writer, count: int) -> None:
    """Count records that were written and did not come, or not whole, wherever they would have been kept."""
    for probe in event.probes:
        if not isinstance(probe, Instance):
            continue
        if probe.tell_lost is not None and probe.streams(event):
            probe.tell_lost(event, writer, count)
        if probe.feeds(event) and probe.rings is not None:
            probe.rings[writer.cpu].dropped += count
