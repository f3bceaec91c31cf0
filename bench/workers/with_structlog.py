"""structlog, JSON to a file, as its guide to performance sets it up."""

import logging
import sys

import structlog
from loop import serve

out = open(f"{sys.argv[1]}/structlog.json", "wb")
structlog.configure(
    cache_logger_on_first_use=True,
    wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(serializer=lambda value, **_: __import__("json").dumps(value).encode()),
    ],
    logger_factory=structlog.BytesLoggerFactory(out),
)
log = structlog.get_logger()


def info(count: int) -> None:
    """Log three values."""
    for number in range(count):
        log.info("bench", number=number, total=number, text="hello world!")


def debug(count: int) -> None:
    """Log below the level."""
    for number in range(count):
        log.debug("bench", number=number, total=number, text="hello world!")


serve({"JSON file": info, "below level": debug})
