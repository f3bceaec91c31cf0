"""The client's tests, run twice: here on our user_events, in the guest on the kernel's; the two reports compared.

In the guest runs the same pytest, out of `.venv`: it and what it needs are pure Python.
"""

import importlib
import shlex
import subprocess
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tools.environment import CACHE, PYTHON, ROOT, clean_environment
from tools.kernel import machine
from tools.kernel.image import Image, KernelUnavailable
from tools.progress import Steps

_TESTS: Final = ("tests/client/test_both_kernels.py",)
_HELPERS: Final = ("tests/client/either.py",)
_PACKAGES: Final = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments")
_UNPACKED: Final = "/tmp/packages"
_OPTIONS: Final = ("-q", "--tb=short", "--color=no")
_OPTIONS_IN_GUEST: Final = (
    *_OPTIONS,
    "--noconftest",
    "-c",
    "/dev/null",
    "--import-mode=importlib",
    "-p",
    "no:cacheprovider",
)
_TRACEFS: Final = "USEREVENTS_TEST_TRACEFS"
_REPORT: Final = "report.xml"


class Outcome(NamedTuple):
    """What came of one test: ``passed``, ``failed``, ``error`` or ``skipped``, and the end of what it said."""

    kind: str
    said: str


def run(image: Image, steps: Steps) -> int:
    """Run the tests on both, print what differs or failed, and how many passed; return 1 if one failed anywhere."""
    kernel = _in_guest(image, steps)
    ours = _here(steps)
    names = dict.fromkeys([*ours, *kernel])
    missing = Outcome("missing", "it is not in the report")
    passed = 0
    for name in names:
        both = {"kernel": kernel.get(name, missing), "ours": ours.get(name, missing)}
        if all(outcome.kind == "passed" for outcome in both.values()):
            passed += 1
            continue
        print(f"{name}:")
        for side, outcome in both.items():
            print(f"    {side:<8}{outcome.kind}\n{_indented(outcome.said)}", end="")
    print(f"client tests on both: {passed} passed, {len(names) - passed} failed")
    return 0 if passed == len(names) else 1


def _here(steps: Steps) -> Mapping[str, Outcome]:
    report = CACHE / _REPORT
    report.unlink(missing_ok=True)
    command = [str(PYTHON), "-P", "-m", "pytest", *_OPTIONS, f"--junitxml={report}"]
    steps.say(f"here: {' '.join(_TESTS)}")
    with steps.log.open("ab") as log:
        subprocess.run(
            [*command, *_TESTS],
            cwd=ROOT,
            env={name: value for name, value in clean_environment().items() if name != _TRACEFS},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return _outcomes(report, steps.log)


def _in_guest(image: Image, steps: Steps) -> Mapping[str, Outcome]:
    with machine.workspace(*_TESTS, *_HELPERS) as shared:
        _pack(shared / "packages.tar")
        paths = f"{machine.PROJECT}/src:{machine.PROJECT}:{_UNPACKED}"
        variables = [
            f"PYTHONPATH={paths}",
            "PYTHONPYCACHEPREFIX=/tmp/pycache",
            f"{_TRACEFS}=/sys/kernel/tracing",
        ]
        pytest = ["python3", "-m", "pytest", *_OPTIONS_IN_GUEST, f"--rootdir={machine.PROJECT}"]
        tests = [f"{machine.PROJECT}/{test}" for test in _TESTS]
        unpack = f"python3 -m tarfile -e packages.tar {_UNPACKED}"
        test = shlex.join(["env", *variables, *pytest, f"--junitxml=/host/{_REPORT}", *tests])
        command = ["sh", "-c", f"{unpack} && {test}"]
        machine.run(image, shared, "the kernel: the client's tests", command, steps)
        return _outcomes(shared / _REPORT, steps.log)


def _pack(archive: Path) -> None:
    """Pack pytest as it is installed; in one file, since the guest takes long over each file of the host."""

    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if "__pycache__" in entry.name else entry

    with tarfile.open(archive, "w") as packed:
        for name in _PACKAGES:
            found = Path(str(importlib.import_module(name).__file__))
            installed = found.parent if found.name == "__init__.py" else found
            packed.add(installed, installed.name, filter=wanted)


def _outcomes(report: Path, log: Path) -> Mapping[str, Outcome]:
    """Read a JUnit report: each test's outcome by its name."""
    try:
        cases = ET.parse(report).getroot().iter("testcase")
    except (OSError, ET.ParseError) as error:
        raise KernelUnavailable(f"pytest wrote no report ({error}); see {log}") from None
    found: dict[str, Outcome] = {}
    for case in cases:
        trouble = next((one for one in case if one.tag in ("failure", "error", "skipped")), None)
        kind = {"failure": "failed"}.get(trouble.tag, trouble.tag) if trouble is not None else "passed"
        found[str(case.get("name"))] = Outcome(kind, (trouble.text or "") if trouble is not None else "")
    return found


def _indented(text: str) -> str:
    return "".join(f"            {line}\n" for line in text.splitlines()[-25:])
