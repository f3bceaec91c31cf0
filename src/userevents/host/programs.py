"""Every program that a tracer knows: adopted, answered, drained, watched and buried.

All of it runs in the tracer's one thread (host/loop.py).
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from ..buffer import stream
from ..engine import Group
from ..errors import Malformed
from ..instance import Instance
from ..session import layout, producer
from .loop import Loop
from .program import DeclaredEvent, TracedProgram
from .view import Mark, Snapshot, View

_BUDGET = 4 << 20
_BACKLOG = 16 << 20
_FINISH_PASSES = 200
_KEEP_UNREAD_S = 10.0

Key = tuple[str, str]
"""A session: its directory and its name there."""


class Programs:
    """The programs of some runtime directories, and what each instance sees of them."""

    def __init__(
        self,
        loop: Loop,
        group: Group,
        instances: Mapping[str, Instance],
        *,
        ring_pages: int,
        max_ring_pages: int,
        log: Callable[[str, str], None],
    ) -> None:
        self.refused: dict[Key, str] = {}
        """Files that cannot be adopted, and why."""
        self._loop = loop
        self._group = group
        self._instances = instances
        self._ring_pages = ring_pages
        self._max_ring_pages = max_ring_pages
        self._log = log
        self._directories: list[str] = []
        self._programs: dict[Key, TracedProgram] = {}
        self._views: dict[TracedProgram, dict[Instance, View]] = {}
        self._touched: set[Key] = set()
        self._numbers = 0
        self._changes = -1

    def serve(self, directories: Iterable[str]) -> None:
        """Look for sessions in these directories."""
        self._directories = list(directories)

    def touch(self, directory: str, name: str) -> None:
        """Something happened to a session: look at it in the next turn."""
        self._touched.add((directory, name))

    def instances_changed(self) -> None:
        """An instance was made or removed."""
        self._changes = -1
        for views in self._views.values():
            for gone in [instance for instance in views if instance.name not in self._instances]:
                del views[gone]

    def facts(self) -> list[dict[str, object]]:
        """Return what there is to tell of each program, for JSON."""
        return [
            {
                "pid": program.pid,
                "comm": program.comm,
                "cmdline": program.session.cmdline,
                "alive": program.alive,
                "run": program.facts.run,
                "problem": program.problem,
                "events": [_event_facts(item) for item in program.events],
            }
            for program in self._programs.values()
        ]

    def scan(self, *, everything: bool = False) -> None:
        """Look through the directories for sessions unheard of, or at everything there."""
        for place in self._directories:
            try:
                names = os.listdir(place)
            except OSError as error:
                self._log("warning", f"runtime directory '{place}': {error.strerror}")
                continue
            for name in names:
                key = (place, name)
                known = key in self.refused or (key in self._programs and not everything)
                if is_session(name) and not known:
                    self._touched.add(key)

    def look_at_touched(self) -> None:
        """Adopt sessions that appeared, and take in what known programs declared or asked."""
        touched, self._touched = self._touched, set()
        for key in touched:
            program = self._programs.get(key)
            try:
                if program is None:
                    self._adopt(key)
                elif program.problem is None:
                    self._look(program)
            except (Malformed, OSError) as error:
                self._refuse(key, error) if program is None else self._give_up(program, error)

    def _adopt(self, key: tuple[str, str]) -> None:
        if key in self.refused:
            return
        try:
            program = TracedProgram(*key, self._numbers + 1, self._group)
        except FileNotFoundError:
            return
        self._numbers += 1
        self._programs[key] = program
        self._views[program] = {}
        if program.pidfd >= 0:
            self._loop.watch(program.pidfd, lambda: self._ended(program), None)
        fresh = program.new_declarations()
        self._update_views(program)
        if fresh:
            self._answer(program)

    def _look(self, program: TracedProgram) -> None:
        fresh = program.new_declarations()
        for item in fresh:
            for view in self._views[program].values():
                view.tell_event(item, always=True)
        if program.reopened() or fresh:
            self._answer(program)

    def _answer(self, program: TracedProgram) -> None:
        """Give every declared event its word, ring first, telling the views before any record can follow."""
        views = self._views[program]
        for view in views.values():
            for item in program.events:
                view.tell_event(item)
        wanted = {event for instance in views for event in instance.enabled}
        with self._at_its_own_risk(program):
            program.set_words(wanted, self._ring_pages)

    def _refuse(self, key: tuple[str, str], error: Exception) -> None:
        """A file that cannot be adopted is left alone, and that is said once; one that is nobody's is removed."""
        if producer.is_abandoned(*key):
            producer.remove(*key)
            return
        self._log("warning", str(error))
        self.refused[key] = str(error)

    @contextlib.contextmanager
    def _at_its_own_risk(self, program: TracedProgram) -> Iterator[None]:
        """What a program's files make fail ends the tracing of that program, and of no other."""
        try:
            yield
        except (Malformed, OSError) as error:
            self._give_up(program, error)

    def _give_up(self, program: TracedProgram, error: Exception) -> None:
        """A program whose files break the rules is left alone, and that is said in every recording of it."""
        self._log("warning", str(error))
        program.problem = str(error)
        for view in self._views[program].values():
            view.tell_note(f"pid {program.pid} ({program.comm}): {error}")

    def _ended(self, program: TracedProgram) -> None:
        self._loop.unwatch(program.pidfd)
        program.look()

    def follow_instances(self) -> None:
        """Make views and enable words follow what the instances want."""
        changes = sum(instance.changes for instance in self._instances.values())
        changed = changes != self._changes
        self._changes = changes
        for instance in self._instances.values():
            request, instance.request = instance.request, ""
            if request == "finish":
                self.finish(instance)
            elif request == "rotate":
                self._rotate(instance)
        for program in list(self._programs.values()):
            if changed:
                with self._at_its_own_risk(program):
                    self._update_views(program)
            if (changed or program.stale) and program.problem is None:
                self._answer(program)

    def _update_views(self, program: TracedProgram) -> None:
        views = self._views[program]
        for instance in self._instances.values():
            asks = instance.name != "" and bool(instance.patterns or instance.enabled)
            chosen = asks and not instance.stream.finished and instance.selection.selects(program.facts)
            if chosen and instance not in views and program.problem is None:
                if views:
                    self._drain(program)
                views[instance] = View(instance, program)
                program.had_view = True
            elif not chosen and instance in views:
                self._close_view(program, instance)

    def _close_view(self, program: TracedProgram, instance: Instance) -> None:
        """Hand out what is left and the last ledger of one program to one instance."""
        self._drain(program)
        view = self._views[program].pop(instance)
        self._tell_ledger(view, final=True)

    def finish(self, instance: Instance) -> None:
        """End an instance's recording: events out, rings read to their end, ledgers closed, END."""
        if instance.stream.finished:
            return
        self.scan(everything=True)
        self.look_at_touched()
        instance.set_patterns(())
        instance.disable_all()
        mine = [program for program, views in self._views.items() if instance in views]
        for program in mine:
            program.look()
            if program.problem is None:
                self._answer(program)
        for program in mine:
            for _ in range(_FINISH_PASSES):
                if not self._drain(program, pressing=True):
                    break
            self._close_view(program, instance)
        instance.stream.push(stream.pack_end("finished", time.monotonic_ns()), None, 0)
        instance.stream.finish()

    def _rotate(self, instance: Instance) -> None:
        """End an instance's recording and begin the next one in the same instant: no event between, none in both."""
        bases: dict[View, Snapshot] = {}
        for program, views in self._views.items():
            if instance in views:
                self._drain(program, pressing=True)
                with self._at_its_own_risk(program):
                    bases[views[instance]] = views[instance].snapshot()
                    views[instance].tell_ledger(bases[views[instance]])
        instance.stream.push(stream.pack_end("rotated", time.monotonic_ns()), None, 0)
        instance.stream.push(stream.pack_start() + stream.pack_header(recording_header()), None, 0)
        for view, base in bases.items():
            with self._at_its_own_risk(view.program):
                view.begin(base)

    def drain_all(self) -> bool:
        """Hand out what all programs have committed; False if there was nothing."""
        moved = False
        for program in list(self._programs.values()):
            if program.rings and program.problem is None and self._drain(program):
                moved = True
                with self._at_its_own_risk(program):
                    if program.alive and program.grow(self._max_ring_pages):
                        self._log("info", f"pid {program.pid}: larger ring")
        if not moved:
            self._set_waiting()
        return moved

    def _drain(self, program: TracedProgram, *, pressing: bool = False) -> bool:
        """Hand out what one program has committed since the last time; True if there was anything.

        Waits for readers that lag behind, unless it is `pressing`.
        """
        views = list(self._views[program].values())
        if not views and not program.had_view:
            return False  # what an earlier tracer left in the rings is for the first instance that asks
        if views and not pressing and all(view.instance.stream.size > _BACKLOG for view in views):
            return True  # nobody has room: what is not read stays in the ring, and the program counts what it drops
        moved = False
        with self._at_its_own_risk(program):
            for ring in sorted(program.rings.values(), key=lambda found: found.generation):
                start = ring.position
                parts = ring.read(_BUDGET)
                if not parts:
                    continue
                moved = True
                mark = Mark(program, ring, ring.position, max(len(views), 1))
                for view in views:
                    view.push(ring, parts, start, mark)
                if not views:
                    mark.kept()
            program.retire_rings()
        return moved

    def _set_waiting(self) -> None:
        for program in self._programs.values():
            for ring in program.rings.values():
                ring.set_waiting(program.wants_ring())

    def tick(self) -> None:
        """Look after the living, and hand out the counts so far."""
        for program, views in self._views.items():
            program.look()
            program.stale = program.stale or not program.had_view
            fresh = program.learn_threads() if views else {}
            for view in views.values():
                view.tell_threads(fresh)
                if program.problem is None:
                    self._tell_ledger(view)

    def _tell_ledger(self, view: View, *, final: bool = False) -> None:
        with self._at_its_own_risk(view.program):
            view.tell_ledger(view.snapshot() if final else None)

    def bury(self) -> None:
        """Let go of programs that are dead and drained; their files go once every reader has kept the pages."""
        for key, program in list(self._programs.items()):
            if program.alive or (program.problem is None and self._drain(program)) or self._may_be_asked_for(program):
                continue
            if not program.mourned:
                program.mourned = True
                self._look_once_more(program)
                for view in self._views[program].values():
                    self._tell_ledger(view, final=True)
                self._views[program].clear()
            if program.outstanding == 0:
                self._forget(key, program, remove=True)

    def _look_once_more(self, program: TracedProgram) -> None:
        """Take in what the program declared last, so that its counts are told even if it was never answered."""
        with self._at_its_own_risk(program):
            if program.problem is None:
                self._look(program)

    def _may_be_asked_for(self, program: TracedProgram) -> bool:
        """Whether a dead program holds what an earlier tracer left, and an instance may still come for it."""
        if program.had_view or program.problem is not None or time.monotonic() - program.adopted_s > _KEEP_UNREAD_S:
            return False
        with self._at_its_own_risk(program):
            return program.has_unread()
        return False

    def _forget(self, key: tuple[str, str], program: TracedProgram, *, remove: bool) -> None:
        if program.pidfd >= 0:
            self._loop.unwatch(program.pidfd)
        del self._programs[key]
        del self._views[program]
        program.release(remove=remove)

    def leave(self) -> None:
        """On the way out: every word out, every ring given back; what the living programs own is left to them."""
        for key, program in list(self._programs.items()):
            with self._at_its_own_risk(program):
                program.look()
                if program.alive and program.problem is None:
                    program.stop()
                    program.remove_rings()
            self._forget(key, program, remove=not program.alive and not self._may_be_asked_for(program))


def is_session(name: str) -> bool:
    """Whether a file in a runtime directory is called like a session that is ready."""
    return name.endswith(layout.SESSION_SUFFIX) and not name.startswith(".")


def recording_header() -> dict[str, object]:
    """Return what a recording's header says of this machine and moment."""
    system = os.uname()
    before = time.monotonic_ns()
    real = time.time_ns()
    return {
        "mono_ns": (before + time.monotonic_ns()) // 2,
        "real_ns": real,
        "host": system.nodename,
        "release": system.release,
        "machine": system.machine,
        "cpus": os.cpu_count() or 1,
        "tracer_pid": os.getpid(),
    }


def _event_facts(item: DeclaredEvent) -> dict[str, object]:
    return {
        "text": item.text,
        "id": item.event.id if item.event else 0,
        "enabled": bool(item.word & layout.WORD_ENABLED),
        "error": item.refusal.name if item.refusal else None,
        "reason": item.refusal.reason if item.refusal else None,
    }
