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
    Suite("pebble", "5.2.3", ("pytest-asyncio",), ("test",)),
    Suite(
        "starlette",
        "1.10.0",
        (
            *("itsdangerous", "jinja2", "python-multipart>=0.0.18", "pyyaml", "httpx2[zstd]>=2", "anyio", "trio"),
            *("blockbuster", "importlib-metadata", "opentelemetry-sdk", "pytest-codspeed", "httpx"),
        ),
        ("tests",),
    ),
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
    bare = _run(suite, source, "without", [])
    trace = PLACE / f"{suite.name}.dat"
    recorder = [str(RECORDER), "-m", "userevents", "record", "-o", str(trace), "--"]
    recorded = _run(suite, source, "recorded", recorder)
    differ = {
        test: [bare.tests.get(test, "absent"), recorded.tests.get(test, "absent")]
        for test in sorted(bare.tests.keys() | recorded.tests.keys())
        if bare.tests.get(test) != recorded.tests.get(test)
    }
    return {
        "suite": f"{suite.name} {suite.version}",
        "without": bare.facts(),
        "recorded": recorded.facts() | {"recorder": recorded.said},
        "differ": differ,
    }


class Result(NamedTuple):
    """What became of each test, those that passed at the second try only, the seconds, and what was said last."""

    tests: dict[str, str]
    second_try: list[str]
    seconds: float
    said: str

    def facts(self) -> dict[str, object]:
        """Counts, for JSON."""
        return {**Counter(self.tests.values()), "second try": self.second_try, "seconds": round(self.seconds, 1)}


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


def _run(suite: Suite, source: Path, how: str, before: list[str]) -> Result:
    """Run the tests; those that fail have a second try by themselves, since suites of servers wait for clocks."""
    _say(f"{suite.name}: {how}")
    began = time.monotonic()
    tests, said = _pytest(suite, source, how, before, [])
    failed = [test for test, outcome in tests.items() if outcome in ("failed", "error")]
    second: list[str] = []
    if failed:
        _say(f"{suite.name}: {how}, {len(failed)} failed: once more")
        again, _ = _pytest(suite, source, how, before, ["--last-failed"])
        second = [test for test in failed if again.get(test) == "passed"]
        tests |= dict.fromkeys(second, "passed")
    return Result(tests, second, time.monotonic() - began, said)


def _pytest(suite: Suite, source: Path, how: str, before: list[str], options: list[str]) -> tuple[dict[str, str], str]:
    """Run pytest once; return each test's outcome, and the last line that was said."""
    report, log = PLACE / f"{suite.name}.xml", PLACE / f"{suite.name}-{how}{''.join(options)}.log"
    report.unlink(missing_ok=True)
    cache = f"cache_dir={PLACE / f'{suite.name}-{how}.cache'}"
    pytest = [str(PYTHON), "-m", "pytest", "-q", "-o", cache, f"--junitxml={report}", *options]
    plugins = ["-p", "no:asyncio"] if "pytest-asyncio" not in suite.needs else []
    env = clean_environment() | {"PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
    env.pop("CI", None)
    with log.open("wb") as out:
        done = subprocess.run(
            [*before, *pytest, *plugins, *suite.options],
            cwd=source,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
        )
    if done.returncode > 1 or not report.exists():
        raise RuntimeError(f"{suite.name}: pytest ended with {done.returncode}, not after its tests; {log} says why")
    last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
    return outcomes(report.read_text(encoding="utf-8")), last


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
