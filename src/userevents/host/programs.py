"""Every program that a tracer knows: adopted, answered, drained, watched and buried.

All of it runs in the tracer's one thread (host/loop.py).
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from ..buffer import stream
from ..engine import Group
from ..errors import Malformed
from ..instance import Instance, parse_request
from ..session import producer
from ..session.recorder_note import Notes
from .admission import Admission, Key, is_session
from .clocks import TraceClocks
from .counts import Snapshot
from .feed import Feed
from .flight import FlightView
from .flights import Flights
from .frames import program_facts, start_frames
from .loop import Loop
from .natives import Natives
from .places import Places
from .program import TracedProgram
from .view import Mark, View
from .views import AnyView, Views

_BUDGET = 4 << 20
_BACKLOG = 16 << 20
_FINISH_PASSES = 200
_KEEP_UNREAD_S = 10.0
_BELL = 1 / 8  # of a ring is unread when its program wakes us


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
        clocks: TraceClocks,
        places: Places,
        natives: Natives,
        log: Callable[[str, str], None],
    ) -> None:
        self.admission = Admission(places.is_foreign)
        self._loop = loop
        self._group = group
        self._instances = instances
        self._max_ring_pages = max_ring_pages
        self._log = log
        self._places = places
        self._notes = Notes(instances.__contains__, places.acting, log)
        self._programs: dict[Key, TracedProgram] = {}
        self.views = Views(ring_pages, natives)
        self._flights = Flights(log)
        self.feed = Feed(instances, clocks, self._at_its_own_risk)
        self._touched: set[Key] = set()
        self._numbers = 0
        self.drained_share = 0.0
        self.has_switched_on = False
        self._changes = -1

    def serve(self, directories: Iterable[str]) -> None:
        """Look in these directories, too, in which earlier tracers' recorders may have left word of what they have."""
        self._notes.look(directories)

    def touch(self, directory: str, name: str) -> None:
        """Something happened to a session: look at it in the next turn."""
        self._touched.add((directory, name))

    def instances_changed(self) -> None:
        """An instance was made or removed."""
        self._changes = -1
        for gone in self.views.forget_gone(self._instances.values()):
            self._flights.forget_instance(gone)

    def __len__(self) -> int:
        """How many programs are known."""
        return len(self._programs)

    def facts(self) -> list[dict[str, object]]:
        """What there is to tell of each program, for JSON."""
        return [program_facts(program) for program in self._programs.values()]

    def scan(self, *, everything: bool = False) -> None:
        """Look through the directories for sessions unheard of, or at everything there."""
        for place in self._places.paths:
            names = self._places.names(place)
            self.admission.listed(place, names)
            for name in names:
                key = (place, name)
                is_due = everything if key in self._programs else self.admission.admits(key)
                if is_due and is_session(name):
                    self._touched.add(key)

    def look_at_touched(self) -> None:
        """Adopt sessions that appeared, and take in what known programs declared or asked."""
        touched, self._touched = self._touched, set()
        for key in touched:
            program = self._programs.get(key)
            with self._places.acting(key[0]):
                try:
                    if program is None:
                        self._adopt(key)
                    elif program.problem is None:
                        self._look(program)
                except (Malformed, OSError) as error:
                    self._refuse(key, error) if program is None else self._give_up(program, error)

    def _adopt(self, key: tuple[str, str]) -> None:
        kept = self._notes.of(key[1]) if self.admission.admits(key) else None
        if kept is None:
            return
        try:
            program = TracedProgram(*key, self._numbers + 1, self._group)
        except FileNotFoundError:
            return
        self._numbers += 1
        self._programs[key] = program
        self.admission.adopted(key)
        self._log("debug", f"pid {program.pid} ({program.comm}) of uid {program.uid}: adopted")
        self.views.add(program)
        if program.pidfd >= 0:
            self._loop.watch(program.pidfd, lambda: self._ended(program), None)
        program.go_on_behind(kept)
        fresh = program.new_declarations()
        self._update_views(program)
        if fresh:
            self._answer(program)

    def _look(self, program: TracedProgram) -> None:
        fresh = program.new_declarations()
        for item in fresh:
            for view in self.views[program].values():
                view.tell_event(item, always=True)
        if program.reopened() or fresh:
            self._answer(program)

    def _answer(self, program: TracedProgram) -> None:
        """Give every declared event its word, ring first, telling the views before any record can follow."""
        views = self.views[program]
        for view in views.values():
            for item in program.events:
                view.tell_event(item)
        wanted = {event for instance in views for event in instance.enabled if instance.streams(event)}
        wanted |= self.feed.wanted(program)
        with self._at_its_own_risk(program):
            changed = program.set_words(wanted, self.views.ring_wish(program))
            self.has_switched_on |= any(item.word for item in changed)

    def _refuse(self, key: tuple[str, str], error: Exception) -> None:
        """A file that cannot be adopted is left alone, and that is said once; one that is nobody's is removed."""
        if producer.is_abandoned(*key):
            producer.remove(*key)
            return
        self._log("warning", str(error))
        self.admission.refuse(key, str(error))

    @contextlib.contextmanager
    def _at_its_own_risk(self, program: TracedProgram) -> Iterator[None]:
        """What a program's files make fail ends the tracing of that program, and of no other."""
        with self._places.acting(program.session.directory):
            try:
                yield
            except (Malformed, OSError) as error:
                self._give_up(program, error)

    def _give_up(self, program: TracedProgram, error: Exception) -> None:
        """A program whose files break the rules is left alone, and that is said in every recording of it."""
        self._log("warning", str(error))
        program.problem = str(error)
        for view in self.views[program].values():
            view.tell_note(f"pid {program.pid} ({program.comm}): {error}")

    def _ended(self, program: TracedProgram) -> None:
        self._loop.unwatch(program.pidfd)
        program.look()

    def follow_instances(self) -> None:
        """Do what was asked of recordings, and make everything follow what the instances want."""
        for instance in self._instances.values():
            text, instance.request = instance.request, ""
            if text:
                self._serve(instance, text)
        self.settle()

    def settle(self) -> None:
        """Make views and enable words follow what the instances want."""
        before, self._changes = self._changes, sum(instance.changes for instance in self._instances.values())
        changed = before != self._changes
        asked = [program for program in self._programs.values() if changed or program.stale]
        for program in sorted(asked, key=lambda program: not program.session.is_lane):  # lanes have rings before words
            if changed:
                with self._at_its_own_risk(program):
                    self._update_views(program)
            if program.problem is None:
                self._answer(program)

    def _serve(self, instance: Instance, text: str) -> None:
        request = parse_request(text)
        if request.verb == "finish":
            self.finish(instance)
        elif request.verb == "rotate":
            self._rotate(instance)
        else:
            self.scan(everything=True)
            self.look_at_touched()
            self._flights.start(request, instance, self._instances.get(request.name), self.views)

    def _update_views(self, program: TracedProgram) -> None:
        views = self.views[program]
        for instance in self._instances.values():
            chosen = (
                instance.has_recording and not instance.stream.finished and instance.selection.selects(program.facts)
            )
            if chosen and instance not in views and program.problem is None and not program.mourned:
                views[instance] = self._new_view(program, instance)
                program.had_view = True
            elif not chosen and instance in views:
                self._close_view(program, instance)
        self.feed.follow(program)

    def _new_view(self, program: TracedProgram, instance: Instance) -> AnyView:
        if self.views.readers(program):
            self._drain(program)
        elif program.had_view:
            program.skip_unread()
        return FlightView(instance, program) if instance.is_flight else View(instance, program)

    def _close_view(self, program: TracedProgram, instance: Instance) -> None:
        """Hand out what is left and the last ledger of one program to one instance."""
        self._drain(program)
        self._tell_ledger(self.views[program].pop(instance), final=True)

    def finish(self, instance: Instance) -> None:
        """End an instance's recording: events out, rings read to their end, ledgers closed, END."""
        if instance.stream.finished:
            return
        self.views.natives.catch_up()
        self.scan(everything=True)
        self.look_at_touched()
        instance.set_patterns(())
        instance.disable_all()
        mine = [program for program, views in self.views if instance in views]
        for program in mine:
            program.look()
            if program.problem is None:
                self._answer(program)
        for program in mine:
            for _ in range(_FINISH_PASSES):
                if not self._drain(program, pressing=True):
                    break
            self._close_view(program, instance)
        self.views.natives.finish(instance)
        instance.stream.push(stream.pack_end("finished", time.monotonic_ns()), None, 0)
        instance.stream.finish()

    def _rotate(self, instance: Instance) -> None:
        """End an instance's recording and begin the next one in the same instant: no event between, none in both."""
        bases: dict[View, Snapshot] = {}
        for program, views in self.views:
            view = views.get(instance)
            if isinstance(view, View):
                self._drain(program, pressing=True)
                with self._at_its_own_risk(program):
                    bases[view] = view.snapshot()
                    view.tell_ledger(bases[view])
        self.views.natives.rotate(instance, stream.pack_end("rotated", time.monotonic_ns()) + start_frames())
        for view, base in bases.items():
            with self._at_its_own_risk(view.program):
                view.begin(base)

    def drain_all(self) -> bool:
        """Hand out what was committed, and asked of flights; False for nothing. Sets `drained_share`, of a ring."""
        moved = self._flights.feed() | self.feed.turn()
        self.drained_share = self._flights.share
        for program in list(self._programs.values()):
            if program.rings and program.problem is None and self._drain(program):
                moved = True
                with self._at_its_own_risk(program):
                    if program.alive and program.grow(self._max_ring_pages):
                        self._log("info", f"pid {program.pid}: larger ring")
        for program in self._programs.values():
            wants = program.rings and program.wants_ring()
            is_read, fed = wants and self.views.readers(program), self.feed.read_to(program) if wants else {}
            for generation, ring in program.rings.items():
                ring.wait_for(_BELL if is_read or fed else 0, None if is_read else fed.get(generation))
        return moved

    def _drain(self, program: TracedProgram, *, pressing: bool = False) -> bool:
        """Hand out what one program has committed since the last time; True if there was anything.

        Waits for readers that lag behind, unless it is `pressing`.
        """
        views = self.views.readers(program)
        if not self.views[program] and self.feed.takes(program):
            return self.feed.give_back(program)
        if not views and (self.views[program] or not program.had_view):
            return False  # a flight recording asks later; what an earlier tracer left is for the first that asks
        if views and not pressing and all(view.instance.stream.size > _BACKLOG for view in views):
            return True  # nobody has room: what is not read stays in the ring, and the program counts what it drops
        moved = False
        with self._at_its_own_risk(program):
            for ring in sorted(program.rings.values(), key=lambda found: found.generation):
                start = ring.position
                pieces = ring.take(_BUDGET)
                if not pieces:
                    continue
                moved = True
                self.drained_share = max(self.drained_share, (ring.position.seq - start.seq) / ring.pages)
                mark = Mark(program, ring, max(len(views), 1))
                for view in views:
                    view.push(ring, pieces, start, mark)
                if not views:
                    mark.kept()
            program.retire_rings()
        return moved

    def tick(self) -> None:
        """Look after the living, and hand out the counts so far."""
        self.feed.tick()
        self._notes.forget()
        names: dict[int, dict[int, str]] = {}
        for program, views in self.views:
            program.look()
            program.stale = program.stale or not program.had_view
            fresh = program.learn_threads(names) if views or self.feed.takes(program) else {}
            for view in views.values():
                view.tell_threads(fresh)
                if program.problem is None:
                    self._tell_ledger(view)
            if not views and program.is_idle and not self.feed.takes(program):
                with self._at_its_own_risk(program):
                    program.stop()

    def _tell_ledger(self, view: AnyView, *, final: bool = False) -> None:
        if isinstance(view, View):
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
                for view in self.views[program].values():
                    self._tell_ledger(view, final=True)
                for reader in self.views.readers(program):
                    del self.views[program][reader.instance]
            if self.views.flying_over(program) and program.problem is None:
                self._flights.keep(program, self.views)
            elif program.outstanding == 0:
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
        self._flights.forget(program)
        self.feed.forget(program)
        del self._programs[key]
        self.views.forget(program)
        self.admission.forget(key)
        with self._places.acting(key[0]):
            program.release(remove=remove)

    def leave(self) -> None:
        """On the way out: every word out, every ring given back; what the living programs own is left to them."""
        for key, program in list(self._programs.items()):
            is_over = not program.alive
            with self._at_its_own_risk(program):
                program.look()
                if program.alive and program.problem is None and not self._may_be_asked_for(program):
                    program.stop()
                is_over = not program.alive or program.session.is_leaving()  # which left it to us, as it was not read
            self._forget(key, program, remove=is_over and not self._may_be_asked_for(program))
