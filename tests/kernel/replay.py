"""Replay recorded scenarios in a simulated world, and compare step by step with what a real kernel did.

What differs from run to run stands in the recordings as a placeholder, which here becomes a pattern.
"""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.kernel.results import Result, Step
from tests.kernel.steps import run_step
from tests.kernel.world import FIRST_MULTI_ID, World

Scenario = dict[str, Any]

_ANY_BYTES: Final = "<id bytes>"
_NO_ERRNO: Final = "0"
"""A call that failed with a number which no C library takes for an error (a struct size of 2^31 and more)."""
_MULTI: Final = re.compile(r"\{M(\d+)\}")
_PATTERNS: Final[tuple[tuple[str, Callable[[re.Match[str]], str]], ...]] = (
    (r"P{3,7}( +)", lambda found: rf"(?=\d+ )[\d ]{{{len(found[0])}}}"),
    (r"P{3,7}", lambda found: r"\d+"),
    (r" +S\.UUUUUU", lambda found: r" +\d+\.\d{6}"),
    (r" +TICKS", lambda found: r" +\d+"),
    (r"\(TGID\)", lambda found: r"\( *[\d-]+\)"),
    (r"HEXPID", lambda found: r"[0-9a-f]{8}"),
    (r"HEXNS", lambda found: r"[0-9a-f]{16}"),
    (r"PID(?= \d+ NS )", lambda found: r"\d+"),
    (r"(?<=PID \d )NS", lambda found: r"\d+"),
    (r"(?<=NNNus)~", lambda found: r"."),
    (r"<pid7>", lambda found: r"(?=[ \d]{7} ) *\d+"),
    (r"<hex(?:8|16)>", lambda found: f"[0-9a-f]{{{found[0][4:-1]},}}"),
    (r"<ms>", lambda found: r"\d+\.\d{3}ms"),
    (r"<ip>", lambda found: r"[0-9a-f]+"),
    (r"<bin16>", lambda found: r".{16}"),
    (r" +NNN", lambda found: r" +\d+"),
    (r"\[<ts>\]", lambda found: r"\[ *\d+\.\d+\]"),
    (r"\[<uninit>\]", lambda found: r"\[-?\d*\]"),
    (r"<id bytes>", lambda found: r"[^\n]*"),
    (r"<(?:id|n)>", lambda found: r"-?\d+"),
    (r"<release>", lambda found: r"\S+"),
)
_PLACEHOLDER: Final = re.compile("|".join(f"(?:{pattern})" for pattern, _ in _PATTERNS))


class Difference(NamedTuple):
    """The first step that went another way than in the recording."""

    number: int
    step: Step
    expected: Result
    got: Result

    def __str__(self) -> str:
        step = json.dumps(self.step)[:300]
        return f"step {self.number}: {step}\n    recorded: {self.expected}\n    got:      {self.got}"


def scenarios(path: Path) -> Iterator[Scenario]:
    """The scenarios of a file, one a line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                yield json.loads(line)


def first_difference(scenario: Scenario, profile: str = "v6.12") -> Difference | None:
    """Replay one scenario; None if every step gave what one of the recorded outcomes says."""
    world = World(profile)
    got = [_tried(world, _numbered(step, FIRST_MULTI_ID)) for step in scenario["steps"]]
    return difference_from(scenario, got, FIRST_MULTI_ID)


def difference_from(scenario: Scenario, got: list[Result], first_multi: int) -> Difference | None:
    """Compare results with a recording; `first_multi` is the number that ``{M0}`` was where they were made."""
    steps = [_numbered(step, first_multi) for step in scenario["steps"]]
    found = [_compare(steps, _numbered(expected, first_multi), got) for expected in outcomes(scenario)]
    if None in found:
        return None
    return max((difference for difference in found if difference), key=lambda difference: difference.number)


def _tried(world: World, step: Step) -> Result:
    """A step's result; one that cannot even be tried (no such descriptor to close) says so as the recorder does."""
    try:
        return run_step(world, step)
    except Exception as error:
        return {"ret": -1, "errno": "REPLAY", "data": repr(error)}


def outcomes(scenario: Scenario) -> list[list[Result]]:
    """The results that a kernel gave; several where they depend on the moment, or on the kernel's version."""
    if "results" in scenario:
        return [scenario["results"]]
    listed = scenario["outcomes"].values() if isinstance(scenario["outcomes"], dict) else [scenario["outcomes"]]
    return [outcome["results"] for alike in listed for outcome in alike]


def _compare(steps: list[Step], expected: list[Result], got: list[Result]) -> Difference | None:
    for number, (step, wanted, result) in enumerate(zip(steps, expected, got, strict=True)):
        if not _same(wanted, _sorted_status(result)):
            return Difference(number, step, wanted, result)
    return None


def _same(expected: Result, got: Result) -> bool:
    """Whether a result is what was recorded; `len` stands for a number that the masks have made meaningless."""
    if expected["errno"] == _NO_ERRNO:
        return got["errno"] is not None
    if expected["ret"] == "len":
        got = got | {"ret": "len"} if got["errno"] is None else got
    if expected.keys() != got.keys():
        return False
    return all(_fits(value, got[key]) for key, value in expected.items())


def _keys(value: object) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, dict) else ()


def _one_a_byte(value: object) -> object:
    """A text with one character a byte, however a result writes it."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value["latin1"] if isinstance(value, dict) and "latin1" in value else value


def _fits(expected: object, got: object) -> bool:
    if isinstance(expected, dict) and isinstance(got, dict) and "latin1" not in expected and "latin1" not in got:
        return expected.keys() == got.keys() and all(_fits(expected[key], got[key]) for key in expected)
    if isinstance(expected, str) and _ANY_BYTES in expected and isinstance(got, dict):
        got = got.get("latin1")  # an id is printed as bytes: whether they are UTF-8 is chance
    if "latin1" in (*_keys(expected), *_keys(got)):  # whether bytes are UTF-8 can depend on what is masked
        return _fits(_one_a_byte(expected), _one_a_byte(got))
    if not isinstance(expected, str) or not isinstance(got, str):
        return expected == got
    if expected == "<id>":
        return got.rstrip("\n").isdigit()
    if expected == got:
        return True
    return re.fullmatch(_pattern(expected), got, re.DOTALL) is not None


def _pattern(text: str) -> str:
    pieces, at = [], 0
    for found in _PLACEHOLDER.finditer(text):
        pieces.append(re.escape(text[at : found.start()]))
        pieces.append(_replacement(found, text))
        at = found.end()
    return "".join((*pieces, re.escape(text[at:])))


def _replacement(found: re.Match[str], text: str) -> str:
    for pattern, replacement in _PATTERNS:
        one = re.compile(pattern).match(text, found.start())
        if one is not None and one.end() == found.end():
            return replacement(one)
    return re.escape(found[0])


def _sorted_status(result: Result) -> Result:
    """The recordings have the names of `user_events_status` sorted: their order is unspecified."""
    data = result.get("data")
    if not isinstance(data, str) or "\nActive: " not in data:
        return result
    head, separator, tail = data.partition("\nActive: ")
    names = sorted(line for line in head.split("\n") if line)
    return result | {"data": "".join(f"{name}\n" for name in names) + separator + tail} if len(names) > 1 else result


def _numbered(value: Any, first_multi: int) -> Any:
    """Steps or results with ``{Mk}`` replaced by the number that it was."""
    return json.loads(_MULTI.sub(lambda found: f"{first_multi + int(found[1]):x}", json.dumps(value)))
