"""The contract's lifecycle scenarios by their numbers, all 38.

In 10 and 31 the room above plays, too: perf's subscriptions and an instance's triggers hold events.

Source: user_events contract, lifecycle.md section 11.
"""

import pytest

from tests.engine.script import Script
from userevents.engine import V6_4, V6_12, Profile

WARN_DESTROY = "warn: user_events: Unable to delete event"
WARN_QUEUE = "warn: user_events: Unable to queue delayed destroy"
ALERT = "alert: BUG: Auto-delete engaged on persistent event"

SCENARIOS: dict[str, tuple[Profile, str]] = {
    "1 registered, unregistered, closed: gone": (
        V6_12,
        """
        reg 't u32 a'
        unreg
        close
        poll
        listed -> nothing
        del t -> ENOENT
        """,
    ),
    "2 an enabler outlives its file": (
        V6_12,
        """
        reg 't u32 a'
        close
        poll
        enable t
        bit -> 1
        holders t -> 2 enabler ftrace
        """,
    ),
    "3 a file outlives its enabler": (
        V6_12,
        """
        reg 't u32 a'
        enable t
        unreg
        bit -> 0
        write 0 -> 8
        disable t
        poll
        holders t -> 1 file
        """,
    ),
    "4 the same bit twice": (V6_12, "reg t\nreg t -> EADDRINUSE\nholders t -> 2 enabler file"),
    "5 two bits of one event": (
        V6_12,
        """
        reg t bit=31 -> 0
        reg t bit=30 -> 0
        holders t -> 3 enabler enabler file
        """,
    ),
    "6 other fields, single format": (V6_12, "reg 't u32 a'\nreg 't u64 a' bit=1 -> EADDRINUSE"),
    "6 other fields, multi-format": (
        V6_12,
        """
        reg 't u32 a' flags=multi -> 0
        reg 't u64 a' bit=1 flags=multi -> 1
        listed -> t.0 t.1
        """,
    ),
    "7 deleting what is in use": (V6_12, "reg t\ndel t -> EBUSY"),
    "8 a tracer keeps an event whose process is gone": (
        V6_12,
        """
        reg t
        enable t
        unreg
        close
        poll
        bit -> 0
        holders t -> 1 ftrace
        disable t
        listed -> t
        poll
        listed -> nothing
        """,
    ),
    "9 two instances": (
        V6_12,
        """
        reg t
        enable t a
        enable t b
        exit
        disable t a
        poll
        listed -> t
        disable t b
        poll
        listed -> nothing
        """,
    ),
    "10 perf": (
        V6_12,
        """
        reg t
        perf t one
        perf t two
        bit -> 1
        holders t -> 3 enabler file perf
        exit
        unperf one
        poll
        holders t -> 1 perf
        unperf two
        pending -> 1
        poll
        listed -> nothing
        """,
    ),
    "11 registered again while the destroy waits": (
        V6_12,
        """
        reg t
        keep t
        exit
        pending -> 1
        p2: reg t
        poll
        same t -> True
        holders t -> 2 enabler file
        destroys -> 0
        """,
    ),
    "12 registered and left again while the destroy waits": (
        V6_12,
        """
        reg t
        exit
        p2: reg t
        p2: unreg
        p2: close
        pending -> 1
        poll
        listed -> nothing
        destroys -> 1
        """,
    ),
    "13 enabled while the destroy waits": (
        V6_12,
        """
        reg t
        exit
        enable t
        poll
        holders t -> 1 ftrace
        disable t
        pending -> 1
        poll
        listed -> nothing
        """,
    ),
    "14 deleting while the destroy waits": (V6_12, "reg t\nexit\ndel t -> EBUSY\npoll\ndel t -> ENOENT"),
    "15 a destroy that fails": (
        V6_12,
        f"""
        reg t
        refuse destroy
        exit
        poll
        log -> {WARN_DESTROY}
        refuse nothing
        holders t -> 1 stuck
        del t -> EBUSY
        p2: reg t
        p2: exit
        pending -> 0
        holders t -> 1 stuck
        """,
    ),
    "16 queueing that fails": (
        V6_12,
        f"""
        reg t
        refuse queueing
        exit
        log -> {WARN_QUEUE}
        refuse nothing
        holders t -> 1 stuck
        del t -> EBUSY
        p2: reg t
        p2: exit
        pending -> 0
        listed -> t
        """,
    ),
    "17 v6.4 creates nothing through dynamic_events": (V6_4, "dyn 'u:t u32 a' -> EINVAL\nlisted -> nothing"),
    "18 dynamic_events as root": (
        V6_12,
        """
        dyn 'u:t u32 a'
        holders t -> 1 self
        dyn '-:t' -> ENOENT
        dyn '-:t u32 a'
        listed -> nothing
        """,
    ),
    "19 a persistent event stays until root deletes it": (
        V6_12,
        """
        reg t flags=persist
        unreg
        close
        poll
        holders t -> 1 self
        p2: user
        p2: del t -> EPERM
        del t
        listed -> nothing
        """,
    ),
    "20 persist without the capability": (
        V6_12,
        """
        p2: user
        p2: reg t flags=persist -> EPERM
        listed -> nothing
        reg t
        p2: reg t flags=persist -> EPERM
        """,
    ),
    "21 the first creator decides: not persistent": (
        V6_12,
        "reg t\np2: reg t flags=persist\nexit\np2: exit\npoll\nlisted -> nothing",
    ),
    "22 the first creator decides: persistent": (
        V6_12,
        """
        reg t flags=persist
        exit
        p2: user
        p2: reg t
        p2: exit
        poll
        holders t -> 1 self
        """,
    ),
    "23 fork copies the enablers": (
        V6_12,
        """
        reg t
        fork c
        holders t -> 3 enabler enabler file
        unreg
        enable t
        bit -> 0
        c: bit -> 1
        disable t
        c: bit -> 0
        """,
    ),
    "24 a child leaves the parent alone": (
        V6_12,
        """
        reg t
        fork c
        c: unreg
        c: exit
        enable t
        bit -> 1
        c: bit -> 0
        holders t -> 3 enabler file ftrace
        """,
    ),
    "25 exec with the file closed": (V6_12, "reg t\nexec\nclose\npoll\nlisted -> nothing"),
    "26 exec with the file inherited": (V6_12, "reg t\nexec\npoll\nholders t -> 1 file\nenable t\nbit -> 0"),
    "27 killed": (V6_12, "reg t\nenable t\ndisable t\nexit\npoll\nlisted -> nothing"),
    "28 an address that is not mapped": (
        V6_12,
        """
        unmap 1
        reg t word=1 -> ENOMEM
        holders t -> 1 file
        close
        poll
        listed -> nothing
        """,
    ),
    "29 the limit": (
        V6_12,
        """
        reg a
        reg b bit=1
        max 2
        reg c bit=2 -> EMFILE
        reg a bit=2
        listed -> a b
        """,
    ),
    "30 truncating dynamic_events while one is in use": (
        V6_12,
        "dyn u:p\nreg t\ntruncate -> EBUSY\nlisted -> p t\nexit\npoll\ntruncate\nlisted -> nothing",
    ),
    "31 a trigger alone": (
        V6_12,
        """
        reg 't u32 a'
        trigger t hist:keys=a
        bit -> 1
        enabled t -> 0*
        exit
        poll
        holders t -> 1 ftrace
        trigger t !hist:keys=a
        poll
        listed -> nothing
        """,
    ),
    "32 one put too many of a persistent event": (
        V6_12,
        f"""
        dyn u:t
        overput t
        log -> {ALERT}
        listed -> t
        pending -> 0
        del t -> EBUSY
        """,
    ),
    "33 one name, single and multi-format, both idle": (
        V6_12,
        "reg t flags=persist\nreg t bit=1 flags=both\nexit\ndel t\nlisted -> nothing",
    ),
    "34 one name, one layout busy: the newest is tried first": (
        V6_12,
        """
        reg 't u8 a' flags=both
        exit
        p2: reg 't u8 b' flags=both
        del t -> EBUSY
        listed -> t.0 t.1
        p2: exit
        p3: reg 't u8 a' flags=both
        del t -> EBUSY
        listed -> t.0
        """,
    ),
    "35 v6.4: the bit is looked at before the flags": (V6_4, "reg t\nreg t flags=persist -> EADDRINUSE"),
    "36 a thread that was there before the first registration": (
        V6_12,
        """
        reg t
        p2: unreg -> ENOENT
        p2: reg t -> 0
        exit
        poll
        holders t -> 2 enabler file
        """,
    ),
    "37 a descriptor and its duplicate": (
        V6_12,
        """
        reg t
        dup f g
        unreg
        close f
        poll
        holders t -> 1 file
        reg t file=g -> 0
        unreg
        close g
        poll
        listed -> nothing
        """,
    ),
    "38 the bit goes down and up again": (
        V6_12,
        "reg t\nenable t\nbit -> 1\nunreg\nbit -> 0\nreg t\nbit -> 1",
    ),
}


def test_every_scenario_of_the_contract_is_here() -> None:
    """By number; some come in two parts."""
    assert {int(title.split()[0]) for title in SCENARIOS} == set(range(1, 39))


@pytest.mark.parametrize("title", SCENARIOS)
def test_a_lifecycle_scenario_of_the_contract_comes_out_as_written(title: str) -> None:
    """Each scenario runs from an empty state, and every line of it must come out as it says."""
    profile, lines = SCENARIOS[title]
    Script(profile).run(lines)
