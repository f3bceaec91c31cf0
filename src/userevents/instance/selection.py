"""Which processes an instance records: everything, some pids, a tree of processes, or one run.

The text is one rule a line, and a process is selected when any rule fits it:

    all          every process (so does no rule at all)
    pid N        the process N
    tree N       the process N and every descendant of it
    run TOKEN    every process started under that token
"""

import errno
from collections.abc import Callable
from typing import Final, NamedTuple

from ..errors import Refused


class ProcessFacts(NamedTuple):
    """What a selection looks at; gathered by the host, which knows processes."""

    pid: int
    ancestors: tuple[int, ...]
    """Pids of the parent, its parent and so on, as far as known."""
    run: str
    """The token of the run that started it, empty if none."""


_RULES: Final[dict[str, Callable[[str, ProcessFacts], bool]]] = {
    "pid": lambda wanted, facts: facts.pid == int(wanted),
    "tree": lambda wanted, facts: int(wanted) == facts.pid or int(wanted) in facts.ancestors,
    "run": lambda wanted, facts: facts.run == wanted,
}


class Selection(NamedTuple):
    """Rules about processes; without any, every process is selected."""

    rules: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """Read rules, one a line; EINVAL names the line that is none."""
        return cls(tuple(rule for line in text.split("\n") if (rule := _parse_rule(line)) is not None))

    @property
    def text(self) -> str:
        """The rules as `parse` reads them, one a line; ``all`` where there is none."""
        return "".join(f"{kind} {wanted}".rstrip() + "\n" for kind, wanted in self.rules or (("all", ""),))

    def selects(self, facts: ProcessFacts) -> bool:
        """Whether that process is to be recorded."""
        return not self.rules or any(kind == "all" or _RULES[kind](wanted, facts) for kind, wanted in self.rules)


def _parse_rule(line: str) -> tuple[str, str] | None:
    words = line.split()
    if not words:
        return None
    if words == ["all"]:
        return "all", ""
    if len(words) == 2 and words[0] in _RULES and (words[0] == "run" or _is_pid(words[1])):
        return words[0], words[1]
    raise Refused(errno.EINVAL, f"'{line.strip()}' selects nothing; write 'all', 'pid N', 'tree N' or 'run TOKEN'")


def _is_pid(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 10
