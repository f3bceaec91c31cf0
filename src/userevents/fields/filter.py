"""Filter expressions: which records of an event are kept. Not imported with the room, which traced programs load.

    filter    := term { '||' term }
    term      := factor { '&&' factor }
    factor    := '!' factor | '(' filter ')' | predicate
    predicate := FIELD [.ustring|.function] OP VALUE

Text is kernel text, one character a byte (latin-1). A filter becomes a short program without recursion: tests,
and jumps that leave out the tests that cannot change the outcome.

Source: user_events contract, tracefs.md section 10.
"""

import errno
from typing import Final, NamedTuple

from ..abi.tracefs import COMMAND_TEXT_MAX
from ..errors import Refused
from .filter_messages import (
    FIELD_NOT_FOUND,
    MEANINGLESS,
    MISSING_QUOTE,
    NO_FILTER,
    NO_MESSAGE,
    TOO_FEW_OPEN,
    TOO_MANY_OPEN,
    TOO_MANY_TERMS,
    FilterError,
    filter_error_text,
    filter_file_text,
    subsystem_error,
)
from .filter_predicate import Operand, Predicates, Test, operands_of, skip_spaces
from .grammar import Field
from .kernel_text import SPACES
from .types import NUMBER, REL_STRING

__all__ = [
    "CPUS_MAX",
    "Filter",
    "FilterError",
    "filter_error_text",
    "filter_file_text",
    "parse_filter",
    "subsystem_error",
    "syntax_problem",
    "written_filter",
]

CPUS_MAX: Final = 8192
"""As many CPUs as kernels are built for: what ``CPUS{}`` may name where the real number is not given."""


class _Step(NamedTuple):
    """One step of a filter's program: run `test`, or turn the outcome round, or jump past what cannot change it."""

    test: Test | None = None
    negated: bool = False
    jump_if: bool | None = None
    target: int = 0


class Filter:
    """A filter that was accepted: tell of each record whether it passes.

    >>> from .grammar import parse_fields
    >>> few = parse_filter("count < 3 && !(comm == 'cat')", parse_fields("u32 count"))
    >>> few.matches(bytes(8) + b"\\2\\0\\0\\0", cpu=0, comm="dog")
    True
    """

    __slots__ = ("_extent", "_program", "text")

    def __init__(self, text: str, program: tuple[_Step, ...], extent: int) -> None:
        self.text = text
        self._program = program
        self._extent = extent

    def matches(self, record: bytes, *, cpu: int, comm: str) -> bool:
        """Tell whether `record`, common header included, passes when a thread called `comm` writes it on `cpu`.

        Any bytes will do: what a record does not hold counts as zero.

        Source: user_events contract, tracefs.md section 10.
        """
        if len(record) < self._extent:
            record = record.ljust(self._extent, b"\0")
        program = self._program
        outcome = True
        at = 0
        while at < len(program):
            step = program[at]
            at += 1
            if step.test:
                outcome = step.test(record, cpu, comm) != step.negated
            elif step.jump_if is None:
                outcome = not outcome
            elif step.jump_if == outcome:
                at = step.target
        return outcome

    def __repr__(self) -> str:
        return f"Filter({self.text!r})"


_TEXT: Final = Operand(REL_STRING, 4, 0, False)
_FITTING: Final = {
    "": Operand(NUMBER, 8, 0, False),
    "-": Operand(NUMBER, 8, 0, True),
    "'": _TEXT,
    '"': _TEXT,
}
"""What a field is that may be compared with what begins so."""
_QUOTED: Final = r"'[^']*'|\"[^\"]*\""
_COMPARED: Final = r"""(\w+)(?:\.\w+)?\s*(?:[!=<>]=|[~<>&])?\s*(["'-]?)"""


def syntax_problem(text: str) -> str | None:
    """Say what is wrong with a filter whatever an event's fields are; None where that depends on them.

    Each name is taken for a field of the kind that it is compared with.

    >>> syntax_problem("latency > 5 && path ~ '/a*'") is None, syntax_problem("(latency > 5") is None
    (True, False)
    >>> syntax_problem("latency >")
    "filter 'latency >': Invalid value (did you forget quotes)? at character 10; write a number, or text in quotes"
    """
    import re  # not in programs that are traced, which load this file

    text = text.partition("\0")[0]
    found = sorted(re.findall(_COMPARED, re.sub(_QUOTED, "''", text)), key=lambda pair: pair[1] == "-")
    fitting = {name: _FITTING[value] for name, value in found}  # a field that is compared with -1 once is signed
    try:
        _check_brackets(text)
        _Parser(text, fitting, CPUS_MAX).program()
    except FilterError as error:
        if error.message != FIELD_NOT_FOUND:
            return error.reason
    return None


def parse_filter(text: str, fields: tuple[Field, ...], *, cpus: int = CPUS_MAX) -> Filter:
    """Read a filter for an event of these fields, on a machine of `cpus` CPUs.

    Raises `FilterError`, with the errno, message and caret that the kernel has for it, and for nothing else.
    Text after a NUL does not count.

    Source: user_events contract, tracefs.md section 10.
    """
    text = text.partition("\0")[0]
    wide = next((char for char in text if char > "\xff"), None)
    if wide is not None:
        way_out = f"{wide!r} is no single byte: hand over UTF-8 as text.encode().decode('latin-1')"
        raise FilterError(text, NO_MESSAGE, 0, way_out=way_out)
    _check_brackets(text)
    operands = operands_of(fields)
    program = _Parser(text, operands, cpus).program()
    extent = max(operand.offset + operand.size for operand in operands.values())
    return Filter(text, program, extent)


def written_filter(data: bytes) -> str | None:
    """Return the filter in what was written to a ``filter`` file; None for ``0``, which removes it.

    White space at the end is dropped, that at the start stays. Raises `Refused` with EINVAL, and the file keeps
    what it has, if it is too long.

    Source: user_events contract, tracefs.md section 10.

    >>> written_filter(b" a == 1 \\n"), written_filter(b" 0\\n")
    (' a == 1', None)
    """
    if len(data) > COMMAND_TEXT_MAX:
        raise Refused(
            errno.EINVAL, f"a filter of {len(data)} bytes: write at most {COMMAND_TEXT_MAX}, the newline included"
        )
    text = data.partition(b"\0")[0].decode("latin-1").rstrip(SPACES)
    return None if text.lstrip(SPACES) == "0" else text


def _check_brackets(text: str) -> None:
    """Refuse unbalanced brackets and quotes before anything else, with the kernel's internal numbers for errno."""
    opened: list[int] = []
    quoted_from = -1
    for at, char in enumerate(text):
        if quoted_from >= 0:
            if char == text[quoted_from]:
                quoted_from = -1
        elif char in "'\"":
            quoted_from = at
        elif char == "(":
            opened.append(at)
        elif char == ")":
            if not opened:
                raise FilterError(text, TOO_FEW_OPEN, at, errno.EPERM)
            opened.pop()
    if quoted_from >= 0:
        raise FilterError(text, MISSING_QUOTE, quoted_from, errno.ESRCH)
    if opened:
        raise FilterError(text, TOO_MANY_OPEN, opened[-1], errno.ENOENT)
    if not text.strip(SPACES + "()"):
        raise FilterError(text, NO_MESSAGE, 0)


class _Group:
    """A bracket that is open while the text is read: what to do, and which jumps to aim, when it closes."""

    __slots__ = ("ands", "negated", "ors")

    def __init__(self, negated: bool) -> None:
        self.negated = negated
        self.ands: list[int] = []
        self.ors: list[int] = []


class _Parser:
    """Turns one filter text, whose brackets and quotes are known to be balanced, into its program.

    An outcome is carried from step to step: after ``A &&`` a false one jumps to the end of the ``&&`` chain, after
    ``A ||`` a true one to the end of the bracket.
    """

    def __init__(self, text: str, operands: dict[str, Operand], cpus: int) -> None:
        self._text = text
        self._predicates = Predicates(text, operands, cpus)
        self._steps: list[_Step] = []
        self._groups = [_Group(negated=False)]

    def program(self) -> tuple[_Step, ...]:
        """Read the whole text."""
        at: int | None = 0
        while at is not None:
            at = self._connective(self._factor(at))
        return tuple(self._steps)

    def _factor(self, at: int) -> int:
        """Read one predicate and the ``!`` and ``(`` before it; return where it ends."""
        negated = False
        while True:
            at = skip_spaces(self._text, at)
            if at == len(self._text):
                message = MEANINGLESS if self._steps else NO_FILTER
                raise FilterError(self._text, message, at)
            if self._text[at] == "(":
                self._groups.append(_Group(negated))
                negated = False
            elif self._text[at] == "!" and self._text[at + 1 : at + 2] not in ("=", "~"):
                negated = not negated
            else:
                test, at = self._predicates.parse(at)
                self._steps.append(_Step(test, negated))
                return at
            at += 1

    def _connective(self, at: int) -> int | None:
        """Read the ``)`` after a predicate and what joins the next; return where that begins, None at the end."""
        while True:
            at = skip_spaces(self._text, at)
            if at == len(self._text):
                self._close()
                return None
            sign = self._text[at : at + 2]
            if sign == "&&":
                self._groups[-1].ands.append(self._placeholder())
            elif sign == "||":
                self._aim(self._groups[-1].ands, jump_if=False)
                self._groups[-1].ors.append(self._placeholder())
            elif sign[0] == ")":
                self._close()
                at += 1
                continue
            else:
                raise FilterError(self._text, TOO_MANY_TERMS, at, errno.EPERM)
            return at + 2

    def _placeholder(self) -> int:
        """Leave room for a jump whose target is not known yet."""
        self._steps.append(_Step())
        return len(self._steps) - 1

    def _aim(self, jumps: list[int], jump_if: bool) -> None:
        """Aim jumps at the step that comes next."""
        for jump in jumps:
            self._steps[jump] = _Step(jump_if=jump_if, target=len(self._steps))
        jumps.clear()

    def _close(self) -> None:
        """Close the innermost bracket, or, at the end, the text."""
        group = self._groups.pop()
        self._aim(group.ands, jump_if=False)
        self._aim(group.ors, jump_if=True)
        if group.negated:
            self._steps.append(_Step())
