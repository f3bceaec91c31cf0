"""Programs that were running before us: told of as they let us in, and let go when a verb is done."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence

from ..errors import Unusable
from .attaching import Attachment, attach, detach, owner_of, user_name
from .console import say, warn

_TOLD_S = 2.0
"""After this long it is said that a program has not let us in yet."""
_FOREVER_S = 1e9
_UNHEARD_S = 3.0
_AGAIN_S = 0.05


class Attached:
    """The programs that one recording attaches to."""

    def __init__(self) -> None:
        self._waiting: list[Attachment] = []
        self._slow: set[int] = set()
        self._started: list[int] = []
        """Those in which something was started that was not there before, so that it is ours to stop."""

    def begin(
        self, pid: int, providers: Sequence[str], calls: Sequence[str], place: str | None, *, is_own_tracer: bool
    ) -> None:
        """Begin to attach to a program. Raises `Unusable` with what is in the way.

        A tracer of our own (`is_own_tracer`) is none of another user's programs, as the system's is.
        """
        if is_own_tracer and (owner := owner_of(pid)) != os.geteuid():
            raise Unusable(
                f"process {pid} belongs to {user_name(owner)}, whose tracer is theirs: 'userevents attach {pid}' as "
                f"root lets them record it, or a tracer of all users runs (userevents serve --system)"
            )
        if not providers:
            raise Unusable(f"process {pid} declares no events, and no provider was asked for")
        self._waiting.append(attach(pid, providers, calls, place))

    def look(self) -> list[tuple[bool, str]]:
        """Return what there is to say of them since the last look: whether it is a warning, and a sentence."""
        said = []
        for each in self._waiting[:]:
            told = each.report()
            if told is not None:
                self._waiting.remove(each)
                if told.get("started"):
                    self._started.append(each.pid)
                said.append((bool(_failure(told)), f"process {each.pid} ({each.command}) {_outcome(told)}"))
            elif not each.is_alive:
                each.give_up()
                self._waiting.remove(each)
                said.append((True, f"process {each.pid} ({each.command}) has ended before it let us in"))
            elif each.waited_s > _TOLD_S and each.pid not in self._slow:
                self._slow.add(each.pid)
                said.append((True, f"process {each.pid} ({each.command}) is not attached to yet: {each.why_waiting()}"))
        return said

    def end(self) -> list[str]:
        """Leave the programs as they were; return a sentence for each that could not be."""
        for each in self._waiting:
            each.give_up()
        self._waiting.clear()
        said = []
        for pid in self._started:
            with contextlib.suppress(Unusable):  # it has ended
                said += _leave(pid)
        return said


def _leave(pid: int) -> list[str]:
    deadline = time.monotonic() + _UNHEARD_S
    while True:
        leaving = detach(pid)
        told = leaving.wait(deadline - time.monotonic())
        if told is None and leaving.is_alive:
            leaving.give_up()
            return [
                f"process {pid} ({leaving.command}) is not detached from yet: {leaving.why_waiting()}. What is in "
                f"there is off; 'userevents detach {pid}' takes it out"
            ]
        if told is None or not told.get("listened") or time.monotonic() > deadline:
            return []  # who listens still is somebody else
        time.sleep(_AGAIN_S)


def attach_all(
    pids: Sequence[int], providers: Sequence[str], calls: Sequence[str], wait_s: float | None, quiet: bool
) -> int:
    """Attach to all these, saying what came of it; return the exit code."""
    return _each(pids, lambda pid: attach(pid, providers, calls), wait_s, quiet)


def detach_all(pids: Sequence[int], wait_s: float | None, quiet: bool) -> int:
    """Detach from all these, saying what came of it; return the exit code."""
    return _each(pids, detach, wait_s, quiet)


def _each(pids: Sequence[int], begin: Callable[[int], Attachment], wait_s: float | None, quiet: bool) -> int:
    failed = False
    for pid in dict.fromkeys(pids):
        try:
            failed = not _one(begin(pid), wait_s, quiet) or failed
        except Unusable as error:
            warn(str(error))
            failed = True
    return int(failed)


def _one(each: Attachment, wait_s: float | None, quiet: bool) -> bool:
    limit = _FOREVER_S if wait_s is None else wait_s
    who = f"process {each.pid} ({each.command})"
    try:
        told = each.wait(min(limit, _TOLD_S))
        if told is None and limit > _TOLD_S and each.is_alive:
            if not quiet:
                say(f"{who}: {each.why_waiting()}; waiting for it, Ctrl-C gives up")
            told = each.wait(limit - _TOLD_S)
    except KeyboardInterrupt:
        _given_up(each, who)
        raise
    if told is None:
        _given_up(each, who)
        return False
    is_bad = _failure(told)
    if is_bad or not quiet:
        (warn if is_bad else say)(f"{who} {_outcome(told)}")
    return not is_bad


def _given_up(each: Attachment, who: str) -> None:
    each.give_up()
    warn(f"{who} did not let us in: {each.why_waiting() if each.is_alive else 'it has ended'}")


def _failure(told: dict[str, object]) -> bool:
    return "error" in told or bool(told.get("listened")) or told.get("running") == []


def _outcome(told: dict[str, object]) -> str:
    """Say what a program's report means, in words that follow its name."""
    if "error" in told:
        return f"let us in, but: {told['error']}"
    if told.get("listened"):
        return "is still listened to by somebody, and stays as it is"
    if "stopped" in told:
        return f"is detached from: {_names(told['stopped'])}" if told["stopped"] else "has nothing of ours running"
    if not told.get("running"):
        return "let us in, but no provider runs there"
    return f"is attached to: {_names(told['running'])}"


def _names(found: object) -> str:
    return ", ".join(map(str, found)) if isinstance(found, list) else str(found)
