"""A processor for structlog: each log call is an event; its key-value pairs are the event's context."""

from collections.abc import MutableMapping
from typing import Any

from structlog import DropEvent

from ..client.context import bound, text_of
from ..providers import guard
from .records import log_record

_LEVELS = {
    "debug": 10,
    "info": 20,
    "warn": 30,
    "warning": 30,
    "error": 40,
    "exception": 40,
    "critical": 50,
    "fatal": 50,
    "msg": 20,
    "log": 20,
}


class UserEventsProcessor:
    """Put it among structlog's processors, before the one that renders.

    With `drop` the log call ends here: the event is all that comes of it. No exception of it reaches the program.
    """

    def __init__(self, *, drop: bool = False) -> None:
        self._drop = drop

    def __call__(self, logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Write one log call if anybody listens."""
        if log_record:
            try:
                self._emit(logger, method_name, event_dict)
            except Exception as error:
                guard.absorb(error)
        if self._drop:
            raise DropEvent
        return event_dict

    @staticmethod
    def _emit(logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> None:
        pairs = {**bound(), **event_dict}
        message = pairs.pop("event", "")
        name = pairs.pop("logger", None) or getattr(logger, "name", "") or ""
        level = _LEVELS.get(str(pairs.pop("level", method_name)), 0)
        log_record(level, str(name), str(message), context=text_of(pairs))
