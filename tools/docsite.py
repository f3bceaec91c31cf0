"""What the site of the documents is made of beside them: mkdocs calls the functions here that begin with `on_`.

Generated are the help of every verb, the reference of the Python package and the list of decision notes. Links that
lead out of docs/ are for those who read the checkout; on the site only their text stands.
"""

import re
import sys
from pathlib import Path
from typing import Any, Final

from markdown import Extension, Markdown  # type: ignore[import-untyped]
from markdown.preprocessors import Preprocessor  # type: ignore[import-untyped]

ROOT: Final = Path(__file__).resolve().parent.parent
_OUT_OF_DOCS: Final = re.compile(r"\[([^\]]*)\]\((?:\.\./)+(?!docs/)(?:tests|src|bench|tools|examples|README)[^)]*\)")
_CLIENT: Final = "userevents.client"
_PYTHON: Final = {
    "Declare and emit": (
        f"{_CLIENT}.event.event",
        f"{_CLIENT}.event.register",
        f"{_CLIENT}.event.Event",
        f"{_CLIENT}.context.context",
        f"{_CLIENT}.context.from_context",
    ),
    "Read a trace": (
        "userevents.formats.opened.OpenTrace",
        "userevents.formats.opened.EventTable",
        "userevents.formats.opened.TraceRecord",
    ),
    "Test": ("userevents.testing",),
    "Integrate": tuple(
        f"userevents.integrations.{name}"
        for name in ("asgi", "wsgi", "logging", "structlog", "opentelemetry", "asyncio")
    ),
    "Errors": ("userevents.errors",),
}
"""What is documented from docstrings. By the places where things are defined: the front door has the same names."""

sys.path.insert(0, str(ROOT))


class _Doctests(Preprocessor):  # type: ignore[misc, unused-ignore]
    """Makes code of the lines from ``>>>`` to the next empty one, which Markdown takes for quotations."""

    def run(self, lines: list[str]) -> list[str]:
        """Return the lines with a fence around each example."""
        found: list[str] = []
        inside = False
        for line in [*lines, ""]:
            if not inside and line.startswith(">>> "):
                found.append("```pycon")
                inside = True
            elif inside and not line.strip():
                found.append("```")
                inside = False
            found.append(line)
        return found


class Doctests(Extension):  # type: ignore[misc, unused-ignore]
    """The Markdown extension for examples in docstrings."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Look at the lines before anything else does."""
        md.preprocessors.register(_Doctests(md), "doctests", 100)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are generated."""
    from mkdocs.structure.files import File

    pages = {"reference/help.md": help_page(), "reference/python.md": python_page(), "notes/index.md": notes_page()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leave out links to files that the site has not."""
    return _OUT_OF_DOCS.sub(r"\1", markdown)


def help_page() -> str:
    """Return the page with each verb's help, as `userevents VERB --help` prints it."""
    from userevents import cli

    parts = ["# Every verb's help\n"]
    for verb in cli.VERBS:
        parts.append(f"## {verb}\n\n```text\n{verb_help(verb)}\n```\n")
        parts += [f"### {verb} {each}\n\n```text\n{verb_help(verb, each)}\n```\n" for each in _verbs_of(verb)]
    return "\n".join(parts)


def verb_help(*words: str) -> str:
    """Return what `userevents VERB --help` prints, at a fixed width; a verb of a group takes two words."""
    import click

    from userevents import cli

    command: click.Command = cli.main
    ctx = click.Context(command, info_name="userevents")
    for word in words:
        assert isinstance(command, click.Group)
        found = command.get_command(ctx, word)
        assert found is not None
        command = found
        ctx = click.Context(command, info_name=word, parent=ctx, max_content_width=96, terminal_width=96)
    return command.get_help(ctx)


def _verbs_of(verb: str) -> list[str]:
    """The verbs of a verb that is a group."""
    import click

    from userevents import cli

    command = cli.main.get_command(click.Context(cli.main), verb)
    return list(command.verbs) if isinstance(command, cli.Verbs) else []


def python_page() -> str:
    """Return the page from which mkdocstrings makes the reference, from the docstrings."""
    parts = ["# Python\n", "`from userevents import event, register, context, ...` has all that is for programs.\n"]
    for title, names in _PYTHON.items():
        parts.append(f"## {title}\n")
        parts += [f"::: {name}\n" for name in names]
    return "\n".join(parts)


def notes_page() -> str:
    """Return the list of decision notes."""
    lines = ["# Decisions\n", "What was decided, what pulled against it, and what was tried.\n"]
    for path in sorted((ROOT / "docs" / "notes").glob("[0-9]*.md")):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"* [{title}]({path.name})")
    return "\n".join(lines) + "\n"
