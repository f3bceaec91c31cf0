"""Trace instances: what is enabled for whom, what is recorded, and the stream a reader takes records from."""

from .body import mark_body, raw_mark_body
from .event_file import EventFile
from .headers import header, latency_header
from .instance import Instance
from .intake import Intake, Moments, Reading
from .lines import Moment, lost_line
from .machine import CLOCKS, Clock, Machine
from .options import OPTION_TEXT_MAX
from .patterns import Pattern
from .perf import Perf, Sample, Subscription
from .pid_list import PidList, parse_pids
from .queue import STREAM_LIMIT, StreamQueue
from .recorder import Recorder
from .requests import Request, parse_request
from .selection import ProcessFacts, Selection
from .sink import Sink, find_sink, lose_records
from .trigger_context import FILTER_LOCATION, TriggerContext
from .watch import Watch

__all__ = [
    "CLOCKS",
    "FILTER_LOCATION",
    "OPTION_TEXT_MAX",
    "STREAM_LIMIT",
    "Clock",
    "EventFile",
    "Instance",
    "Intake",
    "Machine",
    "Moment",
    "Moments",
    "Pattern",
    "Perf",
    "PidList",
    "ProcessFacts",
    "Reading",
    "Recorder",
    "Request",
    "Sample",
    "Selection",
    "Sink",
    "StreamQueue",
    "Subscription",
    "TriggerContext",
    "Watch",
    "find_sink",
    "header",
    "latency_header",
    "lose_records",
    "lost_line",
    "mark_body",
    "parse_pids",
    "parse_request",
    "raw_mark_body",
]
