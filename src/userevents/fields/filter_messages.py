"""What the kernel says of a filter it refuses: the messages, the error that carries one, and what `filter` then shows.

Source: user_events contract, tracefs.md sections 10 and 12.
"""

import errno
from typing import Final

from ..errors import Refused

NO_MESSAGE: Final = "Error"
"""What ``error_log`` says of an error that has only a number."""
INVALID_OPERATOR: Final = "Invalid operator"
TOO_MANY_OPEN: Final = "Too many '('"
TOO_FEW_OPEN: Final = "Too few '('"
MISSING_QUOTE: Final = "Missing matching quote"
MISSING_BRACE_OPEN: Final = "Missing '{'"
MISSING_BRACE_CLOSE: Final = "Missing '}'"
OPERAND_TOO_LONG: Final = "Operand too long"
EXPECTING_STRING: Final = "Expecting string field"
EXPECTING_NUMBER: Final = "Expecting numeric field"
ILLEGAL_OPERATION: Final = "Illegal operation for field type"
FIELD_NOT_FOUND: Final = "Field not found"
ILLEGAL_INTEGER: Final = "Illegal integer value"
BAD_SUBSYSTEM_FILTER: Final = "Couldn't find or set field in one of a subsystem's events"
TOO_MANY_TERMS: Final = "Too many terms in predicate expression"
MEANINGLESS: Final = "Meaningless filter expression"
INVALID_CPULIST: Final = "Invalid cpulist"
INVALID_VALUE: Final = "Invalid value (did you forget quotes)?"
NO_FUNCTION: Final = "Function not found"
NO_FILTER: Final = "No filter found"

_WAYS_OUT: Final = {
    NO_MESSAGE: "write comparisons such as 'count > 3', joined by && and ||",
    INVALID_OPERATOR: "write one of == != < <= > >= & ~ between field and value",
    TOO_MANY_OPEN: "close every '(' with a ')'",
    TOO_FEW_OPEN: "every ')' needs a '(' before it",
    MISSING_QUOTE: "end the text with the quote that began it",
    MISSING_BRACE_OPEN: "write CPUS{0-3,7}",
    MISSING_BRACE_CLOSE: "write CPUS{0-3,7}",
    OPERAND_TOO_LONG: "a number has at most 23 characters, a text at most 255",
    EXPECTING_STRING: "the field holds text: compare it with 'text' in quotes",
    EXPECTING_NUMBER: "the field holds a number: compare it with a number, without quotes",
    ILLEGAL_OPERATION: "numbers take == != < <= > >= &, text takes == != ~, CPUS{} takes == != & on a number",
    FIELD_NOT_FOUND: "use a field of the event, common_pid, cpu or comm",
    ILLEGAL_INTEGER: "write a decimal, 0x hexadecimal or 0 octal number of at most 64 bits; a negative one only for "
    "a signed field",
    BAD_SUBSYSTEM_FILTER: "write the filter to the event's own 'filter' file to see what is wrong",
    TOO_MANY_TERMS: "join comparisons by && or ||",
    MEANINGLESS: "a comparison must follow && and ||",
    INVALID_CPULIST: "write numbers of CPUs that there are, as in CPUS{0-3,7}",
    INVALID_VALUE: "write a number, or text in quotes",
    NO_FUNCTION: "there are no kernel functions here: compare the address itself, without .function",
    NO_FILTER: "write a comparison such as 'count > 3'",
}

_SHOWN_MAX: Final = 80
_BUFFER_SIZE: Final = 8156
"""What a file's text is put together in; a piece that would fill it to the last byte is left out."""


class FilterError(Refused):
    """A filter expression that the kernel refuses.

    `message` is the kernel's, as it stands in ``error_log``; `position` is where the caret belongs, as a number
    of characters of `text` before it (``error_log`` counts so; it may point past the end). `errno` is what the
    write fails with: EINVAL, or an internal number that leaks (EPERM, ENOENT, ESRCH).

    Source: user_events contract, tracefs.md sections 10 and 12.
    """

    def __init__(
        self, text: str, message: str, position: int, errno: int = errno.EINVAL, *, way_out: str | None = None
    ) -> None:
        shown = text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."
        problem = "no field to compare" if message == NO_MESSAGE else f"{message} at character {position}"
        super().__init__(errno, f"filter {shown!r}: {problem}; {way_out or _WAYS_OUT[message]}")
        self.text = text
        self.message = message
        self.position = position


def subsystem_error(text: str) -> FilterError:
    """Return the error that an event gets whose fields do not suit a filter written for its whole system.

    Source: user_events contract, tracefs.md section 10.
    """
    return FilterError(text, BAD_SUBSYSTEM_FILTER, 0)


def filter_error_text(text: str, error: FilterError) -> str:
    """Return what takes the place of filter `text` once it was refused; `filter_file_text` makes it the file's.

    The caret stands one column further right than in ``error_log``, unless in the first, and never past the text.
    What the kernel has no room for is missing.

    Source: user_events contract, tracefs.md section 10.

    >>> print(filter_error_text("bogus == 1", FilterError("bogus == 1", FIELD_NOT_FOUND, 6)), end="")
    bogus == 1
          ^
    parse_error: Field not found
    """
    if error.message == NO_MESSAGE:
        return _fitting(text, "\nError: (0)\n")
    column = min(error.position, len(text))
    return _fitting(text, f"\n{' ' * column}^", f"\nparse_error: {error.message}\n")


def filter_file_text(kept: str | None) -> str:
    """Return the whole text of a ``filter`` file that keeps `kept`: a filter, an error text, or None for no filter.

    >>> filter_file_text("a == 1"), filter_file_text(None)
    ('a == 1\\n', 'none\\n')
    """
    return _fitting(f"{'none' if kept is None else kept}\n")


def _fitting(*pieces: str) -> str:
    """Join pieces until one does not fit any more."""
    whole = ""
    for piece in pieces:
        if len(whole) + len(piece) >= _BUFFER_SIZE:
            break
        whole += piece
    return whole
