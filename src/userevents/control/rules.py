"""Flight rules: what has to happen for the rings to be written out.

    rule   := EVENT ['if' FILTER] ['rate' ('>' | '>=') NUMBER '/' TIME]     it comes; comes so often
            | 'no' EVENT ['if' FILTER] 'for' TIME                            it came, and then not for so long
            | ('death' | 'crash') 'of' (PID | PROGRAM)                       a producer ends; ends badly

EVENT is ``[SYSTEM:]NAME`` with ``*``, ``?`` and ``[]``, PROGRAM a name with the same. FILTER is a filter of the kernel.
TIME is a number with ``ms``, ``s``, ``m`` or ``h``; a unit alone is one of it: ``rate > 100/s``, ``rate > 5/10s``.
"""

import re
from typing import Final, NamedTuple

from ..errors import Unusable
from ..fields.filter import syntax_problem
from .events import Pattern

RECORD: Final = "record"
RATE: Final = "rate"
GAP: Final = "gap"
DEATH: Final = "death"
CRASH: Final = "crash"

_TIME: Final = r"(\d+(?:\.\d+)?)?\s*(ms|s|min|m|h)"
_RATE_END: Final = re.compile(rf"\s+rate\s*(>=?)\s*(\d+)\s*/\s*{_TIME}\s*$")
_GAP: Final = re.compile(rf"no\s+(.*\S)\s+for\s+{_TIME}\s*$", re.DOTALL)
_ENDS: Final = re.compile(r"(death|crash)\s+of\s+(\S.*?)\s*$")
_IF: Final = re.compile(r"\s+if\s+")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_NAME: Final = re.compile(r"[^\s<>=!&|()]+$")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_RATE_MAX: Final = 1_000_000
_SPAN_MAX_S: Final = 86_400.0
FORMS: Final = "'EVENT if COND', 'EVENT rate > 100/s', 'no EVENT for 2s', 'death of PROGRAM', 'crash of PROGRAM'"


class Rule(NamedTuple):
    """One rule. A rate rule holds when more than `limit` come within `span_ns`, a gap rule when none does."""

    text: str
    kind: str
    pattern: Pattern | None = None
    where: str = ""
    """The filter; kernel text, as `pattern` is."""
    limit: int = 0
    span_ns: int = 0
    who: str = ""
    """The producer, of a death: its pid, or a name with ``*``, ``?`` and ``[]``."""

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read a rule, in kernel text. Raises `Unusable` saying what is wrong with it.

        >>> Rule.parse("request if latency_ns > 1000 rate > 5/10s")[3:6]
        ('latency_ns > 1000', 5, 10000000000)
        >>> Rule.parse("no heartbeat for 2s").kind
        'gap'
        """
        text = text.strip()
        hidden = _QUOTED.sub(lambda match: '"' + "_" * (len(match[0]) - 2) + '"', text)
        if ends := _ENDS.match(text):
            return cls(text, ends[1], who=ends[2])
        if gap := _GAP.match(hidden):
            pattern, where = _selection(text, *gap.span(1))
            return cls(text, GAP, pattern, where, span_ns=_span_ns(text, gap[2], gap[3]))
        if rate := _RATE_END.search(hidden):
            pattern, where = _selection(text, 0, rate.start())
            count = int(rate[2]) - (rate[1] == ">=")
            if not 0 <= count <= _RATE_MAX:
                raise Unusable(f"rule '{text}': a rate is of 1 to {_RATE_MAX:,} records, not {rate[2]}")
            return cls(text, RATE, pattern, where, count, _span_ns(text, rate[3], rate[4]))
        return cls(text, RECORD, *_selection(text, 0, len(text)))


def _selection(text: str, start: int, stop: int) -> tuple[Pattern, str]:
    """Read ``EVENT [if FILTER]``."""
    event, *conditions = _IF.split(text[start:stop], maxsplit=1)
    if not _NAME.match(event):
        raise Unusable(f"rule '{text}': '{event}' is no event's name; rules are: {FORMS}")
    where = conditions[0].strip() if conditions else ""
    problem = syntax_problem(where) if conditions else None
    if problem is not None:
        raise Unusable(f"rule '{text}': {problem}")
    return Pattern.parse(event), where


def _span_ns(text: str, number: str | None, unit: str) -> int:
    seconds = float(number or 1) * _SECONDS[unit]
    if not 0 < seconds <= _SPAN_MAX_S:
        raise Unusable(f"rule '{text}': '{number}{unit}' is no length of time up to a day")
    return int(seconds * 1e9)
