"""Trace instances: what is enabled for whom, what is recorded, and the stream a reader takes records from."""

from .body import mark_body, raw_mark_body
from .event_file import EventFile
from .instance import Instance
from .lines import header, latency_header, lost_line
from .machine import CLOCKS, Clock, Machine
from .options import OPTION_TEXT_MAX
from .patterns import Pattern
from .perf import Perf, Sample, Subscription
from .pid_list import PidList, parse_pids
from .queue import STREAM_LIMIT, StreamQueue
from .recorder import Recorder
from .selection import ProcessFacts, Selection
from .trigger_context import FILTER_LOCATION, TriggerContext

__all__ = [
    "CLOCKS",
    "FILTER_LOCATION",
    "OPTION_TEXT_MAX",
    "STREAM_LIMIT",
    "Clock",
    "EventFile",
    "Instance",
    "Machine",
    "Pattern",
    "Perf",
    "PidList",
    "ProcessFacts",
    "Recorder",
    "Sample",
    "Selection",
    "StreamQueue",
    "Subscription",
    "TriggerContext",
    "header",
    "latency_header",
    "lost_line",
    "mark_body",
    "parse_pids",
    "raw_mark_body",
]
