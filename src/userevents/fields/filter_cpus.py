"""Lists of CPUs in filters, ``CPUS{0-3,7}``: reading one, and testing a number or a mask against it.

Source: user_events contract, tracefs.md section 10.
"""

from collections.abc import Callable
from typing import Final

from .kernel_text import SPACES

NumberTest = Callable[[int], bool]

_SEPARATORS: Final = SPACES + ","
_DECIMAL: Final = "0123456789"


def parse_cpulist(text: str, cpus: int) -> int | None:
    """Read a list of CPUs below `cpus` as a mask; None where the kernel refuses it.

    Entries are separated by commas and white space, any number of them: ``N`` (the last CPU too is called so),
    ``N-M``, ``all``, and a range may say ``:USED/GROUP``, the first USED of every GROUP. A newline right
    after an entry ends the list.

    >>> parse_cpulist("0-1, 3", 4), parse_cpulist("0-7:1/2", 8), parse_cpulist("4", 4)
    (11, 85, None)
    """
    mask = 0
    at = 0
    while True:
        while at < len(text) and text[at] in _SEPARATORS:
            at += 1
        if at == len(text):
            return mask
        entry = _entry(text, at, cpus)
        if entry is None:
            return None
        members, at, is_last = entry
        mask |= members
        if is_last:
            return mask


def _entry(text: str, at: int, cpus: int) -> tuple[int, int, bool] | None:
    """Read one entry: its mask, where it ends, and whether it ends the list."""
    if text[at : at + 3].lower() == "all":
        start, end, at = 0, cpus - 1, at + 3
    else:
        number = _number(text, at, cpus)
        if number is None:
            return None
        start, at = number
        end = start
        if not _is_end(text, at):
            number = _number(text, at + 1, cpus) if text[at] == "-" else None
            if number is None:
                return None
            end, at = number
    used = group = end + 1
    is_last = text[at : at + 1] == "\n"
    if not _is_end(text, at):
        pattern = _pattern(text, at, cpus)
        if pattern is None:
            return None
        used, group, at = pattern
    if start > end or end >= cpus or not group or used > group:
        return None
    run = (1 << min(used, cpus)) - 1
    members = sum(run << first for first in range(start, end + 1, group))
    return members & ((1 << end + 1) - 1), at, is_last


def _pattern(text: str, at: int, cpus: int) -> tuple[int, int, int] | None:
    """Read ``:USED/GROUP``."""
    if text[at] != ":":
        return None
    used = _number(text, at + 1, cpus)
    if used is None or text[used[1] : used[1] + 1] != "/":
        return None
    group = _number(text, used[1] + 1, cpus)
    return None if group is None else (used[0], *group)


def _number(text: str, at: int, cpus: int) -> tuple[int, int] | None:
    if text[at : at + 1] == "N":
        return cpus - 1, at + 1
    end = at
    while end < len(text) and text[end] in _DECIMAL:
        end += 1
    significant = text[at:end].lstrip("0")
    if end == at or len(significant) > 10 or int(significant or "0") >= 1 << 32:
        return None
    return int(significant or "0"), end


def _is_end(text: str, at: int) -> bool:
    return at >= len(text) or text[at] in _SEPARATORS


def only(mask: int) -> int | None:
    """Return the CPU that is alone in `mask`, None if there are none or more."""
    return mask.bit_length() - 1 if mask and not mask & (mask - 1) else None


def number_test(operator: str, mask: int, cpus: int) -> NumberTest:
    """Compare the number of a CPU with a list of none or several: ``&`` whether it is listed, ``==`` never equal.

    A number that no CPU has is neither equal nor different.
    """
    match operator:
        case "&":
            return lambda cpu: cpu < cpus and bool(mask >> cpu & 1)
        case "!=":
            return lambda cpu: cpu < cpus
    return lambda cpu: False


def mask_test(operator: str, mask: int, cpus: int) -> NumberTest:
    """Compare a mask of CPUs, of which only the first `cpus` count, with a list."""
    all_cpus = (1 << cpus) - 1
    match operator:
        case "&":
            return lambda held: bool(held & mask)
        case "!=":
            return lambda held: held & all_cpus != mask
    return lambda held: held & all_cpus == mask
