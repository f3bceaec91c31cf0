"""The error log of an instance: why its filters and triggers were refused, the last few of them.

Source: user_events contract, tracefs.md section 12.
"""

from collections import deque
from typing import Final

ENTRIES_MAX: Final = 8


class ErrorLog:
    """The last errors, oldest first."""

    def __init__(self) -> None:
        self._entries: deque[str] = deque(maxlen=ENTRIES_MAX)

    def add(self, ts_ns: int, location: str, message: str, command: str, position: int) -> None:
        """Add an entry; the caret stands `position` blanks into `command`."""
        seconds, rest = divmod(ts_ns, 1_000_000_000)
        self._entries.append(
            f"[{seconds:5}.{rest // 1000:06}] {location}: error: {message}\n"
            f"  Command: {command}\n"
            f"{' ' * (len('  Command: ') + position)}^\n"
        )

    def clear(self) -> None:
        """Forget every entry."""
        self._entries.clear()

    def text(self) -> str:
        """What ``error_log`` shows."""
        return "".join(self._entries)
