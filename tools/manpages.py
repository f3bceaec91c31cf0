"""Man pages from the help of the verbs: `./dev docs man DIRECTORY` writes one for `userevents` and one for each verb.
Those in man/ are installed with the package, which cannot make them while it is built.

click-man does the same for plain commands, and runs examples (behind click's mark for text that is not to be wrapped)
and lines that begin with a dot into each other; these two matter here.
"""

import re
import sys
from pathlib import Path
from typing import Final

import click

from userevents import __version__, cli

_NOT_WRAPPED: Final = "\b"


def write(directory: Path) -> list[Path]:
    """Write every page into the directory; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    group = click.Context(cli.main, info_name="userevents")
    verbs = {verb: cli.main.get_command(group, verb) for verb in cli.VERBS}
    pages = {
        "userevents": page(group, [(verb, f"{what} See userevents-{verb}(1).") for verb, what in cli.VERBS.items()])
    }
    for verb, command in verbs.items():
        assert command is not None
        pages[f"userevents-{verb}"] = page(click.Context(command, info_name=verb, parent=group), [])
    paths = []
    for name, text in pages.items():
        path = directory / f"{name}.1"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def page(ctx: click.Context, verbs: list[tuple[str, str]]) -> str:
    """Return one command's page; `verbs` are listed below its options."""
    command = ctx.command
    name = ctx.command_path.replace(" ", "-")
    options = [record for option in command.get_params(ctx) if (record := option.get_help_record(ctx))]
    summary = cli.VERBS.get(str(ctx.info_name), "typed, always-on trace events for any Linux").rstrip(".")
    lines = [f'.TH "{name.upper()}" "1" "" "userevents {__version__}" "userevents"', ".SH NAME"]
    lines += [f"{_escaped(name)} \\- {_escaped(summary)}", ".SH SYNOPSIS", f".B {_escaped(ctx.command_path)}"]
    lines += [_escaped(" ".join(command.collect_usage_pieces(ctx))), ".SH DESCRIPTION", *_prose(command.help or "")]
    for title, entries in (("OPTIONS", options), ("VERBS", verbs)):
        lines += [f".SH {title}"] if entries else []
        for term, text in entries:
            lines += [".TP", f"\\fB{_escaped(term)}\\fR", *_prose(text)]
    lines += [".SH SEE ALSO", "userevents(1)"] if not verbs else []
    return "\n".join(lines) + "\n"


def _prose(text: str) -> list[str]:
    """Return paragraphs; those that click would not wrap keep their lines."""
    lines: list[str] = []
    for number, paragraph in enumerate(re.split(r"\n\s*\n", text.strip("\n"))):
        rows = [row.strip() if _NOT_WRAPPED not in paragraph else row for row in paragraph.split("\n")]
        is_kept = rows[0].strip() == _NOT_WRAPPED
        lines += [".PP"] if number else []
        lines += [".nf", *map(_escaped, rows[1:]), ".fi"] if is_kept else [_escaped(" ".join(filter(None, rows)))]
    return lines


def _escaped(text: str) -> str:
    """Return text in which nothing means anything to troff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


if __name__ == "__main__":
    for written in write(Path(sys.argv[1])):
        print(written)
