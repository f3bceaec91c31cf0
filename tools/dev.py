"""The verbs of `./dev`. Each is one function below: its docstring's first line is what `./dev help` prints.

Runs with any Python from 3.11 on and nothing else; what a verb needs beyond that, it has `.venv` set up for.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools import environment
from tools.environment import CACHE, PYTHON, ROOT, VENV, SetupFailed, clean_environment


def setup(arguments: list[str]) -> int:
    """Make .venv with userevents and all tools in it (--runtime: only what userevents itself needs)."""
    if arguments not in ([], ["--runtime"]):
        return _usage(f"setup takes --runtime or nothing, not '{' '.join(arguments)}'")
    environment.ensure("run" if arguments else "dev")
    print(f"{VENV}/bin/userevents")
    return 0


def demo(arguments: list[str]) -> int:
    """Record two real programs at work, and show what they did (sets up by itself)."""
    if arguments:
        return _usage(f"demo takes no arguments, not '{' '.join(arguments)}'")
    environment.ensure("run")
    return _become([str(PYTHON), "-P", str(ROOT / "tools" / "demo.py")])


def test(arguments: list[str]) -> int:
    """Run the tests; arguments go to pytest (./dev test tests/fields -k size; paths from the top)."""
    environment.ensure("dev")
    os.chdir(ROOT)
    beside = [] if _in_one_process(arguments) else ["--numprocesses=3"]
    return _become([str(PYTHON), "-P", "-m", "pytest", *beside, *arguments])


_BY_HAND: Final = {"-s", "--capture", "--pdb", "--trace", "-n", "--numprocesses", "-p", "--co", "--collect-only", "-h"}


def _in_one_process(arguments: list[str]) -> bool:
    """Whether these are some tests only, or somebody looks on, or says how many processes run them."""
    paths = [os.path.normpath(argument.partition("::")[0]) for argument in arguments]
    names_tests = any(path.startswith("tests") and os.path.exists(path) for path in paths)
    return names_tests or not _BY_HAND.isdisjoint(argument.partition("=")[0] for argument in arguments)


def soak(arguments: list[str]) -> int:
    """Kill 10,000 programs at random moments, and balance every ledger; takes most of an hour."""
    environment.ensure("dev")
    os.chdir(ROOT)
    options = ["-s", "-o", "faulthandler_timeout=0"]  # each test has a limit of its own; these are long
    tests = [str(PYTHON), "-P", "-m", "pytest", *options, "tests/system/test_kills.py", *arguments]
    kills = os.environ.get("USEREVENTS_KILLS", "10000")
    return _become(["/usr/bin/env", f"USEREVENTS_KILLS={kills}", *tests])


def fuzz(arguments: list[str]) -> int:
    """Throw mutated trace files at everything that reads them (./dev fuzz formats [--runs N] [--seed S])."""
    if not arguments or arguments[0] != "formats":
        return _usage("fuzz takes what to fuzz: formats (then --runs N, --seed S)")
    environment.ensure("dev")
    os.chdir(ROOT)
    return _become([str(PYTHON), "-P", "-c", _FUZZ, *arguments[1:]])


_FUZZ: Final = "import sys; sys.path.insert(0, '.'); from tests.formats.fuzzing import main; main()"


def suites(arguments: list[str]) -> int:
    """Run real programs' own tests, without and under a recorder (./dev suites uvicorn); takes some minutes."""
    environment.ensure("dev")
    os.chdir(ROOT)
    from tools import suites

    return suites.main(arguments)


def vectors(arguments: list[str]) -> int:
    """Replay recorded kernel behaviour against our tree (./dev vectors [--profile v6.4] FILE...)."""
    environment.ensure("run")
    return _become([str(PYTHON), "-P", str(ROOT / "tools" / "vectors.py"), *arguments])


def kernel(arguments: list[str]) -> int:
    """Ask a real kernel with user_events, in QEMU, and compare it with our tree (./dev kernel --help)."""
    environment.ensure("dev")
    return _become([str(PYTHON), "-P", str(ROOT / "tools" / "kernel" / "__main__.py"), *arguments])


def containers(arguments: list[str]) -> int:
    """Try every recipe for containers with Docker, or another engine (./dev containers podman); as root."""
    environment.ensure("run")
    from tools import containers

    return containers.main(arguments)


def check(arguments: list[str]) -> int:
    """Check style, types, imports between rooms and docs: fast, for before a commit."""
    if arguments:
        return _usage(f"check takes no arguments, not '{' '.join(arguments)}'")
    environment.ensure("dev")
    from tools import checks

    return checks.check()


def bench(arguments: list[str]) -> int:
    """Measure ratios against peers in one run (./dev bench [NAME...] [--json FILE] or --page FILE)."""
    from tools import performance

    known = sorted(path.stem for path in (ROOT / "bench").glob("*.py"))
    options = {}
    for name in ("--json", "--page"):
        options[name], problem = _option(arguments, name)
        if problem:
            return _usage(problem)
    if unknown := [name for name in arguments if name not in known]:
        return _usage(f"there is no benchmark '{unknown[0]}'; there are: {', '.join(known)}")
    if options["--page"]:
        return performance.write(Path(options["--page"]))
    environment.ensure("dev")
    env = clean_environment()
    if options["--json"]:
        env["USEREVENTS_BENCH_JSON"] = os.path.abspath(options["--json"])
    for name in arguments or (performance.MAIN if options["--json"] else known):
        command = [str(PYTHON), "-P", str(ROOT / "bench" / f"{name}.py")]
        if code := os.spawnve(os.P_WAIT, command[0], command, env):
            return code
    return 0


def _option(arguments: list[str], name: str) -> tuple[str, str]:
    """Take an option and its value out of the arguments; return the value, empty if it is not there, and a problem."""
    if name not in arguments:
        return "", ""
    at = arguments.index(name)
    value = arguments[at + 1] if at + 1 < len(arguments) else ""
    del arguments[at : at + 2]
    return value, "" if value and not value.startswith("-") else f"bench {name} wants a file"


def native(arguments: list[str]) -> int:
    """Build the C extensions in place, or examine them (./dev native build | sanitize | valgrind | free-threaded)."""
    environment.ensure("dev")
    from tools import native

    return native.main(arguments)


def docs(arguments: list[str]) -> int:
    """Build the site of the documents into .cache/site (docs serve: show it; docs man man: make the man pages)."""
    environment.ensure("dev")
    os.chdir(ROOT)
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    match arguments:
        case [] | ["build"]:
            words = ["build", "--strict", "--quiet"]
        case ["serve", *rest]:
            words = ["serve", *rest]
        case ["man", directory]:
            return _become([str(PYTHON), "-m", "tools.manpages", directory])
        case _:
            return _usage(f"docs takes nothing, serve, or man DIRECTORY, not '{' '.join(arguments)}'")
    return _become([str(PYTHON), "-m", "mkdocs", *words])


def fix(arguments: list[str]) -> int:
    """Mend what ruff can mend: form, and the order of imports."""
    environment.ensure("dev")
    ruff = f"{VENV}/bin/ruff"
    os.chdir(ROOT)
    mended = os.spawnve(os.P_WAIT, ruff, [ruff, "check", "--fix", "--quiet", *arguments], clean_environment())
    return os.spawnve(os.P_WAIT, ruff, [ruff, "format", "--quiet", *arguments], clean_environment()) or mended


def clean(arguments: list[str]) -> int:
    """Remove what the other verbs made: .venv, caches, build leftovers."""
    if arguments:
        return _usage(f"clean takes no arguments, not '{' '.join(arguments)}'")
    made = [VENV, CACHE, ROOT / "build", ROOT / "dist", ROOT / ".hypothesis", *ROOT.glob("src/*.egg-info")]
    for top in ("src", "tests", "tools", "examples", "bench"):
        made += (ROOT / top).rglob("__pycache__")
    with environment.alone(print):
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
        for extension in (ROOT / "src").rglob("*.so"):
            extension.unlink()
    return 0


VERBS: Final[dict[str, Callable[[list[str]], int]]] = {
    verb.__name__: verb
    for verb in (
        *(setup, demo, test, soak, suites, fuzz, vectors, kernel, containers),
        *(check, bench, native, docs, fix, clean),
    )
}


def usage() -> str:
    """Return the list of verbs, as `./dev help` prints it."""
    lines = [f"    {name:<11}{(verb.__doc__ or '').splitlines()[0]}" for name, verb in VERBS.items()]
    chosen = f"Python {sys.version.split()[0]}; USEREVENTS_PYTHON=/path/to/another chooses another"
    return "\n".join(["usage: ./dev VERB [ARGUMENTS]", "", *lines, "", chosen])


def main(arguments: list[str]) -> int:
    """Do what the first argument says with the rest of them; return the exit code."""
    name = arguments[0] if arguments else "help"
    if name in ("help", "-h", "--help"):
        print(usage())
        return 0
    if name not in VERBS:
        return _usage(f"there is no verb '{name}'")
    signal.signal(signal.SIGTERM, _stop)
    try:
        return VERBS[name](arguments[1:])
    except SetupFailed as failed:
        print(f"\n./dev {name}: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n./dev {name}: interrupted; the next ./dev starts over where it must", file=sys.stderr)
        return 130


def _usage(problem: str) -> int:
    print(f"./dev: {problem}\n\n{usage()}", file=sys.stderr)
    return 2


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _become(command: list[str]) -> NoReturn:
    """Go on as another program: its exit code is ours."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sys.stdout.flush()
    os.execve(command[0], command, clean_environment())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
