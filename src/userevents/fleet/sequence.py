"""Whose turn it is: the batches of one run of an agent in their order, each once, and what is missing between them.

Pure. A broker may hand a batch over twice, and after a change of its leader out of order. Each batch says the lowest
number that its sender still had to send (`low`), so a gap is known to be one as soon as that is past it: what was
confirmed lies before it in the stream, or is there no more.
"""

from typing import Final, NamedTuple

from ..errors import Malformed

HEADER: Final = "Userevents"
MESSAGE_ID: Final = "Nats-Msg-Id"
"""By this header the broker itself drops what it took already."""
VERSION: Final = 1
HELD_MAX: Final = 1024
"""Batches that wait for one before them; with more, that one is given up."""
_NUMBERS: Final = ("seq", "low", "recording", "before", "records", "mono_ns", "real_ns")


class Head(NamedTuple):
    """What stands in the header of a batch."""

    run: str
    """Which run of the agent."""
    seq: int
    low: int
    recording: int
    before: int
    """Records that went before, in batches or given up without a word."""
    records: int
    mono_ns: int
    """The host's clock when it was sent, and its date."""
    real_ns: int
    begins: bool = False
    """It is the first of its recording."""
    ends: bool = False
    more: bool = False
    """Its last frame goes on in the next one."""


def pack_head(head: Head) -> str:
    """Return the header's text."""
    run, seq, low, recording, before, records, mono_ns, real_ns, begins, ends, more = head
    flags = f"{'b' if begins else ''}{'e' if ends else ''}{'m' if more else ''}" or "-"
    return f"{VERSION} {run} {seq} {low} {recording} {before} {records} {mono_ns} {real_ns} {flags}"


def parse_head(text: str | None) -> Head:
    """Read a header back; raises `Malformed`."""
    words = (text or "").split(" ")
    if words[0] != str(VERSION):
        raise Malformed("a batch", f"has the header {(text or '')[:80]!r}; version {VERSION} was expected")
    if len(words) != 3 + len(_NUMBERS) or not all(_is_number(word) for word in words[2:-1]) or not words[1].isalnum():
        raise Malformed("a batch", f"has the header {(text or '')[:200]!r}")
    seq, low, recording, before, records, mono_ns, real_ns = map(int, words[2:-1])
    begins, ends, more = (letter in words[-1] for letter in "bem")
    run = words[1][:64]
    return Head(run, seq, low, recording, before, records, mono_ns, real_ns, begins, ends, more)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) <= 19


class Ready(NamedTuple):
    """A whole batch whose turn it is. `missing` batches, with `missing_records`, never came before it."""

    head: Head
    payload: bytes
    missing: int = 0
    missing_records: int = 0


class Turns:
    """The batches of one run of an agent. Nothing is ready before a recording begins, or `resume`."""

    def __init__(self) -> None:
        self.recording = 0
        """The recording that is being taken; 0 before one began."""
        self.doubled = 0
        self.ended = 0
        """The last recording of which the end was taken."""
        self._next = 0
        self._before = 0
        self._held: dict[int, tuple[Head, bytes]] = {}
        self._parts: list[bytes] = []
        self._missing = 0
        self._missing_records = 0

    @property
    def held(self) -> int:
        """How many batches wait for one before them, or for the rest of them."""
        return len(self._held) + len(self._parts)

    @property
    def has_ended(self) -> bool:
        """Whether the recording that was taken last has ended, and no other began."""
        return 0 < self.recording <= self.ended

    def resume(self, seq: int, before: int, recording: int) -> None:
        """Go on behind the batch `seq`, up to whose end there were `before` records."""
        self._next, self._before, self.recording = seq + 1, before, recording

    def add(self, head: Head, payload: bytes) -> list[Ready]:
        """Take in a batch as it came; return those whose turn it is."""
        if not self.recording:
            if not head.begins:
                return []
            self._next, self._before = head.seq, head.before
            self.recording = head.recording
        if head.seq < self._next or head.seq in self._held:
            self.doubled += 1
            return []
        self._held[head.seq] = head, payload
        ready = self._in_turn()
        if self._held and head.low > self._next:
            self._skip_to(min(head.low, *self._held))
            ready += self._in_turn()
        while len(self._held) > HELD_MAX:
            self._skip_to(min(self._held))
            ready += self._in_turn()
        return ready

    def give_up(self) -> list[Ready]:
        """Nothing more will come: return what waits, with gaps."""
        ready = []
        while self._held:
            self._skip_to(min(self._held))
            ready += self._in_turn()
        return ready

    def _skip_to(self, seq: int) -> None:
        self._missing += seq - self._next + len(self._parts)
        self._parts.clear()
        self._next = seq

    def _in_turn(self) -> list[Ready]:
        ready = []
        while (found := self._held.pop(self._next, None)) is not None:
            head, payload = found
            self._next += 1
            self.recording = head.recording
            self._missing_records += max(head.before - self._before, 0)
            self._before = head.before + head.records
            self._parts.append(payload)
            if head.more:
                continue
            whole = payload if len(self._parts) == 1 else b"".join(self._parts)
            self._parts.clear()
            ready.append(Ready(head, whole, self._missing, self._missing_records))
            self._missing = self._missing_records = 0
            if head.ends:
                self.ended = head.recording
        return ready
