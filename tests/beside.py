"""Which tests may run beside others: `./dev test` runs three at a time, of which two at most are not among these.

The tests of one file stay together, in their order. All that are not named here do, too: those start programs and wait
for what they do, measure time, or touch what the whole machine shares (docs/notes/0050-two-tests-at-a-time.md). They
are two groups, since the fleet's wait most of the time, and touch nothing that others do.
"""

import os
from typing import Final

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

MAY: Final = (
    *("tests/client/", "tests/model/", "tests/formats/", "tests/house/", "tests/docs/", "tests/cli/"),
    *("tests/providers/", "tests/buffer/", "tests/fields/", "tests/testing/", "tests/kernel/", "tests/tracefs/"),
    *("tests/integrations/", "tests/engine/", "tests/instance/", "tests/system/test_instructions.py"),
)
"""Rooms and files that only compute, or wait for programs of their own that nothing hurries. The longest come first."""
_FLEET: Final = "tests/fleet/"
_ALL_OTHERS: Final = "tests/"
_NICE: Final = 3


def may(nodeid: str) -> bool:
    """Whether a test may run beside any other."""
    return nodeid.startswith(MAY)


def stand_back() -> None:
    """Let the test that runs beside this one go first; it may be measuring."""
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)


def turn(nodeid: str) -> int:
    """When a test's turn comes: what takes longest first, so that no worker is left alone with it at the end."""
    if not may(nodeid):
        return nodeid.startswith(_FLEET) - 2
    return next(at for at, start in enumerate(MAY) if nodeid.startswith(start))


class Groups(LoadScopeScheduling):  # type: ignore[misc]
    """Gives a worker each to the two groups that are not to be torn apart, and the other tests file by file."""

    def _split_scope(self, nodeid: str) -> str:
        if may(nodeid):
            return nodeid.partition("::")[0]
        return _FLEET if nodeid.startswith(_FLEET) else _ALL_OTHERS
