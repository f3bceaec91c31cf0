"""The running tracer: finds programs, answers their declarations, drains their rings, notices their death.

One thread (host/loop.py) does it all. A tracer may vanish at any instant: what it had not handed on and had
acknowledged is still in the programs' rings, and the next tracer takes it from there.
"""

import contextlib
import json
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..engine import Group
from ..instance import Instance
from ..session import directory as runtime_directory
from ..session import layout
from .admission import is_session
from .clocks import TraceClocks, machine
from .frames import start_frames
from .inotify import DirectoryWatch
from .loop import Activity, Loop
from .memory import keep_heap
from .natives import Natives
from .places import Places
from .programs import Programs

TRACER_VERSION = 1
_CALM_S = 0.05
"""The longest sleep while records come; the bell wakes us if a program hurries."""
_HURRY_S = 0.001
_SHARE = 1 / 16
"""How much of a ring may fill up while we sleep, at the rate that was seen last."""
_FLOOD_SHARE = 1 / 4
"""So much of a ring in one turn, and the next one comes at once."""
_EAGER_S = 0.0003
_EAGER_FOR_S = 0.5
_EAGER_SHARE = 1 / 8
"""Whoever has just enabled an event waits for its first record: we look soon, and again after this share of the time
that they have waited, so that none waits much longer than it was not there."""
_EAGER_WORK = 4
"""So many times as long as a look takes we rest after it."""
_IDLE_S = 0.1
_BLIND_S = 0.02
_BLIND_BUSY_S = 0.005
_TICK_S = 0.5
_LOOK_S = 2.0
_HAND_OVER_TURNS = 100
"""A program that writes without a pause would otherwise be followed for ever."""


class Tracer:
    """A tracer for this user's programs; also the `System` that the tracefs tree shows.

    `start` takes the lock of every runtime directory and begins; raises `NoTracer` if another tracer holds
    one, `Unusable` if there is no runtime directory at all.
    """

    def __init__(
        self,
        *,
        ring_pages: int = layout.DEFAULT_RING_PAGES,
        max_ring_pages: int = layout.MAX_RING_PAGES,
        everyone: bool = False,
        log: Callable[[str, str], None] | None = None,
    ) -> None:
        self.loop = Loop(self._trouble)
        self.group = Group(log=log, clock=time.monotonic_ns)
        clocks = self.clocks = TraceClocks()
        self.natives = Natives()
        """The programs that write through doors."""
        self._machine = machine(clocks)
        self.instances: dict[str, Instance] = {"": Instance("", self.group, self._machine)}
        self.activity = Activity()
        """What readers of a stream wait for."""
        self.pokes: list[Callable[[], None]] = []
        self._log = log or (lambda level, message: None)
        self._places = Places(self._log, everyone=everyone)
        self._programs = Programs(
            self.loop,
            self.group,
            self.instances,
            ring_pages=ring_pages,
            max_ring_pages=max_ring_pages,
            clocks=clocks,
            places=self._places,
            natives=self.natives,
            log=self._log,
        )
        self._foreign: set[str] = set()
        """Sockets in our directories that a service manager made, and will listen on after us."""
        self._next_tick = self._next_look = 0.0
        self._drained_s = 0.0
        self._switched_on_s = -_EAGER_FOR_S
        self._rescan = True
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Take the locks and begin to trace, in a thread of its own."""
        self._places.take()
        self._watch = DirectoryWatch()
        self._sees = True
        self._serve(self._places.paths)
        if self._watch.fd >= 0:
            self.loop.watch(self._watch.fd, self._seen, None)
        self._thread = threading.Thread(target=self._run, name="userevents-tracer", daemon=True)
        self._thread.start()

    @property
    def directories(self) -> list[str]:
        """The runtime directories that are served."""
        return self._places.paths

    def _serve(self, directories: list[str]) -> None:
        """Look for programs in these directories, too."""
        self._programs.serve(directories)
        for place in directories:
            with self._places.acting(place):
                self._sees &= self._watch.add(place)
        self._rescan = True

    def listeners(self, given: Iterable[socket.socket] = ()) -> list[socket.socket]:
        """Return a listening socket in each runtime directory, for the door that serves the tree.

        `given` ones, which a service manager has made, serve where they are; and one of a manager that would start
        a tracer for whoever comes is left alone.
        """
        found = list(given)
        self._foreign = {str(one.getsockname()) for one in found}
        for place in self._places.own:
            path = f"{place}/{layout.SOCKET_NAME}"
            if path in self._foreign:
                continue
            if _is_awaited(path):
                self._foreign.add(path)
                continue
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            with _directory(place) as fd:
                listener.bind(
                    f"/proc/self/fd/{fd}/{layout.SOCKET_NAME}"
                )  # a path may be longer than a socket's address
            os.chmod(path, 0o666 if place == runtime_directory.SYSTEM else 0o600)  # there the door says who may
            listener.listen(64)
            listener.setblocking(False)
            found.append(listener)
        return found

    def finish(self) -> None:
        """End every recording: its reader gets what is left, the last counts, and the end."""
        if self._thread is not None and self._thread.is_alive():
            self.loop.call(self._finish_all)

    def _finish_all(self) -> None:
        for instance in list(self.instances.values()):
            self._programs.finish(instance)

    @property
    def is_read(self) -> bool:
        """Whether somebody reads a recording and has not had all of it."""
        streams = [instance.stream for instance in list(self.instances.values())]
        return any(stream.taken and stream.size for stream in streams)

    def stop(self) -> None:
        """End tracing: every instance finished, every word out, locks released."""
        if self._thread is None:
            return
        self.loop.stop()
        self._thread.join()
        self._thread = None
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        keep_heap()
        try:
            self.loop.run(self._turn)
            self._finish_all()
            self._programs.leave()
        except BaseException as error:
            self._failure = error
            self._log("error", f"the tracer failed: {error!r}")
        finally:
            self._watch.close()
            for path in {f"{place}/{layout.SOCKET_NAME}" for place in self._places.own} - self._foreign:
                try:
                    os.unlink(path)
                except OSError:
                    pass
            self._places.release()
            for instance in self.instances.values():
                instance.stream.finish()
            self.activity.tell()

    def _trouble(self, error: Exception) -> None:
        """A client's request failed in a way nobody foresaw: say so, and go on for the others."""
        where = traceback.extract_tb(error.__traceback__)[-1]
        self._log(
            "error", f"a client's request failed: {error!r} ({where.filename}:{where.lineno}); please report this"
        )

    @property
    def failure(self) -> BaseException | None:
        """What ended the tracer's thread against its will, if anything did."""
        return self._failure

    def create_instance(self, name: str) -> Instance:
        """Make an instance; its stream begins with the recording's header."""
        instance = Instance(name, self.group, self._machine)
        instance.stream.on_ack = _keep
        self.instances[name] = instance
        instance.stream.push(start_frames(), None, 0)
        self.natives.listen(instance)
        if self._places.everyone:  # whoever asks may be unheard of, and what they start comes at once
            self._serve(self._places.look_around())
        self._programs.instances_changed()
        return instance

    def add_instance(self, instance: Instance) -> None:
        """Take in an instance of another kind, which lives as one that was created."""
        self.instances[instance.name] = instance
        self._programs.instances_changed()

    def remove_instance(self, name: str) -> None:
        """Take an instance away, with its views and references."""
        instance = self.instances.pop(name)
        self.natives.forget(instance)
        self._programs.instances_changed()
        instance.stream.close()
        instance.release()

    def catch_up(self, *, patiently: bool = False) -> None:
        """Take in what programs have declared and written by now: somebody looks, or switches something."""
        if self._thread is None:
            return
        self._seen()
        self.natives.catch_up()
        self._programs.look_at_touched()
        if patiently:
            self._programs.feed.catch_up()
        else:
            self._programs.feed.turn()
        self._programs.feed.tick()

    def drain(self) -> bool:
        """Adopt who has come and take in what was written by now; False when there was nothing any more."""
        self.natives.catch_up()
        self._programs.scan(everything=True)
        self._programs.look_at_touched()
        self._programs.settle()
        self._programs.feed.catch_up()
        return self._programs.feed.is_behind or bool(self._programs.feed.facts()["waiting"])

    def lost(self) -> int:
        """Return how many records of programs never came to the instances' rings."""
        facts = self._programs.feed.facts()
        return facts["missed"] + facts["dropped"] + facts["damaged"]

    def look_around(self) -> None:
        """Look for directories, and at everything in them, once more."""
        self._serve(self._places.look_around())
        self._programs.scan(everything=True)

    def census(self) -> tuple[int, int]:
        """Return how many programs are traced and how many events there are."""
        return len(self._programs) + len(self.natives), len(self.group.events)

    def hand_over(self) -> None:
        """Have every recording hold what programs have declared, committed and counted by now. Any thread may call."""
        with self.loop.lock:
            self.natives.catch_up()
            self._programs.scan(everything=True)
            self._programs.look_at_touched()
            self._programs.follow_instances()
            for _ in range(_HAND_OVER_TURNS):
                if not self._programs.drain_all():
                    break
            self._programs.tick()
            self.natives.tick()

    def met(self, pid: int) -> None:
        """A process has come to have a registration through a door."""
        self.natives.meet(pid)

    def settle(self) -> None:
        """Let the programs' enable words follow what somebody has switched, before it is told that it was done."""
        self._programs.settle()

    def info(self) -> str:
        """Return what a client may ask first: who traces, where, and every program with its events, as JSON."""
        return json.dumps(
            {
                "version": TRACER_VERSION,
                "pid": os.getpid(),
                "directories": self.directories,
                "instances": [name for name in self.instances if name],
                "programs": self._programs.facts() + self.natives.facts(self.group),
                "flights": self._programs.views.flight_facts(self.instances.values()),
                "feed": self._programs.feed.facts(),
                "refused": list(self._programs.admission.refused.values()),
            }
        )

    def _turn(self) -> float:
        now = time.monotonic()
        if self._rescan or not self._sees or now >= self._next_tick:
            self._rescan = False
            self._programs.scan(everything=not self._sees)
        self._programs.look_at_touched()
        self._programs.follow_instances()
        self.group.run_work()
        drained_s = time.monotonic()
        moved = self._programs.drain_all() | (self.natives.flush() > 0)
        if now >= self._next_tick:
            self._next_tick = now + _TICK_S
            if now >= self._next_look:
                self._next_look = now + _LOOK_S
                self._serve(self._places.look_around())
            self._programs.tick()
            self.natives.tick()
        self._programs.bury()
        for poke in self.pokes:
            try:
                poke()
            except Exception as error:
                self._trouble(error)
        wait_s = _IDLE_S if self._sees else _BLIND_S
        if moved or self._programs.feed.is_behind:
            self.activity.tell()
            elapsed, self._drained_s = drained_s - self._drained_s, drained_s
            wait_s = self._soon(self._programs.drained_share, elapsed)
        return min(wait_s, self._eagerly(now))

    def _eagerly(self, began_s: float) -> float:
        """How long to sleep at most after a turn that began then, because somebody enabled an event lately."""
        now = time.monotonic()
        if self._programs.has_switched_on:
            self._programs.has_switched_on, self._switched_on_s = False, now
        waited = now - self._switched_on_s
        if waited >= _EAGER_FOR_S:
            return _IDLE_S
        return max(_EAGER_S, waited * _EAGER_SHARE, (now - began_s) * _EAGER_WORK)

    def _soon(self, share: float, elapsed: float) -> float:
        """How long to sleep after a turn that brought `share` of a ring, `elapsed` after the turn before it."""
        if share >= _FLOOD_SHARE or self._programs.feed.is_behind:
            return 0.0
        longest = _CALM_S if self._sees else _BLIND_BUSY_S
        return max(_HURRY_S, min(elapsed * _SHARE / share, longest)) if share else longest

    def _seen(self) -> None:
        for seen in self._watch.read() if self._watch.fd >= 0 else ():
            if not seen.name:
                self._rescan = True
            elif is_session(seen.name):
                self._programs.touch(seen.directory, seen.name)


@contextlib.contextmanager
def _directory(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _is_awaited(path: str) -> bool:
    """Whether somebody listens at the socket `path` though no tracer lives: a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            with _directory(os.path.dirname(path)) as fd:
                sock.connect(f"/proc/self/fd/{fd}/{os.path.basename(path)}")
        except BlockingIOError:
            return True  # its queue is full
        except OSError:
            return False
    return True


def _keep(mark: Any) -> None:
    if mark is not None:
        mark.kept()
