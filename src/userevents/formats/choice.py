"""Which records are asked for: by event and by process."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..fields.near import instead
from .model import Event


@dataclass(frozen=True, slots=True)
class Pattern:
    """One ``[SYSTEM:]EVENT`` pattern with shell globs."""

    system: str
    event: str

    @classmethod
    def parse(cls, text: str) -> "Pattern":
        """Read a pattern; without a colon it is for any system."""
        system, colon, event = text.partition(":")
        return cls(system or "*", event or "*") if colon else cls("*", text)

    def matches(self, event: Event) -> bool:
        """Whether an event is meant; multi-format names match with their suffix."""
        return fnmatchcase(event.name, self.event) and fnmatchcase(event.system, self.system)

    def __str__(self) -> str:
        return self.event if self.system == "*" else f"{self.system}:{self.event}"


def no_event(wanted: str, events: Iterable[Event]) -> str:
    """Return what to say where a trace has no event of that name or pattern, with those that it has."""
    name = wanted.rpartition(":")[2]
    return f"the trace has no event '{wanted}': {instead(name, (event.name for event in events), 'it has')}"


class Choice:
    """Records whose event matches any of `patterns` and whose process (or thread) is one of `pids`; empty: all."""

    def __init__(self, patterns: Iterable[Pattern] = (), pids: frozenset[int] = frozenset()) -> None:
        self._patterns = tuple(patterns)
        self._pids = pids

    def unmatched(self, events: Iterable[Event]) -> Iterator[str]:
        """Yield what to say of each pattern that names none of a trace's events."""
        known = list(events)
        for pattern in self._patterns:
            if not any(map(pattern.matches, known)):
                yield no_event(str(pattern), known)

    @property
    def pids(self) -> frozenset[int]:
        """The processes, or threads, asked for; empty: all."""
        return self._pids

    def wants_event(self, event: Event) -> bool:
        """Whether records of this event are asked for."""
        return not self._patterns or any(pattern.matches(event) for pattern in self._patterns)

    def wants_thread(self, pid: int | None, tid: int) -> bool:
        """Whether records of this thread are asked for; `pid` is None where its process is not known."""
        return not self._pids or pid in self._pids or tid in self._pids

    def only(self, pattern: Pattern) -> "Choice":
        """Return what this and another pattern both ask for."""
        return _Narrowed(self, pattern)


class _Narrowed(Choice):
    """A choice within a choice."""

    def __init__(self, base: Choice, pattern: Pattern) -> None:
        super().__init__((pattern,), base._pids)
        self._base = base

    def wants_event(self, event: Event) -> bool:
        return super().wants_event(event) and self._base.wants_event(event)


ALL = Choice()
