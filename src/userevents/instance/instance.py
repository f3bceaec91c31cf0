"""A trace instance: which events it has enabled, by hand or by pattern, for whom, and its stream."""

from collections.abc import Callable, Iterable, KeysView
from itertools import islice

from ..abi.user_events import EVENT_STATUS_FTRACE
from ..engine import Group, UserEvent, Writer
from ..errors import Refused
from .body import stack_body
from .context import InstanceContext
from .error_log import ErrorLog
from .event_file import EventFile
from .lines import Lines
from .machine import Machine
from .options import Options
from .patterns import Pattern
from .pid_list import PidList
from .queue import StreamQueue
from .recorder import Recorder, Rings
from .requests import parse_request
from .selection import Selection
from .trigger_context import TriggerContext

Tap = Callable[[UserEvent, bytes, Writer], bool]
"""Takes a write of an event that a recording wants; False if its payload is not valid."""


class Instance:
    """One independent consumer of events; the top one has the empty name.

    It holds one reference to every event it has enabled. Events may be enabled by hand (`enable`) or
    by pattern (`set_patterns`); new patterns undo only what patterns did.

    Source: user_events contract, tracefs.md sections 1 and 9.
    """

    status_bit = EVENT_STATUS_FTRACE

    def __init__(self, name: str, group: Group, machine: Machine | None = None) -> None:
        self.name = name
        self.machine = machine if machine is not None else Machine()
        self.recorder = Recorder(self.machine, expanded=bool(name))
        """The rings that the tree shows: what is written through the tree, and what `feeds` says of other processes."""
        self.options = Options(self.machine.printk, top=not name)
        self.recorder.overwrite = self.options["overwrite"]
        self.errors = ErrorLog()
        self.pids = PidList()
        self.others_enabled = False
        """Whether the events of other kinds are enabled, where there are any."""
        self.stream = StreamQueue()
        self.tap: Tap | None = None
        """Where writes through the tree go that the stream is to have."""
        self.tell_lost: Callable[[UserEvent, Writer, int], None] | None = None
        """Where to count those of them that were lost on their way."""
        self.changes = 0
        """Grows with every change of what is enabled, wanted or selected."""
        self.request = ""
        """What a client asked of the recording (see requests.py) until whoever feeds the stream has done it."""
        self.is_flight = False
        """Whether nothing is handed out before it is asked for: programs keep the newest."""
        self.buffer_size = 0
        """The bytes of ring that each program is to have, 0 for as many as usual."""
        self.until_ns = 0
        """Before which time the records of a capture were written."""
        self._watched: str | None = None
        """The filter of an instance whose patterns' events go into its rings; empty: all their records."""
        self._group = group
        self._files: dict[UserEvent, EventFile] = {}
        self._enabled: dict[UserEvent, bool] = {}
        self._states: dict[UserEvent, tuple[bool, bool, bool]] = {}
        """Whether an event is attached, recorded, has triggers; as of its last change."""
        self._tapped: dict[UserEvent, bool] = {}
        self._tapped_at = 0
        self._must_clear = False
        self._patterns: tuple[Pattern, ...] = ()
        self._selection = Selection()
        group.observers.append(self)

    def __repr__(self) -> str:
        return f"<Instance {self.name or '(top)'!r}>"

    @property
    def holder_name(self) -> str:
        """What an event's holders call it."""
        return f"instance {self.name}" if self.name else "top instance"

    @property
    def enabled(self) -> KeysView[UserEvent]:
        """The events that are recorded, by whomever enabled: a live set."""
        return self._enabled.keys()

    def streams(self, event: UserEvent) -> bool:
        """Whether records of `event` go into the stream, as they come: a pattern wants it.

        The top instance has no recording: all that it enables is for its rings.
        """
        return self._watched is None and bool(self.name) and event in self._enabled and self._wants(event)

    @property
    def has_recording(self) -> bool:
        """Whether programs' pages go into the stream as they are."""
        return bool(self.name and self._patterns) and self._watched is None

    def feeds(self, event: UserEvent) -> bool:
        """Whether records of `event` that other processes wrote go into the rings, one by one.

        They do where it was enabled by hand or has triggers; what only a pattern wants is left to the stream.
        """
        found = self._files.get(event)
        if found is None or not found.attached:
            return False
        return found.has_triggers or self._watched is not None or not (self.name and self._enabled.get(event))

    @property
    def is_fed(self) -> bool:
        """Whether any event goes into the rings so, or will: a program must be known before its first record."""
        return self._watched is not None or any(self.feeds(event) for event in self._files)

    def judges(self, event: UserEvent) -> bool:
        """Whether anything looks at records before they are kept: a trigger, a filter, a list of threads or CPUs."""
        has_triggers = any(triggered for _, _, triggered in self._states.values())
        if has_triggers or self.pids.judges or self.options["stacktrace"] or len(self.recorder.cpus) < self.cpus:
            return True
        return self.file(event).has_filter

    @property
    def group(self) -> Group:
        """The events there are."""
        return self._group

    @property
    def patterns(self) -> tuple[str, ...]:
        """The patterns in force."""
        return tuple(str(pattern) for pattern in self._patterns)

    @property
    def selection(self) -> Selection:
        """Which processes are recorded."""
        return self._selection

    def ask(self, text: str) -> None:
        """Ask something of the recording, in the words of requests.py; raises `Refused` (EINVAL) for anything else."""
        request = parse_request(text)
        if request.verb == "flight":
            self.is_flight = True
        elif request.verb == "buffer":
            self.buffer_size = request.number
        elif request.verb == "until":
            self.until_ns = request.number
        elif request.verb == "watch":
            self._watched = request.name
        else:
            self.request = text
        self.changes += 1

    def file(self, event: UserEvent) -> EventFile:
        """The state of `event` here."""
        found = self._files.get(event)
        if found is None:
            found = self._files[event] = EventFile(self, event)
        return found

    def attached(self, event: UserEvent) -> bool:
        """Whether the instance listens to `event`, if only for its triggers."""
        found = self._files.get(event)
        return found is not None and found.attached

    def enable(self, event: UserEvent) -> None:
        """Record `event`; nothing happens if it is enabled already."""
        self.file(event).enable()
        if self._enabled.get(event, True):
            self._enabled[event] = False
            self.changes += 1

    def disable(self, event: UserEvent) -> None:
        """Record `event` no more; nothing happens if it is not enabled."""
        found = self._files.get(event)
        if found is not None:
            found.disable()

    def disable_all(self) -> None:
        """Stop listening to every event, those of other kinds included."""
        self.others_enabled = False
        for found in tuple(self._files.values()):
            if found.attached:
                found.disable()

    def set_patterns(self, patterns: Iterable[str]) -> None:
        """Want exactly what these patterns match, now and in the future, besides what is enabled by hand."""
        self._patterns = tuple(Pattern.parse(text) for text in patterns)
        self.changes += 1
        for event, by_pattern in tuple(self._enabled.items()):
            if by_pattern and not self._wants(event):
                self.disable(event)
        for event in self._group.events:
            self.event_added(event)

    def set_selection(self, selection: Selection) -> None:
        """Record only the processes that `selection` selects."""
        self._selection = selection
        self.changes += 1

    def release(self) -> None:
        """Let go of everything: the instance is being removed."""
        if self in self._group.observers:
            self._group.observers.remove(self)
        self._patterns = ()
        self.disable_all()
        for found in tuple(self._files.values()):
            found.clear_triggers()
        self.options.release()
        self.stream.close()

    def event_added(self, event: UserEvent) -> None:
        """Enable a new event that a pattern wants."""
        if self._patterns and event not in self._enabled and self._wants(event):
            if self._watched:
                try:
                    self.file(event).set_filter(self._watched)
                except Refused:
                    return  # its `filter` file says why
            self.file(event).enable()
            self._enabled[event] = True

    def event_removed(self, event: UserEvent) -> None:
        """Forget the event's state; records of it that are left are for `reset_if_due`."""
        found = self._files.pop(event, None)
        self._states.pop(event, None)
        if found is not None and found.was_attached:
            self._must_clear = True

    def event_refused(self, text: str, who: str, refused: Refused) -> None:
        """Nothing: who asked has been told."""

    def reset_if_due(self) -> None:
        """Empty the rings if an event that had been recorded is gone: deletions by hand end with this.

        Source: user_events contract, lifecycle.md section 8.
        """
        if self._must_clear:
            self._must_clear = False
            self.recorder.reset()
            self.recorder.clear_snapshot()

    def record(self, event: UserEvent, payload: bytes, writer: Writer) -> bool:
        """An attached event was written; False if its payload is not valid."""
        if self.tap is not None and self._is_tapped(event):
            is_valid = self.tap(event, payload, writer)
            if not self.feeds(event):
                return is_valid
        return self._files[event].hit(payload, writer)

    def set_option(self, text: str) -> None:
        """Switch a trace option as ``trace_options`` spells it; ``overwrite`` is the rings' own."""
        self.options.apply(text)
        self.recorder.overwrite = self.options["overwrite"]

    def write_mark(self, body: bytes, writer: Writer) -> None:
        """Put a record of no event into the ring."""
        rings = self.rings
        if rings is not None:
            self._put(rings, self.now(), body, writer)

    def task_forked(self, parent: int, child: int) -> None:
        """A thread made another one: with ``event-fork`` that is on the pid lists that its parent is on."""
        if self.options["event-fork"]:
            self.pids.forked(parent, child)

    def task_exited(self, tid: int) -> None:
        """A thread is gone: with ``event-fork`` from the pid lists, too."""
        if self.options["event-fork"]:
            self.pids.exited(tid)

    def lines(self, *, of_snapshot: bool = False) -> Lines:
        """What makes the lines of ``trace``, or of ``snapshot``, which knows no ``latency-format``."""
        recorder = self.recorder
        return Lines(
            self._group, self.machine, self.options, recorder.clock, started=recorder.started, latency=not of_snapshot
        )

    # What an EventFile asks of its owner.

    def attach(self, file: EventFile) -> None:
        """Become a probe of the event; the first time, the rings get their full size."""
        self.recorder.expand()
        file.event.attach(self)

    def detach(self, file: EventFile) -> None:
        """Cease to be a probe of the event."""
        file.event.detach(self)

    def recording_changed(self, file: EventFile) -> None:
        """Keep what is known of the event files true to them."""
        event, state = file.event, (file.attached, file.recording, file.has_triggers)
        if self._states.get(event, (False, False, False)) == state:
            return
        self.changes += 1
        self._states[event] = state
        if file.recording:
            self._enabled.setdefault(event, False)
        else:
            self._enabled.pop(event, None)

    def selects(self, tid: int) -> bool:
        """Whether ``set_event_pid`` lets a thread be recorded."""
        return self.pids.selects(tid)

    @property
    def tracing_on(self) -> bool:
        """Whether the rings take records."""
        return self.recorder.tracing_on

    @property
    def cpus(self) -> int:
        """How many CPUs there are."""
        return self.machine.cpus

    def now(self) -> int:
        """The time of the chosen clock."""
        return self.recorder.now()

    @property
    def rings(self) -> Rings | None:
        """The rings that take records now; None while nothing is recorded."""
        return self.recorder.rings if self.recorder.records else None

    def commit(self, rings: Rings, ts_ns: int, body: bytes, writer: Writer) -> None:
        """Put an event's record into the rings, with the option ``stacktrace`` and where it was written."""
        self._put(rings, ts_ns, body, writer)
        if self.options["stacktrace"]:
            self._put(rings, self.now(), stack_body(writer.tid), writer)

    def _put(self, rings: Rings, ts_ns: int, body: bytes, writer: Writer) -> None:
        """Put a record into the rings, and remember who wrote it."""
        if writer.cpu not in self.recorder.cpus:
            return
        rings[writer.cpu].write(ts_ns, body, overwrite=self.recorder.overwrite)
        self.note(writer)

    def note(self, writer: Writer) -> None:
        """Remember who wrote a record."""
        if self.options["record-cmd"]:
            self.machine.commands.note_name(writer)
        if self.options["record-tgid"]:
            self.machine.commands.note_process(writer)

    def context(self, writer: Writer | None = None, now_ns: int | None = None) -> TriggerContext:
        """What triggers may look at and do."""
        return InstanceContext(self, writer, now_ns)

    def _is_tapped(self, event: UserEvent) -> bool:
        """As `streams`, remembered until something changes: it is asked at every write."""
        if self._tapped_at != self.changes:
            self._tapped_at = self.changes
            self._tapped.clear()
        found = self._tapped.get(event)
        if found is None:
            found = self._tapped[event] = self.streams(event)
        return found

    def _wants(self, event: UserEvent) -> bool:
        matching = (pattern for pattern in reversed(self._patterns) if pattern.matches(event))
        return any(not pattern.excludes for pattern in islice(matching, 1))
