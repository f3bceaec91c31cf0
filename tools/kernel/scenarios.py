"""Scenarios asked of a real kernel: what it answers, and whether our tree, and the recordings, say the same."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.kernel.replay import Difference, Scenario, difference_from, first_difference
from tools.kernel import machine
from tools.kernel.image import Image, KernelUnavailable
from tools.kernel.normalise import masked, mended
from tools.progress import Steps

_RUNNER = f"{machine.PROJECT}/tools/kernel/guest/replay.py"
_SHOWN = 2000


class Verdict(NamedTuple):
    """What came of one scenario."""

    name: str
    ours: Difference | None
    """The first step in which our tree differs from the kernel."""
    recorded: Difference | None
    """The first step in which the kernel differs from what was recorded of it."""


def ask(image: Image, asked: Sequence[Scenario], steps: Steps) -> list[Scenario]:
    """Run scenarios in the guest; return them with raw results. Raises `KernelUnavailable`."""
    with machine.workspace() as shared:
        lines = (json.dumps({name: one[name] for name in one if name not in ("results", "outcomes")}) for one in asked)
        (shared / "scenarios.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = ["python3", "-S", "-E", _RUNNER, "scenarios.jsonl", "results.jsonl"]
        status = machine.run(image, shared, f"the kernel: {len(asked)} scenarios", command, steps)
        results = shared / "results.jsonl"
        answers = [json.loads(line) for line in results.open(encoding="utf-8")] if results.exists() else []
    if status or len(answers) != len(asked):
        came = f"{len(answers)} of {len(asked)} scenarios"
        raise KernelUnavailable(f"the guest answered {came} and ended with status {status}\nThe whole log: {steps.log}")
    for answer in answers:
        if answer["meta"]["leftovers"]:
            steps.say(f"before {answer['name']} something would not go: {answer['meta']['leftovers']!r}")
    return answers


def compare(scenario: Scenario, raw: Scenario) -> Verdict:
    """Compare the kernel's raw answer with the recording, if there is one, and our tree's answer with the kernel's."""
    recorded = None
    is_recorded = "results" in scenario or "outcomes" in scenario
    if is_recorded:
        recorded = difference_from(scenario, mended(raw), raw["meta"]["first_multi"] or 0)
    expected = scenario if is_recorded and recorded is None else masked(raw)
    return Verdict(scenario.get("name", "?"), first_difference(expected), recorded)


def explain(difference: Difference, expected: str, got: str) -> str:
    """A difference in words, with what the two sides are called."""
    sides = ((expected, difference.expected), (got, difference.got))
    lines = [f"    {side:<10}{json.dumps(result)[:_SHOWN]}" for side, result in sides]
    return "\n".join([f"step {difference.number}: {json.dumps(difference.step)[:_SHOWN]}", *lines])


def load(paths: Sequence[Path]) -> list[Scenario]:
    """The scenarios of files, in order. Raises OSError and ValueError naming the file."""
    found = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                scenario = json.loads(line)
            except ValueError as error:
                raise ValueError(f"'{path}', line {number}: {error}") from None
            if not isinstance(scenario, dict) or not isinstance(scenario.get("steps"), list) or "name" not in scenario:
                raise ValueError(f"'{path}', line {number}: a scenario has a 'name' and 'steps'")
            found.append(scenario)
    return found
