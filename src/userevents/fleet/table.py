"""Which event is held where: what one host does so that the fleet knows, and what its peers do when it is gone.

Pure: no clock, no network. Each of `Presence` and `Sweep` says what is to be asked of the broker next (`due`) and
takes the answer, or None for one that never came (`done`). It asks one thing at a time; writes to different keys may
be asked together (`due_together`). Any question may be lost, done late or done twice, and a lease may run out at any
moment: the state table and the reasons are in docs/fleet.md, and tests/model/fleet.py reaches every interleaving of a
small fleet.
"""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple, TypeAlias

from . import names


class Entry(NamedTuple):
    """A key as it was stored."""

    key: str
    value: bytes
    sequence: int


class Read(NamedTuple):
    """Asks for the keys that match, with values: a list of `Entry`, oldest first."""

    pattern: str


class Put(NamedTuple):
    """Asks to store a key: its sequence, or `CONFLICT` if it had another one than `expected`."""

    key: str
    value: bytes
    expected: int | None = None
    """The sequence it must have, 0 for none; None to store it whatever it has."""
    leased: bool = False
    once: str = ""
    """What a second arrival of this very question is known by, so that it is not done."""


class Remove(NamedTuple):
    """Asks to remove what a key was stored with under a sequence, if it is there still."""

    key: str
    sequence: int


CONFLICT: Final = -1

Question: TypeAlias = Read | Put | Remove
Answer: TypeAlias = list[Entry] | int | bool | None
"""None: nobody knows whether it was done."""


class Presence:
    """One run of a host's agent: its lease, and a key for each event that the host uses.

    The lease comes first and then the keys, each written after the lease they count under: a peer that finds no lease
    removes the keys it has read *before*, by their sequence, and never one written under a later lease.
    """

    def __init__(self, host: str, incarnation: str) -> None:
        self.host = host
        self.incarnation = incarnation
        self.facts = b"{}"
        self._used: dict[str, bytes] = {}
        self._persistent: dict[str, bytes] = {}
        self._numbers: dict[str, int] = {}
        """How often each persist key was begun here: one that was deleted may be begun again."""
        self.deleted: set[str] = set()
        """Persist keys that were deleted in the fleet: the events are to be deleted here, too."""
        self.rival: str | None = None
        """Whose lease is in the way: another run of this host, or another host of this name."""
        self.is_leaving = False
        self.joined = 0
        """The sequence of the lease that this membership began with; 0 while we are out."""
        self._lease = 0
        self._beat = -1
        """The number of the last lease that was sent."""
        self._is_sure = False
        """Whether `_lease` is what the broker has, for all we know."""
        self._known: dict[str, Entry] | None = None
        self._announced: set[str] = set()
        self._facts: tuple[int, bytes] = (0, b"")
        """Sequence and value of the facts that were stored under this membership."""
        self._is_settled = False
        """Whether the keys were compared with what ought to be there, and nothing has changed since."""

    @property
    def is_in(self) -> bool:
        """Whether the fleet sees this host, for all we know."""
        return self.joined > 0

    @property
    def is_out(self) -> bool:
        """Whether a leaving host has nothing left to take away."""
        return self.is_leaving and self._is_sure and not self._lease

    def hold(self, used: dict[str, bytes], persistent: dict[str, bytes]) -> None:
        """Say which user keys ought to be there, with their values, and the persist keys of what persists here.

        A persist key is stored once; from then on the fleet decides whether it is there.
        """
        for key in persistent.keys() - self._persistent.keys():
            self._numbers[key] = self._numbers.get(key, 0) + 1
        self._used, self._persistent = dict(used), dict(persistent)
        self._announced &= persistent.keys()
        self.deleted &= persistent.keys()
        self._is_settled = False

    @property
    def known(self) -> set[str] | None:
        """The keys of ours that the broker has, for all we know; None while that is to be read, or we are out."""
        return None if self._known is None or not self.joined else set(self._known)

    def look_again(self) -> None:
        """Compare our keys with what the broker has, at the next question."""
        self._known = None
        self._is_settled = False

    def due(self, *, beat: bool = False) -> Question | None:
        """Say what to ask next, None for nothing. `beat`: it is time to renew the lease."""
        found = self.due_together(1, beat=beat)
        return found[0] if found else None

    def due_together(self, most: int, *, beat: bool = False) -> list[Question]:
        """Say what to ask next: nothing, one question, or up to so many writes to different keys, in any order.

        Each is `done` with its own answer before this is called again.
        """
        if not self._is_sure:
            return [Read(names.lease_key(self.host))]
        if self.is_leaving:
            return self._parting(most)
        if not self.joined:
            if self.rival is not None and beat:
                self._is_sure = False
                return self.due_together(1)
            return [] if self.rival is not None else [self._renewal()]
        if beat:
            return [self._renewal()]
        if self._known is None:
            return [Read(self.own_keys)]
        if self._is_settled and self._facts[0] and self._facts[1] == self.facts:
            return []
        found = list(islice(self._differences(self._known), most))
        self._is_settled = not found
        return found

    def done(self, question: Question, answer: Answer) -> None:
        """Take the answer to what `due` asked last."""
        self._is_settled = self._is_settled and isinstance(question, Put) and question.leased
        lease = names.lease_key(self.host)
        match question:
            case Read(pattern) if pattern == lease:
                if isinstance(answer, list):
                    self._read_lease(answer)
            case Read():
                if isinstance(answer, list):
                    self._known = {entry.key: entry for entry in answer}
            case Put(key) if key == lease:
                self._sent_lease(answer)
            case Put():
                self._stored(question, answer)
            case Remove(key):
                self._removed(key, answer)

    def _renewal(self) -> Put:
        value = json.dumps([self.incarnation, self._beat + 1]).encode()
        return Put(names.lease_key(self.host), value, self._lease, leased=True)

    def _sent_lease(self, answer: Answer) -> None:
        self._beat += 1
        if answer is None or answer == CONFLICT:
            self._is_sure = False  # it ran out, somebody has taken it, or this very lease is stored: look
            return
        assert isinstance(answer, int)
        self._lease = answer
        if not self.joined:
            self._join(answer)

    def _join(self, sequence: int) -> None:
        self.joined = sequence
        self._known = None
        self._is_settled = False
        self._facts = (0, b"")

    def _read_lease(self, found: list[Entry]) -> None:
        """Find out whether our lease has stood all the time.

        One that follows another was stored only if that one was there, and once only: if the last one sent is there
        now, it never ran out. The first one, which follows none, could have been stored twice.
        """
        self._is_sure, self.rival = True, None
        if not found:
            self._lease = self.joined = 0
            return
        incarnation, beat = _lease_of(found[0].value)
        if incarnation != self.incarnation:
            self.rival = incarnation
            self._lease = self.joined = 0
            return
        is_last = beat == self._beat
        is_same = found[0].sequence == self._lease
        self._lease = found[0].sequence
        if not (self.joined and (is_last or is_same)):
            self.joined = 0  # ours, but it may have run out meanwhile: take it over and write everything anew

    @property
    def own_keys(self) -> str:
        """The pattern of the keys that tell which events this host holds."""
        return f"*.{names.encode(self.host)}.*.*"

    def _differences(self, known: dict[str, Entry]) -> Iterator[Question]:
        if not self._facts[0] or self._facts[1] != self.facts:
            yield Put(names.host_key(self.host), self.facts)
        for key, value in self._used.items():
            entry = known.get(key)
            if entry is None or entry.value != value or entry.sequence < self.joined:
                yield Put(key, value)
        for key, entry in known.items():
            if key.startswith("user.") and key not in self._used:
                yield Remove(key, entry.sequence)
        for key, value in self._persistent.items():
            if key in known:
                self._announced.add(key)
            elif key in self._announced:
                self.deleted.add(key)
            else:
                yield Put(key, value, 0, once=f"{self.incarnation}.{self._numbers[key]}.{key}")

    def _parting(self, most: int) -> list[Question]:
        """Take away the users, the facts and at last the lease: a peer finishes what is left when this is cut short."""
        if not self._lease:
            return []
        if self._known is None:
            return [Read(self.own_keys)]
        users: list[Question] = [
            Remove(key, entry.sequence) for key, entry in self._known.items() if key.startswith("user.")
        ]
        last = (
            (names.host_key(self.host), self._facts[0]) if self._facts[0] else (names.lease_key(self.host), self._lease)
        )
        return users[:most] or [Remove(*last)]

    def _stored(self, question: Put, answer: Answer) -> None:
        if answer is None or answer == CONFLICT:
            self._known = None  # it may be there or not
            return
        assert isinstance(answer, int)
        if question.key == names.host_key(self.host):
            self._facts = (answer, question.value)
        elif self._known is not None:
            self._known[question.key] = Entry(question.key, question.value, answer)

    def _removed(self, key: str, answer: Answer) -> None:
        if answer is None:
            self._known = None
            self._is_sure = not self.is_leaving
            return
        if key == names.lease_key(self.host):
            self._lease = self.joined = 0
        elif key == names.host_key(self.host):
            self._facts = (0, b"")
        elif self._known is not None:
            self._known.pop(key, None)


class Sweep:
    """What any peer does about one host that seems to be gone: take its users away, and then the host itself.

    It reads the keys, and then once more whether there is a lease. What it removes was stored before that reading; a
    host that joins again writes all its keys anew, with other sequences. Persistent events stay.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.is_done = False
        self.removed = 0
        self._read: list[Entry] = []
        self._steps: list[Question] = [
            Read(f"user.{names.encode(host)}.*.*"),
            Read(names.host_key(host)),
            Read(names.lease_key(host)),
        ]

    def due(self) -> Question | None:
        """Say what to ask next, None when there is nothing left to do."""
        return None if self.is_done or not self._steps else self._steps[0]

    def done(self, question: Question, answer: Answer) -> None:
        """Take the answer to what `due` asked last. One that does not come ends this: another peer will do it."""
        self._steps.pop(0)
        if answer is None:
            self.is_done = True
        elif isinstance(question, Remove):
            self.removed += bool(answer)
        elif question == Read(names.lease_key(self.host)):
            self.is_done = bool(answer)
            self._steps = [Remove(entry.key, entry.sequence) for entry in self._read]
        else:
            assert isinstance(answer, list)
            self._read += answer
        self.is_done = self.is_done or not self._steps


def _lease_of(value: bytes) -> tuple[str, int]:
    """Whose lease this is and its number; of one that nobody of ours wrote, nobody's."""
    try:
        incarnation, beat = json.loads(value)
        return str(incarnation), int(beat)
    except (ValueError, TypeError):
        return "", -1
