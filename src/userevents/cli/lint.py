"""`userevents lint`: whether a declaration will be taken, and what is wrong with it, before a program makes it."""

import json
import os
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, NamedTuple

import click

from ..fields.escape import printable
from .reach import shown

if TYPE_CHECKING:
    from ..engine import Problem, Verdict


class _Source(NamedTuple):
    """One declaration, and where it was written."""

    text: str
    place: str


@click.command()
@click.option("--file", "files", multiple=True, type=click.File("rb"), help="A declaration a line; - is stdin.")
@click.option(
    "--profile",
    type=click.Choice(["v6.12", "v6.4"]),
    help="The kernel that decides [v6.12; what v6.4 refuses is then a warning].",
)
@click.option("--persist", is_flag=True, help="As a persistent event, by a program that may.")
@click.option("--multi-format", is_flag=True, help="As one of several layouts of its name.")
@click.option("--format", "with_format", is_flag=True, help="Show the text of the event's 'format' file, too.")
@click.option("--strict", is_flag=True, help="Fail for warnings, too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per declaration.")
@click.argument("declarations", nargs=-1, metavar="['NAME FIELDS'...]")
def lint(
    files: tuple[IO[bytes], ...],
    profile: str | None,
    persist: bool,
    multi_format: bool,
    with_format: bool,
    strict: bool,
    as_json: bool,
    declarations: tuple[str, ...],
) -> None:
    """Say whether a declaration is taken, where it is wrong and by which rule; show the layout of a good one.

    In a --file, empty lines and those that begin with # are left out, and 'u:NAME FIELDS' means the same as without u:.
    Exit code 1 if any is refused.

    \b
    userevents lint 'tick u32 count; char[16] name'
    userevents lint --strict --file events.txt
    """
    from ..abi.user_events import USER_EVENT_REG_MULTI_FORMAT, USER_EVENT_REG_PERSIST
    from ..engine import PROFILES
    from ..engine import lint as examine

    if not declarations and not files:
        raise click.UsageError("nothing to examine; name a declaration, such as 'tick u32 count', or a --file")
    flags = USER_EVENT_REG_PERSIST * persist | USER_EVENT_REG_MULTI_FORMAT * multi_format
    profiles = (profile,) if profile else tuple(PROFILES)
    failed = False
    for number, source in enumerate(_sources(declarations, files)):
        verdict = examine(source.text, flags=flags, profiles=profiles)
        is_bad = not verdict.accepted(profiles[0])
        failed = failed or is_bad or (strict and bool(verdict.problems))
        if as_json:
            click.echo(json.dumps(_facts(source, verdict, with_format)))
        else:
            if number:
                click.echo()
            _show(source, verdict, profiles[0], with_format)
    sys.exit(1 if failed else 0)


def _sources(declarations: tuple[str, ...], files: tuple[IO[bytes], ...]) -> Iterator[_Source]:
    for text in declarations:
        yield _Source(os.fsencode(text).decode("latin-1"), "")
    for file in files:
        for number, line in enumerate(file, 1):
            text = line.decode("latin-1").removesuffix("\n").removeprefix("u:")
            if text.strip() and not text.startswith("#"):
                yield _Source(text, f"{getattr(file, 'name', '-')}:{number}")


def _show(source: _Source, verdict: "Verdict", decider: str, with_format: bool) -> None:
    from ..engine.lint import ERROR, KERNELS

    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    click.echo(printable(shown(source.text)))
    for problem in sorted(verdict.problems, key=lambda problem: problem.severity != ERROR):
        is_error = problem.severity == ERROR and decider in problem.profiles
        word = click.style("error", fg="red") if is_error else click.style("warning", fg="yellow")
        place = f"{source.place}:{problem.column + 1}: " if source.place else ""
        click.echo(_caret(source.text, problem))
        click.echo(f"{place}{word}: {printable(shown(problem.message))}", color=color)
        everywhere = len(problem.profiles) == len(verdict.errors)
        where = "every kernel" if everywhere else " and ".join(f"kernels {KERNELS[name]}" for name in problem.profiles)
        if len(verdict.errors) == 1:
            where = f"kernels {KERNELS[decider]}"
        click.echo(f"    column {problem.column + 1}; {where}; user_events contract, {problem.rule}")
    if verdict.accepted(decider):
        _show_layout(verdict)
        if with_format:
            click.echo(_format(verdict), nl=False)


def _caret(text: str, problem: "Problem") -> str:
    before = len(printable(shown(text[: problem.column])))
    width = len(printable(shown(text[problem.column : problem.column + problem.size])))
    return " " * before + "^" + "~" * (max(width, 1) - 1)


def _show_layout(verdict: "Verdict") -> None:
    from ..engine.lint import MAX_PAYLOAD

    fields = verdict.fields or ()
    rows = [("OFFSET", "SIZE", "SIGNED", "FIELD")]
    rows += [(str(f.offset), str(f.size), "yes" if f.signed else "no", printable(shown(str(f)))) for f in fields]
    for offset, size, signed, name in rows if fields else []:
        click.echo(f"{offset:>6}  {size:>5}  {signed:<6}  {name}")
    click.echo(f"ok: a payload has {verdict.min_payload} bytes or more; at most {MAX_PAYLOAD} are recorded")


def _format(verdict: "Verdict") -> str:
    from ..abi.user_events import FIRST_EVENT_ID
    from ..fields import format_text

    return shown(format_text(verdict.name, FIRST_EVENT_ID, verdict.fields or ()))


def _facts(source: _Source, verdict: "Verdict", with_format: bool) -> dict[str, object]:
    from ..engine.lint import MAX_PAYLOAD

    facts: dict[str, object] = {
        "declaration": shown(source.text),
        "place": source.place or None,
        "verdicts": {name: "ok" if error is None else error.name for name, error in verdict.errors.items()},
        "problems": [
            {
                "severity": problem.severity,
                "column": problem.column + 1,
                "size": problem.size,
                "message": shown(problem.message),
                "rule": problem.rule,
                "profiles": list(problem.profiles),
            }
            for problem in verdict.problems
        ],
        "fields": None
        if verdict.fields is None
        else [
            {"type": f.ctype, "name": shown(f.name), "offset": f.offset, "size": f.size, "signed": f.signed}
            for f in verdict.fields
        ],
        "min_payload": verdict.min_payload,
        "max_payload": MAX_PAYLOAD,
    }
    if with_format:
        facts["format"] = _format(verdict) if verdict.fields is not None else None
    return facts
