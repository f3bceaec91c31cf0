"""Random steps in a world too large to search: the engine must agree with a plain set of holders after each."""

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Lifecycles

LENGTH = settings(max_examples=20, stateful_step_count=200, suppress_health_check=[HealthCheck.too_slow])


def test_the_engine_agrees_with_a_plain_set_of_holders() -> None:
    """Counts, lists, bits, indices and errnos are the model's, whatever fails meanwhile."""
    run_state_machine_as_test(Lifecycles, settings=LENGTH)
