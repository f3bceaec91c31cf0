"""The one place of a process that knows its sessions: which event is declared where, through fork and exit.

No thread, no daemon, nothing at all before the first declaration. Whatever fails here turns tracing off
for the events concerned and is kept in `why_off`; it never reaches the program.
"""

import atexit
import os
from _thread import RLock
from typing import Protocol

from ..errors import Unusable
from ..session import directory, layout, producer
from ..session.producer import Declared, Session
from ..session.writer import Writer
from .packing import forget_thread

OFF = memoryview(bytes(4)).cast("I")
"""The enable word of an event that is declared nowhere."""


class Bindable(Protocol):
    """An event as the runtime sees it: its declaration, and where to tell it which word is its own."""

    declared: Declared

    def bind(self, writer: Writer | None, words: "memoryview[int]", index: int) -> None:
        """Use this writer and word from now on."""


class Runtime:
    """The sessions of this process and the events declared in them."""

    def __init__(self) -> None:
        self.why_off: str | None = None
        self._lock = RLock()
        self._writers: list[Writer] = []
        self._events: list[list[Bindable]] = []
        self._undeclared: list[Bindable] = []
        self._hooked = False

    def declare(self, event: Bindable) -> None:
        """Declare an event in a session of this process, made if there is none with room. Never raises."""
        with self._lock:
            self._undeclared.append(event)
            try:
                self._declare_all()
                self.why_off = None
            except (OSError, Unusable, ValueError) as error:
                self.why_off = str(error)

    def _declare_all(self) -> None:
        if not self._hooked:
            self._hooked = True
            atexit.register(self.leave)
        while self._undeclared:
            event = self._undeclared[0]
            writer = self._writers[-1] if self._writers else self._add_session(layout.FIRST_CAPACITY)
            born = layout.WORD_PENDING if writer.session.tracer_lives() else 0
            index = writer.session.declare(event.declared, word=born)
            if index is None:
                writer = self._add_session(min(2 * writer.session.geometry.capacity, layout.MAX_CAPACITY))
                index = writer.session.declare(event.declared, word=born)
                if index is None:
                    raise Unusable(f"a declaration of {len(event.declared.text)} bytes fits no session")
            del self._undeclared[0]
            self._events[-1].append(event)
            event.bind(writer, writer.words, index)
            writer.session.ring_bell()

    def _add_session(self, capacity: int) -> Writer:
        place = directory.program_directory()
        producer.sweep(place)
        run = os.environb.get(b"USEREVENTS_RUN", b"")
        writer = Writer(Session(place, capacity, run=run))
        self._writers.append(writer)
        self._events.append([])
        return writer

    def leave(self) -> None:
        """At clean exit: take away the sessions whose events have all been drained."""
        for writer in self._writers:
            if writer.session.pid == os.getpid() and writer.drained:
                producer.remove(writer.session.directory, writer.session.name)

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
        parents, events = self._writers, self._events
        self._writers, self._events = [], []
        for event in (event for bound in events for event in bound):
            event.bind(None, OFF, 0)  # what is emitted meanwhile must not go into the parent's ring
        for parent, bound in zip(parents, events, strict=True):
            parent.abandon()
            try:
                writer = _child_of(parent)
            except (OSError, Unusable, ValueError) as error:
                self.why_off = str(error)
                self._undeclared += bound
                continue
            self._writers.append(writer)
            self._events.append(bound)
            for index, event in enumerate(bound):
                event.bind(writer, writer.words, index)
            writer.session.ring_bell()


def _child_of(parent: Writer) -> Writer:
    """Return a writer on a fresh session with the declarations, words, answers and ring size of the parent's."""
    old = parent.session
    session = Session(old.directory, old.geometry.capacity, forked=True, run=old.run)
    pages = old.lines[layout.RING_PAGES // 4]
    if pages and old.lines[layout.RING_GENERATION // 4]:
        session.lines[layout.RING_PAGES // 4] = pages
        session.lines[layout.RING_GENERATION // 4] = 1
    for index, declared in enumerate(old.declared):
        session.answers[index] = old.answers[index]
        session.declare(declared, word=old.words[index])
    return Writer(session)


runtime = Runtime()
os.register_at_fork(
    before=runtime.before_fork,
    after_in_parent=runtime.after_fork_in_parent,
    after_in_child=runtime.after_fork_in_child,
)
