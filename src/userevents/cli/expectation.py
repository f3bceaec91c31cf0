"""What `--expect` may say, and whether it has come true.

    expectation := selection [count] | selection 'before' selection
    selection   := EVENT ['.' FILTER]
    count       := OP NUMBER

EVENT is ``[SYSTEM:]NAME`` with ``*``, ``?`` and ``[]``. FILTER is a filter of the kernel, so that
``tick.count == 7 && cpu == 0`` is one condition. Behind a whole condition, blank and OP NUMBER are the count.
OP is one of == != < <= > >=; without a count at least one must come. ``A before B``: the first A comes
earlier than the first B, and both come.
"""

import operator
import re
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from ..control.events import USER_SYSTEMS, EventName, Pattern
from ..fields import Field
from ..fields.filter import Filter, FilterError, parse_filter, syntax_problem

_OPERATORS: Final[dict[str, Callable[[int, int], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_OP: Final = r"(==|!=|<=|>=|<|>)"
_NAME: Final = re.compile(r"(?:[^\s.<>=!:]+:)?[^\s.<>=!:]+")
_COUNT: Final = re.compile(rf"\s*{_OP}\s*(\d+)\s*$")
_SPACED_COUNT: Final = re.compile(rf"\s+{_OP}\s*(\d+)\s*$")
_BEFORE: Final = re.compile(r"\s+before\s+")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_CONNECTIVE: Final = re.compile(r"&&|\|\|")
_COMPARES: Final = re.compile(r"[=!<>~&]")
_LAST_KEPT: Final = 5
_REFUSED_KEPT: Final = 100
_DECLARED: Final = re.compile(r"[^\s:;]+")


class Wrong(ValueError):
    """An expectation that says nothing."""


class Seen(NamedTuple):
    """One record."""

    event: EventName
    fields: tuple[Field, ...]
    ts_ns: int
    body: bytes
    cpu: int
    comm: str
    tid: int


class Denied(NamedTuple):
    """A declaration that was refused: its text ("" where that could not be read), who made it, and why."""

    text: str
    who: str
    reason: str

    @property
    def events(self) -> list[EventName]:
        """What it would have made, in one system or the other."""
        name = _DECLARED.match(self.text)
        return [EventName(system, name[0]) for system in USER_SYSTEMS] if name else []

    def concerns(self, selection: "Selection") -> bool:
        """Whether a selection is about what it would have made; one that could not be read may have been that."""
        return not self.text or any(map(selection.covers, self.events))

    def __str__(self) -> str:
        what = f"'{self.text}'" if self.text else "a registration"
        return f"{what} of {self.who} was refused: {self.reason}"


class Selection:
    """Some events, or the records of them that pass a filter; counts those that came."""

    def __init__(self, text: str) -> None:
        """Read ``EVENT`` or ``EVENT.FILTER``; raises `Wrong`."""
        self.text = text
        found = _NAME.match(text)
        if found is None:
            raise Wrong(f"'{text}' begins with no event's name")
        self.event = found[0]
        self.condition = ""
        rest = text[found.end() :]
        if rest.startswith("."):
            self.condition = rest[1:].strip()
            if not _COMPARES.search(_blanked(self.condition)):
                raise Wrong(f"'{text}': '{self.condition}' compares nothing; write EVENT.FIELD == VALUE")
            _check_syntax(self.condition)
        elif rest.strip():
            raise Wrong(f"'{text}': '{rest.strip()}' is neither a count (>= 3) nor a condition (.FIELD == 7)")
        self.pattern = Pattern.parse(self.event)
        self.count = 0
        self.first_ns: int | None = None
        self.refusals: dict[str, str] = {}
        """Events that the condition does not suit, and why."""
        self._filters: dict[tuple[EventName, tuple[Field, ...]], Filter | None] = {}

    def covers(self, event: EventName) -> bool:
        """Whether it is about records of this event."""
        return self.pattern.matches(event)

    def take(self, seen: Seen) -> None:
        """Count a record, if it is meant."""
        if not self.covers(seen.event) or not self._passes(seen):
            return
        self.count += 1
        if self.first_ns is None or seen.ts_ns < self.first_ns:
            self.first_ns = seen.ts_ns

    def learn(self, event: EventName, fields: tuple[Field, ...]) -> None:
        """Find out whether the condition suits an event, before any record of it comes."""
        if self.condition and self.covers(event) and (event, fields) not in self._filters:
            try:
                self._filters[event, fields] = parse_filter(self.condition, fields)
            except FilterError as error:
                self._filters[event, fields] = None
                self.refusals[str(event)] = error.reason

    def _passes(self, seen: Seen) -> bool:
        if not self.condition:
            return True
        self.learn(seen.event, seen.fields)
        found = self._filters[seen.event, seen.fields]
        return found is not None and found.matches(seen.body, cpu=seen.cpu, comm=seen.comm)


class Expectation:
    """One `--expect`. Raises `Wrong` for a text that is none."""

    def __init__(self, text: str) -> None:
        self.text = text.strip()
        hidden = _blanked(self.text)
        before = [match.span() for match in _BEFORE.finditer(hidden)]
        if len(before) > 1:
            raise Wrong(f"'{text}': one 'before' at most; write two expectations")
        self.other: Selection | None = None
        self._operator, self._number = ">=", 1
        if before:
            start, end = before[0]
            self.selection = Selection(self.text[:start])
            self.other = Selection(self.text[end:])
            return
        end = self._read_count(hidden)
        self.selection = Selection(self.text[:end])

    def _read_count(self, hidden: str) -> int:
        """Take the count from the end of the text; returns where the rest ends."""
        name = _NAME.match(self.text)
        has_condition = name is not None and self.text[name.end() : name.end() + 1] == "."
        found = (_SPACED_COUNT if has_condition else _COUNT).search(hidden)
        if found is None:
            return len(self.text)
        if has_condition and not _COMPARES.search(_CONNECTIVE.split(hidden[: found.start()])[-1]):
            return len(self.text)  # it is the last comparison of the condition itself
        self._operator, self._number = found[1], int(found[2])
        return found.start()

    @property
    def wanted(self) -> str:
        """The count that is wanted, in words."""
        return f"{self._operator} {self._number}"

    @property
    def selections(self) -> tuple[Selection, ...]:
        """What it counts."""
        return (self.selection,) if self.other is None else (self.selection, self.other)

    @property
    def is_met(self) -> bool:
        """Whether it holds now."""
        if any(selection.refusals for selection in self.selections):
            return False
        if self.other is None:
            return _OPERATORS[self._operator](self.selection.count, self._number)
        first, second = self.selection.first_ns, self.other.first_ns
        return first is not None and second is not None and first < second


class Observed:
    """All that came, as far as a report wants it: who was declared, how often each was written, the last records."""

    def __init__(self, expectations: list[Expectation]) -> None:
        self.expectations = expectations
        self.counts: dict[str, int] = {}
        """By ``SYSTEM:EVENT``; 0 for one that was declared and never written."""
        self.names: dict[str, EventName] = {}
        self.refused: list[Denied] = []
        """Declarations that came to nothing, each once."""
        self.lost = 0
        """Records that were written and did not come."""
        self._last: dict[str, deque[Seen]] = {}

    def declare(self, event: EventName, fields: tuple[Field, ...]) -> None:
        """An event came to be."""
        self.counts.setdefault(str(event), 0)
        self.names[str(event)] = event
        for expectation in self.expectations:
            for selection in expectation.selections:
                selection.learn(event, fields)

    def refuse(self, denied: Denied) -> None:
        """A declaration was refused; of many only the first are told."""
        if len(self.refused) < _REFUSED_KEPT and denied not in self.refused:
            self.refused.append(denied)

    def refusals(self, selection: Selection) -> list[Denied]:
        """The refused declarations of what a selection is about, or may be."""
        return [denied for denied in self.refused if denied.concerns(selection)]

    def take(self, seen: Seen) -> None:
        """A record came."""
        key = str(seen.event)
        self.counts[key] = self.counts.get(key, 0) + 1
        self._last.setdefault(key, deque(maxlen=_LAST_KEPT)).append(seen)
        for expectation in self.expectations:
            for selection in expectation.selections:
                selection.take(seen)

    def last(self, selection: Selection) -> list[Seen]:
        """The newest records of the events that a selection is about, the oldest of them first."""
        found = [seen for key, kept in self._last.items() if selection.covers(self.names[key]) for seen in kept]
        return sorted(found, key=lambda seen: seen.ts_ns)[-_LAST_KEPT:]


def _blanked(text: str) -> str:
    """The text with what stands in quotes made meaningless, of the same length."""
    return _QUOTED.sub(lambda match: '"' + "_" * (len(match[0]) - 2) + '"', text)


def _check_syntax(condition: str) -> None:
    """Raise `Wrong` for what is no condition whatever the fields are."""
    problem = syntax_problem(condition)
    if problem is not None:
        raise Wrong(problem)
