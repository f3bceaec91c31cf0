"""Everything there is to know about an event, gathered for `info`: from a tracing tree, and from programs' sessions."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from ..control import Access, Tracer
from ..control.events import GONE, EventControl, EventName, Pattern, all_events, instance_prefix
from ..control.history import Entry, GoneEvent, History, read_history
from ..errors import Malformed, Refused
from ..fields import Field, fields_text, parse_fields
from .reach import kernel_text, shown
from .sessions import Declared, split_declaration

TOP: Final = "top instance"


class Holder(NamedTuple):
    """One reference to an event."""

    kind: str
    who: str


class Listener(NamedTuple):
    """What one instance does with an event."""

    instance: str
    enabled: str
    """What its ``enable`` reads."""
    filter: str
    filter_error: str
    """Why the filter was refused; then it is not in force."""
    triggers: list[str]


class Program(NamedTuple):
    """A live program that declares an event."""

    pid: int
    program: str
    state: str
    """``on``, ``off`` or ``refused``."""
    reason: str
    """Why it was refused."""
    attempts: int | None
    dropped: int | None


class Happened(NamedTuple):
    """Something that happened to an event."""

    seconds_ago: float
    what: str
    who: str


class EventFacts(NamedTuple):
    """One event; None stands for what cannot be known: of a kernel, without a tracer, of an event that is gone."""

    event: str
    declaration: str
    id: int | None
    gone: bool
    persist: bool | None
    multi_format: bool
    fields: tuple[Field, ...] | None
    held_by: list[Holder] | None
    programs: list[Program] | None
    listeners: list[Listener] | None
    history: list[Happened] | None

    def as_json(self) -> dict[str, Any]:
        """The same with plain values only."""
        nested = {
            name: [item._asdict() for item in value]
            for name, value in self._asdict().items()
            if isinstance(value, list | tuple)
        }
        return self._asdict() | nested


class Facts:
    """What a tree tells; `declared` is what live programs declare."""

    def __init__(self, access: Access, declared: Sequence[Declared]) -> None:
        self._access = access
        self._declared = {(item.pid, item.event, item.fields): item for item in declared}
        tracer = Tracer(access)
        programs = tracer.info().get("programs")
        self._programs = programs if isinstance(programs, list) else None
        self._holders = tracer.holders()
        self._history: History | None = read_history(access)
        self._instances = [("", TOP), *((name, f"instance {shown(name)}") for name in tracer.instances())]

    def matching(self, pattern: str) -> list[EventFacts]:
        """The events a pattern names, those that are gone last: of a name that lives again, only the living one."""
        wanted = Pattern.parse(kernel_text(pattern))
        living = [event for event in all_events(self._access) if wanted.matches(event)]
        found = [facts for event in living if (facts := self._facts(event)) is not None]
        gone = {} if self._history is None else {item.event: item for item in self._history.gone}
        for item in gone.values():
            name = EventName(*item.event.split(":", 1))
            if wanted.matches(name) and name not in living:
                found.append(self._gone(name, item))
        return found

    def _facts(self, event: EventName) -> EventFacts | None:
        control = EventControl(self._access, "", event)
        try:
            event_id, layout = control.id, control.format
        except Refused as refused:
            if refused.name in GONE:
                return None
            raise
        holders = [Holder(*holder.partition(" ")[::2]) for holder in self._holders.get(str(event), ())]
        return EventFacts(
            event=shown(str(event)),
            declaration=shown(f"{event.registered_name} {fields_text(layout.fields)}".rstrip()),
            id=event_id,
            gone=False,
            persist=any(holder.kind == "self" for holder in holders) if holders else None,
            multi_format=event.is_multi,
            fields=_shown_fields(layout.fields),
            held_by=[Holder(kind, shown(who)) for kind, who in holders] if holders else None,
            programs=self._programs_of(event, event_id),
            listeners=[self._listener(event, name, title) for name, title in self._instances],
            history=self._happened(self._history.events.get(str(event), ())) if self._history else None,
        )

    def _gone(self, event: EventName, item: GoneEvent) -> EventFacts:
        return EventFacts(
            event=shown(str(event)),
            declaration=shown(f"{event.registered_name} {item.fields}".rstrip()),
            id=item.id,
            gone=True,
            persist=None,
            multi_format=event.is_multi,
            fields=None,
            held_by=None,
            programs=None,
            listeners=None,
            history=self._happened(item.entries),
        )

    def _listener(self, event: EventName, instance: str, title: str) -> Listener:
        try:
            control = EventControl(self._access, instance_prefix(self._access, instance), event)
            kept = control.filter
            triggers = [shown(line) for line in control.triggers]
            return Listener(title, control.enabled, shown(kept.text), kept.error, triggers)
        except Refused as refused:
            if refused.name not in GONE:
                raise
            return Listener(title, "0", "", "", [])

    def _programs_of(self, event: EventName, event_id: int) -> list[Program] | None:
        """The programs whose declaration became this event, and those that were refused its name."""
        if self._programs is None:
            return None
        found = []
        for program in self._programs:
            for declared in program["events"]:
                name, fields = split_declaration(declared["text"].encode("latin-1"))
                refused = declared["error"] and name == shown(event.registered_name)
                if refused or declared["id"] == event_id:
                    state = "refused" if refused else "on" if declared["enabled"] else "off"
                    counts = self._declared.get((program["pid"], name, fields))
                    found.append(
                        Program(
                            program["pid"],
                            counts.program if counts else program["comm"],
                            state,
                            f"{declared['error']}: {declared['reason']}" if refused else "",
                            counts.attempts if counts else None,
                            counts.dropped if counts else None,
                        )
                    )
        return found

    def _happened(self, entries: Sequence[Entry]) -> list[Happened]:
        now_ns = self._history.now_ns if self._history is not None else 0
        return [Happened((now_ns - entry.at_ns) / 1e9, entry.what, shown(entry.who)) for entry in entries]


def declared_only(declared: Sequence[Declared]) -> list[EventFacts]:
    """What live programs declare, where no tracer runs: nothing is registered, so nothing holds it."""
    by_text: dict[tuple[str, str, bool], list[Declared]] = {}
    for item in declared:
        by_text.setdefault((item.event, item.fields, item.multi_format), []).append(item)
    return [
        EventFacts(
            event=name,
            declaration=f"{name} {text}".rstrip(),
            id=None,
            gone=False,
            persist=None,
            multi_format=multi,
            fields=_parsed(text),
            held_by=None,
            programs=[
                Program(item.pid, item.program, item.state, item.reason, item.attempts, item.dropped) for item in items
            ],
            listeners=None,
            history=None,
        )
        for (name, text, multi), items in by_text.items()
    ]


def _parsed(text: str) -> tuple[Field, ...] | None:
    try:
        return parse_fields(text)
    except (Refused, Malformed):
        return None


def _shown_fields(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    return tuple(field._replace(ctype=shown(field.ctype), name=shown(field.name)) for field in fields)
