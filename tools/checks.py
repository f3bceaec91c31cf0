"""What `./dev check` runs, all at once: each check's result and time as it ends, its output if it failed."""

import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final, NamedTuple

from tools.environment import PYTHON, ROOT, VENV, clean_environment
from tools.progress import paint

# What starts a compiler or another pytest is left to ./dev test.
CHECKS: Final[Mapping[str, list[str]]] = {
    "ruff check": [f"{VENV}/bin/ruff", "check", "--quiet", "--output-format=concise"],
    "ruff format": [f"{VENV}/bin/ruff", "format", "--check", "--quiet", "--output-format=concise"],
    "mypy": [f"{VENV}/bin/mypy", "--no-error-summary"],
    "house": [
        str(PYTHON),
        "-P",
        "-m",
        "pytest",
        "-q",
        "--no-header",
        "--tb=short",
        "--ignore=tests/house/test_fixtures.py",
        "--ignore=tests/house/test_build.py",
        "tests/house",
    ],
}


class _Outcome(NamedTuple):
    status: int
    output: str
    seconds: float


def check() -> int:
    """Run every check and print what came of each; return 1 if one failed."""
    began = time.monotonic()
    failed = 0
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        running = {pool.submit(_run, command): name for name, command in CHECKS.items()}
        for future in as_completed(running):
            outcome = future.result()
            failed += outcome.status != 0
            mark = paint("FAIL", 31, sys.stdout) if outcome.status else paint("ok  ", 32, sys.stdout)
            print(f"{mark} {running[future]:<12} {outcome.seconds:5.1f} s", flush=True)
            if outcome.status:
                print(_indented(outcome.output), flush=True)
    verdict = f"{failed} of {len(CHECKS)} failed" if failed else f"{len(CHECKS)} passed"
    print(f"check: {verdict} in {time.monotonic() - began:.1f} s" + (" (./dev fix mends form)" if failed else ""))
    return 1 if failed else 0


def _run(command: list[str]) -> _Outcome:
    began = time.monotonic()
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=clean_environment() | {"NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    return _Outcome(done.returncode, done.stdout, time.monotonic() - began)


def _indented(text: str) -> str:
    return "".join(f"     {line}\n" for line in text.splitlines()) or "     (it printed nothing)\n"
