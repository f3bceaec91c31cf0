"""The providers with the client that they are made for: the declarations hold, and a program notices nothing."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from userevents.client.packing import make_packer, parameters_of
from userevents.fields import decode, parse_declaration
from userevents.providers import PROVIDERS, logs
from userevents.providers.audit import KINDS
from userevents.providers.environment import INJECT, child_environment

ALL = tuple(PROVIDERS)


def run(*argv: str, cwd: Path, providers: tuple[str, ...] = ALL, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a Python program under the injection of this very package."""
    base = {name: os.environ[name] for name in ("PATH", "HOME", "USEREVENTS_DIR") if name in os.environ}
    environment = child_environment(base | env, providers, "run")
    command = [sys.executable, *argv]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


def test_the_injected_package_is_the_one_that_is_tested() -> None:
    """Its sitecustomize finds the package by its own place."""
    assert Path(INJECT).parents[1] == Path(sys.modules["userevents"].__file__ or "").parent


STRICT = """
import gc, logging, os, socket, sqlite3, subprocess, sys, threading
assert "_userevents_injected.client" in sys.modules, "not injected"
open("/dev/null").close()
subprocess.run([sys.executable, "-c", "print('child', flush=True)"], check=True)
logging.getLogger("quiet").info("nothing")
child = os.fork()
if not child:
    os.listdir("/")
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
thread = threading.Thread(target=gc.collect)
thread.start()
thread.join()
print("done")
"""


@pytest.mark.parametrize("options", [(), ("-X", "dev", "-W", "error", "-bb")])
def test_without_a_tracer_a_program_runs_as_ever_and_leaves_no_file(
    runtime_dir: Path, tmp_path: Path, options: tuple[str, ...]
) -> None:
    """Also under the strictest interpreter; the sessions of parent and children are gone with them."""
    done = run(*options, "-c", STRICT, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\ndone\n", "")


def test_a_runtime_directory_that_does_not_serve_is_no_trouble(tmp_path: Path) -> None:
    """Tracing is off then; the program is not told."""
    done = run("-c", STRICT, cwd=tmp_path, USEREVENTS_DIR=str(tmp_path / "file" / "x"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\ndone\n", "")


def test_no_standard_module_of_the_clients_is_taken_from_the_program(runtime_dir: Path, tmp_path: Path) -> None:
    """Whatever the client imports: a file of that name beside the script is what the script gets."""
    show = "import sys; print(*(n for n in sys.modules if '.' not in n and n not in sys.builtin_module_names))"
    injected, bare = (set(run("-c", show, cwd=tmp_path, providers=chosen).stdout.split()) for chosen in (ALL, ()))
    names = sorted(name for name in injected - bare if not name.startswith("_"))
    assert {"struct", "mmap"} <= set(names)
    for name in names:
        place = tmp_path / name
        place.mkdir()
        (place / f"{name}.py").write_text("OWN = 'mine'")
        (place / "main.py").write_text(f"import {name}; print({name}.OWN)")
        assert run(str(place / "main.py"), cwd=tmp_path).stdout == "mine\n", name


def test_a_sub_interpreter_runs_undisturbed(runtime_dir: Path, tmp_path: Path) -> None:
    """The client is loaded once more in it."""
    code = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
sub = interpreters.create()
interpreters.run_string(sub, "import sys; assert '_userevents_injected.client' in sys.modules; print('sub')")
interpreters.destroy(sub)
print('done')
"""
    done = run("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "sub\ndone\n", "")


@pytest.fixture
def unix() -> Iterator[socket.socket]:
    """A socket whose address is a path."""
    with socket.socket(socket.AF_UNIX) as made:
        yield made


def written(event: str, values: tuple[Any, ...]) -> dict[str, Any]:
    """Return the fields of `event` as a reader finds them after the real client has packed `values`."""
    (text,) = (text for each in PROVIDERS.values() for text in each.events if text.startswith(f"{event} "))
    fields = parse_declaration(text).fields
    body = make_packer(event, fields, parameters_of(fields))(1, *values)
    return dict(zip((field.name for field in fields), decode(fields, body), strict=True))


@pytest.mark.parametrize(
    ("kind", "args", "expected"),
    [
        ("open", ("caf\udce9", "r", -1), {"path": "caf\\xe9", "flags": 2**32 - 1, "fd": -1}),
        ("open", (b"caf\xe9", None, 0), {"path": "caf\\xe9", "mode": ""}),
        ("open", (2**70, "a long mode", 2**40), {"fd": 2**31 - 1, "path": ""}),
        ("open", ("\ud800", "r", 0), {"path": "\\ud800"}),
        ("import", ("a" * 9000, None, [], [], []), {"path": ""}),
        ("socket.getaddrinfo", (None, 99, -1, 0, 0), {"host": "", "service": "99", "family": 0}),
        ("subprocess.Popen", ("x", ["x"] * 9000, None, None), {"reached": 0, "cwd": ""}),
        ("os.exec", (b"/bin/\xff", [b"a b"], {}), {"path": "/bin/\\xff", "args": "'a b'"}),
        ("os.kill", (-(2**40), 9), {"pid": -(2**31), "signal": 9}),
        ("urllib.Request", ("http://h/", None, {}, None), {"method": "", "url": "http://h/"}),
        ("sys.excepthook", (None, ValueError, ValueError("no"), None), {"type": "ValueError", "lineno": 0}),
    ],
)
def test_whatever_python_hands_over_fits_the_declaration(
    kind: str, args: tuple[Any, ...], expected: dict[str, Any]
) -> None:
    """The client would count a value that does not as invalid, and warn on the program's stderr."""
    event, values = KINDS[kind]
    assert expected.items() <= written(event, values(args)).items()


def test_addresses_of_every_family_fit_the_declaration(unix: socket.socket) -> None:
    """Also those that are no pair of host and port."""
    values = KINDS["socket.connect"][1]
    assert written("py_connect", values((unix, "/run/x")))["address"] == "/run/x"
    assert written("py_connect", values((unix, ("odd", "tuple"))))["address"] == "('odd', 'tuple')"
    with socket.socket(socket.AF_INET) as ipv4:
        assert written("py_connect", values((ipv4, (b"host", "no port"))))["port"] == 0
        assert written("py_connect", values((ipv4, ("host", 2**20))))["port"] == 2**16 - 1


def test_a_log_record_of_any_shape_fits_the_declaration() -> None:
    """Records are made by the program, too."""
    import logging

    record = logging.makeLogRecord({"msg": "café %s", "args": ("x" * 9000,), "levelno": "HIGH", "lineno": -5})
    found = written("py_log", logs.values(record))
    assert (found["level"], found["lineno"], found["logger"]) == (0, 0, "")
    assert str(found["message"]).startswith("café xxx")
