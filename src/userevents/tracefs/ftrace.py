"""``events/ftrace/``: the record types that are the tracer's own, which can be looked at but not enabled.

Source: user_events contract, tracefs.md section 1; recordings of a real kernel.
"""

from typing import ClassVar, Final

from ..abi import tracefs as abi
from ..abi.ftrace_events import FTRACE_EVENTS, ftrace_format_text
from .node import Directory, File, Node, Place

_WITH_ID: Final = "print"
"""The one type that has an ``id`` file."""


class _TypeFile(File):
    """A file of one type."""

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(place)
        self.name = name


class _Format(_TypeFile):
    """``format``."""

    def text(self) -> str:
        """The layout of its records."""
        return ftrace_format_text(self.name)


class _Id(_TypeFile):
    """``id``."""

    def text(self) -> str:
        """The type's number."""
        return f"{FTRACE_EVENTS[self.name].id}\n"


class _Hist(_TypeFile):
    """``hist``."""

    def text(self) -> str:
        """Nothing is counted."""
        return ""


class _TypeDirectory(Directory):
    """``events/ftrace/NAME/``."""

    mode: ClassVar[int] = abi.MODE_EVENTS
    table: ClassVar[dict[str, type[_TypeFile]]] = {abi.FORMAT: _Format, abi.HIST: _Hist, abi.ID: _Id}

    def __init__(self, place: Place, name: str) -> None:
        super().__init__(place)
        self.name = name

    def names(self) -> list[str]:
        """Its files."""
        return [name for name in self.table if name != abi.ID or self.name == _WITH_ID]

    def child(self, name: str) -> Node | None:
        """One of its files."""
        return self.table[name](self.place, self.name) if name in self.names() else None


class FtraceDirectory(Directory):
    """``events/ftrace/``."""

    mode: ClassVar[int] = abi.MODE_EVENTS

    def names(self) -> list[str]:
        """One directory a type."""
        return list(FTRACE_EVENTS)

    def child(self, name: str) -> Node | None:
        """The directory of one type."""
        return _TypeDirectory(self.place, name) if name in FTRACE_EVENTS else None
