"""One user event: what it is, and everything that holds it.

`refcnt` is the kernel's own arithmetic and decides when the event goes. `holders()` is read from the
structures that hold it. The two must agree after every step: that is the engine's first invariant.

Source: user_events contract, lifecycle.md sections 1 and 2.
"""

import errno
from typing import TYPE_CHECKING, NamedTuple

from ..abi.user_events import EVENT_STATUS_FTRACE, EVENT_STATUS_PERF
from ..errors import Refused
from ..fields import Field

if TYPE_CHECKING:
    from .enabler import Enabler
    from .lifecycle import Lifecycle
    from .open_file import OpenFile
    from .ports import Probe
    from .work import Work

_PROBE_KINDS = {EVENT_STATUS_FTRACE: "ftrace", EVENT_STATUS_PERF: "perf"}


class Holder(NamedTuple):
    """One reference to an event: why it lives."""

    kind: str
    """``self``, ``file``, ``enabler``, ``ftrace``, ``perf``, ``other``, ``call``, ``work`` or ``stuck``."""
    detail: str
    """Who that is, in words; empty where the kind says it all."""


class UserEvent:
    """A registered event. Made and destroyed by the group; others `get`, `put`, `attach` and `detach`."""

    __slots__ = (
        "_lifecycle",
        "borrowed",
        "enablers",
        "fields",
        "files",
        "id",
        "listed",
        "multi",
        "name",
        "persist",
        "probes",
        "refcnt",
        "spelled",
        "status",
        "stuck",
        "system",
        "tracepoint_name",
        "work",
    )

    def __init__(
        self,
        lifecycle: "Lifecycle",
        *,
        name: str,
        tracepoint_name: str,
        system: str,
        event_id: int,
        fields: tuple[Field, ...],
        persist: bool,
        multi: bool,
    ) -> None:
        self._lifecycle = lifecycle
        self.name = name
        """The registered name: ``test`` for every layout of a multi-format event."""
        self.tracepoint_name = tracepoint_name
        """The name in the tree: ``test.0`` for a multi-format event, else `name`."""
        self.system = system
        self.id = event_id
        self.fields = fields
        self.spelled: tuple[tuple[Field, ...], str] | None = None
        """Fields and the text that was last found to declare them."""
        self.persist = persist
        self.multi = multi
        self.status = 0
        """Which kinds of probe are attached (EVENT_STATUS_*); every enabled bit is ``status != 0``."""
        self.listed = False
        """Whether the group lists it; False once destroyed."""
        self.refcnt = 2 if persist else 1
        self.borrowed = 1
        """References taken by calls in progress and by `get`."""
        self.files: dict[OpenFile, None] = {}
        self.enablers: dict[Enabler, None] = {}
        self.probes: dict[Probe, None] = {}
        self.work: Work | None = None
        self.stuck = 0
        """1 when a destroy or its queueing failed: the count that nobody owns."""

    def __repr__(self) -> str:
        return f"<UserEvent {self.system}:{self.tracepoint_name} id={self.id} refcnt={self.refcnt}>"

    @property
    def last_reference(self) -> int:
        """The count at which the event may be deleted by hand: 1 if persistent, else 0, which none shows.

        Source: user_events contract, lifecycle.md section 4.
        """
        return self._lifecycle.last_reference(self)

    def get(self) -> None:
        """Hold the event; it stays until `put`."""
        self._lifecycle.get(self)
        self.borrowed += 1

    def put(self) -> None:
        """Let go of what `get` took. A `put` too many is what the kernel would count it as."""
        if self.borrowed:
            self.borrowed -= 1
        self._lifecycle.put(self)

    def attach(self, probe: "Probe") -> None:
        """Let `probe` listen: takes a reference, sets the status, writes every enabled bit.

        Raises `Refused` with EEXIST if it listens already, ENODEV if the event is gone.
        """
        if not self.listed:
            raise Refused(errno.ENODEV, f"event '{self.tracepoint_name}' is gone")
        if probe in self.probes:
            raise Refused(errno.EEXIST, f"'{probe.holder_name}' already listens to '{self.tracepoint_name}'")
        self.probes[probe] = None
        self._lifecycle.get(self)
        self.note("enabled", probe.holder_name)
        self._update_status()

    def detach(self, probe: "Probe") -> None:
        """Take `probe` off; the reference that `attach` took goes last, and may be the last of all.

        Raises `Refused` with ENOENT if it does not listen.
        """
        if probe not in self.probes:
            raise Refused(errno.ENOENT, f"'{probe.holder_name}' does not listen to '{self.tracepoint_name}'")
        del self.probes[probe]
        self.note("disabled", probe.holder_name)
        self._update_status()
        self._lifecycle.put(self)

    def note(self, what: str, who: str = "") -> None:
        """Keep in the event's history that something happened to it."""
        self._lifecycle.history.note(self, what, who)

    def holders(self) -> list[Holder]:
        """Everything that keeps the event alive, one entry a reference."""
        held = [Holder("self", "persistent")] if self.persist and self.listed else []
        held += [Holder("file", file.label) for file in self.files]
        held += [Holder("enabler", enabler.describe()) for enabler in self.enablers]
        held += [Holder(_PROBE_KINDS.get(probe.status_bit, "other"), probe.holder_name) for probe in self.probes]
        held += [Holder("call", "")] * self.borrowed
        if self.work is not None:
            held.append(Holder("work", "destroy is queued"))
        held += [Holder("stuck", "a destroy failed; nobody owns this count")] * self.stuck
        return held

    def _update_status(self) -> None:
        self.status = 0
        for probe in self.probes:
            self.status |= probe.status_bit
        for enabler in tuple(self.enablers):
            enabler.update()
