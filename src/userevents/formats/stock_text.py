"""What describes events in files for stock tools, as these (libtraceevent 1.7) read it right.

Formats differ from the kernel's own text where that is misread.

docs/formats/tracedat.md lists what differs from the kernel's `format` file, and why. Record bytes never change.
"""

import re
from collections.abc import Iterable
from struct import pack

from ..abi.ring_buffer import HEADER_EVENT_TEXT, HEADER_PAGE_TEXT
from ..fields import Field, format_text
from ..fields.types import NUMBER, SCALARS, filter_class
from .naming import Names

_NOT_A_WORD = re.compile(r"[^A-Za-z0-9_]")
_TAKEN = ("common_type", "common_flags", "common_preempt_count", "common_pid", "__attribute__")
_NUMBERS = {1: ("%hhd", "%u"), 2: ("%hd", "%u"), 4: ("%d", "%u"), 8: ("%lld", "%llu")}


def sized(text: str) -> bytes:
    """Return kernel text behind its size in bytes (u64)."""
    data = text.encode("latin-1", "replace")
    return pack("<Q", len(data)) + data


def headers() -> bytes:
    """Return the layouts of a page and of a record's header."""
    return b"header_page\0" + sized(HEADER_PAGE_TEXT) + b"header_event\0" + sized(HEADER_EVENT_TEXT)


def cmdlines(comms: Iterable[tuple[int, str]]) -> bytes:
    """Return the names of threads, a line each, behind the size of all."""
    lines = "".join(f"{tid} {''.join(c if c.isprintable() else '?' for c in comm)}\n" for tid, comm in comms)
    data = lines.encode("utf-8", "replace")
    return pack("<Q", len(data)) + data


def stock_name(name: str, names: Names | None = None) -> str:
    """Return `name` as one word of letters, digits and underscores, taken from `names`: ``ev.0`` gives ``ev_0``.

    >>> stock_name("ev.0"), stock_name("a-b", Names(["a_b"])), stock_name("")
    ('ev_0', 'a_b_2', '_')
    """
    word = _NOT_A_WORD.sub("_", name) or "_"
    return word if names is None else names.take(word)


def stock_format(name: str, event_id: int, fields: tuple[Field, ...]) -> str:
    """Return the `format` text of an event for a trace.dat file; `name` is already a `stock_name`.

    >>> from ..fields import parse_fields
    >>> print(stock_format("e", 20, parse_fields("__rel_loc u8[] b; s8 c")).splitlines()[-1])
    print fmt: "b=%s c=%hhd", __print_hex_str(__get_rel_dynamic_array(b), REC->b >> 16), REC->c
    """
    names = Names(_TAKEN)
    head = format_text(name, event_id, ()).partition("print fmt:")[0].removesuffix("\n")
    lines, shown, arguments = [], [], []
    for field in fields:
        word = stock_name(field.name, names)
        declared, conversion, argument = _spelled(field, word)
        lines.append(f"\tfield:{declared};\toffset:{field.offset};\tsize:{field.size};\tsigned:{field.signed:d};\n")
        shown.append(f"{_label(field.name, word)}={conversion}")
        arguments.append(f", {argument}")
    return f'{head}{"".join(lines)}\nprint fmt: "{" ".join(shown)}"{"".join(arguments)}\n'


def _label(name: str, word: str) -> str:
    """Return the field's own name for the format string, if it can stand there, else the word made of it."""
    plain = name.isascii() and name.isprintable() and not set(name) & set('"\\')
    return (name if plain else word).replace("%", "%%")


def _spelled(field: Field, word: str) -> tuple[str, str, str]:
    """Return a field's declaration, its conversion and its argument in the print fmt, as `fields.decode` sees it."""
    ctype, record = field.ctype, f"REC->{word}"
    is_text = "char" in ctype
    for location, relative in (("__rel_loc", "rel_"), ("__data_loc", "")):
        if ctype.startswith(location + " "):
            if is_text:
                return f"{location} char[] {word}", "%s", f"__get_{relative}str({word})"
            array = f"__get_{relative}dynamic_array({word})"
            size = f"{record} >> 16" if relative else f"({record} >> 16)"  # perf misreads relative arrays, if anything
            return f"{location} u8[] {word}", "%s", f"__print_hex_str({array}, {size})"
    if is_text and (filter_class(ctype) != NUMBER or "[" in ctype):
        return f"{'unsigned ' * (not field.signed)}char {word}[{field.size}]", "%s", record
    if ctype == "struct f64" and field.size == 8:
        return f"struct f64 {word}", "0x%llx", record
    if field.size not in _NUMBERS or (ctype.startswith("struct ") and "*" not in ctype):
        tag = stock_name(ctype.removeprefix("struct "))
        return f"struct {tag} {word}[{field.size}]", "%s", f"__print_hex_str({record}, {field.size})"
    plain = ctype if ctype in SCALARS else f"s{8 * field.size}"
    return f"{plain} {word}", _NUMBERS[field.size][0 if field.signed else 1], record
