"""Declaration text, fields, bytes: the grammar, layout, matching and generated texts of user_events.

Kernel text is `str` with one character a byte (latin-1), so that any bytes come back as they were.
Programs under trace import this room at start-up: it stays small and imports nothing heavy.
"""

from .format import dynamic_events_line, format_text
from .format_reader import EventFormat, parse_format
from .grammar import (
    BadField,
    Declaration,
    Field,
    fields_text,
    min_payload,
    parse_command,
    parse_declaration,
    parse_fields,
)
from .matching import clash, difference, matches
from .payload import Checks, checks, decode, passes, validate
from .trace_text import kernel_text
from .types import field_size

__all__ = [
    "BadField",
    "Checks",
    "Declaration",
    "EventFormat",
    "Field",
    "checks",
    "clash",
    "decode",
    "difference",
    "dynamic_events_line",
    "field_size",
    "fields_text",
    "format_text",
    "kernel_text",
    "matches",
    "min_payload",
    "parse_command",
    "parse_declaration",
    "parse_fields",
    "parse_format",
    "passes",
    "validate",
]
