"""Triggers and histograms against recordings of a real kernel, without a tree around them."""

from pathlib import Path

import pytest

from tests.instance.trigger_driver import Replay, scenarios

VECTORS = Path(__file__).parents[1] / "vectors" / "linux-6.12"
COMPARED = {"filter": 69, "trigger": 72, "random": 265, "validate": 1, "trigger_edges": 416, "hist_edges": 1958}
"""How many answers each file has for us."""


@pytest.mark.parametrize("name", COMPARED)
def test_every_recorded_answer_of_a_trigger_or_hist_file_is_ours_too(name: str) -> None:
    """Commands give the recorded errno, and trigger, hist, error_log and tracing_on the recorded text."""
    differences, compared = [], 0
    for scenario in scenarios(VECTORS / f"{name}.jsonl"):
        replay = Replay()
        differences += [f"{scenario['name']}: {one}" for one in replay.run(scenario)]
        compared += replay.compared
    assert not differences, "\n".join(["", *differences[:5], f"({len(differences)} in all)"])
    assert compared == COMPARED[name]


def test_the_replay_notices_a_wrong_answer() -> None:
    """A changed errno and a changed text in a recording are each found."""
    scenario = next(one for one in scenarios(VECTORS / "trigger.jsonl") if one["name"] == "trigger/hist_basic")
    assert not Replay().run(scenario)
    for step, result in zip(scenario["steps"], scenario["results"], strict=True):
        if step["op"] == "write_file":
            result["errno"] = "EBUSY"
        elif str(step.get("path")).endswith("hist"):
            result["data"] = result["data"].replace("Hits: 3", "Hits: 4")
    assert len(Replay().run(scenario)) == 2
