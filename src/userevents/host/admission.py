"""Which sessions of a directory are adopted, and which are left alone: one user cannot take everybody's room."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from ..session import layout

Key = tuple[str, str]
"""A session: its directory and its name there."""
_OF_ONE_USER: Final = 2048
"""Sessions of another user's directory that are looked at, at a time: each takes a few descriptors of ours."""


class Admission:
    """Keeps count of the sessions of each directory; `is_foreign` tells of one that belongs to another user."""

    def __init__(self, is_foreign: Callable[[str], bool]) -> None:
        self.refused: dict[Key, str] = {}
        """Files that cannot be adopted, and why."""
        self._is_foreign = is_foreign
        self._known: Counter[str] = Counter()
        """By directory, how many are adopted or refused."""

    def admits(self, key: Key) -> bool:
        """Whether a session may be adopted now."""
        return key not in self.refused and not (self._is_foreign(key[0]) and self._known[key[0]] >= _OF_ONE_USER)

    def adopted(self, key: Key) -> None:
        """One more."""
        self._known[key[0]] += 1

    def refuse(self, key: Key, reason: str) -> None:
        """Leave a file alone from now on."""
        self.refused[key] = reason
        self._known[key[0]] += 1

    def forget(self, key: Key) -> None:
        """An adopted one is gone."""
        self._known[key[0]] -= 1

    def listed(self, directory: str, names: Iterable[str]) -> None:
        """Forget the refused files that are not there any more."""
        for gone in self.refused.keys() - {(directory, name) for name in names} if self.refused else ():
            if gone[0] == directory:
                del self.refused[gone]
                self._known[directory] -= 1


def is_session(name: str) -> bool:
    """Whether a file in a runtime directory is called like a session that is ready."""
    return name.endswith(layout.SESSION_SUFFIX) and not name.startswith(".")
