"""The options of flight rules, bundled: what `record --flight --on` was asked for."""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource

from .complete import complete_declared
from .console import time_option

if TYPE_CHECKING:
    from ..control.rules import Rule

_OF_RULES = ("before", "after", "every", "keep", "as_json")
_BEGINNINGS = ("no ", "death of ", "crash of ")


class RuleWish(NamedTuple):
    """What was asked for; times in seconds, `keep` 0 keeps all files."""

    rules: "tuple[Rule, ...]"
    before_s: float
    after_s: float
    every_s: float
    keep: int
    as_json: bool


def _rules(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> "tuple[Rule, ...]":
    from ..control.rules import Rule
    from ..errors import Unusable
    from .reach import kernel_text, shown

    try:
        return tuple(Rule.parse(kernel_text(value)) for value in values)
    except Unusable as error:
        raise click.BadParameter(shown(str(error))) from None


def _complete_rule(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    words = [text for text in _BEGINNINGS if text.startswith(incomplete)]
    return words + complete_declared(ctx, param, incomplete)


def _time(name: str, default: str, text: str) -> Callable[..., Any]:
    return click.option(name, callback=time_option, default=default, show_default=True, metavar="TIME", help=text)


_OPTIONS = (
    click.option(
        "--on",
        "rules",
        multiple=True,
        metavar="RULE",
        callback=_rules,
        shell_complete=_complete_rule,
        help="With --flight: write a trace of what is around each instant at which this holds: 'EVENT if COND', "
        "'EVENT rate > 100/s', 'no EVENT for 2s', 'death of PROGRAM', 'crash of PROGRAM'. Repeatable.",
    ),
    _time("--before", "10s", "With --on: how much from before the instant."),
    _time("--after", "5s", "With --on: how much from after it."),
    _time("--every", "1m", "With --on: begin at most one file in this time."),
    click.option(
        "--keep",
        type=click.IntRange(0),
        default=10,
        show_default=True,
        metavar="N",
        help="With --on: keep the newest N files; 0: all.",
    ),
    click.option("--json", "as_json", is_flag=True, help="With --on: a JSON object on stdout for each file."),
)


def rule_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options; the command gets them as `asked`, a `RuleWish`, None without a rule."""

    @functools.wraps(command)
    def bundled(
        *arguments: Any,
        rules: "tuple[Rule, ...]",
        before: float,
        after: float,
        every: float,
        keep: int,
        as_json: bool,
        **others: Any,
    ) -> None:
        _refuse_alone(click.get_current_context(), flight=others.get("flight", True), on=bool(rules))
        asked = RuleWish(rules, before, after, every, keep, as_json) if rules else None
        command(*arguments, asked=asked, **others)

    for option in reversed(_OPTIONS):
        bundled = option(bundled)
    return bundled


def _refuse_alone(ctx: click.Context, *, flight: bool, on: bool) -> None:
    """Refuse rules without a flight recording, and options of rules without rules."""
    if on and not flight:
        raise click.UsageError("--on is for flight recordings: add --flight")
    for name in () if on else _OF_RULES:
        if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = name.removeprefix("as_")
            raise click.UsageError(f"--{option} goes with rules of a flight recording: add --flight --on RULE")
