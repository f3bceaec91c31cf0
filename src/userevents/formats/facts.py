"""Taking facts out of JSON that somebody else wrote: every getter gives its type, or a harmless default."""

from collections.abc import Mapping

_INT_LIMIT = 1 << 64
_TIME_LIMIT = 1 << 62
"""No clock shows as much: times can be added to each other, and stay within 64 bits."""


def whole(facts: Mapping[str, object], key: str, default: int = 0) -> int:
    """Return an integer fact within 64 bits, else `default`."""
    value = facts.get(key)
    return value if type(value) is int and -_INT_LIMIT < value < _INT_LIMIT else default


def count(facts: Mapping[str, object], key: str) -> int:
    """Return a fact that counts something: not negative."""
    return max(whole(facts, key), 0)


def time_or_none(facts: Mapping[str, object], key: str) -> int | None:
    """Return a time in ns, None where there is none, or one that no clock shows."""
    value = whole(facts, key, -1)
    return value if 0 <= value < _TIME_LIMIT else None


def time(facts: Mapping[str, object], key: str) -> int:
    """Return a time in ns, else 0."""
    return time_or_none(facts, key) or 0


def text(facts: Mapping[str, object], key: str, default: str = "") -> str:
    """Return a text fact, else `default`."""
    value = facts.get(key)
    return value if isinstance(value, str) else default


def texts(facts: Mapping[str, object], key: str) -> list[str]:
    """Return a list of texts; what is none in it is left out."""
    value = facts.get(key)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def mapping(facts: Mapping[str, object], key: str) -> dict[str, object]:
    """Return an object fact, else an empty one."""
    value = facts.get(key)
    return value if isinstance(value, dict) else {}


def mappings(facts: Mapping[str, object], key: str) -> list[dict[str, object]]:
    """Return a list of objects; what is none in it is left out."""
    value = facts.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def id_of(key: str, limit: int = 1 << 32) -> int | None:
    """Return a number that stands as an object's key, if it is one below `limit`."""
    return int(key) if key.isascii() and key.isdecimal() and len(key) < 12 and int(key) < limit else None
