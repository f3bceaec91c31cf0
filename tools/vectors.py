"""`./dev vectors [--profile P] FILE...`: replay recorded scenarios against our tree, and say what differs.

Any file of the format that tests/vectors/README.md describes will do. Ends with a line ``N passed, N failed``.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.kernel.replay import first_difference, scenarios
from userevents.engine import PROFILES


def main(arguments: list[str]) -> int:
    """Replay every scenario of the files; return 1 if one differed, 2 if a file cannot be read."""
    parser = argparse.ArgumentParser(prog="./dev vectors", description="Replay recorded scenarios against our tree.")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="v6.12", help="the kernel to behave as")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    passed = failed = 0
    for path in options.files:
        try:
            for scenario in scenarios(path):
                difference = first_difference(scenario, options.profile)
                if difference is None:
                    passed += 1
                else:
                    failed += 1
                    print(f"{scenario.get('name', '?')}: {difference}")
        except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
            print(f"./dev vectors: '{path}': {error}", file=sys.stderr)
            return 2
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
