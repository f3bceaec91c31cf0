"""What the engine needs from outside, and who asks it: memory, callers, probes, observers.

The engine owns no memory, process or clock. A host (or a test) hands these in.
"""

from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import Refused

if TYPE_CHECKING:
    from .enabler import UserEventMm
    from .event import UserEvent


class Fault(Exception):
    """The addressed word cannot be reached now: not mapped, not writable, or its process is gone."""


class Memory(Protocol):
    """One address space, seen by the engine only as words in which it sets and clears single bits."""

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Set or clear bit `bit` of the `size`-byte word at `addr`, and no other bit.

        Raises `Fault` when the word cannot be written at once.
        """


class Pageable(Protocol):
    """A `Memory` with a method `fault_in`, whose words may first have to be brought in (the kernel's fault-in).

    A `Memory` without it is simply tried again.
    """

    def fault_in(self, addr: int) -> None:
        """Make the word at `addr` writable; raises `Fault` when that cannot be done."""


class UserMemory(Memory, Protocol):
    """A `Memory` that can also be copied from and to: what an ioctl's pointers point into."""

    def read(self, addr: int, size: int) -> bytes:
        """The `size` bytes at `addr`; raises `Fault` when any of them cannot be read."""

    def write(self, addr: int, data: bytes) -> None:
        """Store `data` at `addr`; raises `Fault` when any of it cannot be."""

    def read_both(self, addr: int, size: int, other: int) -> tuple[bytes, int | None]:
        """`read`, and along with it the byte at `other`; None where that cannot be read."""

    def read_registration(self, addr: int, size: int, limit: int) -> tuple[int, int, int, int, str, int] | None:
        """What a ``user_reg`` at `addr` of that very size says, in one go; None where anything of it is otherwise.

        That is its bit, word size, flags and address, the text (ended within `limit` bytes), the byte with the bit.
        """

    def write_both(self, addr: int, byte: int, other: int, data: bytes) -> None:
        """Store `byte` at `addr`, then `data` at `other` if that can be.

        Raises `Fault`, with nothing stored, when the byte cannot be written at once.
        """


class Registration(Protocol):
    """What a registration wants of its caller's memory when its turn has come."""

    def text(self) -> str:
        """The declaration."""

    def store(self, index: int, on: bool) -> None:
        """Set or clear the bit, then tell the write index; only the bit matters, and raises `Fault`."""


class Writer(NamedTuple):
    """Who writes an event, as its record and its trace line name them."""

    tid: int
    pid: int
    comm: str
    cpu: int


class Task(Protocol):
    """One thread of a process, making a call."""

    mm: "UserEventMm | None"
    """Its user-event-mm; None until its first registration."""

    @property
    def memory(self) -> UserMemory:
        """Its address space."""

    @property
    def caller(self) -> "Caller":
        """Its credentials."""

    @property
    def writer(self) -> Writer:
        """What a record says of it."""


class Caller(NamedTuple):
    """Who asks: the credentials that the contract's checks look at."""

    uid: int
    gid: int
    perfmon: bool
    """Has CAP_PERFMON or CAP_SYS_ADMIN in the initial user namespace."""


class Probe(Protocol):
    """Something attached to an event's tracepoint: a trace instance, or all of perf together."""

    @property
    def status_bit(self) -> int:
        """The bit it sets in the event's status while attached (EVENT_STATUS_*)."""

    @property
    def holder_name(self) -> str:
        """What `UserEvent.holders` calls it."""

    def record(self, event: "UserEvent", payload: bytes, writer: Writer) -> bool:
        """Take one written event, or leave it; False when its payload failed validation."""


class Observer(Protocol):
    """Told about events as they come and go, while the registry is consistent."""

    def event_added(self, event: "UserEvent") -> None:
        """`event` is listed from now on; nobody's bit has been written yet."""

    def event_removed(self, event: "UserEvent") -> None:
        """`event` is no longer listed."""

    def event_refused(self, text: str, who: str, refused: Refused) -> None:
        """A registration of `who` was refused, of `text` if that is known; the caller gets the error next."""
