"""The checkout's own `.venv`: made when it is missing, mended when it is stale, and otherwise left alone at once.

Two levels: `run` is what the programs need (click, rich, userevents itself), `dev` adds what tests and checks need.
`.venv/.origin` says from which interpreter and for which place it was made: where that no longer holds, it is made
anew. A stamp for each level says for which requirements and which C sources; it is written last, so that an interrupted
set-up is repeated. Only one process sets up at a time. Why pip and not something faster:
docs/notes/0001-set-up-with-the-pip-that-is-there.md.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

from tools.progress import StepFailed, Steps

Level = Literal["run", "dev"]

ROOT: Final = Path(__file__).resolve().parent.parent
VENV: Final = ROOT / ".venv"
PYTHON: Final = VENV / "bin" / "python"
CACHE: Final = ROOT / ".cache"
_ORIGIN: Final = VENV / ".origin"
_UNFINISHED: Final = VENV / ".unfinished"
_SCHEME: Final = 1  # raise it when environments made by older versions of this file will not do

# fmt: off
_DISTURBING: Final = frozenset({
    "PYTHONHOME", "PYTHONPATH", "PYTHONPLATLIBDIR", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONINSPECT",
    "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE", "PYTHONEXECUTABLE", "PYTHONSAFEPATH", "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV", "PIP_PREFIX", "PIP_PYTHON", "PIP_REQUIRE_VIRTUALENV", "PIP_ROOT", "PIP_TARGET", "PIP_USER",
})
# fmt: on

# Where packages come from, certificates and proxies stay as the machine has them.
_INSTALLING: Final = {
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_SYSTEM_CERTS": "true",
}


class SetupFailed(Exception):
    """The environment could not be made; the message says why and what would help."""


def clean_environment() -> dict[str, str]:
    """Return the caller's environment without what would make another Python out of `.venv`'s."""
    return {name: value for name, value in os.environ.items() if name not in _DISTURBING}


def ensure(level: Level) -> None:
    """Bring `.venv` to `level`; returns at once when it is there already.

    Raises `SetupFailed`.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if _is_current(level, project):
        return
    steps = Steps("setup", CACHE / "setup.log", clean_environment() | _INSTALLING)
    with alone(steps.say) as held:
        if _is_current(level, project):
            return
        steps.begin(held)
        try:
            _set_up(level, project, steps)
        except StepFailed as failed:
            raise SetupFailed(_explain(failed, steps.log)) from None
        except OSError as error:
            raise SetupFailed(f"{error.strerror}: '{error.filename}'") from None
    steps.say(f"{VENV} is ready ({level}): {VENV}/bin/userevents")


@contextlib.contextmanager
def alone(say: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock on `.venv`, and give the descriptor that holds it.

    It is the checkout's directory that is locked, so that no lock file is left behind. A command started with
    the descriptor keeps the lock if this process is killed: nobody builds a new `.venv` under a running pip.
    """
    directory = os.open(ROOT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another ./dev is setting up; waiting for it")
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield directory
    finally:
        os.close(directory)


def _set_up(level: Level, project: dict[str, Any], steps: Steps) -> None:
    fresh = _UNFINISHED.exists() or not _fits()
    if fresh:
        _make(steps)
    runs = not fresh and _is_current("run", project)
    for stale in ("dev",) if runs else ("run", "dev"):
        _stamp(stale).unlink(missing_ok=True)
    _UNFINISHED.touch()
    install = _installer(steps)
    steps.run("packages", [*install, *_requirements(level, project)])
    if not runs:
        editable = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
        steps.run("userevents, editable", [*install, *editable])
        _tell_what_was_not_built(steps)
        packages = sysconfig.get_path("purelib", "venv", _prefix_variables(VENV))
        steps.run("byte code", [str(PYTHON), "-m", "compileall", "-q", f"{packages}/click", f"{packages}/rich"])
    for reached in ("run", "dev") if level == "dev" else ("run",):
        _stamp(reached).write_text(_digest(reached, project), encoding="ascii")
    _UNFINISHED.unlink()


# What is wanted, and whether it is there.


def _requirements(level: Level, project: dict[str, Any]) -> list[str]:
    wanted = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    return wanted + (project["dependency-groups"]["dev"] if level == "dev" else [])


def _c_sources() -> list[Path]:
    return sorted([*(ROOT / "src").rglob("*.c"), *(ROOT / "src").rglob("*.h"), ROOT / "setup.py"])


def _tell_what_was_not_built(steps: Steps) -> None:
    """Say which extensions are missing: nothing fails for want of a compiler."""
    modules = [path for path in _c_sources() if "\nPyMODINIT_FUNC" in path.read_text(encoding="utf-8")]
    missing = [path.name for path in modules if not list(path.parent.glob(f"{path.stem}.*.so"))]
    if missing:
        steps.say(f"{' and '.join(missing)} not built (gcc and python3-dev would): pure Python does the same, slower")


def _stamp(level: str) -> Path:
    return VENV / f".stamp-{level}"


def _digest(level: str, project: dict[str, Any]) -> str:
    """Return what the stamp of `level` must say: the parts of pyproject.toml and the C sources, digested."""
    made_from = [project["build-system"], project["project"], project.get("tool", {}).get("setuptools")]
    made_from += [path.read_text(encoding="utf-8") for path in _c_sources()]
    if level == "dev":
        made_from.append(project["dependency-groups"])
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _is_current(level: Level, project: dict[str, Any]) -> bool:
    try:
        stamp = _stamp(level).read_text(encoding="ascii")
    except OSError:
        return False
    return stamp == _digest(level, project) and _fits() and (VENV / "bin" / "userevents").exists()


def _fits() -> bool:
    """Whether `.venv` is at its place, with an interpreter that exists and is the one asked for by hand, if any."""
    interpreter = os.path.realpath(PYTHON)
    asked = os.environ.get("USEREVENTS_PYTHON")
    if not os.access(interpreter, os.X_OK) or (asked and interpreter != os.path.realpath(_base())):
        return False
    try:
        return _ORIGIN.read_text(encoding="utf-8") == _origin()
    except OSError:
        return False


def _origin() -> str:
    """Return what tells one environment from another: scripts in it name its place, packages fit its Python."""
    return f"{_SCHEME}\n{VENV}\n{os.path.realpath(PYTHON)}\n"


# Making it.


def _base() -> str:
    """Return the interpreter itself, also when this process runs in somebody's virtual environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _make(steps: Steps) -> None:
    steps.say(f"Python {sys.version.split()[0]}, {_base()}")
    if VENV.is_symlink() or VENV.exists():
        grave = CACHE / f"removed-{os.getpid()}"
        VENV.rename(grave)
        if grave.is_symlink():
            grave.unlink()
        shutil.rmtree(grave, ignore_errors=True)
    make_venv(VENV)
    _UNFINISHED.touch()
    _ORIGIN.write_text(_origin(), encoding="utf-8")


def make_venv(path: Path) -> None:
    """Make a virtual environment without pip, with the venv module or, where Debian's is missing, by hand."""
    try:
        import venv
    except ImportError:
        make_venv_by_hand(path)
    else:
        venv.create(path, symlinks=True)


def make_venv_by_hand(path: Path) -> None:
    """Make what the venv module makes: a link to the interpreter, a place for packages, and pyvenv.cfg."""
    base = Path(_base())
    (path / "bin").mkdir(parents=True)
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        (path / "bin" / name).symlink_to(base)
    Path(sysconfig.get_path("purelib", "venv", _prefix_variables(path))).mkdir(parents=True)
    if sys.maxsize > 2**32:
        (path / "lib64").symlink_to("lib")
    version = ".".join(str(part) for part in sys.version_info[:3])
    settings = {"home": base.parent, "include-system-site-packages": "false", "version": version, "executable": base}
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    (path / "pyvenv.cfg").write_text("".join(lines), encoding="utf-8")


def _prefix_variables(path: Path) -> dict[str, str | int]:
    return {"base": str(path), "platbase": str(path), "installed_base": str(path), "installed_platbase": str(path)}


def _installer(steps: Steps) -> list[str]:
    """Return the command that installs into `.venv`: pip, wherever there is one; else uv.

    Raises `SetupFailed` where there is neither.
    """
    options = ["install", "--no-compile", "--no-warn-script-location", "--progress-bar", "off"]
    pips = [[python, "-m", "pip"] for python in dict.fromkeys([_base(), sys.executable])]
    pips += [[found] for found in (shutil.which("pip3"), shutil.which("pip")) if found]
    for pip in pips:
        if _pip_version(pip) >= (22, 3):  # the first one with --python
            return [*pip, "--python", str(PYTHON), *options, "--no-user"]
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--no-progress", "--python", str(PYTHON)]
    try:
        steps.run("pip, from Python's own copy", [str(PYTHON), "-m", "ensurepip"])
    except StepFailed:
        raise SetupFailed(
            f"no pip was found: {_base()} has neither pip nor ensurepip, and there is no pip3 (22.3 or newer) or uv "
            f"on PATH ({os.environ.get('PATH')}).\n"
            "Install one (Debian and Ubuntu: apt-get install python3-pip) and run this again."
        ) from None
    return [str(PYTHON), "-m", "pip", *options]


def _pip_version(pip: list[str]) -> tuple[int, ...]:
    """Return the version of a pip command, (0,) if it does not run."""
    try:
        done = subprocess.run([*pip, "--version"], capture_output=True, text=True, env=clean_environment(), cwd="/")
        return tuple(int(part) for part in done.stdout.split()[1].split(".")[:2])
    except (OSError, IndexError, ValueError):
        return (0,)


def _explain(failed: StepFailed, log: Path) -> str:
    """Return the message for a failed step: the end of its output, the log, and the way out."""
    text = failed.tail.lower()
    if "no module named pip" in text:
        way = "The pip that was found does not run: install python3-pip."
    elif any(sign in text for sign in ("certificate", "ssl")):
        way = "The certificate of the package index was not accepted: PIP_CERT=/path/to/ca.pem, or `cert` in pip.conf."
    elif any(sign in text for sign in ("retrying", "connection", "no matching distribution", "timed out", "resolve")):
        way = "The package index was not reached: HTTPS_PROXY names a proxy, PIP_INDEX_URL or pip.conf a mirror."
    elif "no space left" in text:
        way = "The disk is full: the run-time level takes about 20 MB, the development level about 500 MB."
    else:
        way = "Running it again starts over."
    head = f"step '{failed.what}' ended with status {failed.status}:"
    return f"{head}\n{failed.tail.rstrip()}\n\n{way}\nThe whole log: {log}"
