"""A handler for the standard library's logging: each record is an event, and is not even formatted while it is off."""

import logging

from ..providers import guard
from ..providers.logs import values
from .records import log_record


class UserEventsHandler(logging.Handler):
    """Add it to a logger: ``logging.getLogger().addHandler(UserEventsHandler())``.

    Level and filters are obeyed. A formatter, where one is set, makes the event's message, else it is the record's own.
    It takes no lock, and while nobody listens it does nothing but that test. No exception of it reaches the program.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        """Write the record, if anybody listens and the filters let it pass; what they say is returned."""
        if not log_record:
            return True
        passed = self.filter(record)
        if passed:
            self.emit(record if passed is True else passed)  # from Python 3.12 on, filters may replace it
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unfiltered."""
        try:
            level, lineno, logger, message, pathname, function, exception = values(record)
            if self.formatter is not None:
                message = self.format(record)
            # values() gives bytes only for text that is none: the field takes them as they are
            log_record(level, logger, message, pathname, lineno, function, exception)  # type: ignore[arg-type]
        except Exception as error:
            guard.absorb(error)
