"""What live programs declare, read straight from their session files: no tracer is needed to look."""

import contextlib
import errno
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from ..abi.user_events import USER_EVENT_REG_MULTI_FORMAT, USER_EVENTS_MULTI_SYSTEM, USER_EVENTS_SYSTEM
from ..control import Tracer
from ..control.events import EventName, Pattern
from ..errors import Malformed, NoTracer, Refused, Unusable, UserEventsError
from ..fields import clash, parse_fields
from ..fields.escape import printable
from ..session import directory, layout, locks
from ..session.consumer import SessionFile
from .reach import NobodyRuns, join

_ANSWER_S = 3.0


class Declared(NamedTuple):
    """One event as one live program declares it."""

    event: str
    state: str
    """``on``, ``off`` or ``refused``."""
    error: str
    """The errno's name if a tracer refused the declaration, else empty."""
    pid: int
    program: str
    fields: str
    attempts: int
    dropped: int
    multi_format: bool
    dropped_by: dict[str, int]
    """The dropped ones by reason (docs/formats/session.md), only reasons that occurred."""
    uid: int
    """Whose program it is."""
    reason: str = ""
    """Why it was refused, where another live program's declaration shows it."""
    native: bool = False
    """Registered through a door: what such a program attempts is not counted."""
    late_answers: int = 0
    """How many first answers of a tracer the program waited for and did not have in time: till then it drops."""

    def facts(self) -> dict[str, object]:
        """The same for JSON, with null for what is not counted."""
        return self._asdict() | ({"attempts": None, "dropped": None} if self.native else {})


def live_sessions() -> Iterator[SessionFile | str]:
    """Yield the session of each live program of this user, or a sentence about a file that is none.

    For root, while the system's tracer runs: of each user.
    """
    for place, acting, is_own in _places():
        with acting:
            found = list(_sessions(place, is_own=is_own))
        for session in found:
            if isinstance(session, str) or locks.lives(session.header, session.fd):
                yield session
            if not isinstance(session, str):
                session.close()


def _places() -> Iterator[tuple[str, AbstractContextManager[None], bool]]:
    """Directories to look in, as whom, and whether that is we ourselves."""
    yield from ((place, contextlib.nullcontext(), True) for place in directory.tracer_candidates())
    if os.geteuid() == 0 and not os.environ.get("USEREVENTS_DIR") and locks.tracer_lives(directory.SYSTEM):
        from ..host.acting import acting_as  # loading the tracer's room takes longer than all the rest
        from ..host.places import users

        for uid, gid in users():
            yield from (
                (place, acting_as(uid, gid), False) for place in directory.of_user(uid) if os.path.lexists(place)
            )


def _sessions(place: str, *, is_own: bool) -> Iterator[SessionFile | str]:
    """The sessions in a directory, and what is wrong with it or with files in it."""
    try:
        directory.check(place)
        names = os.listdir(place)
    except (Unusable, OSError) as error:
        if is_own and os.path.lexists(place):
            yield str(error)
        return
    for name in sorted(names):
        if not name.endswith(layout.SESSION_SUFFIX) or name.startswith("."):
            continue
        try:
            yield SessionFile(place, name)
        except FileNotFoundError:
            continue
        except (Malformed, OSError) as error:
            yield str(error)


def declared_events(pattern: str | None, pids: Sequence[int]) -> tuple[list[Declared], list[str]]:
    """Return what live programs declare, by event and pid, and sentences about what could not be read."""
    found: list[Declared] = []
    of_threads: list[Declared] = []
    problems: list[str] = []
    for session in live_sessions():
        if isinstance(session, str):
            problems.append(session)
        elif not pids or session.header.pid in pids:
            try:
                (of_threads if session.is_lane else found).extend(_events(session))
            except (Malformed, OSError) as error:
                problems.append(str(error))
    return _matching(pattern, _with_reasons(_with_threads(found, of_threads))), problems


def native_events(pattern: str | None, pids: Sequence[int]) -> tuple[list[Declared], list[str]]:
    """Return what native programs have registered through doors of the tracer that runs; nothing without one.

    Beside it sentences about what could not be asked: a tracer that is silent is not waited for.
    """
    try:
        with contextlib.closing(join(timeout=_ANSWER_S)) as access:
            programs = Tracer(access).info().get("programs")
    except NobodyRuns:
        return [], []
    except NoTracer as error:
        return [], [f"what native programs have registered is not listed: {error}"]
    except UserEventsError:
        return [], []
    found = [
        _native(program, event)
        for program in (programs if isinstance(programs, list) else [])
        if program.get("native") and (not pids or program["pid"] in pids)
        for event in program["events"]
    ]
    return _matching(pattern, found), []


def _native(program: dict[str, Any], event: dict[str, Any]) -> Declared:
    name, fields = split_declaration(event["text"].encode("latin-1"))
    return Declared(
        event=name,
        state="on" if event["enabled"] else "off",
        error="",
        pid=program["pid"],
        program=printable(" ".join(program["cmdline"]) or program["comm"]),
        fields=fields,
        attempts=0,
        dropped=0,
        multi_format=event["multi_format"],
        dropped_by={},
        uid=program["uid"],
        native=True,
    )


def declared_names() -> list[str]:
    """Return the names of all events that live programs declare: for shell completion."""
    return sorted({item.event for item in declared_events(None, ())[0]})


def split_declaration(text: bytes) -> tuple[str, str]:
    """An event's name and its fields as people read them."""
    name, _, fields = text.decode("utf-8", "backslashreplace").partition(" ")
    return printable(name), printable(fields.strip())


def _with_threads(found: Sequence[Declared], of_threads: Sequence[Declared]) -> list[Declared]:
    """Add what threads counted in sessions of their own to what their process shows."""
    counts: dict[tuple[int, str, str], tuple[int, Counter[str]]] = {}
    for item in of_threads:
        key = item.pid, item.event, item.fields
        attempts, dropped_by = counts.get(key, (0, Counter()))
        counts[key] = attempts + item.attempts, dropped_by + Counter(item.dropped_by)
    whole = []
    for item in found:
        attempts, more = counts.pop((item.pid, item.event, item.fields), (0, Counter()))
        total = Counter(item.dropped_by) + more
        attempts += item.attempts
        whole.append(item._replace(attempts=attempts, dropped=total.total(), dropped_by=dict(total)))
    return whole


def _with_reasons(found: Sequence[Declared]) -> Iterator[Declared]:
    """Say where a declaration that was refused with EADDRINUSE differs from the one that was first."""
    accepted = {item.event: item for item in found if item.state != "refused" and not item.multi_format}
    for item in found:
        first = accepted.get(item.event)
        if item.error == "EADDRINUSE" and first is not None:
            yield item._replace(reason=f"{_clash(first, item)}; pid {first.pid} registered it")
        else:
            yield item


def _clash(first: Declared, refused: Declared) -> str:
    try:
        return clash(first.event, parse_fields(first.fields), refused.fields)
    except Refused:
        return f"event '{first.event}' is already registered as '{first.fields}'"


def _matching(pattern: str | None, found: Iterable[Declared]) -> list[Declared]:
    """What ``[SYSTEM:]EVENT`` means, in order."""
    wanted = Pattern.parse(pattern or "")
    systems = {True: USER_EVENTS_MULTI_SYSTEM, False: USER_EVENTS_SYSTEM}
    return sorted(item for item in found if wanted.matches(EventName(systems[item.multi_format], item.event)))


def _events(session: SessionFile) -> Iterator[Declared]:
    declared = list(session.new_declarations(0))
    count = len(declared)
    columns = zip(declared, session.words(count), session.answers(count), session.counters(count), strict=True)
    program = " ".join(session.cmdline) or session.comm
    for item, word, (_, refused), counters in columns:
        name, fields = split_declaration(item.text)
        reasons = zip(layout.DROP_REASONS, counters[layout.RING_FULL : layout.TRACER_GONE + 1], strict=True)
        dropped_by = {reason: count for reason, count in reasons if count}
        yield Declared(
            event=name,
            state="refused" if refused else "on" if word & layout.WORD_ENABLED else "off",
            error=errno.errorcode.get(refused, str(refused)) if refused else "",
            pid=session.header.pid,
            program=printable(program),
            fields=fields,
            attempts=counters[layout.ATTEMPTS],
            dropped=sum(dropped_by.values()),
            multi_format=bool(item.flags & USER_EVENT_REG_MULTI_FORMAT),
            dropped_by=dropped_by,
            uid=os.fstat(session.fd).st_uid,
            late_answers=session.late_answers(),
        )
