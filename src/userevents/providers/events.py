"""The events of the providers of this process, each declared once, however often its provider starts and stops."""

from __future__ import annotations

from ..client import register
from ..client.runtime import runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..client import Event

_events: dict[str, Event[...]] = {}


def declared(text: str) -> Event[...]:
    """Return the event of a declaration, declared now or earlier."""
    event = _events.get(text)
    if event is None:
        event = _events[text] = register(text)
    return event


def are_listened_to() -> bool:
    """Whether anybody listens to any of them."""
    return any(map(bool, _events.values()))


def withdraw() -> None:
    """Take back what a tracer sees of this process; with the next declaration, or `Runtime.move`, it is there again."""
    runtime.withdraw()
