"""Real programs under the injected environment, with a client that writes what it is given to a file.

The copy of the package that these programs load has the real providers and a stand-in for `client`, so that a test
sees exactly which events a provider emitted, and can make the client fail.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import userevents.providers

PROVIDERS = Path(userevents.providers.__file__).parent

CLIENT = '''
"""A client that appends each event to the file FAKE_EVENTS, and that fails as FAKE_TROUBLE asks."""
import json
import os
import signal
import sys

TROUBLE = os.environ.get("FAKE_TROUBLE", "")


class Event:
    def __init__(self, text):
        if TROUBLE == "register":
            raise RuntimeError("the client broke in register()")
        self.name, _, fields = text.partition(" ")
        self.fields = [field.split()[-1] for field in fields.split(";")]

    def __bool__(self):
        if TROUBLE == "bool":
            raise RuntimeError("the client broke in bool()")
        return TROUBLE != "off"

    def __call__(self, *values):
        if TROUBLE == "call":
            raise RuntimeError("the client broke in a call")
        if TROUBLE == "signal" and self.name == os.environ["FAKE_EVENT"]:
            os.kill(os.getpid(), signal.SIGALRM)
        values = [value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in values]
        assert len(values) == len(self.fields), (self.name, values)
        sys.audit("socket.gethostbyname", "the client's own")
        line = json.dumps([self.name, os.getpid(), dict(zip(self.fields, values))]) + "\\n"
        with open(os.environ["FAKE_EVENTS"], "a") as file:
            file.write(line)


def register(text, *, persist=False, multi_format=False):
    return Event(text)
'''


def _package(root: Path) -> Path:
    """Write the copy of the package under `root`, and return the directory of its providers."""
    package = root / "userevents"
    shutil.copytree(PROVIDERS, package / "providers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROVIDERS.parent / "errors.py", package)
    (package / "__init__.py").write_text("")
    (package / "client").mkdir()
    (package / "client" / "__init__.py").write_text(CLIENT)
    (package / "client" / "runtime.py").write_text("runtime = None")
    shutil.copy(PROVIDERS.parent / "client" / "signals.py", package / "client")
    return package / "providers"


@pytest.fixture(scope="session")
def copied(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """Return `providers.environment` of the copied package."""
    package = _package(tmp_path_factory.mktemp("copied")).parent
    for name, path in {
        "copied": package / "__init__.py",
        "copied.providers": package / "providers" / "__init__.py",
        "copied.providers.environment": package / "providers" / "environment.py",
    }.items():
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


class Program:
    """Runs Python programs in a directory of their own, and holds the events that they emitted."""

    def __init__(self, directory: Path, child_environment: Callable[..., dict[str, str]]) -> None:
        self.directory = directory
        self.log = directory / "events.jsonl"
        self._child_environment = child_environment

    def environment(self, providers: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
        """Return a small environment for a traced program."""
        base = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        base |= {"FAKE_EVENTS": str(self.log), **env}
        return self._child_environment(base, providers, "run")

    def run(
        self,
        *argv: str,
        providers: Sequence[str] = ("audit",),
        env: Mapping[str, str] | None = None,
        python: str = sys.executable,
        check: bool = True,
    ) -> "subprocess.CompletedProcess[str]":
        """Run `python argv...`; with `check`, it must exit with 0 and say nothing on stderr."""
        done = subprocess.run(
            [python, *argv],
            cwd=self.directory,
            env=self.environment(providers, env or {}),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if check:
            assert (done.returncode, done.stderr) == (0, "")
        return done

    def write(self, name: str, text: str) -> str:
        """Write a file of the program's, and return its path."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the fields of every event `name` so far."""
        return [fields for event, _, fields in self._lines() if event == name]

    def pids(self, name: str) -> list[int]:
        """Return the process of every event `name` so far."""
        return [pid for event, pid, _ in self._lines() if event == name]

    def _lines(self) -> list[Any]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@pytest.fixture
def program(tmp_path: Path, copied: ModuleType) -> Program:
    """Return a runner for programs in a directory of this test's own."""
    return Program(tmp_path, copied.child_environment)
