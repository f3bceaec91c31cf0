"""Ours against a real kernel: every recorded scenario, replayed in a simulated world."""

from pathlib import Path

import pytest

from tests.kernel.replay import Scenario, first_difference, scenarios
from tools import vectors
from userevents.engine import PROFILES

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = sorted(VECTORS.glob("*/*.jsonl"))
DERIVED = VECTORS / "v6.4" / "derived.jsonl"
FLOOR = 2000
"""At least so many scenarios there are: a file that got lost is noticed."""


def _all() -> list[tuple[str, Scenario]]:
    return [(f"{path.parent.name}/{path.stem}", scenario) for path in FILES for scenario in scenarios(path)]


def _profile(path: Path) -> str:
    """The kernel that a file is about."""
    return path.parent.name if path.parent.name in PROFILES else "v6.12"


def test_the_recorded_scenarios_are_all_there() -> None:
    """No file of scenarios is missing or empty."""
    assert len(_all()) >= FLOOR


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_each_step_gives_what_the_kernel_gave(path: Path) -> None:
    """Every scenario of the file goes as recorded, on the kernel that its directory names; others are shown."""
    differences = [
        f"{scenario['name']}: {difference}"
        for scenario in scenarios(path)
        if (difference := first_difference(scenario, _profile(path))) is not None
    ]
    assert not differences, "\n".join(["", *differences[:10], f"({len(differences)} in all)"])


def test_a_wrong_recording_is_found() -> None:
    """The comparison can fail: a changed result, a changed text and a changed column each show."""
    scenario = next(one for _, one in _all() if one["name"] == "trace/three_fields")
    assert first_difference(scenario) is None
    for number, change in ((1, {"write_index": 1}), (3, {"ret": 23})):
        results = [dict(result) for result in scenario["results"]]
        results[number] |= change
        found = first_difference(scenario | {"results": results})
        assert found is not None
        assert found.number == number
    for old, new in (("a=0x1", "a=0x2"), ("PPPPP   [", "PPPPP  ["), ("[000]", "[001]"), ("\n", "\n\n")):
        results = [dict(result) for result in scenario["results"]]
        results[4]["data"] = results[4]["data"].replace(old, new, 1)
        assert results[4] != scenario["results"][4]
        assert first_difference(scenario | {"results": results}) is not None


def test_the_verb_counts_and_names_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its last line is the count, its exit code says whether all passed, and a file that is none is told apart."""
    good = VECTORS / "linux-6.12" / "status.jsonl"
    assert vectors.main([str(good)]) == 0
    assert capsys.readouterr().out == "5 passed, 0 failed\n"
    bad = tmp_path / "bad.jsonl"
    bad.write_text(good.read_text(encoding="utf-8").replace('"write_index": 2', '"write_index": 3'), encoding="utf-8")
    assert vectors.main([str(bad)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "4 passed, 1 failed"
    assert lines[0].startswith("status/busy_count: step 3: ")
    bad.write_text("no json\n", encoding="utf-8")
    assert vectors.main([str(bad)]) == 2


@pytest.mark.parametrize("scenario", list(scenarios(DERIVED)), ids=lambda scenario: scenario["name"])
def test_the_oldest_profile_differs_where_the_contract_says_so(scenario: Scenario) -> None:
    """What was derived for the first kernel is not what a 6.12 does."""
    assert first_difference(scenario, "v6.4") is None
    assert first_difference(scenario, "v6.12") is not None
