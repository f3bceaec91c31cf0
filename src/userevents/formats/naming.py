"""Names that may each stand once: of fields in an event, of tables, of events in a format that has one namespace."""

from collections.abc import Callable, Iterable


class Names:
    """Gives names out, each only once: one that is `taken` gets a number, ``a_2``.

    Names with the same `key` count as the same. As many names as a file claims take time by their number, however
    alike they are.

    >>> names = Names(["b"])
    >>> [names.take(name) for name in ("a", "a", "b", "a")]
    ['a', 'a_2', 'b_2', 'a_3']
    """

    def __init__(self, taken: Iterable[str] = (), key: Callable[[str], str] = str) -> None:
        self._key = key
        self._taken = set(map(key, taken))
        self._next: dict[str, int] = {}
        """By the key of a name: the number from which on one may be free."""

    def take(self, name: str) -> str:
        """Return this name, or with a number what is not taken; from now on it is."""
        key = self._key(name)
        found, number = name, self._next.get(key, 2)
        while self._key(found) in self._taken:
            found, number = f"{name}_{number}", number + 1
        self._next[key] = number
        self._taken.add(self._key(found))
        return found
