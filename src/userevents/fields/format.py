"""What tools read about an event: the text of its `format` file and its line in `dynamic_events`.

Source: user_events contract, fields.md sections 6 and 7.
"""

from typing import Final

from ..abi.user_events import USER_EVENTS_PREFIX
from .grammar import Field, fields_text
from .types import DATA_LOC, REL_LOC, conversion

COMMON_FIELDS: Final = (
    Field("unsigned short", "common_type", 2, 0, False),
    Field("unsigned char", "common_flags", 1, 2, False),
    Field("unsigned char", "common_preempt_count", 1, 3, False),
    Field("int", "common_pid", 4, 4, True),
)
"""The header every record begins with."""


def format_text(name: str, event_id: int, fields: tuple[Field, ...]) -> str:
    """Return the text of an event's `format` file.

    `name` is the tracepoint's (``test.0`` for a multi-format event). Array lengths, which the kernel leaves
    uninitialised for user events, are empty: ``char m[]``.

    Source: user_events contract, fields.md section 6.

    >>> from .grammar import parse_fields
    >>> format_text("tick", 20, parse_fields("u32 count")).splitlines()[-1]
    'print fmt: "count=%u", REC->count'
    """
    common = "".join(map(_field_line, COMMON_FIELDS))
    own = "".join(map(_field_line, fields))
    return f"name: {name}\nID: {event_id}\nformat:\n{common}\n{own}\nprint fmt: {_print_fmt(fields)}\n"


def dynamic_events_line(name: str, fields: tuple[Field, ...]) -> str:
    """Return an event's line in `dynamic_events`, without its newline; `name` is the registered one.

    Source: user_events contract, fields.md section 7.

    >>> from .grammar import parse_fields
    >>> dynamic_events_line("tick", parse_fields("u32 count;"))
    'u:tick u32 count'
    """
    return f"{USER_EVENTS_PREFIX}{name} {fields_text(fields)}" if fields else f"{USER_EVENTS_PREFIX}{name}"


def _field_line(field: Field) -> str:
    base, bracket, _ = field.ctype.partition("[")
    if bracket and not field.ctype.startswith(DATA_LOC):
        declared = f"{base} {field.name}[]"
    else:
        declared = f"{field.ctype} {field.name}"
    return f"\tfield:{declared};\toffset:{field.offset};\tsize:{field.size};\tsigned:{int(field.signed)};\n"


def _print_fmt(fields: tuple[Field, ...]) -> str:
    shown = " ".join(f"{field.name}={conversion(field.ctype)}" for field in fields)
    return f'"{shown}"' + "".join(f", {_print_argument(field)}" for field in fields)


def _print_argument(field: Field) -> str:
    if "char" in field.ctype:
        if field.ctype.startswith(DATA_LOC):
            return f"__get_str({field.name})"
        if field.ctype.startswith(REL_LOC):
            return f"__get_rel_str({field.name})"
    return f"REC->{field.name}"
