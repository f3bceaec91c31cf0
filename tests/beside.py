"""Which tests may run beside others: `./dev test` runs two at a time, of which at most one is not among these.

The tests of one file stay together, in their order, and all that are not named here do, too: those start programs and
wait for what they do, measure time, or touch what the whole machine shares (docs/notes/0050-two-tests-at-a-time.md).
"""

import os
from typing import Final

from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

MAY: Final = (
    *("tests/buffer/", "tests/engine/", "tests/fields/", "tests/formats/", "tests/instance/"),
    *("tests/kernel/", "tests/model/", "tests/tracefs/", "tests/docs/", "tests/house/"),
    *("tests/client/", "tests/cli/", "tests/integrations/", "tests/providers/", "tests/testing/"),
    "tests/system/test_instructions.py",
)
"""Rooms and files that only compute, or wait for programs of their own that nothing hurries."""
_ALL_OTHERS: Final = "tests"
_NICE: Final = 3


def may(nodeid: str) -> bool:
    """Whether a test may run beside any other."""
    return nodeid.startswith(MAY)


def stand_back() -> None:
    """Let the test that runs beside this one go first; it may be measuring."""
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)


class TwoGroups(LoadScopeScheduling):  # type: ignore[misc]
    """Gives one worker all tests that are not to meet each other, in their order, and the others file by file."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0] if may(nodeid) else _ALL_OTHERS
