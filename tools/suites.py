"""The test suites of real programs, without and under `userevents record`: the same result is expected.

Source distributions and what their tests need are installed into an environment of their own, in .cache/suites.
"""

import json
import subprocess
import sys
import tarfile
import time
import venv
from collections import Counter
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

from tools.environment import CACHE, clean_environment
from tools.environment import PYTHON as RECORDER

PLACE: Final = CACHE / "suites"
PYTHON: Final = PLACE / "venv" / "bin" / "python"
LIMIT_S: Final = 1800


class Suite(NamedTuple):
    """One program: its release, what its tests import besides, and how they are run."""

    name: str
    version: str
    needs: tuple[str, ...]
    options: tuple[str, ...]


SUITES: Final = (
    Suite(
        "uvicorn",
        "0.54.0",
        (
            *("httptools", "websockets", "wsproto", "uvloop", "watchfiles", "pyyaml", "python-dotenv", "a2wsgi"),
            *("trustme", "cryptography", "pytest-mock", "pytest-xdist", "httpx2", "anyio"),
        ),
        ("-n", "0", "--ignore=tests/benchmarks", "tests"),
    ),
    Suite(
        "gunicorn",
        "27.0.1",
        ("gevent", "tornado", "pytest-asyncio", "pytest-cov", "h2", "httpx2", "httpx", "uvloop", "setuptools"),
        ("-o", "addopts=", "--ignore=tests/docker", "tests"),
    ),
    Suite("pebble", "5.2.3", (), ("test",)),
)


def main(arguments: list[str]) -> int:
    """Run the suites that are named, or all; 1 if any test ended otherwise under a recorder."""
    known = {suite.name: suite for suite in SUITES}
    if unknown := [name for name in arguments if name not in known]:
        print(f"suites: there is no suite '{unknown[0]}'; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in arguments] or list(SUITES)
    found = [run_both(suite) for suite in chosen]
    print(json.dumps(found, indent=1))
    return 1 if any(each["differ"] for each in found) else 0


def run_both(suite: Suite) -> dict[str, object]:
    """Run one suite in both ways; return counts, times, and the tests whose outcomes differ."""
    source = _source(suite)
    bare, bare_s, _ = _run(suite, source, [])
    trace = PLACE / f"{suite.name}.dat"
    recorded, recorded_s, said = _run(
        suite, source, [str(RECORDER), "-m", "userevents", "record", "-o", str(trace), "--"]
    )
    differ = {
        test: [bare.get(test, "absent"), recorded.get(test, "absent")]
        for test in sorted(bare.keys() | recorded.keys())
        if bare.get(test) != recorded.get(test)
    }
    return {
        "suite": f"{suite.name} {suite.version}",
        "without": Counter(bare.values()),
        "recorded": Counter(recorded.values()),
        "differ": differ,
        "without_s": round(bare_s, 1),
        "recorded_s": round(recorded_s, 1),
        "recorder": said,
    }


def _source(suite: Suite) -> Path:
    """Return the unpacked source distribution, with everything installed."""
    if not PYTHON.exists():
        venv.create(PYTHON.parent.parent, with_pip=True)
    stamp, source = PLACE / f".{suite.name}-{suite.version}", PLACE / f"{suite.name}-{suite.version}"
    if not stamp.exists():
        _say(f"{suite.name}: downloading and installing")
        pip = [str(PYTHON), "-m", "pip", "-q", "--disable-pip-version-check"]
        release = f"{suite.name}=={suite.version}"
        _call([*pip, "download", "--no-binary", ":all:", "--no-deps", "-d", str(PLACE), release])
        with tarfile.open(PLACE / f"{suite.name}-{suite.version}.tar.gz") as archive:
            archive.extractall(PLACE, filter="data")
        _call([*pip, "install", "pytest>=9", *suite.needs, str(source)])
        stamp.touch()
    return source


def _run(suite: Suite, source: Path, before: list[str]) -> tuple[dict[str, str], float, str]:
    """Run the tests; return each one's outcome, the seconds, and the last line that was said."""
    _say(f"{suite.name}: {'recorded' if before else 'without a recorder'}")
    report, log = PLACE / f"{suite.name}.xml", PLACE / f"{suite.name}{'-recorded' if before else ''}.log"
    report.unlink(missing_ok=True)
    pytest = [str(PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    plugins = ["-p", "no:asyncio"] if "pytest-asyncio" not in suite.needs else []
    env = clean_environment() | {"PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
    env.pop("CI", None)
    began = time.monotonic()
    with log.open("wb") as out:
        subprocess.run(
            [*before, *pytest, *plugins, *suite.options],
            cwd=source,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
        )
    spent = time.monotonic() - began
    if not report.exists():
        raise RuntimeError(f"{suite.name}: the tests did not run; {log} says why")
    last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    return outcomes(report.read_text(encoding="utf-8")), spent, last


def outcomes(report: str) -> dict[str, str]:
    """Return what became of each test in a JUnit report: passed, failed, error or skipped."""
    found = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        outcome = {"failure": "failed"}.get(kinds[0], kinds[0]) if kinds else "passed"
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def _call(command: list[str]) -> None:
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip()[-2000:]}")


def _say(text: str) -> None:
    print(f"suites  {text}", file=sys.stderr, flush=True)
