"""Writing the page: its script, its style and the data in one file that asks nobody for anything.

The page's own rule (Content-Security-Policy) forbids every request and every script but ours, named by its hash. The
data is JSON in which no `<` stands, so that nothing in a trace can end the element it is in.
"""

import base64
import hashlib
import json
import re
from html import escape
from importlib.resources import files
from typing import Any

_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def page_of(data: dict[str, Any]) -> str:
    """Return the page that shows what `picture` gathered."""
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "POLICY": policy,
        "TITLE": escape(f"{data['about']['file']} · userevents"),
        "STYLE": style,
        "SCRIPT": script,
        "DATA": as_script_data(data),
    }
    # In one go: what is put in may itself read like a mark.
    return re.sub("@([A-Z]+)@", lambda mark: parts[mark[1]], _part("page.html"))


def as_script_data(data: object) -> str:
    """Return JSON, ASCII only, that may stand in a script element whatever it says."""
    text = json.dumps(data, separators=(",", ":"))
    for letter, written in _UNSAFE.items():
        text = text.replace(letter, written)
    return text


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
