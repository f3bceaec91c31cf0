"""What is wrong with a declaration, before a program makes it: the place, the rule, and the kernels that differ.

The verdict is the engine's own: the declaration is registered with a group of its own, for each profile. Only the
place and the explanation are found here.
"""

import errno
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..abi.ring_buffer import MAX_BODY_SIZE, RECORD_HEADER_SIZE
from ..abi.user_events import MAX_NAME_ARGS_SIZE, USER_EVENT_REG_MULTI_FORMAT, USER_EVENT_REG_PERSIST
from ..errors import Refused
from ..fields import BadField, Field, min_payload, parse_command, parse_fields
from .group import Group
from .ports import Caller
from .profile import PROFILES, Profile
from .text import SPACES

ERROR: Final = "error"
WARNING: Final = "warning"

MAX_PAYLOAD: Final = MAX_BODY_SIZE - RECORD_HEADER_SIZE
"""The largest payload that is recorded; of a larger one the write succeeds, and nothing is kept."""

KERNELS: Final = {"v6.12": "6.9 and later", "v6.4": "6.4.0 to 6.4.4"}
"""Which kernels a profile stands for; those in between take a little of each."""

_WORD_SIZE: Final = 4
_LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_DIGITS: Final = frozenset("0123456789")
_COMMON: Final = "common_"

_SPLIT: Final = "fields.md section 1"
_FIELDS: Final = "fields.md section 2"
_TYPES: Final = "fields.md section 3"
_MATCHING: Final = "fields.md section 5"
_FLAGS: Final = "abi.md section 5.1 step 13"
_TEXT_SIZE: Final = "abi.md section 5.1 step 11"
_PRIVILEGE: Final = "abi.md section 5.1 step 14"
_RECORD_SIZE: Final = "ringbuffer.md, largest record"


class Problem(NamedTuple):
    """One thing to say of a declaration; `size` characters from `column` (0 is the first) on are meant."""

    severity: str
    """`ERROR`: it is refused; `WARNING`: it is taken, and somebody will regret it."""
    column: int
    size: int
    message: str
    rule: str
    """Where the user_events contract says so."""
    profiles: tuple[str, ...]
    """The profiles it holds for."""


class Verdict(NamedTuple):
    """What becomes of a declaration with each profile."""

    text: str
    errors: dict[str, Refused | None]
    """By profile: what the registration is refused with, None if it is taken."""
    problems: tuple[Problem, ...]
    name: str
    fields: tuple[Field, ...] | None
    """None where the fields cannot be parsed."""

    @property
    def min_payload(self) -> int:
        """Bytes a payload has at least."""
        return min_payload(self.fields or ())

    def accepted(self, profile: str) -> bool:
        """Whether a registration of it is taken."""
        return self.errors[profile] is None


def lint(text: str, *, flags: int = 0, privileged: bool = True, profiles: tuple[str, ...] = tuple(PROFILES)) -> Verdict:
    """Examine the declaration `text` (kernel text, one character a byte), registered with `flags`.

    `privileged`: by a program with CAP_PERFMON.
    """
    if "\0" in text:
        refused = Refused(errno.EINVAL, "a NUL ends the text for the kernel: leave it out")
        problem = Problem(ERROR, text.index("\0"), 1, str(refused), _TEXT_SIZE, profiles)
        return Verdict(text, dict.fromkeys(profiles, refused), (problem,), "", None)
    errors = {name: _refusal(PROFILES[name], text, flags, privileged, again=False) for name in profiles}
    name, _, args = parse_command(text)
    try:
        fields: tuple[Field, ...] | None = parse_fields(args)
    except Refused:
        fields = None
    problems = [*_why_refused(text, errors, flags), *_hardships(text, errors, fields, flags)]
    return Verdict(text, errors, tuple(problems), name, fields)


class _NoMemory:
    """Words nobody reads."""

    def write_bit(self, addr: int, bit: int, size: int, on: bool) -> None:
        """Nobody listens."""


def _refusal(profile: Profile, text: str, flags: int, privileged: bool, *, again: bool) -> Refused | None:
    """Register it with a group of its own, or `again` when it is registered already; None when that is taken."""
    group = Group(profile)
    file = group.open_file()
    mm = group.new_mm(_NoMemory())
    caller = Caller(0, 0, privileged)
    try:
        for number in range(1 + again):
            addr = _WORD_SIZE * (1 + number)
            group.register(file, mm, text, addr=addr, bit=0, size=_WORD_SIZE, flags=flags, caller=caller)
    except Refused as refused:
        return refused
    return None


def _why_refused(text: str, errors: dict[str, Refused | None], flags: int) -> Iterator[Problem]:
    """One problem for each reason that some profile gives."""
    reasons: dict[str, tuple[Refused, list[str]]] = {}
    for profile, refused in errors.items():
        if refused is not None:
            reasons.setdefault(str(refused), (refused, []))[1].append(profile)
    for refused, profiles in reasons.values():
        column, size, rule, reason = _place(text, refused, flags)
        yield Problem(ERROR, column, size, f"[{refused.name}] {reason}", rule, tuple(profiles))


def _place(text: str, refused: Refused, flags: int) -> tuple[int, int, str, str]:
    """Where a refusal points to: column, size, rule and reason."""
    name, text_flags, args = parse_command(text)
    if len(text) >= MAX_NAME_ARGS_SIZE:
        limit = MAX_NAME_ARGS_SIZE - 1
        return limit, len(text) - limit, _TEXT_SIZE, refused.reason
    if text_flags is not None:
        return (
            len(name),
            1 + len(text_flags),
            _SPLIT,
            "a ':' in the name begins flags, and there are none: leave it out",
        )
    if isinstance(refused, BadField):
        start = _start_of(args, refused.piece) + len(text) - len(args)
        rule = _TYPES if refused.at == 0 else _FIELDS
        return start + refused.at, refused.size, rule, refused.problem
    if refused.errno == errno.EPERM:
        return 0, len(name), _PRIVILEGE, refused.reason
    return 0, len(name), _FLAGS, _about_flags(flags)


def _start_of(args: str, bad: str) -> int:
    """Where the first field that reads as `bad` begins in `args`."""
    at = 0
    for piece in args.split(";"):
        declared = piece.lstrip(SPACES)
        if declared == bad:
            return at + len(piece) - len(declared)
        at += len(piece) + 1
    return 0


def _about_flags(flags: int) -> str:
    if flags & USER_EVENT_REG_MULTI_FORMAT:
        return "multi-format registrations are for kernels from 6.9 on"
    if flags & USER_EVENT_REG_PERSIST:
        return "persistent registrations are for kernels from 6.7 on, and 6.6 from 6.6.33 on"
    return f"flags 0x{flags:x} are unknown"


def _hardships(
    text: str, errors: dict[str, Refused | None], fields: tuple[Field, ...] | None, flags: int
) -> Iterator[Problem]:
    """What is taken and will be regretted."""
    everywhere = tuple(profile for profile, refused in errors.items() if refused is None)
    if not everywhere or fields is None:
        return
    name, _, args = parse_command(text)
    yield from _about_the_name(name, everywhere)
    yield from _about_the_fields(text, args, fields, everywhere)
    if min_payload(fields) > MAX_PAYLOAD:
        problem = (
            f"a payload has at least {min_payload(fields)} bytes and a record holds {MAX_PAYLOAD}: no write is kept"
        )
        yield Problem(WARNING, len(name) + 1, len(args), problem, _RECORD_SIZE, everywhere)
    refusing = [
        profile for profile in everywhere if _refusal(PROFILES[profile], text, flags, True, again=True) is not None
    ]
    if refusing:
        problem = (
            "the same text is refused with EADDRINUSE once the event is there, as by a second process: "
            + _unlike(args, fields, refusing)
        )
        yield Problem(WARNING, len(name) + 1, max(len(args), 1), problem, _MATCHING, tuple(refusing))


def _unlike(args: str, fields: tuple[Field, ...], refusing: list[str]) -> str:
    """Why a text does not match the event that it made, and what to write."""
    spelled = "; ".join(map(str, fields))
    if args.rstrip(";") == spelled and any(str(field).startswith("struct ") for field in fields):
        return "kernels 6.4.0 to 6.4.4 compare a struct field without its size; use char[N] there"
    if refusing != list(PROFILES) and spelled.replace("; ", ";") in args.replace("; ", ";"):
        return f"kernels before 6.9 (but 6.6.33) want a blank after every ';': write '{spelled}'"
    return f"spell it as the kernel does: '{spelled}'" if spelled else "leave the ';' out"


def _about_the_name(name: str, profiles: tuple[str, ...]) -> Iterator[Problem]:
    def warning(problem: str) -> Problem:
        return Problem(WARNING, 0, max(len(name), 1), problem, _SPLIT, profiles)

    if not name:
        yield warning("the event has no name: its directory in 'events' cannot be opened")
    elif "/" in name or name in (".", ".."):
        yield warning(f"'{name}' is no file name: 'events/user_events' cannot be listed while it is registered")
    elif name in ("enable", "filter"):
        yield warning(f"'{name}' hides the file of that name in 'events/user_events'")
    elif not _is_identifier(name):
        yield warning(f"'{name}' is no C identifier ([A-Za-z_][A-Za-z0-9_]*): perf, bpftrace and scripts trip over it")


def _about_the_fields(text: str, args: str, fields: tuple[Field, ...], profiles: tuple[str, ...]) -> Iterator[Problem]:
    seen: set[str] = set()
    at = len(text) - len(args)
    remaining = iter(fields)
    for piece in args.split(";"):
        declared = piece.lstrip(SPACES)
        if declared:
            field = next(remaining)
            words = declared[len(field.ctype) + 1 :]
            column = at + len(piece) - len(words)
            for problem in _about_a_field(field, seen):
                yield Problem(WARNING, column, max(len(field.name), 1), problem, _FIELDS, profiles)
            seen.add(field.name)
        at += len(piece) + 1


def _about_a_field(field: Field, seen: set[str]) -> Iterator[str]:
    if field.name in seen:
        yield f"there is a field '{field.name}' before this one: filters and tools find only one of them"
    if field.name.startswith(_COMMON):
        yield f"'{field.name}': names in {_COMMON}* are those of the record's header"
    elif not _is_identifier(field.name):
        yield f"field name '{field.name}' is no C identifier: filters and tools trip over it"


def _is_identifier(name: str) -> bool:
    return name[:1] in _LETTERS and not set(name) - _LETTERS - _DIGITS if name else False
