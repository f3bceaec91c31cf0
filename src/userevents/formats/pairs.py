"""Pairs of events with the same key, as spans: `request_begin` and `request_end` of one id are one request.

A `Matcher` takes rows in time order and gives each span when it ends. It holds the begins that wait, and no more:
so a trace may be larger than memory. What finds no partner is counted, never guessed at.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, NamedTuple

from ..errors import Unusable
from .choice import ALL, Choice, no_event
from .model import Event, Value
from .rows import Row

OPEN_MAX: Final = 1 << 18
"""Begins that wait at once, over all pairs; one more, and that which waits longest is given up and counted."""
_MANY: Final = 64
"""From so many begins of one key on, the oldest is taken from a deque: few keys have more, and a deque is large."""
SCOPES: Final = ("process", "thread", "trace")
_RECORD_KEYS: Final = ("cpu", "tid", "pid")


class Pair(NamedTuple):
    """One kind of span. `begin` and `end` are ``[SYSTEM/]EVENT``; a record's partner agrees in all `keys`.

    `scope`: partners are of one process, of one thread, or anywhere in the trace.
    """

    begin: str
    end: str
    keys: tuple[str, ...]
    scope: str

    @classmethod
    def parse(cls, text: str) -> "Pair":
        """Read ``BEGIN:END[:KEY[,KEY...][:SCOPE]]``.

        A key is a field that both events have, or the record's own ``cpu``, ``tid`` or ``pid``. Without keys partners
        are of one thread, else of one process, unless SCOPE says ``thread`` or ``trace``. Raises `Unusable`.

        >>> Pair.parse("request_begin:request_end:id")
        Pair(begin='request_begin', end='request_end', keys=('id',), scope='process')
        """
        begin, _, rest = text.partition(":")
        end, _, rest = rest.partition(":")
        names, _, scope = rest.partition(":")
        keys = tuple(name.strip() for name in names.split(",") if name.strip())
        scope = scope or ("process" if keys else "thread")
        if not begin or not end or scope not in SCOPES:
            raise Unusable(
                f"'{text}' is no pair of events: write BEGIN:END:KEY, such as request_begin:request_end:id "
                f"(keys with commas between; then :{' or :'.join(SCOPES)} if you wish)"
            )
        return cls(begin, end, keys, scope)

    @property
    def name(self) -> str:
        """What to call its spans: what both events' names begin with, or both of them.

        >>> Pair.parse("request_begin:request_end:id").name, Pair.parse("acquire:release:lock").name
        ('request', 'acquire-release')
        """
        begin, end = self.begin.rpartition("/")[2], self.end.rpartition("/")[2]
        size = next((at for at, (one, other) in enumerate(zip(begin, end, strict=False)) if one != other), 0)
        common = begin[: size or min(len(begin), len(end))].rstrip("_-.")
        return common if common and (size or begin == end) else f"{begin}-{end}"


class Span(NamedTuple):
    """A begin and its end, as rows; `key` is what they agree in.

    `lane` numbers what is open at the same time in one scope (a process, a thread, the trace), from 0: spans of one
    lane do not overlap.
    """

    pair: Pair
    key: tuple[Value, ...]
    begin: Row
    end: Row
    lane: int

    @property
    def start_ns(self) -> int:
        """When it began, ns of the trace's clock."""
        return self.begin[0]

    @property
    def duration_ns(self) -> int:
        """How long it took."""
        return self.end[0] - self.begin[0]


@dataclass(slots=True)
class Tally:
    """What became of one pair's records."""

    spans: int = 0
    begins_alone: int = 0
    ends_alone: int = 0


class _Waiting(NamedTuple):
    """A begin that waits for its end."""

    row: Row
    lane: int
    number: int


@dataclass(slots=True)
class _Lanes:
    """Numbers in use in one scope, and those that are free again."""

    used: int = 0
    free: list[int] = field(default_factory=list)

    def take(self) -> int:
        if self.free:
            return heappop(self.free)
        self.used += 1
        return self.used - 1


_Key = tuple[int, object, tuple[Value, ...]]
"""(number of the pair, what its scope is bound to, the values of its keys)"""
_Part = tuple[int, bool, tuple[int, ...]]
"""What an event is to a pair: (number of the pair, whether it begins it, where the keys are among its values)."""


class Matcher:
    """Finds the spans of `pairs` in rows in time order.

    An end closes the latest begin that waits with its key, so that spans may nest. `tallies` says of each pair what
    was found; begins that still wait count as alone, also while rows are added.
    """

    def __init__(self, pairs: Iterable[Pair], open_max: int = OPEN_MAX) -> None:
        self.pairs = tuple(pairs)
        self._tallies = [Tally() for _ in self.pairs]
        self._open_max = open_max
        self._waiting: dict[_Key, list[_Waiting] | deque[_Waiting]] = {}
        self._age: OrderedDict[int, _Key] = OrderedDict()  # whose first is found without passing over what is gone
        self._number = 0
        self._lanes: dict[tuple[int, object], _Lanes] = {}
        self._parts: dict[int, tuple[_Part, ...]] = {}

    @property
    def tallies(self) -> Mapping[Pair, Tally]:
        """What became of each pair's records so far."""
        return dict(zip(self.pairs, self._tallies, strict=True))

    def add(self, row: Row) -> Iterable[Span]:
        """Take in a row of any event; return the spans that end with it."""
        event = row[4].event
        parts = self._parts.get(event.id)
        if parts is None:
            parts = self._parts[event.id] = tuple(_parts_of(self.pairs, event))
        spans = []
        for number, begins, places in parts:
            key = self._key(number, places, row)
            span = None if begins and self.pairs[number].begin != self.pairs[number].end else self._close(key, row)
            if span:
                spans.append(span)
            elif begins:
                self._open(key, row)
        return spans

    def spans(self, rows: Iterable[Row]) -> Iterator[Span]:
        """Yield the spans of rows in time order, each when it ends."""
        for row in rows:
            yield from self.add(row)

    def _key(self, number: int, places: tuple[int, ...], row: Row) -> _Key:
        _, cpu, tid, who, _, values = row
        scope = self.pairs[number].scope
        pid = who[0] if isinstance(who, tuple) else None
        bound = None if scope == "trace" else tid if scope == "thread" else pid
        own = (cpu, tid, pid)
        return number, bound, tuple([values[place] if place >= 0 else own[~place] for place in places])

    def _open(self, key: _Key, row: Row) -> None:
        scope = key[:2]
        lanes = self._lanes.get(scope)
        if lanes is None:
            lanes = self._lanes[scope] = _Lanes()
        lane = lanes.take()
        self._number += 1
        waiting = self._waiting.setdefault(key, [])
        waiting.append(_Waiting(row, lane, self._number))
        if len(waiting) == _MANY and isinstance(waiting, list):
            self._waiting[key] = deque(waiting)
        self._age[self._number] = key
        self._tallies[key[0]].begins_alone += 1
        if len(self._age) > self._open_max:
            self._take(self._age[next(iter(self._age))], is_oldest=True)

    def _close(self, key: _Key, row: Row) -> Span | None:
        tally = self._tallies[key[0]]
        pair = self.pairs[key[0]]
        if key not in self._waiting:
            tally.ends_alone += pair.begin != pair.end
            return None
        begin = self._take(key)
        tally.begins_alone -= 1
        tally.spans += 1
        return Span(pair, key[2], begin.row, row, begin.lane)

    def _take(self, key: _Key, *, is_oldest: bool = False) -> _Waiting:
        """Take the latest begin of a key out, or the oldest, and free its lane."""
        waiting = self._waiting[key]
        if not is_oldest:
            begin = waiting.pop()
        elif isinstance(waiting, deque):
            begin = waiting.popleft()
        else:
            begin = waiting.pop(0)
        if not waiting:
            del self._waiting[key]
        del self._age[begin.number]
        lanes = self._lanes[key[:2]]
        heappush(lanes.free, begin.lane)
        if len(lanes.free) == lanes.used:
            del self._lanes[key[:2]]
        return begin


def _parts_of(pairs: tuple[Pair, ...], event: Event) -> Iterator[_Part]:
    """Yield what an event is to each pair; one without a pair's keys is nothing to it. An end comes before a begin."""
    for begins in (False, True):
        for number, pair in enumerate(pairs):
            if begins and pair.begin == pair.end:
                continue
            if _means(pair.begin if begins else pair.end, event):
                places = [_place(event, key) for key in pair.keys]
                if None not in places:
                    is_both = pair.begin == pair.end
                    yield number, begins or is_both, tuple(place for place in places if place is not None)


def _means(name: str, event: Event) -> bool:
    return name in (event.name, f"{event.system}/{event.name}")


def _place(event: Event, key: str) -> int | None:
    """Return where a key is: among the values from 0 on, among the record's own as ~0 to ~2, or None."""
    if key in event.keys:
        return event.keys.index(key)
    return ~_RECORD_KEYS.index(key) if key in _RECORD_KEYS else None


class PairChoice(Choice):
    """The records of a base choice whose events some pair names."""

    def __init__(self, pairs: Iterable[Pair], base: Choice = ALL) -> None:
        super().__init__(pids=base._pids)
        self._base = base
        self._names = {name for pair in pairs for name in (pair.begin, pair.end)}

    def wants_event(self, event: Event) -> bool:
        """Whether records of this event are asked for."""
        return any(_means(name, event) for name in self._names) and self._base.wants_event(event)


def check(pairs: Iterable[Pair], events: Iterable[Event]) -> None:
    """Raise `Unusable` for a pair whose events or keys the trace has not, saying what it has."""
    known = list(events)
    for pair in pairs:
        for name in (pair.begin, pair.end):
            found = [event for event in known if _means(name, event)]
            if not found:
                raise Unusable(no_event(name, known))
            for key in pair.keys:
                if all(_place(event, key) is None for event in found):
                    keys = ", ".join(found[0].keys) or "none"
                    raise Unusable(f"event '{name}' has no field '{key}': its fields are {keys}")
