"""`./dev vectors [--profile P] [--door DOOR] FILE...`: replay recorded scenarios against our tree, say what differs.

Any file of the format that tests/vectors/README.md describes will do. Ends with a line ``N passed, N failed``; with
--door, which plays them with real processes, ``N passed, N failed, N skipped``.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.kernel.replay import Scenario, first_difference, scenarios
from tools import door_vectors
from tools.door_vectors import DoorUnavailable
from userevents.engine import PROFILES


def main(arguments: list[str]) -> int:
    """Replay every scenario of the files; return 1 if one differed, 2 if a file cannot be read."""
    parser = argparse.ArgumentParser(prog="./dev vectors", description="Replay recorded scenarios against our tree.")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="v6.12", help="the kernel to behave as")
    parser.add_argument("--door", choices=["fuse", "seccomp", "socket"], help="with real processes, through a door")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    try:
        if options.door:
            return _through_door([list(scenarios(path)) for path in options.files], options.profile, options.door)
        return _simulated([one for path in options.files for one in scenarios(path)], options.profile)
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, DoorUnavailable) as error:
        print(f"./dev vectors: {error}", file=sys.stderr)
        return 2


def _simulated(asked: Sequence[Scenario], profile: str) -> int:
    failed = 0
    for scenario in asked:
        difference = first_difference(scenario, profile)
        if difference is not None:
            failed += 1
            print(f"{scenario.get('name', '?')}: {difference}")
    print(f"{len(asked) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _through_door(files: Sequence[Sequence[Scenario]], profile: str, door: str) -> int:
    """Play each file in a tree of its own, as it was recorded by a kernel of its own."""
    counts = [door_vectors.replay(asked, profile, door) for asked in files]
    passed, failed, skipped = (sum(column) for column in zip(*counts, strict=True))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
