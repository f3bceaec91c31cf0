"""The recorded kernel pages, as tests want them: formats by id, pages, and the kernel's own trace lines."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from userevents.fields import EventFormat, parse_format

PAGES = Path(__file__).resolve().parent.parent / "vectors" / "linux-6.12" / "pages"
_LINE = re.compile(r"^ *\S+?-(\d+) +\[(\d+)\] ..... +([0-9.]+): (.*)$")


class Line(NamedTuple):
    """One line of the kernel's `trace` file, from the pid on."""

    tid: int
    time: str
    body: str


class Recorded(NamedTuple):
    """One recorded scenario."""

    name: str
    formats: dict[int, EventFormat]
    pages: list[bytes]
    lines: list[Line]
    writes: list[bytes]


def _text(value: Any) -> str:
    return str(value["latin1"]) if isinstance(value, dict) else str(value or "")


def load(name: str) -> Recorded:
    """Load the scenario `name`."""
    found = json.loads((PAGES / f"{name}.json").read_text(encoding="utf-8"))
    formats = [parse_format(_text(text)) for text in found["formats"].values()]
    lines = []
    for line in _text(found.get("trace")).split("\n"):
        matched = _LINE.match(line)
        if matched:
            lines.append(Line(int(matched[1]), matched[3], matched[4]))
    kept = [bytes.fromhex("".join(write["iov"]))[4:] for write in found["writes"] if write["ret"] > 0]
    return Recorded(
        name, {one.id: one for one in formats}, [bytes.fromhex(page) for page in found["pages"]], lines, kept
    )


NAMES = sorted(path.stem for path in PAGES.glob("*.json"))
