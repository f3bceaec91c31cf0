"""The record types that are the tracer's own, system ``ftrace``: what their ``format`` files say.

User events are all that is recorded here, with what is written to ``trace_marker`` and ``trace_marker_raw``, and stack
traces; the other types are there because tools look for them.

Source: recordings of a real kernel.
"""

from typing import Final, NamedTuple

_STACK: Final = (
    '"\\t=> %ps\\n\\t=> %ps\\n\\t=> %ps\\n" "\\t=> %ps\\n\\t=> %ps\\n\\t=> %ps\\n" "\\t=> %ps\\n\\t=> %ps\\n", '
    + ", ".join(f"(void *)REC->caller[{number}]" for number in range(8))
)
_SWITCH: Final = (
    "unsigned int prev_pid 8 4 0; unsigned int next_pid 12 4 0; unsigned int next_cpu 16 4 0; "
    "unsigned char prev_prio 20 1 0; unsigned char prev_state 21 1 0; "
    "unsigned char next_prio 22 1 0; unsigned char next_state 23 1 0"
)
_SWITCH_ARGUMENTS: Final = (
    "REC->prev_pid, REC->prev_prio, REC->prev_state, REC->next_pid, REC->next_prio, REC->next_state, REC->next_cpu"
)


COMMON_FIELDS_TEXT: Final = (
    "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
    "\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;\n"
    "\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;\n"
    "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n"
)
"""The fields that every record begins with, as each ``format`` file has them."""


class FtraceEvent(NamedTuple):
    """One type: its id, its fields (each ``TYPE NAME OFFSET SIZE SIGNED``) and how it is printed."""

    id: int
    fields: str
    print_format: str


FTRACE_EVENTS: Final[dict[str, FtraceEvent]] = {
    "function": FtraceEvent(
        1,
        "unsigned long ip 8 8 0; unsigned long parent_ip 16 8 0",
        '" %ps <-- %ps", (void *)REC->ip, (void *)REC->parent_ip',
    ),
    "funcgraph_entry": FtraceEvent(
        11, "unsigned long func 8 8 0; int depth 16 4 1", '"--> %ps (%d)", (void *)REC->func, REC->depth'
    ),
    "funcgraph_exit": FtraceEvent(
        10,
        "unsigned long func 8 8 0; int depth 16 4 1; unsigned int overrun 20 4 0; "
        "unsigned long long calltime 24 8 0; unsigned long long rettime 32 8 0",
        '"<-- %ps (%d) (start: %llx  end: %llx) over: %d", '
        "(void *)REC->func, REC->depth, REC->calltime, REC->rettime, REC->depth",
    ),
    "context_switch": FtraceEvent(2, _SWITCH, f'"%u:%u:%u  ==> %u:%u:%u [%03u]", {_SWITCH_ARGUMENTS}'),
    "wakeup": FtraceEvent(3, _SWITCH, f'"%u:%u:%u  ==+ %u:%u:%u [%03u]", {_SWITCH_ARGUMENTS}'),
    "kernel_stack": FtraceEvent(4, "int size 8 4 1; unsigned long caller[8] 16 64 0", _STACK),
    "user_stack": FtraceEvent(12, "unsigned int tgid 8 4 0; unsigned long caller[8] 16 64 0", _STACK),
    "bprint": FtraceEvent(
        6,
        "unsigned long ip 8 8 0; const char * fmt 16 8 0; u32 buf[] 24 0 0",
        '"%ps: %s", (void *)REC->ip, REC->fmt',
    ),
    "print": FtraceEvent(5, "unsigned long ip 8 8 0; char buf[] 16 0 0", '"%ps: %s", (void *)REC->ip, REC->buf'),
    "raw_data": FtraceEvent(
        18, "unsigned int id 8 4 0; char buf[] 12 0 0", '"id:%04x %08x", REC->id, (int)REC->buf[0]'
    ),
    "bputs": FtraceEvent(14, "unsigned long ip 8 8 0; const char * str 16 8 0", '"%ps: %s", (void *)REC->ip, REC->str'),
}


def ftrace_format_text(name: str) -> str:
    """Return what ``events/ftrace/NAME/format`` shows."""
    event = FTRACE_EVENTS[name]
    lines = []
    for text in event.fields.split("; "):
        declared, offset, size, signed = text.rsplit(" ", 3)
        lines.append(f"\tfield:{declared};\toffset:{offset};\tsize:{size};\tsigned:{signed};\n")
    return (
        f"name: {name}\nID: {event.id}\nformat:\n{COMMON_FIELDS_TEXT}\n{''.join(lines)}\n"
        f"print fmt: {event.print_format}\n"
    )
