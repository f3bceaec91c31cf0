"""Man pages from the help of the verbs: `./dev docs man DIRECTORY` writes one for `userevents` and one for each verb,
those of a group included.
Those in man/ are installed with the package, which cannot make them while it is built.

click-man does the same for plain commands, and runs examples (behind click's mark for text that is not to be wrapped)
and lines that begin with a dot into each other; these two matter here.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from userevents import __version__, cli

_NOT_WRAPPED: Final = "\b"


def write(directory: Path) -> list[Path]:
    """Write every page into the directory; return their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    pages = dict(
        _pages(cli.main, click.Context(cli.main, info_name="userevents"), "typed, always-on trace events for any Linux")
    )
    paths = []
    for name, text in pages.items():
        path = directory / f"{name}.1"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def _pages(command: click.Command, ctx: click.Context, summary: str) -> Iterator[tuple[str, str]]:
    """Give the name and text of a command's page, and of those of its verbs."""
    name = ctx.command_path.replace(" ", "-")
    verbs = command.verbs if isinstance(command, cli.Verbs) else {}
    yield name, page(ctx, summary, [(verb, f"{what} See {name}-{verb}(1).") for verb, what in verbs.items()])
    for verb, what in verbs.items():
        assert isinstance(command, click.Group)
        found = command.get_command(ctx, verb)
        assert found is not None
        yield from _pages(found, click.Context(found, info_name=verb, parent=ctx), what.rstrip("."))


def page(ctx: click.Context, summary: str, verbs: list[tuple[str, str]]) -> str:
    """Return one command's page; `verbs` are listed below its options."""
    command = ctx.command
    name = ctx.command_path.replace(" ", "-")
    options = [record for option in command.get_params(ctx) if (record := option.get_help_record(ctx))]
    lines = [f'.TH "{name.upper()}" "1" "" "userevents {__version__}" "userevents"', ".SH NAME"]
    lines += [f"{_escaped(name)} \\- {_escaped(summary)}", ".SH SYNOPSIS", f".B {_escaped(ctx.command_path)}"]
    lines += [_escaped(" ".join(command.collect_usage_pieces(ctx))), ".SH DESCRIPTION", *_prose(command.help or "")]
    for title, entries in (("OPTIONS", options), ("VERBS", verbs)):
        lines += [f".SH {title}"] if entries else []
        for term, text in entries:
            lines += [".TP", f"\\fB{_escaped(term)}\\fR", *_prose(text)]
    if ctx.parent is not None:
        lines += [".SH SEE ALSO", _escaped(ctx.parent.command_path.replace(" ", "-")) + "(1)"]
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
