"""What is told of a traced program in a recording's frames.

Source: docs/formats/recording.md.
"""

import os
import time
from collections.abc import Iterable

from ..abi.user_events import USER_EVENTS_SYSTEM
from ..buffer import stream
from ..engine import UserEvent
from ..fields import fields_text
from ..session.layout import COUNTER_NAMES, PAGE_CPUS_IN_RECORDS, WORD_ENABLED
from ..session.ring_file import Part, Piece
from .counts import Snapshot, id_of
from .native_program import NativeProgram
from .program import DeclaredEvent, TracedProgram

_ZEROS = (0,) * len(COUNTER_NAMES)


def recording_header() -> dict[str, object]:
    """Return what a recording's header says of this machine and moment."""
    system = os.uname()
    before = time.monotonic_ns()
    real, boot = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return {
        "mono_ns": (before + time.monotonic_ns()) // 2,
        "real_ns": real,
        "boot_ns": boot,
        "host": system.nodename,
        "release": system.release,
        "machine": system.machine,
        "cpus": os.cpu_count() or 1,
        "tracer_pid": os.getpid(),
    }


def start_frames() -> bytes:
    """Return what every recording begins with."""
    return stream.pack_start() + stream.pack_header(recording_header())


def session_frame(program: TracedProgram) -> bytes:
    """Return the frame that says who a program is."""
    session = program.session
    facts = {
        "pid": program.pid,
        "start_time": session.header.start_time,
        "comm": program.comm,
        "cmdline": session.cmdline,
        "nonce": session.header.nonce.hex(),
    }
    return stream.pack_stream(program.number, facts)


def event_frame(program: TracedProgram, item: DeclaredEvent, *, enabled: bool) -> bytes:
    """Return the frame that says what one of a program's declarations is, and whether it is recorded."""
    event = item.event
    name, _, args = item.text.partition(" ")
    facts = {
        "id": event.id if event else 0,
        "name": event.tracepoint_name if event else name,
        "system": event.system if event else USER_EVENTS_SYSTEM,
        "fields": fields_text(event.fields) if event else args.strip(),
        "enabled": enabled,
        "error": item.refusal.name if item.refusal else None,
        "reason": item.refusal.reason if item.refusal else None,
    }
    return stream.pack_event(program.number, facts)


def native_stream_frame(program: NativeProgram) -> bytes:
    """Return the frame that says who a native program is."""
    facts = {
        "pid": program.pid,
        "start_time": program.start_time,
        "comm": program.comm,
        "cmdline": program.cmdline,
        "nonce": program.nonce,
        "native": True,
    }
    return stream.pack_stream(program.number, facts)


def native_event_frame(number: int, event: UserEvent) -> bytes:
    """Return the frame that says what an event is that a native program writes and the recording wants."""
    facts = {
        "id": event.id,
        "name": event.tracepoint_name,
        "system": event.system,
        "fields": fields_text(event.fields),
        "enabled": True,
        "error": None,
        "reason": None,
    }
    return stream.pack_event(number, facts)


def piece_frame(program: TracedProgram, generation: int, piece: Piece, *, time_before: int | None = None) -> bytes:
    """Return the frame of pages as they were read.

    `time_before` is given for the first part that a recording has of a page of which it has not the beginning:
    the time of the record before it.
    """
    if not isinstance(piece, Part):
        return stream.pack_run(program.number, generation, piece.seq, piece.table, piece.pages)
    flags = stream.PART_CPUS if piece.flags & PAGE_CPUS_IN_RECORDS else 0
    ts = piece.ts
    if time_before is not None:
        flags |= stream.PART_CONTINUES
        ts = time_before
    where = (program.number, generation, piece.cpu, piece.seq, ts, piece.offset)
    return stream.pack_part(*where, piece.data, flags=flags)


def ledger_frame(
    program: TracedProgram,
    base: Snapshot,
    now: Snapshot,
    enabled: Iterable[int],
    *,
    missed: int = 0,
    left_out: int = 0,
    exact: bool = True,
) -> bytes:
    """Return the frame that says what a program counted between two moments; `enabled` are indices of its events."""
    shown = set(enabled)
    events: dict[str, dict[str, int]] = {}
    for item, counts in zip(program.events, now.counters, strict=False):
        before = base.counters[item.index] if item.index < len(base.counters) else _ZEROS
        change = [after - earlier for after, earlier in zip(counts, before, strict=True)]
        if any(change) or item.index in shown:
            known = events.setdefault(str(id_of(item)), dict.fromkeys(COUNTER_NAMES, 0))
            for name, value in zip(COUNTER_NAMES, change, strict=True):
                known[name] += value
    facts = {
        "events": events,
        "committed": now.committed - base.committed,
        "overwritten": now.overwritten - base.overwritten,
        "missed": missed,
        "left_out": left_out,
        "alive": program.alive,
        "exact": exact and now.exact,
    }
    return stream.pack_ledger(program.number, facts)


def program_facts(program: TracedProgram) -> dict[str, object]:
    """Return what there is to tell of a program, for JSON."""
    return {
        "pid": program.pid,
        "uid": program.uid,
        "comm": program.comm,
        "cmdline": program.session.cmdline,
        "alive": program.alive,
        "run": program.facts.run,
        "problem": program.problem,
        "events": [_event_facts(item) for item in program.events],
    }


def native_facts(program: NativeProgram, events: Iterable[UserEvent]) -> dict[str, object]:
    """Return what there is to tell of a native program that has registered these events, for JSON."""
    return {
        "pid": program.pid,
        "uid": program.uid,
        "comm": program.comm,
        "cmdline": program.cmdline,
        "alive": program.alive,
        "run": program.facts.run,
        "problem": None,
        "native": True,
        "events": [_native_event_facts(event) for event in events],
    }


def _native_event_facts(event: UserEvent) -> dict[str, object]:
    return {
        "text": f"{event.name} {fields_text(event.fields)}".rstrip(),
        "id": event.id,
        "enabled": event.status != 0,
        "multi_format": event.multi,
        "error": None,
        "reason": None,
    }


def _event_facts(item: DeclaredEvent) -> dict[str, object]:
    return {
        "text": item.text,
        "id": item.event.id if item.event else 0,
        "enabled": bool(item.word & WORD_ENABLED),
        "error": item.refusal.name if item.refusal else None,
        "reason": item.refusal.reason if item.refusal else None,
    }
