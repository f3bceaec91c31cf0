"""One comparison of a filter, ``FIELD OP VALUE``: read from the text, and made a test of a record.

Source: user_events contract, tracefs.md section 10.
"""

import errno
import operator
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from . import filter_messages as messages
from .filter_cpus import mask_test, number_test, only, parse_cpulist
from .filter_messages import FilterError
from .filter_text import equal_to, like
from .grammar import Field
from .kernel_text import SPACES, unsigned
from .payload import dynamic_range
from .types import CPUMASK, DATA_STRING, NUMBER, REL_STRING, STATIC_STRING, filter_class

Test = Callable[[bytes, int, str], bool]
"""Tells whether a record passes, given the writer's CPU and command name too."""

COMM: Final = "command name"
CPU: Final = "current cpu"
STACKTRACE: Final = "stack trace"

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz" + "".join(map(chr, {*range(0xC0, 0x100)} - {0xD7, 0xF7}))
_ALPHANUMERIC: Final = frozenset("0123456789" + _LETTERS + _LETTERS[:26].upper())
_WORD: Final = _ALPHANUMERIC | {"_"}
_DIGITS: Final = "0123456789"

_OPERATORS: Final = ("~", "!=", "==", "<=", "<", ">=", ">", "&")
"""In the order in which they are tried."""
_RELATIONS: Final[dict[str, Callable[[int, int], bool]]] = {
    "!=": operator.ne,
    "==": operator.eq,
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
    "&": lambda held, wanted: held & wanted != 0,
}
_NUMBER_MAX: Final = 23
_TEXT_MAX: Final = 255
_U64_MAX: Final = (1 << 64) - 1
_S64_MAX: Final = (1 << 63) - 1
_COMM_SIZE: Final = 16


class Operand(NamedTuple):
    """What stands left of an operator: which kind of thing, and where its bytes are."""

    kind: str
    size: int
    offset: int
    signed: bool

    @property
    def is_text(self) -> bool:
        """Whether it is compared with text."""
        return self.kind in (STATIC_STRING, DATA_STRING, REL_STRING, COMM)


_EVERYWHERE: Final = {
    "common_type": Operand(NUMBER, 2, 0, False),
    "common_flags": Operand(NUMBER, 1, 2, False),
    "common_preempt_count": Operand(NUMBER, 1, 3, False),
    "common_pid": Operand(NUMBER, 4, 4, True),
    "CPU": Operand(CPU, 4, 0, True),
    "cpu": Operand(CPU, 4, 0, True),
    "common_cpu": Operand(CPU, 4, 0, True),
    "COMM": Operand(COMM, _COMM_SIZE, 0, True),
    "comm": Operand(COMM, _COMM_SIZE, 0, True),
    "STACKTRACE": Operand(STACKTRACE, 0, 0, False),
    "stacktrace": Operand(STACKTRACE, 0, 0, False),
}


def operands_of(fields: tuple[Field, ...]) -> dict[str, Operand]:
    """Return what an event's filters may compare: its own fields come first, and of two with one name the later."""
    own = {field.name: Operand(filter_class(field.ctype), field.size, field.offset, field.signed) for field in fields}
    return _EVERYWHERE | own


class Predicates(NamedTuple):
    """Reads the comparisons of one filter text."""

    text: str
    operands: Mapping[str, Operand]
    cpus: int

    def parse(self, at: int) -> tuple[Test, int]:
        """Read the comparison that begins at `at`: its test, and where it ends.

        Raises `FilterError`; what does not begin with a name leaks EPERM and has no message.
        """
        end = _run(self.text, at, _WORD)
        if end == at:
            raise FilterError(self.text, messages.NO_MESSAGE, 0, errno.EPERM)
        operand = self.operands.get(self.text[at:end])
        if operand is None:
            raise self._refused(messages.FIELD_NOT_FOUND, end)
        if self.text.startswith(".ustring", end):  # means something only for pointers, which no user event has
            end += len(".ustring")
        is_function = self.text.startswith(".function", end)
        end = self._skip(end + len(".function") if is_function else end)
        sign = next((sign for sign in _OPERATORS if self.text.startswith(sign, end)), None)
        if sign is None:
            raise self._refused(messages.INVALID_OPERATOR, end)
        value = self._skip(end + len(sign))
        if is_function:
            raise self._no_function(operand, sign, value)
        if self.text.startswith("CPUS", value):
            return self._cpus(operand, sign, value)
        first = self.text[value : value + 1]
        if first in ("'", '"'):
            return self._quoted(operand, sign, value)
        if first and first in _DIGITS + "-":
            return self._number(operand, sign, value)
        raise self._refused(messages.INVALID_VALUE, value)

    def _quoted(self, operand: Operand, sign: str, at: int) -> tuple[Test, int]:
        if sign not in ("==", "!=", "~"):
            raise self._refused(messages.ILLEGAL_OPERATION, at)
        if not operand.is_text:
            raise self._refused(messages.EXPECTING_NUMBER, at)
        end = self.text.find(self.text[at], at + 1)
        if end < 0:
            raise self._refused(messages.MISSING_QUOTE, len(self.text))
        pattern = self.text[at + 1 : end].encode("latin-1")
        if len(pattern) > _TEXT_MAX:
            raise self._refused(messages.OPERAND_TOO_LONG, end)
        return _text_test(operand, sign, pattern), end + 1

    def _number(self, operand: Operand, sign: str, at: int) -> tuple[Test, int]:
        if operand.is_text:
            raise self._refused(messages.EXPECTING_STRING, at)
        if sign == "~":
            raise self._refused(messages.ILLEGAL_OPERATION, at)
        end = _run(self.text, at + (self.text[at] == "-"), _ALPHANUMERIC)
        digits = self.text[at:end]
        if len(digits) > _NUMBER_MAX:
            raise self._refused(messages.OPERAND_TOO_LONG, end)
        value = _integer(digits, operand.signed)
        if value is None:
            raise self._refused(messages.ILLEGAL_INTEGER, at)
        return _number_test(operand, sign, value), end

    def _cpus(self, operand: Operand, sign: str, at: int) -> tuple[Test, int]:
        if operand.kind not in (NUMBER, CPU, CPUMASK) or sign not in ("==", "!=", "&"):
            raise self._refused(messages.ILLEGAL_OPERATION, at)
        begin = at + len("CPUS{")
        if self.text[begin - 1 : begin] != "{":
            raise self._refused(messages.MISSING_BRACE_OPEN, begin)
        end = self.text.find("}", begin)
        if end < 0:
            raise self._refused(messages.MISSING_BRACE_CLOSE, len(self.text))
        mask = parse_cpulist(self.text[begin:end], self.cpus) if end > begin else None
        if mask is None:
            raise self._refused(messages.INVALID_CPULIST, end)
        return _cpus_test(operand, sign, mask, self.cpus), end + 1

    def _no_function(self, operand: Operand, sign: str, at: int) -> FilterError:
        """Say why an address is not that of a function; here, where there are none, every one is refused."""
        if operand.size != 8:
            return self._refused(messages.ILLEGAL_OPERATION, at)
        if sign not in ("==", "!="):
            return self._refused(messages.INVALID_OPERATOR, at)
        if self.text[at : at + 1] not in [*_DIGITS]:
            end = at
            while end < len(self.text) and self.text[end] not in SPACES:
                end += 1
            return self._refused(messages.NO_FUNCTION, end)
        end = _run(self.text, at, _ALPHANUMERIC)
        if end - at > _NUMBER_MAX:
            return self._refused(messages.OPERAND_TOO_LONG, end)
        is_number = _integer(self.text[at:end], signed=False) is not None
        return self._refused(messages.NO_FUNCTION if is_number else messages.INVALID_VALUE, end)

    def _skip(self, at: int) -> int:
        return skip_spaces(self.text, at)

    def _refused(self, message: str, at: int) -> FilterError:
        """Return the error whose caret belongs at `at`: the kernel counts the first character of a comparison as 1."""
        return FilterError(self.text, message, at + 1)


def skip_spaces(text: str, at: int) -> int:
    """Return where the kernel's white space that begins at `at` ends."""
    while at < len(text) and text[at] in SPACES:
        at += 1
    return at


def _run(text: str, at: int, wanted: frozenset[str]) -> int:
    while at < len(text) and text[at] in wanted:
        at += 1
    return at


def _integer(text: str, signed: bool) -> int | None:
    """Read a number of at most 64 bits, with a base by its prefix; a minus only if `signed`."""
    if not signed:
        return unsigned(text, 0, _U64_MAX)
    if text.startswith("-"):
        value = unsigned(text[1:], 0, _S64_MAX + 1)
        return None if value is None else -value
    return unsigned(text, 0, _S64_MAX)


def _never(record: bytes, cpu: int, comm: str) -> bool:
    return False


def _number_test(operand: Operand, sign: str, value: int) -> Test:
    """Compare at the width of the field; a width that no C integer has compares false, whatever the operator."""
    if operand.kind == CPU:
        return _cpu_test(sign, _narrowed(value, 4, signed=True))
    if operand.size not in (1, 2, 4, 8):
        return _never
    start, end, signed = operand.offset, operand.offset + operand.size, operand.signed
    wanted = _narrowed(value, operand.size, signed)
    relation = _RELATIONS[sign]

    def test(record: bytes, cpu: int, comm: str) -> bool:
        return relation(int.from_bytes(record[start:end], "little", signed=signed), wanted)

    return test


def _cpu_test(sign: str, wanted: int) -> Test:
    if sign == "&":
        return _never
    relation = _RELATIONS[sign]
    return lambda record, cpu, comm: relation(cpu, wanted)


def _narrowed(value: int, size: int, signed: bool) -> int:
    return int.from_bytes((value & (1 << 8 * size) - 1).to_bytes(size, "little"), "little", signed=signed)


def _text_test(operand: Operand, sign: str, pattern: bytes) -> Test:
    holds, negated = like(pattern) if sign == "~" else (equal_to(pattern), sign == "!=")
    start, size = operand.offset, operand.size
    if operand.kind == COMM:
        return lambda record, cpu, comm: holds(_comm_bytes(comm), _COMM_SIZE) != negated
    if operand.kind == STATIC_STRING:
        return lambda record, cpu, comm: holds(record[start:], size) != negated
    relative = operand.kind == REL_STRING

    def test(record: bytes, cpu: int, comm: str) -> bool:
        begin, length = dynamic_range(start, record, relative)
        return holds(record[begin:], length) != negated

    return test


def _comm_bytes(comm: str) -> bytes:
    try:
        data = comm.encode("latin-1")
    except UnicodeEncodeError:  # not kernel text, one character a byte, but a name as Python reads it
        data = comm.encode("utf-8", "surrogatepass")
    return data[: _COMM_SIZE - 1].ljust(_COMM_SIZE, b"\0")


def _cpus_test(operand: Operand, sign: str, mask: int, cpus: int) -> Test:
    start, end = operand.offset, operand.offset + operand.size
    if operand.kind == CPUMASK:
        held_test = mask_test(sign, mask, cpus)
        mask_size = (cpus + 7) // 8

        def test_mask(record: bytes, cpu: int, comm: str) -> bool:
            begin, _ = dynamic_range(start, record, relative=False)
            return held_test(int.from_bytes(record[begin : begin + mask_size], "little"))

        return test_mask
    alone = only(mask)
    if alone is not None:  # then the list is a number, and `&` means equal
        unsigned_operand = operand._replace(signed=operand.kind == CPU)
        return _number_test(unsigned_operand, "==" if sign == "&" else sign, alone)
    if operand.kind == CPU:
        several = number_test(sign, mask, cpus)
        return lambda record, cpu, comm: several(cpu)
    if operand.size not in (1, 2, 4, 8):
        return _never
    listed = number_test(sign, mask, cpus)
    return lambda record, cpu, comm: listed(int.from_bytes(record[start:end], "little") & 0xFFFFFFFF)
