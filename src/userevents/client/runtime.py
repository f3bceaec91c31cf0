"""The one place of a process that knows its sessions: which event is declared where, through fork and exit.

No thread, no daemon, nothing at all before the first declaration. Whatever fails here turns tracing off
for the events concerned and is kept in `why_off`; it never reaches the program.

The first declaration also decides where events go: to the kernel, where this process may open its
``user_events_data``, else to sessions. USEREVENTS_BACKEND chooses by hand.
"""

import atexit
import os
import warnings
from _thread import RLock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import Unusable
from ..fields import Field
from ..session import directory, layout, producer
from ..session.producer import Declared, Session
from .native import make_writer
from .packing import forget_thread

if TYPE_CHECKING:
    from .kernel import KernelWriter
    from .native import SessionWriter

OFF = memoryview(bytes(4)).cast("I")
"""The enable word of an event that is declared nowhere."""

BACKENDS = ("auto", "kernel", "session")
"""What USEREVENTS_BACKEND may say."""


class EventWriter(Protocol):
    """What an event writes with: a session's `Writer`, or `kernel.KernelWriter`."""

    def commit(self, index: int, body: bytes) -> None:
        """Write one record, or count why not."""

    def drop(self, index: int, reason: int) -> None:
        """Count one attempt that was dropped for `reason`."""

    def await_answer(self, index: int) -> int:
        """Wait until the tracer has answered; return the event's word, 0 when no answer came."""

    def stats(self, index: int) -> dict[str, int]:
        """Return what was counted of the event."""


class Bindable(Protocol):
    """An event as the runtime sees it: its declaration, and where to tell it which word is its own."""

    declared: Declared
    fields: tuple[Field, ...]

    def bind(self, writer: EventWriter | None, words: "memoryview[int]", index: int) -> None:
        """Use this writer and word from now on."""


class Aside(NamedTuple):
    """Where a process's events were before `Runtime.move`: what `Runtime.restore` goes back to."""

    pid: int
    place: str | None
    chosen: bool
    kernel: "KernelWriter | None"
    in_kernel: "list[Bindable]"
    writers: "list[SessionWriter]"
    events: "list[list[Bindable]]"


class Runtime:
    """The sessions of this process and the events declared in them; or the kernel, which then has them all."""

    def __init__(self) -> None:
        self.why_off: str | None = None
        self._lock = RLock()
        self._place: str | None = None
        """The runtime directory that `move` chose; None: the first that serves."""
        self._chosen = False
        self._kernel: KernelWriter | None = None
        self._in_kernel: list[Bindable] = []
        self._writers: list[SessionWriter] = []
        self._events: list[list[Bindable]] = []
        self._undeclared: list[Bindable] = []
        self._hooked = False

    def declare(self, event: Bindable) -> None:
        """Declare an event to the kernel, or in a session of this process, made if none has room. Never raises."""
        with self._lock:
            self._undeclared.append(event)
            self._try_to_declare()

    def _try_to_declare(self) -> None:
        try:
            self._declare_all()
            self.why_off = None
        except (OSError, Unusable, ValueError) as error:
            self.why_off = str(error)

    def move(self, place: str) -> Aside:
        """Declare every event of this process anew, in sessions in the runtime directory `place`. Never raises.

        For a tracer of one's own, as in a test: until `restore`, nobody else's tracer sees what is emitted. The
        sessions so far stay as they are.
        """
        with self._lock:
            place_before, kernel, in_kernel = self._place, self._kernel, self._in_kernel
            aside = Aside(os.getpid(), place_before, self._chosen, kernel, in_kernel, self._writers, self._events)
            self._undeclared = self._declared() + self._undeclared
            self._place, self._chosen, self._kernel, self._in_kernel = place, True, None, []
            self._writers, self._events = [], []
            self._try_to_declare()
            return aside

    def restore(self, aside: Aside) -> None:
        """Go back to where `move` found the events; those declared meanwhile come along. Not in a forked child."""
        if aside.pid != os.getpid():
            return
        with self._lock:
            left, here = self._writers, self._declared() + self._undeclared
            _, self._place, self._chosen, self._kernel, self._in_kernel, self._writers, self._events = aside
            known = set(map(id, self._declared()))
            self._undeclared = [event for event in here if id(event) not in known]
            for event in self._undeclared:
                event.bind(None, OFF, 0)
            for writer, bound in zip(self._writers, self._events, strict=True):
                for index, event in enumerate(bound):
                    event.bind(writer, writer.words, index)
            if self._kernel is not None:
                self._kernel.bind_all()
            for writer in left:
                writer.remove()
            self._try_to_declare()

    def withdraw(self) -> None:
        """Take the sessions of this process away, drained or not. Its events are declared anew with the next one."""
        with self._lock:
            left = self._writers
            self._undeclared = [event for bound in self._events for event in bound] + self._undeclared
            self._writers, self._events = [], []
            for event in self._undeclared:
                event.bind(None, OFF, 0)
            for writer in left:
                writer.remove()

    def _declared(self) -> "list[Bindable]":
        return [event for bound in self._events for event in bound] + self._in_kernel

    def _declare_all(self) -> None:
        if not self._chosen:
            self._kernel = choose()
            self._chosen = True
        if self._kernel is None and not self._hooked:
            self._hooked = True
            atexit.register(self.leave)
        while self._undeclared:
            event = self._undeclared[0]
            if self._kernel is not None:
                self._kernel.declare(event)
                self._in_kernel.append(event)
                del self._undeclared[0]
                continue
            writer = self._writers[-1] if self._writers else self._add_session(layout.FIRST_CAPACITY)
            born = layout.WORD_PENDING if writer.session.tracer_lives() else 0
            index = writer.declare(event.declared, word=born)
            if index is None:
                writer = self._add_session(min(2 * writer.session.geometry.capacity, layout.MAX_CAPACITY))
                index = writer.declare(event.declared, word=born)
                if index is None:
                    raise Unusable(f"a declaration of {len(event.declared.text)} bytes fits no session")
            del self._undeclared[0]
            self._events[-1].append(event)
            event.bind(writer, writer.words, index)
            writer.session.ring_bell()

    def _add_session(self, capacity: int) -> "SessionWriter":
        place = self._place or directory.program_directory()
        producer.sweep(place)
        run = os.environb.get(b"USEREVENTS_RUN", b"")
        writer = make_writer(Session(place, capacity, run=run))
        self._writers.append(writer)
        self._events.append([])
        return writer

    def leave(self) -> None:
        """At clean exit: take away the sessions whose events have all been drained."""
        for writer in self._writers:
            writer.leave()

    def before_fork(self) -> None:
        """Finish what other threads declare, so that the child copies whole declarations."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Let declarations go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """Give the child sessions of its own, with its parent's declarations, words and ids, before user code runs.

        An event that was enabled stays enabled: the child makes its own ring at its first enabled call.
        """
        self._lock = RLock()
        forget_thread()
        if self._kernel is not None:
            self._kernel.after_fork_in_child()
        parents, events = self._writers, self._events
        self._writers, self._events = [], []
        for event in (event for bound in events for event in bound):
            event.bind(None, OFF, 0)  # what is emitted meanwhile must not go into the parent's ring
        for parent, bound in zip(parents, events, strict=True):
            parent.abandon()
            try:
                old = parent.session
                writer = make_writer(Session(old.directory, child_of=old))
            except (OSError, Unusable, ValueError) as error:
                self.why_off = str(error)
                self._undeclared += bound
                continue
            self._writers.append(writer)
            self._events.append(bound)
            for index, event in enumerate(bound):
                event.bind(writer, writer.words, index)
            writer.session.ring_bell()


def choose() -> "KernelWriter | None":
    """Return the kernel as the place of this process's events, None for sessions: as USEREVENTS_BACKEND says.

    What `userevents record` starts uses sessions unless told otherwise, for that is where it is looked for.
    Raises `Unusable` when the kernel is asked for by name and cannot be had.
    """
    asked = os.environ.get("USEREVENTS_BACKEND", "auto")
    if asked not in BACKENDS:
        _warn(f"USEREVENTS_BACKEND='{asked}' is none of {', '.join(BACKENDS)}; 'auto' is used")
        asked = "auto"
    if asked == "session" or (asked == "auto" and os.environ.get("USEREVENTS_RUN")):
        return None
    from .kernel_file import open_data  # only where it may be needed

    try:
        fd = open_data()
        from .kernel import KernelWriter

        return KernelWriter(fd)
    except (OSError, Unusable) as error:
        if asked == "auto":
            return None
        raise Unusable(
            f"USEREVENTS_BACKEND=kernel, but this process cannot use the kernel's user_events: {error} "
            f"(USEREVENTS_BACKEND=session does without a kernel)"
        ) from None


def _warn(text: str) -> None:
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=6)
    except Warning:  # warnings were turned into errors: a variable must not keep a program from starting
        pass


runtime = Runtime()
os.register_at_fork(
    before=runtime.before_fork,
    after_in_parent=runtime.after_fork_in_parent,
    after_in_child=runtime.after_fork_in_child,
)
