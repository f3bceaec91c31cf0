"""``dynamic_events``: declarations to read, commands to write, and a truncation that deletes everything.

Source: user_events contract, abi.md section 6.
"""

import errno
from typing import ClassVar

from ..abi import tracefs as abi
from ..engine import Caller, parse_deletion
from ..errors import Refused
from ..fields import dynamic_events_line
from .node import File, OpenNode
from .text import truncates

_LINE_MAX = abi.COMMAND_BUFFER_SIZE - 2


class DynamicEvents(File):
    """``dynamic_events``."""

    mode: ClassVar[int] = abi.MODE_WRITE

    def opened(self, node: OpenNode) -> None:
        """Truncating deletes every event, or refuses with EBUSY when one is in use."""
        if truncates(node):
            try:
                self.place.system.group.dynamic_truncate(node.caller)
            finally:
                self._close_deletion()

    def text(self) -> str:
        """One line an event, oldest first."""
        events = self.place.system.group.events
        return "".join(f"{dynamic_events_line(event.name, event.fields)}\n" for event in events)

    def write(self, node: OpenNode, data: bytes) -> int:
        """Run the commands, a line each; the first that fails ends the write, and earlier ones stay done."""
        taken = 0
        while taken < len(data):
            line, used = _next_command(data, taken)
            self._run(line, node.caller)
            taken += used
        return taken

    def _run(self, line: str, caller: Caller) -> None:
        if not line:
            return
        group = self.place.system.group
        if line[0] in "-!":
            deletion = parse_deletion(line)
            try:
                group.dynamic_delete(deletion, caller)
            finally:
                self._close_deletion()
        else:
            group.dynamic_create(line, caller)

    def _close_deletion(self) -> None:
        """A deletion by hand, whether or not it found anything, ends by emptying the rings that held what is gone."""
        for instance in self.place.system.instances.values():
            instance.reset_if_due()


def _next_command(data: bytes, start: int) -> tuple[str, int]:
    """The next line without its comment, and how many bytes it takes with its newline; EINVAL if too long."""
    newline = data.find(b"\n", start)
    end = len(data) if newline < 0 else newline
    last = newline < 0
    if end - start > _LINE_MAX + last:
        raise Refused(errno.EINVAL, f"a line of {end - start} bytes; at most {_LINE_MAX} fit")
    line, nul, _ = data[start:end].partition(b"\0")
    if nul:
        raise Refused(errno.EINVAL, "a NUL in a command; lines end with a newline")
    return line.partition(b"#")[0].decode("latin-1"), end - start + (not last)
