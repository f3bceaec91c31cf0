"""`lint`: its verdict is what a registration gives, here and on a recorded kernel, and it points at what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engine.world import World
from userevents.engine import PROFILES, Verdict, lint
from userevents.engine.lint import ERROR, WARNING
from userevents.errors import Refused

VECTORS = Path(__file__).parents[1] / "vectors" / "linux-6.12"
GROUPS = ("names", "types", "match", "edges", "reg_flags", "random", "multi")
# fmt: off
WORDS = ("tick", "a/b", "n:", "n", "", "u32", "u64 a", "unsigned int", "unsigned", "long", "char[20]", "char[0x14]",
         "char[]", "char[1025]", "struct s f 8", "struct s f", "struct s f 4294967295", "struct s f 0x8",
         "__rel_loc char[]", "__data_loc", "__rel_loc unsigned char[] b", "a", "b", "\xa0", "\t", "\xe9")
# fmt: on
SEPARATORS = (" ", " ", " ", ";", "; ", " ;", "  ", ";;", "")


def _joined(parts: list[tuple[str, str]]) -> str:
    return "".join(word + separator for word, separator in parts)


DECLARATIONS = st.one_of(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SEPARATORS)), max_size=8).map(_joined),
    st.text(st.characters(max_codepoint=255), max_size=40),
)


def registered(profile: str, text: str, flags: int, times: int) -> str | None:
    """Register a declaration on an engine, `times` over; the errno's name of the last time."""
    world = World(PROFILES[profile])
    last = None
    for number in range(times):
        try:
            world.register(text, bit=number, flags=flags)
            last = None
        except Refused as refused:
            last = refused.name
    return last


@given(DECLARATIONS, st.integers(0, 3))
@example("t ;", 0)
@example("t u32 a;u32 b", 0)
@example("t struct s a 8", 0)
@example("t " + "u32 a;" * 90, 0)
def test_the_verdict_is_what_a_registration_gives(text: str, flags: int) -> None:
    """For each profile lint accepts what is registered, refuses what is refused, and foresees the second time."""
    verdict = lint(text, flags=flags)
    for profile in PROFILES:
        error = verdict.errors[profile]
        assert (error.name if error else None) == registered(profile, text, flags, 1)
        errors = [problem for problem in verdict.problems if problem.severity == ERROR and profile in problem.profiles]
        assert len(errors) == (error is not None)
        if error is None and verdict.fields is not None:
            foreseen = [
                problem
                for problem in verdict.problems
                if problem.severity == WARNING and "EADDRINUSE" in problem.message and profile in problem.profiles
            ]
            assert bool(foreseen) == (registered(profile, text, flags, 2) is not None)


@given(DECLARATIONS)
def test_what_is_pointed_at_lies_in_the_declaration(text: str) -> None:
    """A problem's column is that of a character of the declaration, or the one behind it."""
    for problem in lint(text).problems:
        assert 0 <= problem.column <= len(text)
        assert problem.size >= 1


def _kernel_text(value: Any) -> str:
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]).decode("latin-1")
    return str(value).encode().decode("latin-1")


def _first_registration(scenario: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """A scenario's first step behind its opens, with its result, if it registers with nothing else to go wrong."""
    pairs = zip(scenario["steps"], scenario["results"], strict=True)
    first = next((pair for pair in pairs if pair[0]["op"] != "open"), None)
    if first is None:
        return None
    step, result = first
    keys = {"op", "proc", "fd", "name_args", "enable_bit", "addr", "enable_size", "flags"}
    if step["op"] != "reg" or set(step) - keys or step.get("flags", 0) & ~2:
        return None
    is_good = str(step["addr"]).startswith("word") and step["enable_size"] in (4, 8)
    return (step, result) if is_good and step["enable_bit"] < 8 * step["enable_size"] else None


def test_the_verdict_is_that_of_the_recorded_kernel() -> None:
    """Every first registration that Linux 6.12 was seen to take or refuse gets that verdict."""
    compared = {True: 0, False: 0}
    for group in GROUPS:
        for line in (VECTORS / f"{group}.jsonl").read_text(encoding="utf-8").splitlines():
            scenario = json.loads(line)
            found = _first_registration(scenario)
            if found is None:
                continue
            step, result = found
            taken = result["ret"] != -1
            verdict = lint(_kernel_text(step["name_args"]), flags=step.get("flags", 0))
            assert verdict.accepted("v6.12") == taken, (scenario["name"], step, result)
            if not taken:
                error = verdict.errors["v6.12"]
                assert error is not None
                assert error.name == result["errno"] or result["errno"] == "0", (scenario["name"], result)
            compared[taken] += 1
    assert compared[True] > 100, compared
    assert compared[False] > 30, compared


def only(verdict: Verdict) -> tuple[str, str]:
    """What the one problem of a verdict points at, and its rule."""
    (problem,) = verdict.problems
    return verdict.text[problem.column : problem.column + problem.size], problem.rule


@pytest.mark.parametrize(
    ("text", "pointed", "section"),
    [
        ("tick long a", "long", "fields.md section 3"),
        ("tick u32 a; char[2000] b", "char[2000]", "fields.md section 3"),
        ("tick u32 a b", "b", "fields.md section 2"),
        ("tick u32 a; struct s f 0x8", "0x8", "fields.md section 2"),
        ("tick u32", "", "fields.md section 2"),
        ("tick u32 a;  u64\tb", "\t", "fields.md section 2"),
        ("tick:f u32 a", ":f", "fields.md section 1"),
        ("tick u32 a; u32 a", "a", "fields.md section 2"),
        ("a/b u32 a", "a/b", "fields.md section 1"),
        ("tick u32 common_pid", "common_pid", "fields.md section 2"),
    ],
)
def test_a_problem_points_at_the_word_and_names_the_rule(text: str, pointed: str, section: str) -> None:
    """The characters pointed at are those at fault."""
    assert only(lint(text)) == (pointed, section)


def test_a_declaration_too_long_is_pointed_at_where_it_is_too_long() -> None:
    """The 512th character and all behind it are one too many; 511 are not."""
    text = "tick " + "; ".join(f"u32 field_{number:02}" for number in range(40))
    (problem,) = lint(text).problems
    assert (problem.column, problem.size) == (511, len(text) - 511)
    assert lint("t" * 511).problems == ()


def test_flags_that_an_older_kernel_lacks_are_told_for_that_kernel() -> None:
    """A persistent event is taken by 6.12 and refused by 6.4."""
    (problem,) = lint("tick", flags=1).problems
    assert problem.profiles == ("v6.4",)
    assert "6.7" in problem.message
