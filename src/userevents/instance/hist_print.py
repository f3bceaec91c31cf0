"""The text of a histogram in the ``hist`` file. All numbers are shown as unsigned.

Source: user_events contract, tracefs.md section 11.
"""

from collections.abc import Callable
from typing import Final

from .hist_fields import MASK, STACKTRACE, HistField
from .hist_table import Entry, HistTable

_BAR_SIZE: Final = 20
_WHOLE: Final = 10000
"""A percentage is counted in hundredths of a percent."""
_UNSIGNED_MAX: Final = (1 << 32) - 1


def hist_text(line: str, table: HistTable) -> str:
    """Return one histogram; `line` is its trigger's line."""
    entries = table.entries()
    totals = [sum(entry.sums[index] for entry in entries) & MASK for index in range(len(table.spec.values))]
    largest = [max((entry.sums[index] for entry in entries), default=0) for index in range(len(table.spec.values))]
    rows = "".join(f"{{ {_key(table, entry)}}}{_values(table, entry, totals, largest)}\n" for entry in entries)
    return (
        f"# event histogram\n#\n# trigger info: {line}#\n\n{rows}\nTotals:\n"
        f"    Hits: {table.hits}\n    Entries: {len(entries)}\n    Dropped: {table.dropped}\n"
    )


def percentage(value: int, total: int) -> int | None:
    """Return `value` of `total` in hundredths of a percent, cut off; None where that cannot be said.

    The kernel divides in 64 bits: large numbers are divided first, and lose a little. Of the outcome it keeps 32 bits.

    >>> percentage(1, 3), percentage(0, 0), percentage(1, 0)
    (3333, 0, None)
    """
    found = _UNSIGNED_MAX if value else 0
    if total:
        if value < MASK // _WHOLE:
            found = value * _WHOLE // total
        elif total // _WHOLE:
            found = value // (total // _WHOLE)
    found &= _UNSIGNED_MAX
    return None if found == _UNSIGNED_MAX else found


def _key(table: HistTable, entry: Entry) -> str:
    shown = ", ".join(
        _KEYS.get(field.modifier, _plain_key)(field, entry.key[offset : offset + field.key_size], entry)
        if field.source != STACKTRACE
        else f"{STACKTRACE}:\n"
        for field, offset in zip(table.spec.keys, table.offsets, strict=True)
    )
    return shown if any(field.source == STACKTRACE for field in table.spec.keys) else f"{shown} "


def _values(table: HistTable, entry: Entry, totals: list[int], largest: list[int]) -> str:
    hitcount = "" if table.spec.no_hitcount else f" hitcount: {entry.sums[0]:10}"
    return hitcount + "".join(
        f"  {_value(field, entry.sums[index], totals[index], largest[index])}"
        for index, field in enumerate(table.spec.values)
        if index and not field.is_hidden
    )


def _value(field: HistField, number: int, total: int, largest: int) -> str:
    if field.modifier == "percent":
        part = percentage(number, total)
        if part is None:
            return f"{field.label} (%):[ERROR]"
        return f"{field.label} (%): {part // 100:3}.{part % 100:02}"
    if field.modifier == "graph":
        part = percentage(number, largest)
        bar = "[ERROR]" if part is None else "#" * min(part * _BAR_SIZE // _WHOLE, _BAR_SIZE)
        return f"{field.label}: {bar:{'>' if part is None else '<'}{_BAR_SIZE}}"
    return f"{field.label}: {number:10x}" if field.modifier == "hex" else f"{field.label}: {number:10}"


def _number(key: bytes) -> int:
    return int.from_bytes(key[:8], "little")


def _plain_key(field: HistField, key: bytes, _: Entry) -> str:
    if field.is_text:
        return f"{field.label}: {key.partition(bytes(1))[0].decode('latin-1'):50}"
    return f"{field.label}: {_number(key):10}"


def _bucket_key(field: HistField, key: bytes, _: Entry) -> str:
    low = _number(key)
    return f"{field.label}: ~ {low}-{(low + field.buckets - 1) & MASK}"


_KEYS: Final[dict[str, Callable[[HistField, bytes, Entry], str]]] = {
    "hex": lambda field, key, _: f"{field.label}: {_number(key):x}",
    # There are no kernel symbols here: every address is shown as the kernel shows one without a symbol.
    "sym": lambda field, key, _: f"{field.label}: [{_number(key):x}] {f'0x{_number(key):x}':45}",
    "sym-offset": lambda field, key, _: f"{field.label}: [{_number(key):x}] {f'0x{_number(key):x}':55}",
    "execname": lambda field, key, entry: f"{field.label}: {entry.comm:16}[{_number(key):10}]",
    # As a kernel without CONFIG_FTRACE_SYSCALLS, which knows no names.
    "syscall": lambda field, key, _: f"{field.label}: {'unknown_syscall':30}[{_number(key):3}]",
    "log2": lambda field, key, _: f"{field.label}: ~ 2^{_number(key):<2}",
    "buckets": _bucket_key,
}
