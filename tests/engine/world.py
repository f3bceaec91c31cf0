"""A small world to test the engine in: fake memory, processes, one group, and a log that is kept."""

from collections.abc import Callable

from userevents.engine import V6_12, Caller, Fault, Group, OpenFile, Profile, UserEvent, UserEventMm, WorkQueue, Writer
from userevents.errors import Refused

ROOT = Caller(0, 0, perfmon=True)
USER = Caller(1000, 1000, perfmon=False)
WORD = 0x1000
"""Address of the word that most tests use; words follow every 8 bytes."""


def refused(call: Callable[[], object]) -> str:
    """The name of the errno that `call` is refused with, ``""`` if it is not refused."""
    try:
        call()
    except Refused as refusal:
        return refusal.name
    return ""


class FakeMemory:
    """Words of one address space. `unmapped` addresses fault; `absent` ones come in when asked for."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.unmapped: set[int] = set()
        self.absent: set[int] = set()
        self.tries = 0

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Set or clear one bit."""
        self.tries += 1
        if addr in self.unmapped or addr in self.absent:
            raise Fault
        word = self.words.get(addr, 0)
        self.words[addr] = word | 1 << bit if on else word & ~(1 << bit)

    def fault_in(self, addr: int) -> None:
        """Bring an absent word in."""
        if addr in self.unmapped:
            raise Fault
        self.absent.discard(addr)

    def bit(self, addr: int, bit: int) -> int:
        """One bit."""
        return self.words.get(addr, 0) >> bit & 1

    def copy(self) -> "FakeMemory":
        """What fork makes."""
        child = FakeMemory()
        child.words = dict(self.words)
        child.unmapped = set(self.unmapped)
        return child


class Probe:
    """A tracer: attach it to an event."""

    def __init__(self, name: str = "tracer", status_bit: int = 1) -> None:
        self.holder_name = name
        self.status_bit = status_bit
        self.payloads: list[bytes] = []

    def record(self, event: UserEvent, payload: bytes, writer: Writer) -> bool:
        """Keep what was written."""
        self.payloads.append(payload)
        return True


class World:
    """A group, and short ways to do things to it as one process with one file."""

    def __init__(self, profile: Profile = V6_12, *, recover: bool = False) -> None:
        self.log: list[tuple[str, str]] = []
        self.queue = WorkQueue()
        self.group = Group(
            profile, log=lambda level, message: self.log.append((level, message)), queue=self.queue, recover=recover
        )
        self.memory = FakeMemory()
        self.mm = self.group.new_mm(self.memory, "pid 1")
        self.file = self.group.open_file("pid 1")

    def register(
        self,
        text: str,
        bit: int = 0,
        *,
        addr: int = WORD,
        size: int = 4,
        flags: int = 0,
        caller: Caller = ROOT,
        file: OpenFile | None = None,
        mm: UserEventMm | None = None,
        want_id: int | None = None,
    ) -> int:
        """Register in the one process, unless told otherwise."""
        return self.group.register(
            file if file is not None else self.file,
            mm if mm is not None else self.mm,
            text,
            addr=addr,
            bit=bit,
            size=size,
            flags=flags,
            caller=caller,
            want_id=want_id,
        )

    def event(self, name: str) -> UserEvent:
        """The one event registered as `name`."""
        (event,) = self.group.events.named(name)
        return event

    def listed(self) -> list[str]:
        """The names in the tree."""
        return [event.tracepoint_name for event in self.group.events]

    def leave(self) -> None:
        """The process lets go of everything."""
        self.mm.exit()
        self.file.close()
