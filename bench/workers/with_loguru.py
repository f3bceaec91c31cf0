"""loguru, to a file."""

import sys

from loguru import logger
from loop import serve

logger.remove()
logger.add(f"{sys.argv[1]}/loguru.log", level="INFO")


def info(count: int) -> None:
    """Log three values."""
    for number in range(count):
        logger.info("{} {} {}", number, number, "hello world!")


def debug(count: int) -> None:
    """Log below the level."""
    for number in range(count):
        logger.debug("{} {} {}", number, number, "hello world!")


serve({"file": info, "below level": debug})
