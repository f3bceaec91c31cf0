"""get, put and the deferred destroy: when an event goes, and when it cannot.

The rule that everything turns on: when an auto-delete event loses its last reference, one reference
is taken again *on behalf of the work item*. Until that item runs the event can still be found, so
a process registering the same name in that window gets the living event, not a name clash.

Source: user_events contract, lifecycle.md sections 3 to 5.
"""

import errno
import itertools
from collections.abc import Callable

from ..errors import Refused
from .event import UserEvent
from .history import Clock, History
from .ids import IdPool
from .ports import Observer
from .profile import Profile
from .table import EventTable
from .work import WorkQueue

ALERT_PERSISTENT = "BUG: Auto-delete engaged on persistent event"
WARN_QUEUE = "user_events: Unable to queue delayed destroy"
WARN_DESTROY = "user_events: Unable to delete event"

Log = Callable[[str, str], None]


class DestroyWork:
    """The queued destroy of one event; it owns one reference until it runs."""

    kind = "destroy"

    def __init__(self, lifecycle: "Lifecycle", event: UserEvent) -> None:
        self.event = event
        self._lifecycle = lifecycle

    def run(self) -> None:
        """Let go; destroy the event unless somebody came back for it."""
        self._lifecycle.run_destroy(self.event)


class Lifecycle:
    """The reference rules of one group."""

    def __init__(
        self,
        profile: Profile,
        table: EventTable,
        ids: IdPool,
        queue: WorkQueue,
        log: Log,
        *,
        recover: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.profile = profile
        self.table = table
        self.ids = ids
        self.queue = queue
        self.log = log
        self.recover = recover
        """Keep the promise of the kernel's comments: a stuck event goes at its next last put, or by hand."""
        self.history = History(clock)
        self.observers: list[Observer] = []
        self.mm_numbers = itertools.count(1)
        """Numbers for user-event-mms, which have no address to be told apart by."""
        self.before_destroy: Callable[[UserEvent], None] | None = None
        """Called before an event is taken out of the tree; raising `Refused` makes the destroy fail."""

    def last_reference(self, event: UserEvent) -> int:
        """The count at which `event` may be deleted by hand.

        Source: user_events contract, lifecycle.md section 4.
        """
        return 1 if event.persist or (self.recover and event.stuck) else 0

    def get(self, event: UserEvent) -> None:
        """Count one more holder."""
        if event.refcnt == 0:
            self.log("warn", "refcount_t: addition on 0; use-after-free.")
        event.refcnt += 1

    def put(self, event: UserEvent) -> None:
        """Count one holder less; the last one of an auto-delete event queues its destroy."""
        event.refcnt -= 1
        if event.refcnt == 1 and event.stuck and self.recover:
            event.stuck = 0
            self._queue_destroy(event)
        elif event.refcnt > 0:
            return
        elif event.persist:
            self.log("alert", ALERT_PERSISTENT)
            self.history.note(event, "put too often")
        else:
            self._retake(event)
            self._queue_destroy(event)

    def run_destroy(self, event: UserEvent) -> None:
        """The work item's turn: drop its reference, and destroy the event if that was the last."""
        event.work = None
        event.refcnt -= 1
        if event.refcnt > 0:
            self.history.note(event, "kept", "somebody came before the destroy ran")
            return
        try:
            self.destroy(event)
        except Refused as refused:
            self.log("warn", WARN_DESTROY)
            self.history.note(event, "destroy failed", refused.reason)
            event.refcnt = 1
            event.stuck = 1

    def destroy(self, event: UserEvent) -> None:
        """Take the event out of the tree and forget it; raises `Refused` and leaves it listed when that fails."""
        fields, event.fields = event.fields, ()
        try:
            if self.before_destroy is not None:
                self.before_destroy(event)
            if event.status:
                raise Refused(errno.EBUSY, f"event '{event.tracepoint_name}' is still enabled")
        except Refused:
            if self.profile.keeps_fields_on_failed_destroy:
                event.fields = fields
            raise
        event.fields = fields
        event.listed = False
        event.refcnt = event.stuck = 0
        self.history.close(event)
        self.table.remove(event)
        self.ids.free(event.id)
        for observer in tuple(self.observers):
            observer.event_removed(event)

    def _retake(self, event: UserEvent) -> None:
        """Take the last reference again, for the work item: the event stays findable until it runs."""
        event.refcnt = 1

    def _queue_destroy(self, event: UserEvent) -> None:
        work = DestroyWork(self, event)
        if self.queue.push(work):
            event.work = work
            self.history.note(event, "last put", "its destroy is queued")
            return
        event.stuck = 1
        self.history.note(event, "last put", "its destroy could not be queued")
        self.log("warn", WARN_QUEUE)
