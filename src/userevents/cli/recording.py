"""One run of `record`: the tracer, the program, the raw file, and the trace that comes of it."""

import contextlib
import os
import signal
import time
import uuid
from typing import NamedTuple

from ..control import Handle, InstanceControl
from ..control import Tracer as TracerControl
from ..control.events import EventName, Pattern
from ..control.recorder import PART_SUFFIX, RawFile, StreamWriter, Totals
from ..errors import NoTracer, Refused, Unusable
from ..fields.near import instead
from ..providers.environment import CALLS_VARIABLE, child_environment
from ..session import directory
from ..session.recorder_note import RecorderNote, settle_notes
from .attached import Attached
from .console import TROUBLE, LiveLine, count, human_size, say, warn
from .finish import finish, shift_files
from .launch import Program, is_python
from .reach import kernel_text, shown
from .tracing import Tracing, directory_apart

_READ_SIZE = 1 << 20
_TURN_S = 0.05
_FINISH_S = 30.0


class Wish(NamedTuple):
    """What was asked for on the command line."""

    patterns: tuple[str, ...]
    output: str
    pids: tuple[int, ...]
    everyone: bool
    duration_s: float | None
    max_size: int | None
    keep: int | None
    buffer_size: int | None
    providers: tuple[str, ...]
    calls: tuple[str, ...]
    quiet: bool
    argv: tuple[str, ...]
    door: str = "none"
    """How native programs reach the tracer; ``auto``: the first door that works, for a PROGRAM that is no Python."""
    asks: bool = False
    """Whether providers or calls were asked for by name, and not only the default ones."""


class Recording:
    """Records once. Raises `Unusable` or `NoTracer` before anything was started; later troubles are told on stderr."""

    def __init__(self, wish: Wish, path: str | None) -> None:
        self._wish = wish
        self._path = path
        settle_notes(directory.tracer_candidates(), wish.output + PART_SUFFIX)  # a killed recorder's, to be moved aside
        self._raw = RawFile(wish.output)
        self._writer = StreamWriter(self._raw, lambda: RawFile(wish.output), self._complete)
        self._line = LiveLine(enabled=not wish.quiet)
        self._stopped = False
        self._failed = False
        self._rotating = False
        self._segments = 0
        self._rate = (time.monotonic(), 0, 0.0)
        self._note: RecorderNote | None = None
        self._program: Program | None = None
        self._door = contextlib.ExitStack()
        self._apart = contextlib.ExitStack()
        self._has_ended_by_itself = False
        self._attached = Attached()
        self._is_own_tracer = True
        self._place: str | None = None
        """The runtime directory for programs that we attach to, where it is not their user's."""
        self._notes: list[str] = []
        """What the recorder itself has to say in the trace."""

    _may_be_apart = True

    def run(self) -> int:
        """Record until the program ends, the time or size is up, or a signal comes; return the exit code."""
        try:
            if self._raw.left_behind:
                warn(f"a killed recorder's file was kept: userevents recover '{self._raw.left_behind}'")
            tracing = self._tracing()
        except BaseException:
            self._raw.discard()
            self._apart.close()
            raise
        try:
            return self._run(tracing)
        finally:
            self._line.clear()
            self._door.close()
            tracing.close()
            self._apart.close()

    def _tracing(self) -> Tracing:
        """The tracer that runs, or our own: apart from it, where a native program needs a door, which is a tracer's."""
        tracing = Tracing(log=self._log)
        wish = self._wish
        may = self._may_be_apart and not wish.everyone and not wish.pids and not os.environ.get("USEREVENTS_DIR")
        if tracing.is_own or not may or not self._wants_door():
            return tracing
        tracing.close()
        if not wish.quiet:
            say("another tracer runs, and a door is a tracer's own, so this recording is apart from it")
        self._apart.enter_context(directory_apart())
        return Tracing(log=self._log, alone=True)

    def _wants_door(self) -> bool:
        """Whether the program may be a native one for which nobody has mounted a tree yet."""
        if self._path is None or self._wish.door == "none" or (self._wish.door == "auto" and is_python(self._path)):
            return False
        from .doors import is_mounted

        return not is_mounted()

    def _run(self, tracing: Tracing) -> int:
        self._is_own_tracer = tracing.is_own
        self._place = tracing.environment().get("USEREVENTS_DIR") or os.environ.get("USEREVENTS_DIR")
        try:
            self._record(tracing, uuid.uuid4().hex[:16])
        finally:
            for sentence in self._attached.end():
                warn(sentence)
        code = self._program.wait() if self._program else 0
        self._serve_others(tracing)
        return code or int(self._failed)

    def _record(self, tracing: Tracing, run: str) -> None:
        tracer = TracerControl(tracing.access)
        name = f"record-{os.getpid()}-{run[:6]}"
        instance = tracer.create_instance(name)
        stream = instance.stream()
        note = self._note = self._writer.note = RecorderNote(_place_of_notes(tracer), name, self._raw.path)
        try:
            self._set_up(instance, tracer, run)
            started = time.monotonic()
            self._start(tracing, run)
            self._follow(instance, stream)
            self._finish(instance, stream)
            self._tell_end(time.monotonic() - started)
        except Unusable:
            stream.close()
            self._raw.discard()
            raise
        finally:
            try:
                with contextlib.suppress(Refused):  # then it goes with our connection; what failed above is to be told
                    instance.remove()
            except NoTracer:
                note.leave()
            else:
                note.remove()

    def _set_up(self, instance: InstanceControl, tracer: TracerControl, run: str) -> None:
        """Tell the tracer whom and what to record."""
        wish = self._wish
        instance.set_selection(self._selection(run))
        if wish.buffer_size is not None:
            instance.set_buffer(wish.buffer_size)
        instance.set_patterns(list(wish.patterns))
        if wish.pids:
            self._check_pids(tracer)

    def _selection(self, run: str) -> list[str]:
        wish = self._wish
        chosen = [f"pid {pid}" for pid in wish.pids]
        if self._path is not None and not wish.everyone:
            chosen += [f"run {run}", f"tree {os.getpid()}"]
        return chosen or ["all"]

    def _check_pids(self, tracer: TracerControl) -> None:
        """Attach to the asked-for processes that declare nothing; say why if not, and give up if none is left."""
        wish = self._wish
        programs = tracer.info().get("programs", [])
        known = {program["pid"] for program in programs} if isinstance(programs, list) else set()
        missing = 0
        for pid in wish.pids:
            if pid in known and not wish.asks:
                continue
            try:
                self._attached.begin(pid, wish.providers, wish.calls, self._place, is_own_tracer=self._is_own_tracer)
            except Unusable as error:
                warn(str(error))
                missing += pid not in known
        if missing == len(wish.pids) and self._path is None:
            raise Unusable("nothing to record: none of the processes asked for can be")

    def _start(self, tracing: Tracing, run: str) -> None:
        if self._path is None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, self._stop)
            if not self._wish.quiet:
                say(self._hello())
            return
        wish, given = self._wish, os.environ | tracing.environment()
        given |= {CALLS_VARIABLE: " ".join(wish.calls)} if wish.calls else {}
        env = child_environment(given, wish.providers, run)
        if self._wants_door():
            from .doors import start_recorded

            self._program = start_recorded(self._door, tracing, wish.door, self._path, wish.argv, env, wish.quiet)
        if self._program is None:
            self._program = Program.start(self._path, wish.argv, env)

    def _hello(self) -> str:
        return "recording; Ctrl-C ends it"

    def _has_ended(self) -> bool:
        return self._program is not None and self._program.poll() is not None

    def _stop(self, _number: int, _frame: object) -> None:
        self._stopped = True

    def _follow(self, instance: InstanceControl, stream: Handle) -> None:
        """Write what comes until it is time to end."""
        wish = self._wish
        deadline = None if wish.duration_s is None else time.monotonic() + wish.duration_s
        while not self._stopped:
            ended = self._has_ended()
            if not self._take(stream, 0 if ended else _TURN_S):
                break
            self._look_around()
            if ended or (deadline is not None and time.monotonic() >= deadline):
                break
            if wish.max_size and self._raw_size() >= wish.max_size and not self._rotating:
                if wish.keep is None:
                    warn(f"{human_size(wish.max_size)} are recorded (--max-size): recording ends here")
                    break
                self._rotating = True
                instance.rotate()

    def _take(self, stream: Handle, timeout: float) -> bool:
        """Write what the tracer has, and read on at once, which tells it that all is kept; False when it is over."""
        while True:
            try:
                data = stream.read(_READ_SIZE, timeout=timeout)
                if data is None:
                    return True
                is_going_on = data != b"" and self._write(data)
            except NoTracer:
                data = b""
            if data == b"":
                self._has_ended_by_itself = True
                self._line.clear()
                warn("the tracer has ended, and this recording with it; what it had handed on is kept")
                return False
            if not is_going_on:
                return False
            if self._stopped or (self._wish.max_size and self._raw_size() >= self._wish.max_size):
                return True
            timeout = 0

    def _raw_size(self) -> int:
        file = self._writer.file
        return file.size if file is not None else 0

    def _write(self, data: bytes) -> bool:
        """Keep what came; on a full disk say so and return False. Raises `NoTracer` if another has taken its place."""
        try:
            self._writer.write(data)
        except NoTracer:
            raise
        except OSError as error:
            self._line.clear()
            warn(f"{error.strerror}: recording ends here; what was recorded is kept")
            self._failed = True
            return False
        return True

    def _look_around(self) -> None:
        for sentence in self._look_for_unreachable():
            self._writer.add_note(sentence)
        if self._line.is_due:
            self._line.show(self._status())

    def _look_for_unreachable(self) -> list[str]:
        """Say whom no provider can reach, and who has let us in; return what was said."""
        found = self._program.new_unreachable() if self._program is not None and self._wish.providers else []
        for sentence in found:
            self._line.clear()
            warn(sentence)
        for is_warning, sentence in self._attached.look():
            self._line.clear()
            if is_warning or not self._wish.quiet:
                (warn if is_warning else say)(sentence)
            found += [sentence] * is_warning
        self._notes += found
        return found

    def _status(self) -> str:
        totals = self._writer.totals
        then, committed, rate = self._rate
        now = time.monotonic()
        if now - then >= 1.0:
            rate = (totals.committed - committed) / (now - then)
            self._rate = (now, totals.committed, rate)
        lost = f"{totals.lost:,} LOST" if totals.lost else "0 lost"
        programs = count(totals.programs, "program")
        return f"{rate:>10,.0f} events/s  {totals.committed:,} in all  {programs}  {human_size(totals.size)}  {lost}"

    def _finish(self, instance: InstanceControl, stream: Handle) -> None:
        """Have the tracer end the recording and take what is left of it."""
        if self._failed or self._has_ended_by_itself:
            stream.close()
        else:
            try:
                instance.finish()
                deadline = time.monotonic() + _FINISH_S
                while time.monotonic() < deadline:
                    data = stream.read(_READ_SIZE, timeout=1.0)
                    if data == b"" or (data and not self._write(data)):
                        break
                stream.close()
            except (NoTracer, OSError) as error:
                warn(f"the tracer went away ({error}); what it had handed on is kept")
        if self._writer.file is not None:
            self._complete(self._writer.file)

    def _complete(self, raw: RawFile) -> None:
        """Turn a complete raw file into the trace that was asked for."""
        if self._note is not None:
            self._note.settle()
        self._line.clear()
        self._rotating = False
        if self._segments:
            shift_files(self._wish.output, self._wish.keep or 1)
        self._segments += 1
        self._failed |= finish(raw, quiet=self._wish.quiet) is None

    def _tell_end(self, seconds: float) -> None:
        for (_, name), reason in self._writer.refusals.items():
            warn(f"event '{name}' was refused: {reason}")
        for note in self._writer.notes:
            warn(note)
        for text in self._wish.patterns:
            if not any(map(Pattern.parse(kernel_text(text)).matches, self._writer.declared)):
                names = (shown(event.registered_name) for event in self._writer.declared)
                warn(f"no event that was declared matches '{text}'; {instead(text, names, 'declared were:')}")
        self._tell_no_calls()
        if not self._wish.quiet and not self._failed:  # else what there is, and where, is told already
            _tell_totals(self._writer.totals, seconds, self._wish.output)

    def _tell_no_calls(self) -> None:
        """Say that --calls found nothing: a function may be misspelt."""
        call = EventName("user_events", "py_enter")
        is_asked = any(Pattern.parse(kernel_text(text)).matches(call) for text in self._wish.patterns)
        if self._wish.calls and is_asked and call in self._writer.declared and call not in self._writer.attempted:
            warn(f"nothing was called that matches --calls {' '.join(self._wish.calls)}")

    def _log(self, level: str, message: str) -> None:
        if level in TROUBLE:
            self._line.clear()
            warn(message)

    def _serve_others(self, tracing: Tracing) -> None:
        """Stay while another recorder uses our tracer: it would be left without one."""
        told = self._stopped = False
        while (others := tracing.clients()) and not self._stopped:
            if not told:
                told = True
                for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                    signal.signal(number, self._stop)
                say(f"staying for {count(others, 'other recorder')} that use this tracer (Ctrl-C ends them, too)")
            time.sleep(_TURN_S)


def _place_of_notes(tracer: TracerControl) -> str:
    """Return the directory of this user in which the next tracer will look for what we leave word of."""
    ours, served = directory.tracer_directories(), tracer.info().get("directories")
    return next((path for path in ours if isinstance(served, list) and path in served), ours[0])


def _tell_totals(totals: Totals, seconds: float, output: str) -> None:
    what = f"{count(totals.committed, 'event')} of {count(totals.programs, 'program')} in {seconds:.1f} s: {output}"
    if totals.lost:
        warn(f"{what}; {count(totals.lost, 'event')} LOST (userevents report --summary {output} says why)")
    else:
        say(f"{what}; nothing lost")
