"""The contract's state table: every state of an event, and what each thing that can happen makes of it.

Source: user_events contract, lifecycle.md section 5.
"""

import pytest

from tests.engine.script import Script
from userevents.engine import V6_4, V6_12, Profile

REACH = {
    "USED_A": "reg t",
    "PEND": "reg t\nexit",
    "PEND_USED": "reg t\nexit\np2: reg t",
    "IDLE_P": "dyn u:t",
    "USED_P": "dyn u:t\nreg t",
    "STUCK": "reg t\nrefuse queueing\nexit\nrefuse nothing",
    "STUCK_USED": "reg t\nrefuse queueing\nexit\nrefuse nothing\np2: reg t",
}
"""How to get an event 't' into each state; p9 does what happens next."""


def state(script: Script) -> str:
    """The state of event 't'."""
    events = script.group.events.named("t")
    if not events:
        return "GONE"
    (event,) = events
    if event.persist:
        return "IDLE_P" if event.refcnt == 1 else "USED_P"
    alone = event.refcnt == 1
    if event.stuck:
        return "STUCK" if alone else "STUCK_USED"
    if event.work is not None:
        return "PEND" if alone else "PEND_USED"
    return "USED_A"


TABLE = {
    "p9: reg t": {
        "USED_A": "USED_A",
        "PEND": "PEND_USED",
        "PEND_USED": "PEND_USED",
        "IDLE_P": "USED_P",
        "USED_P": "USED_P",
        "STUCK": "STUCK_USED",
        "STUCK_USED": "STUCK_USED",
    },
    "p9: reg 't u8 x'": dict.fromkeys(REACH, "EADDRINUSE"),
    "enable t": {
        "USED_A": "USED_A",
        "PEND": "PEND_USED",
        "PEND_USED": "PEND_USED",
        "IDLE_P": "USED_P",
        "USED_P": "USED_P",
        "STUCK": "STUCK_USED",
        "STUCK_USED": "STUCK_USED",
    },
    "enable t\ndisable t": {
        "USED_A": "USED_A",
        "PEND": "PEND",
        "PEND_USED": "PEND_USED",
        "IDLE_P": "IDLE_P",
        "USED_P": "USED_P",
        "STUCK": "STUCK",
        "STUCK_USED": "STUCK_USED",
    },
    "p1: exit\np2: exit": {
        "USED_A": "PEND",
        "PEND": "PEND",
        "PEND_USED": "PEND",
        "IDLE_P": "IDLE_P",
        "USED_P": "IDLE_P",
        "STUCK": "STUCK",
        "STUCK_USED": "STUCK",
    },
    "refuse queueing\np1: exit\nrefuse nothing": {"USED_A": "STUCK"},
    "poll": {
        "USED_A": "USED_A",
        "PEND": "GONE",
        "PEND_USED": "USED_A",
        "IDLE_P": "IDLE_P",
        "USED_P": "USED_P",
        "STUCK": "STUCK",
        "STUCK_USED": "STUCK_USED",
    },
    "refuse destroy\npoll": {"PEND": "STUCK"},
    "del t": dict.fromkeys(REACH, "EBUSY") | {"IDLE_P": "GONE"},
    "p9: user\np9: del t": dict.fromkeys(REACH, "EBUSY") | {"IDLE_P": "EPERM"},
    "dyn -:t": dict.fromkeys(REACH, "EBUSY") | {"IDLE_P": "GONE"},
    "truncate": dict.fromkeys(REACH, "EBUSY") | {"IDLE_P": "GONE"},
    "p9: user\np9: truncate": dict.fromkeys(REACH, "EBUSY") | {"IDLE_P": "EPERM"},
}


@pytest.mark.parametrize(
    ("before", "happens", "after"),
    [(before, happens, after) for happens, row in TABLE.items() for before, after in row.items()],
)
def test_what_happens_to_an_event_takes_it_to_the_state_the_table_says(before: str, happens: str, after: str) -> None:
    """An errno in the table means a refusal that leaves the state as it was."""
    script = Script()
    script.run(REACH[before])
    assert state(script) == before
    *first, last = happens.splitlines()
    script.run("\n".join(first))
    if after.startswith("E"):
        script.run(f"{last} -> {after}")
        assert state(script) == before
    else:
        script.run(last)
        assert state(script) == after


@pytest.mark.parametrize("stuck_by", ["destroy", "queueing"])
def test_a_stuck_event_is_recovered_where_that_is_asked_for(stuck_by: str) -> None:
    """With `recover`, what the kernel's comments promise holds: the next last put, or a delete, takes it along."""
    for way_out in ("p2: reg t\np2: exit\npoll", "del t"):
        script = Script(recover=True)
        script.run(f"reg t\nrefuse {stuck_by}\nexit\npoll\nrefuse nothing\nholders t -> 1 stuck")
        script.run(way_out)
        assert state(script) == "GONE"


@pytest.mark.parametrize(("profile", "text"), [(V6_12, "t u32 a"), (V6_4, "t")])
def test_a_failed_destroy_keeps_the_fields_or_loses_them_as_the_profile_says(profile: Profile, text: str) -> None:
    """Before 2026 the kernel had freed them by then: only a registration without fields matches."""
    script = Script(profile)
    script.run("reg 't u32 a'\nrefuse destroy\nexit\npoll\nrefuse nothing")
    script.run(f"p2: reg '{text}' -> 0\np3: reg 't u64 a' -> EADDRINUSE")
