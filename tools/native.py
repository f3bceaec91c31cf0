"""Build and examine the C extensions: `./dev native build`, `sanitize`, `valgrind`, `free-threaded`.

`build` puts them beside their sources. The others build a copy of the package in a temporary directory. Two with checks
in it, to run the tests that drive the C code: under the compiler's sanitizers (memory, undefined behaviour), or under
valgrind with what those tests do most. `free-threaded PYTHON` makes a wheel for a Python without a GIL, which must have
pip, setuptools, pytest, pytest-xdist, hypothesis, click and rich, installs it beside them in an environment of its own,
and runs there the tests of the client, the sessions and the pages, the kills of threads, and bench/threads.py.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from tools.environment import PYTHON, ROOT, clean_environment

TESTS: Final = ("tests/client/test_native.py", "tests/client/test_stress.py", "tests/client/test_event.py")
_DOORS: Final = ("tests/doors/fuse/test_serve.py", "tests/host/test_remote.py")
_WITHOUT_GIL: Final = ("tests/client", "tests/session", "tests/buffer", "tests/system/test_kills.py")
_SANITIZE: Final = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1"
# Not undefined values: CPython looks at a digit of a new int before it is written, and taints every small int by it.
_IN_VALGRIND: Final = (
    *("--tool=memcheck", "--quiet", "--error-exitcode=99", "--num-callers=30"),
    *("--leak-check=no", "--undef-value-errors=no", f"--suppressions={ROOT / 'tools' / 'valgrind.supp'}"),
)


def build(_arguments: list[str]) -> int:
    """Build the extensions in place, with the compiler's warnings shown."""
    return _build([], {})


def sanitize(arguments: list[str]) -> int:
    """Run the tests (or those that the arguments name) with address and undefined-behaviour sanitizers."""
    with tempfile.TemporaryDirectory(prefix="userevents-sanitize-") as place:
        env = _copy(Path(place), _SANITIZE)
        if env is None:
            return 1
        runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
        env |= {
            "LD_PRELOAD": runtime.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        return _test(["-q", *(arguments or [*TESTS, "tests/session/test_ring.py", *_DOORS])], env)


def valgrind(arguments: list[str]) -> int:
    """Run what matters of the tests (or those that the arguments name) under valgrind."""
    if shutil.which("valgrind") is None:
        print("valgrind is not installed (Debian and Ubuntu: apt-get install valgrind)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="userevents-valgrind-") as place:
        env = _copy(Path(place), "-g -O1")
        if env is None:
            return 1
        most = "leaked or cursor or forks or raises or emit_while or makes or word or test_serve or test_remote"
        chosen = arguments or [*TESTS[:2], *_DOORS, "-k", most]
        return _test(["-q", *chosen], env, ["valgrind", *_IN_VALGRIND])


def free_threaded(arguments: list[str]) -> int:
    """Install a wheel in the free-threaded Python named first, and run the tests (or those named further) over it."""
    if not arguments or shutil.which(arguments[0]) is None:
        print("free-threaded takes the path of a Python built with --disable-gil", file=sys.stderr)
        return 2
    wanted = "pip, setuptools, pytest, xdist, hypothesis, click, rich"
    ask = f"import sysconfig as s, {wanted}; print(s.get_config_var('Py_GIL_DISABLED'))"
    answer = subprocess.run([arguments[0], "-c", ask], capture_output=True, text=True, check=False)
    if answer.stdout.strip() != "1":
        print(f"'{arguments[0]}' has a GIL or lacks a package: {answer.stdout}{answer.stderr}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="userevents-free-threaded-") as place:
        python = _installed(Path(place), arguments[0])
        if python is None:
            return 1
        env = clean_environment() | {"USEREVENTS_REQUIRE": "native", "USEREVENTS_KILLS": "300"}
        env["USEREVENTS_LEAK_MILLIONS"] = "1"
        chosen = arguments[1:] or [*_WITHOUT_GIL, "-k", "not typing and not (kills and not threads)"]
        code = _test(["-q", *chosen], env, python=python)
        return code or subprocess.run([python, "bench/threads.py"], cwd=ROOT, env=env, check=False).returncode


_KEEPS_NO_GIL: Final = """
import sys, userevents.buffer._pages as pages, userevents.client._writer as writer
print(pages.__file__, writer.__file__)
sys.exit("the GIL came back" if sys._is_gil_enabled() else 0)
"""


def _installed(place: Path, python: str) -> str | None:
    """Make a wheel with that Python and install it in an environment on top of it; return that environment's Python."""
    source, env, inside = place / "source", clean_environment(), str(place / "venv" / "bin" / "python")
    left_out = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=left_out)
    shutil.copytree(ROOT / "man", source / "man")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    quietly = ["-q", "--disable-pip-version-check", "--no-deps"]
    make = [python, "-m", "pip", "wheel", *quietly, "--no-build-isolation", "-w", str(place), str(source)]
    if subprocess.run(make, env=env, check=False).returncode:
        return None
    (wheel,) = place.glob("*.whl")
    print(wheel.name)
    for command in (
        [python, "-m", "venv", "--system-site-packages", "--without-pip", str(place / "venv")],
        [inside, "-m", "pip", "install", *quietly, "--no-index", "--ignore-installed", str(wheel)],
        [inside, "-P", "-c", _KEEPS_NO_GIL],
    ):
        if subprocess.run(command, cwd=place, env=env, check=False).returncode:
            return None
    return inside


def main(arguments: list[str]) -> int:
    """Do what the first argument says."""
    verbs = {"build": build, "sanitize": sanitize, "valgrind": valgrind, "free-threaded": free_threaded}
    if not arguments or arguments[0] not in verbs:
        print(f"native takes one of {', '.join(verbs)}, not '{' '.join(arguments)}'", file=sys.stderr)
        return 2
    return verbs[arguments[0]](arguments[1:])


def _build(options: list[str], variables: dict[str, str]) -> int:
    command = [str(PYTHON), "setup.py", "-q", "build_ext", *(options or ["--inplace"])]
    return subprocess.run(command, cwd=ROOT, env=clean_environment() | variables, check=False).returncode


def _copy(place: Path, flags: str) -> dict[str, str] | None:
    """Copy the package to `place` with extensions built by `flags`; return the environment that finds it there."""
    shutil.copytree(ROOT / "src", place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    options = ["--build-lib", str(place), "--build-temp", str(place / "objects")]
    if _build(options, {"CFLAGS": flags}) or not list(place.rglob("_writer.*.so")):
        return None
    return clean_environment() | {
        "PYTHONPATH": str(place),
        "PYTHONMALLOC": "malloc",
        "USEREVENTS_REQUIRE": "native",
        "USEREVENTS_LEAK_MILLIONS": "0.01",
        "USEREVENTS_PATIENCE": "20",
    }


def _test(arguments: list[str], env: dict[str, str], under: list[str] | None = None, python: str = str(PYTHON)) -> int:
    command = [*(under or []), python, "-P", "-m", "pytest", *arguments]
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
