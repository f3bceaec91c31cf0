"""The lists of threads: who is recorded, and how forks and exits change them."""

from userevents.instance import PidList


def test_children_join_the_lists_of_their_parents_and_leave_them() -> None:
    """Others do not; a thread on both lists puts its child on both."""
    pids = PidList()
    pids.wanted.update((1, 2))
    pids.unwanted.add(2)
    pids.forked(1, 10)
    pids.forked(2, 20)
    pids.forked(3, 30)
    assert (pids.wanted, pids.unwanted) == ({1, 2, 10, 20}, {2, 20})
    assert [tid for tid in (1, 2, 3, 10, 20, 30) if pids.selects(tid)] == [1, 10]
    pids.exited(10)
    pids.exited(20)
    assert (pids.wanted, pids.unwanted) == ({1, 2}, {2})


def test_a_list_whose_last_thread_exited_selects_nobody() -> None:
    """Emptying it by hand selects everybody again; a thread that was never on it makes no difference."""
    pids = PidList()
    pids.exited(5)
    assert pids.selects(5)
    assert not pids.judges
    pids.wanted.add(5)
    pids.exited(5)
    assert not pids.selects(5)
    assert not pids.selects(6)
    assert pids.judges
    pids.forget_wanted()
    assert pids.selects(6)
    assert not pids.judges
