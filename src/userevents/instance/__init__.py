"""Trace instances: what is enabled for whom, and the stream a reader takes records from."""

from .instance import Instance
from .patterns import Pattern
from .queue import STREAM_LIMIT, StreamQueue
from .selection import ProcessFacts, Selection

__all__ = ["STREAM_LIMIT", "Instance", "Pattern", "ProcessFacts", "Selection", "StreamQueue"]
