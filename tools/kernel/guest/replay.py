"""replay.py SCENARIOS RESULTS: run scenarios (one a line) with real processes, write each with what came of it.

Runs as root in the guest, with nothing but Python's standard library. The steps and their results are those of
tests/vectors/README.md, unmasked.
"""

import json
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tools.kernel.guest import worker
from tools.kernel.guest.controller import Controller

_SPEAK_EVERY = 20


def main(scenarios: Path, results: Path) -> None:
    """Run all scenarios, telling now and then how far that is."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    controller = Controller()
    lines = [line for line in scenarios.read_text(encoding="utf-8").splitlines() if line.strip()]
    began = time.monotonic()
    with results.open("w", encoding="utf-8") as out:
        for number, line in enumerate(lines, 1):
            print(json.dumps(controller.run(json.loads(line))), file=out, flush=True)
            if number % _SPEAK_EVERY == 0 or number == len(lines):
                print(f"{number} of {len(lines)} scenarios, {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == worker.RESUME:
        worker.resume(sys.argv[2])
    main(Path(sys.argv[1]), Path(sys.argv[2]))
