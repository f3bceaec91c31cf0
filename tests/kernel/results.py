"""What scenarios write and how results say it: paths, texts, success and failure."""

import errno
from collections.abc import Mapping
from typing import Any, Final

Step = Mapping[str, Any]
Result = dict[str, Any]

SYSCTL: Final = "/proc/sys/kernel/user_events_max"


def ok(ret: int = 0, **more: object) -> Result:
    """A step that succeeded."""
    return {"ret": ret, "errno": None, **more}


def fail(number: int) -> Result:
    """A step that failed."""
    return {"ret": -1, "errno": errno.errorcode.get(number, str(number))}


def to_bytes(text: str | Mapping[str, str]) -> bytes:
    """The bytes that a step's text stands for."""
    if isinstance(text, str):
        return text.encode()
    return bytes.fromhex(text["hex"]) if "hex" in text else text["latin1"].encode("latin-1")


def to_text(data: bytes) -> str | dict[str, str]:
    """How results write bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"latin1": data.decode("latin-1")}


def tree_path(path: str) -> str:
    """Where the tree has what a scenario calls `path`."""
    return "userevents/user_events_max" if path == SYSCTL else path.encode().decode("latin-1")
