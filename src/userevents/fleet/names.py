"""What things are called on the broker: tokens for any name, the keys of the bucket, the subjects of the data.

A subject is tokens with dots between them, and a name of an event or of a host may hold dots, blanks and wildcards.
`encode` makes one token of any text and `decode` reads it back; each text has one token only, so that what is the
same has the same key. The host that writes a key stands behind its kind: that is what permissions hold on to, and a
server finds all keys of one host without looking at the others' (docs/notes/0053-the-host-stands-first-in-a-key.md).

    lease.HOST                  it lives: runs out unless it is renewed
    host.HOST                   what it is: facts for people
    user.HOST.EVENT.LAYOUT      it uses the event, whose fields are LAYOUT
    persist.HOST.EVENT.LAYOUT   it made the event persist
    wishes                      what is to be enabled and filtered, on which hosts

The first three are in a bucket from which any host removes what one that is gone has left. The last two are in another,
from which only operators remove: a server's permissions know buckets, not keys (docs/notes/0078).
"""

import base64
import hashlib
import re
from functools import lru_cache
from typing import Final, NamedTuple

from ..errors import Malformed

BUCKET: Final = "userevents"
KEYS_STREAM: Final = f"KV_{BUCKET}"
KEYS_SUBJECT: Final = f"$KV.{BUCKET}"
KEPT_BUCKET: Final = f"{BUCKET}_kept"
KEPT_STREAM: Final = f"KV_{KEPT_BUCKET}"
KEPT_SUBJECT: Final = f"$KV.{KEPT_BUCKET}"
DATA_STREAM: Final = "USEREVENTS_DATA"
DATA_SUBJECT: Final = f"{BUCKET}.data"
ASK_SUBJECT: Final = f"{BUCKET}.ask"
API_SUBJECT: Final = "$JS.API"
API_ELSEWHERE: Final = f"{BUCKET}.api"
"""Where a host finds the API in an account of its own, in which there is no JetStream."""
NEWS_SUBJECT: Final = f"{BUCKET}.news"
"""Wishes that have just been stored, for those who would otherwise see them only when they look next."""
OBJECTS: Final = f"{BUCKET}_flights"
"""The object store for parts of windows."""
OBJECTS_STREAM: Final = f"OBJ_{OBJECTS}"
OBJECTS_SUBJECT: Final = f"$O.{OBJECTS}"
WISHES: Final = "wishes"
LAYOUT_SIZE: Final = 8
TOKEN_MAX: Final = 1024
"""Longest token; a server takes 4096 bytes for a whole subject with what is around it."""

_PLAIN: Final = re.compile(rb"[^A-Za-z0-9_-]")
_TOKEN: Final = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})*")
_EMPTY: Final = "="
_USUAL: Final = re.compile(rf"(?=.{{1,{TOKEN_MAX}}}\Z)[A-Za-z0-9_-]+(?:=3A[A-Za-z0-9_-]+)?")
"""Tokens of most hosts and events: all of it stands for itself but one colon."""
_LAYOUT: Final = re.compile(rf"[0-9a-f]{{{LAYOUT_SIZE}}}")
_KEPT: Final = frozenset({"persist", WISHES})
_WILD: Final = frozenset("*>")
PARTS: Final = {"lease": 1, "host": 1, "user": 3, "persist": 3}
"""Tokens that a key of each kind has behind it."""


class Key(NamedTuple):
    """A key, read back."""

    kind: str
    host: str
    event: str = ""
    """``SYSTEM:NAME`` as registered."""
    layout: str = ""


@lru_cache(maxsize=4096)
def encode(text: str) -> str:
    """Return the token of any text: letters, digits, ``_`` and ``-`` stand for themselves, other bytes are ``=XX``.

    Raises `Malformed` for one longer than `TOKEN_MAX`.

    >>> encode("user_events:tick.0")
    'user_events=3Atick=2E0'
    """
    raw = text.encode("utf-8", "surrogateescape")
    token = _PLAIN.sub(lambda found: b"=%02X" % found[0][0], raw).decode("ascii") or _EMPTY
    if len(token) > TOKEN_MAX:
        raise Malformed(f"name '{text[:40]}...'", f"takes {len(token)} bytes on the broker, more than {TOKEN_MAX}")
    return token


@lru_cache(maxsize=1 << 16)
def decode(token: str) -> str:
    """Return the text of a token; raises `Malformed` for what `encode` does not make.

    >>> decode("web-1=2Eexample")
    'web-1.example'
    """
    if _USUAL.fullmatch(token):
        return token.replace("=3A", ":")
    if token == _EMPTY:
        return ""
    if not token or not _TOKEN.fullmatch(token):
        raise Malformed(f"token '{token[:80]}'", "was not made by userevents")
    raw = re.sub(rb"=(..)", lambda found: bytes([int(found[1], 16)]), token.encode("ascii"))
    text = raw.decode("utf-8", "surrogateescape")
    if encode(text) != token:
        raise Malformed(f"token '{token[:80]}'", f"is not how '{text[:80]}' is written")
    return text


def layout_of(declaration: str) -> str:
    """Return what stands in keys for the fields of an event: the same for the same declaration, on any host."""
    return hashlib.sha256(declaration.encode("utf-8", "surrogateescape")).hexdigest()[:LAYOUT_SIZE]


def is_layout(token: str) -> bool:
    """Whether a token is what `layout_of` makes."""
    return _LAYOUT.fullmatch(token) is not None


def lease_key(host: str) -> str:
    """The key that says that `host` lives."""
    return f"lease.{encode(host)}"


def host_key(host: str) -> str:
    """The key with the facts about `host`."""
    return f"host.{encode(host)}"


def user_key(event: str, layout: str, host: str) -> str:
    """The key that says that `host` uses an event."""
    return f"user.{encode(host)}.{encode(event)}.{layout}"


def persist_key(event: str, layout: str, host: str) -> str:
    """The key that says that `host` made an event persist."""
    return f"persist.{encode(host)}.{encode(event)}.{layout}"


def parse_key(key: str) -> Key:
    """Read a key of a host back; raises `Malformed` for any other."""
    kind, *parts = key.split(".")
    if PARTS.get(kind) != len(parts):
        raise Malformed(f"key '{key[:80]}'", "is none of a fleet")
    host = decode(parts[0])
    if len(parts) == 1:
        return Key(kind, host)
    if not is_layout(parts[2]):
        raise Malformed(f"key '{key[:80]}'", f"has '{parts[2]}' where a layout should be")
    return Key(kind, host, decode(parts[1]), parts[2])


def key_subject(key: str) -> str:
    """The subject a key is stored under; `key` may have wildcards behind its kind."""
    return f"{KEPT_SUBJECT if is_kept(key) else KEYS_SUBJECT}.{key}"


def is_kept(key: str) -> bool:
    """Whether a key is one that only operators remove."""
    return key.partition(".")[0] in _KEPT


def stream_of(key: str) -> str:
    """The stream that a key is in."""
    return KEPT_STREAM if is_kept(key) else KEYS_STREAM


def places_of(pattern: str) -> list[tuple[str, str]]:
    """Where keys that match a pattern may be: streams, each with the subject to look for.

    >>> places_of("*.web-1.*.*")
    [('KV_userevents', '$KV.userevents.*.web-1.*.*'), ('KV_userevents_kept', '$KV.userevents_kept.*.web-1.*.*')]
    """
    if pattern[:1] in _WILD:
        return [(KEYS_STREAM, f"{KEYS_SUBJECT}.{pattern}"), (KEPT_STREAM, f"{KEPT_SUBJECT}.{pattern}")]
    return [(stream_of(pattern), key_subject(pattern))]


def key_of(subject: str) -> str:
    """The key that is stored under a subject."""
    return subject.removeprefix(f"{KEYS_SUBJECT}.").removeprefix(f"{KEPT_SUBJECT}.")


def data_subject(host: str, kind: str) -> str:
    """The subject on which a host sends its batches of one kind."""
    return f"{DATA_SUBJECT}.{encode(host)}.{kind}"


def ask_subject(host: str, what: str) -> str:
    """The subject on which a host answers questions of one kind."""
    return f"{ASK_SUBJECT}.{encode(host)}.{what}"


def object_subjects(host: str) -> list[str]:
    """The subjects of the object that a host may write: those of its chunks, and of what it is."""
    token = encode(host)
    name = base64.urlsafe_b64encode(token.encode()).decode()
    return [f"{OBJECTS_SUBJECT}.C.{token}.*", f"{OBJECTS_SUBJECT}.M.{name}"]
