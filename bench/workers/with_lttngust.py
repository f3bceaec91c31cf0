"""LTTng-UST's agent for Python: the logging handler, with a session that records all loggers."""

import logging

import lttngust  # noqa: F401
from loop import serve

log = logging.getLogger("bench")
log.setLevel(logging.INFO)


def info(count: int) -> None:
    """Log three values."""
    for number in range(count):
        log.info("%d %d %s", number, number, "hello world!")


serve({"logging handler": info})
