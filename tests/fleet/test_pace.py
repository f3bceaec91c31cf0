"""How a host slows down where the broker does, and comes back to its pace."""

from userevents.fleet.pace import LEASE_MAX_S, LEASE_S, SLOW_S, WRITES_MAX, WRITES_MIN, Pace


def test_a_lease_outlasts_renewals_that_take_long_and_is_short_again_after_them() -> None:
    """Two renewals may be as late as the slowest was lately; four that are answered at once undo it."""
    pace = Pace()
    pace.renewed(0.05)
    assert (pace.lease_s, pace.beat_s) == (LEASE_S, LEASE_S / 3)
    pace.renewed(2.0)
    assert pace.lease_s - pace.beat_s > 2 * 2.0
    for _ in range(4):
        pace.renewed(0.02)
    assert pace.lease_s == LEASE_S
    pace.renewed(1000.0)
    assert pace.lease_s == LEASE_MAX_S


def test_fewer_keys_are_written_at_once_while_writes_take_long() -> None:
    """From a few to many while answers come at once, and down to a few again."""
    pace = Pace()
    for _ in range(10):
        pace.wrote(0.01)
    assert pace.writes == WRITES_MAX
    pace.wrote(SLOW_S * 0.7)
    assert pace.writes == WRITES_MAX
    pace.wrote(SLOW_S * 2)
    assert pace.writes == WRITES_MAX // 2
    for _ in range(10):
        pace.wrote(SLOW_S * 2)
    assert pace.writes == WRITES_MIN
