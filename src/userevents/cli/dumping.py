"""Writing out what a flight recording holds: from the tracer's stream to a finished trace."""

import os
import time
import uuid
from collections.abc import Iterable
from typing import Any

from ..control import Access, Tracer
from ..control.recorder import RawFile, StreamWriter
from ..errors import NoTracer, Unusable
from ..formats.finish import Finished
from .console import count, say, warn
from .finish import finish

_READ_SIZE = 1 << 20
_PATIENCE_S = 30.0


def flights(tracer: Tracer) -> dict[str, dict[str, int]]:
    """Return the flight recordings that a tracer keeps, by name, with what they hold."""
    found: Any = tracer.info().get("flights")
    return found if isinstance(found, dict) else {}


def choose_flight(tracer: Tracer, name: str | None) -> str:
    """Return the flight recording of this name, or the only one; raises `Unusable` where that is not to be told."""
    known = flights(tracer)
    if name is None and len(known) == 1:
        return next(iter(known))
    if name in known:
        return name
    if not known:
        raise Unusable("no flight recording is going on; start one: userevents record --flight -- PROGRAM")
    names = ", ".join(known)
    if name is None:
        raise Unusable(f"{len(known)} flight recordings are going on; choose one with --of: {names}")
    raise Unusable(f"there is no flight recording '{name}'; there are: {names}")


def write_dump(
    access: Access,
    name: str,
    output: str,
    *,
    last_s: float | None = None,
    notes: Iterable[str] = (),
    quiet: bool = False,
) -> Finished | None:
    """Write what the flight recording `name` holds, of the last `last_s` seconds, to a trace; None if that failed.

    Raises `Unusable` where the output cannot be written, `NoTracer` if the tracer goes away meanwhile.
    """
    since_ns = 0 if last_s is None else max(time.monotonic_ns() - int(last_s * 1e9), 1)
    raw = RawFile(output)
    try:
        writer = StreamWriter(raw, lambda: raw, lambda file: None)
        _copy(access, name, since_ns, writer)
        for note in notes:
            writer.add_note(note)
    except OSError as error:
        raw.discard()
        warn(f"{error.strerror}: the dump could not be written")
        return None
    except BaseException:
        raw.discard()
        raise
    for (_, event), reason in writer.refusals.items():
        warn(f"event '{event}' was refused: {reason}")
    return finish(raw, quiet=quiet)


def _copy(access: Access, name: str, since_ns: int, writer: StreamWriter) -> None:
    instance = Tracer(access).create_instance(f"dump-{os.getpid()}-{uuid.uuid4().hex[:6]}")
    try:
        stream = instance.stream()
        instance.dump(name, since_ns)
        while data := stream.read(_READ_SIZE, timeout=_PATIENCE_S):
            writer.write(data)
        stream.close()
        if data is None:
            raise NoTracer(f"the tracer gave nothing for {_PATIENCE_S:g} seconds")
    finally:
        try:
            instance.remove()
        except NoTracer:
            pass


def tell_dump(done: Finished, seconds: float | None = None) -> None:
    """Say what a dump holds, and what is not in it any more."""
    ledger = done.ledger
    of = "" if seconds is None else f" of {seconds:.1f} s"
    what = f"{count(done.records, 'event')} of {count(len(ledger.processes), 'program')}{of}: {done.path}"
    older = ledger.total("overwritten")
    dropped = sum(ledger.dropped.values())
    kept = f"; {count(older, 'older event')} had been overwritten" if older else ""
    if dropped:
        warn(f"{what}{kept}; {count(dropped, 'event')} LOST (userevents report --summary {done.path} says why)")
    else:
        say(f"{what}{kept}")
