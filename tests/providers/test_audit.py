"""The audit provider's events: what they say of what a program does."""

import socket
from typing import Any

import pytest

from tests.providers.conftest import Program


def only(program: Program, name: str, code: str, **wanted: Any) -> list[dict[str, Any]]:
    """Run `code`; return its events `name` that have the field values `wanted`."""
    program.run("-c", code)
    return [event for event in program.events(name) if wanted.items() <= event.items()]


def test_open_tells_path_mode_and_flags(program: Program) -> None:
    """Both of the file object's door and of os.open, which has no mode."""
    program.write("a.txt", "x")
    code = "import os; open('a.txt', 'r+b').close(); os.close(os.open('a.txt', os.O_RDONLY | os.O_CLOEXEC))"
    first, second = only(program, "py_open", code, path="a.txt")
    assert (first["fd"], first["mode"], first["flags"] & 0o3) == (-1, "r+", 2)
    assert (second["fd"], second["mode"], second["flags"] & 0o3) == (-1, "", 0)


def test_open_of_a_descriptor_tells_its_number(program: Program) -> None:
    """Not mistaken for a file of that name."""
    (event,) = only(program, "py_open", "open(2, 'w', closefd=False)", fd=2)
    assert event["path"] == ""


@pytest.mark.parametrize(
    ("path", "recorded"),
    [
        ("b'caf\\xe9'", "caf\udce9"),
        ("'caf\\udce9'", "caf\udce9"),
        ("'caf\\xe9'", "caf\xe9"),
        ("__import__('pathlib').Path('caf\\xe9')", "caf\xe9"),
        ("'x' * 4000", "x" * 4000),
    ],
)
def test_a_path_of_any_kind_is_recorded_as_its_bytes(program: Program, path: str, recorded: str) -> None:
    """Text, bytes, bytes that are no text, an object, and one that is too long to exist."""
    code = f"import os\npath = {path}\ntry: open(path)\nexcept OSError: pass"
    (event,) = only(program, "py_open", code, path=recorded)
    assert event["fd"] == -1


def test_open_fails_for_the_program_as_without_a_hook(program: Program) -> None:
    """The event is that of an attempt: it is written before the operation."""
    done = program.run("-c", "open('not there')", check=False)
    assert done.stderr.endswith("FileNotFoundError: [Errno 2] No such file or directory: 'not there'\n")
    assert [event for event in program.events("py_open") if event["path"] == "not there"]


def test_import_tells_the_module_and_an_extensions_file(program: Program) -> None:
    """Also of a module that is not there."""
    code = "import xml.dom\ntry: import nothing_of_that_name\nexcept ImportError: pass\nimport _bisect"
    names = [event["name"] for event in only(program, "py_import", code)]
    assert [names.count(name) for name in ("xml", "xml.dom", "nothing_of_that_name")] == [1, 1, 1]


def test_connect_and_bind_tell_family_address_and_port(program: Program) -> None:
    """IPv4, IPv6 and Unix sockets, named and abstract."""
    code = """
import socket
tcp = socket.create_server(("127.0.0.1", 0))
port = tcp.getsockname()[1]
client = socket.create_connection(("127.0.0.1", port))
print(port, client.fileno())
six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
try: six.connect(("::1", 9, 0, 0))
except OSError: pass
for path in ("door.sock", b"\\0abstract"):
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(path)
    unix.listen()
    socket.socket(socket.AF_UNIX).connect(path)
"""
    port, fd = map(int, program.run("-W", "ignore", "-c", code).stdout.split())
    ipv4, ipv6, named, abstract = program.events("py_connect")
    assert ipv4 == {"fd": fd, "family": socket.AF_INET, "port": port, "address": "127.0.0.1"}
    assert (ipv6["family"], ipv6["port"], ipv6["address"]) == (socket.AF_INET6, 9, "::1")
    assert (named["family"], named["port"], named["address"]) == (socket.AF_UNIX, 0, "door.sock")
    assert abstract["address"] == "\0abstract"
    assert [event["address"] for event in program.events("py_bind")] == ["127.0.0.1", "door.sock", "\0abstract"]


def test_name_look_ups_tell_host_and_service(program: Program) -> None:
    """However they are asked."""
    code = "import socket; socket.getaddrinfo('localhost', 80); socket.getaddrinfo(b'127.0.0.1', None)\n"
    code += "socket.gethostbyname('127.0.0.1')"
    program.run("-c", code)
    asked = [(event["family"], event["host"], event["service"]) for event in program.events("py_resolve")]
    assert asked == [(0, "localhost", "80"), (0, "127.0.0.1", ""), (socket.AF_INET, "127.0.0.1", "")]


def test_popen_tells_what_a_shell_would_run_again(program: Program) -> None:
    """Arguments in text, bytes or as paths, quoted where it needs be, and the directory."""
    code = """
import pathlib, subprocess
subprocess.run([pathlib.Path("true"), "a b", b"it's", ""], cwd="/")
subprocess.run("exit 0", shell=True)
subprocess.run("true")
"""
    program.run("-c", code)
    listed, shell, single = program.events("py_popen")
    assert listed == {"reached": 1, "executable": "true", "args": "true 'a b' 'it'\"'\"'s' ''", "cwd": "/"}
    assert (shell["executable"], shell["args"]) == ("/bin/sh", "/bin/sh -c 'exit 0'")
    assert (single["executable"], single["args"], single["cwd"]) == ("true", "true", "")


@pytest.mark.parametrize(
    ("call", "reached"),
    [
        ("[sys.executable, '-c', 'pass']", 1),
        ("[sys.executable, '-c', 'pass'], env=dict(os.environ)", 1),
        ("[sys.executable, '-c', 'pass', '-I']", 1),
        ("[sys.executable, '-c', 'pass'], env={}", 0),
        ("[sys.executable, '-c', 'pass'], env={b'PATH': b'/bin'}", 0),
        ("[sys.executable, '-c', 'pass'], env=os.environ | {'PYTHONPATH': '/x'}", 0),
        ("[sys.executable, '-c', 'pass'], env=os.environ | {'USEREVENTS_PROVIDERS': ''}", 0),
        ("[sys.executable, '-I', '-c', 'pass']", 0),
        ("[sys.executable, '-BE', '-c', 'pass']", 0),
        ("[sys.executable, '-W', 'ignore', '-S', '-c', 'pass']", 0),
        ("['true', '-I']", 1),
    ],
)
def test_popen_says_whether_the_child_inherits_the_injection(program: Program, call: str, reached: int) -> None:
    """From the environment and the interpreter's options it is given; and what it says is what happens."""
    code = f"import os, subprocess, sys\nchild = subprocess.Popen({call})\nchild.wait()\nprint(child.pid)"
    code = code.replace("'pass'", "'import abc, glob'")
    child = int(program.run("-c", code).stdout)
    (event,) = program.events("py_popen")
    assert event["reached"] == reached
    if "sys.executable" in call:
        assert (child in program.pids("py_import")) == bool(reached)


def test_the_other_ways_to_start_a_program_are_told(program: Program) -> None:
    """exec, posix_spawn and system."""
    code = """
import os
os.waitpid(os.posix_spawn("/bin/true", ["true", "x"], {}), 0)
os.system("true 'a b'")
del os.environ["PYTHONPATH"]
os.system("true")
os.execv("/bin/true", ["true", "y"])
"""
    program.run("-c", code)
    assert program.events("py_posix_spawn") == [{"reached": 0, "path": "/bin/true", "args": "true x"}]
    commands = [(event["reached"], event["command"]) for event in program.events("py_system")]
    assert commands == [(1, "true 'a b'"), (0, "true")]
    assert program.events("py_exec") == [{"reached": 0, "path": "/bin/true", "args": "true y"}]


def test_databases_urls_and_signals_are_told(program: Program) -> None:
    """Each with what an operator would ask first."""
    code = """
import os, sqlite3, urllib.request
sqlite3.connect("shop.db").close()
sqlite3.connect(":memory:").close()
try: urllib.request.urlopen(urllib.request.Request("http://127.0.0.1:9/x?y=1", data=b"z", method="PUT"))
except OSError: pass
os.kill(os.getpid(), 0)
print(os.getpid())
"""
    pid = int(program.run("-c", code).stdout)
    assert [event["database"] for event in program.events("py_sqlite_connect")] == ["shop.db", ":memory:"]
    assert program.events("py_urlopen") == [{"method": "PUT", "url": "http://127.0.0.1:9/x?y=1"}]
    assert program.events("py_kill") == [{"pid": pid, "signal": 0}]


def test_removing_and_renaming_tell_the_paths(program: Program) -> None:
    """Directories too, and os.replace, which is a rename to Python."""
    code = """
import os, pathlib
pathlib.Path("a").touch()
os.rename("a", b"b")
os.replace("b", "c")
os.unlink(pathlib.Path("c"))
os.mkdir("d")
os.rmdir("d")
"""
    program.run("-c", code)
    assert [event["path"] for event in program.events("py_remove")] == ["c", "d"]
    renames = [(event["path"], event["new_path"]) for event in program.events("py_rename")]
    assert renames == [("a", "b"), ("b", "c")]


def test_an_uncaught_exception_tells_what_and_where(program: Program) -> None:
    """The innermost place; the traceback on stderr is Python's own."""
    script = program.write("main.py", "def inner():\n    raise LookupError('gone\\udce9')\n\ninner()\n")
    done = program.run(script, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):\n")
    (event,) = program.events("py_uncaught")
    assert event == {"lineno": 2, "type": "LookupError", "message": "gone\udce9", "pathname": script}


def test_an_exception_whose_text_fails_is_still_told(program: Program) -> None:
    """By its type."""
    code = "class Bad(Exception):\n    def __str__(self): raise ValueError\nraise Bad"
    program.run("-c", code, check=False)
    (event,) = program.events("py_uncaught")
    assert (event["type"], event["message"]) == ("Bad", "<Bad whose str() failed>")
