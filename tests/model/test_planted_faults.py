"""Faults planted into the engine: the search must find each, and tell the shortest way to see it."""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Lifecycles
from tests.model.planted import PLANTED
from tests.model.search import search

DEEP = 8
BY_CHANCE = (
    "the last reference is not taken again for the worker",
    "a tracer takes no reference",
    "fork copies enablers without references",
    "an event is destroyed inside the call that lets go of it",
    "the worker does not look whether somebody came back",
)
"""Faults that random steps are sure to meet as well."""
HUNT = settings(
    max_examples=50,
    stateful_step_count=200,
    report_multiple_bugs=False,
    phases=[Phase.generate],
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("fault", PLANTED)
def test_the_search_finds_a_planted_fault_by_a_shortest_path(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that passes on a broken engine proves nothing; the path is printed as a person would want it."""
    planted = PLANTED[fault]
    planted.plant(monkeypatch)
    found = search(planted.limits, DEEP)
    print(f"{fault}:\n{found.violation}")
    assert found.violation is not None, f"not noticed within {found}"
    assert tuple(step.verb for step in found.violation.path) == planted.story, f"\n{found.violation}"


@pytest.mark.parametrize("fault", BY_CHANCE)
def test_the_random_machine_finds_a_planted_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the same model and takes the same steps, in a larger world and in no order; deep faults it may miss."""
    PLANTED[fault].plant(monkeypatch)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the broken engine makes of it
        run_state_machine_as_test(Lifecycles, settings=HUNT)
