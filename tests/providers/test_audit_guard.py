"""The audit hook stands inside the program's own calls: whatever goes wrong there, the program does not learn of it."""

import pytest

from tests.providers.conftest import Program

WORK = """
import os, socket, sqlite3, subprocess, sys
with open("a.txt", "w") as file: file.write("x")
assert open("a.txt").read() == "x"
try: open("missing")
except FileNotFoundError: print("missing")
sqlite3.connect(":memory:").execute("select 1")
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
server.close()
print(subprocess.run(["echo", "child"], capture_output=True, text=True).stdout, end="")
os.remove("a.txt")
import json, logging
logging.getLogger("x").warning("said")
"""


@pytest.mark.parametrize("trouble", ["bool", "call", "register", "off"])
def test_a_client_that_breaks_changes_nothing_of_what_is_audited(program: Program, trouble: str) -> None:
    """Every operation has the outcome it would have had."""
    plain = program.run("-W", "ignore", "-c", WORK, providers=(), check=False)
    providers = ("logging", "audit", "gc")
    done = program.run("-W", "ignore", "-c", WORK, providers=providers, env={"FAKE_TROUBLE": trouble}, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)
    assert done.stdout == "missing\nchild\n"
    assert not program.log.exists()


@pytest.mark.parametrize("arguments", ["", "1", "None, None, None", "1, 2, 3, 4, 5, 6", "object(), object(), object()"])
def test_audit_events_of_strange_shape_pass(program: Program, arguments: str) -> None:
    """Any library may raise an audit event of any name, with what it likes."""
    code = f"""
import sys
from _userevents_injected.providers.audit import KINDS
for kind in KINDS:
    sys.audit(kind{", " if arguments else ""}{arguments})
open("/dev/null")
"""
    program.run("-c", code)
    assert program.events("py_open")[-1]["path"] == "/dev/null"


def test_what_the_client_does_itself_is_not_recorded(program: Program) -> None:
    """The stand-in opens its file and looks up a name for every event; recording that would never end."""
    program.run("-c", "open('/dev/null'); open('/dev/zero')")
    paths = [event["path"] for event in program.events("py_open")]
    assert paths[-2:] == ["/dev/null", "/dev/zero"]
    assert str(program.log) not in paths
    assert program.events("py_resolve") == []


def test_what_a_second_client_does_with_its_files_is_not_recorded(program: Program) -> None:
    """A program that declares events of its own has one; what the rest of that package does is the program's doing."""
    work = "import os; open('{0}', 'w').close(); os.rename('{0}', '{0}2'); os.remove('{0}2')"
    program.write("userevents/__init__.py", "")
    for room in ("session", "client", "other"):
        program.write(f"userevents/{room}/part.py", work.format(room))
    program.run("-B", "-c", "import userevents.session.part, userevents.client.part, userevents.other.part")
    assert [event["path"] for event in program.events("py_open") if event["mode"] == "w"] == ["other"]
    assert [event["path"] for event in program.events("py_rename")] == ["other"]
    assert [event["path"] for event in program.events("py_remove")] == ["other2"]


def test_nothing_is_recorded_while_a_fork_is_under_way(program: Program) -> None:
    """The child's client has no session of its own yet; its event would go to the parent's."""
    callback = "import os; os.register_at_fork(after_in_child=lambda: open('/dev/zero').close())"
    program.write("lib/sitecustomize.py", callback)
    code = "import os\nif not os.fork():\n    open('/dev/null').close()\n    os._exit(0)\nos.wait()"
    program.run("-c", code, env={"PYTHONPATH": str(program.directory / "lib")})
    paths = [event["path"] for event in program.events("py_open")]
    assert ("/dev/zero" in paths, paths.count("/dev/null")) == (False, 1)


def test_two_threads_in_the_hook_at_once_are_both_recorded(program: Program) -> None:
    """The guard against recursion is each thread's own: a file's path that is slow to make holds nobody up."""
    code = """
import sys, threading
inside, go = threading.Event(), threading.Event()
class Thing:
    def __str__(self): inside.set(); go.wait(10); return "slow"
thread = threading.Thread(target=sys.audit, args=("open", Thing(), "r", 0))
thread.start()
assert inside.wait(10)
open("/dev/null")
go.set()
thread.join()
"""
    program.run("-c", code)
    assert [event["path"] for event in program.events("py_open")][-2:] == ["/dev/null", "slow"]


def test_what_a_signal_handler_raises_reaches_the_program(program: Program) -> None:
    """A time limit that strikes while the hook runs must end the job, as it would a moment earlier or later."""
    code = """
import os, signal
class Limit:
    def expired(self, number, frame): raise TimeoutError("too long")
signal.signal(signal.SIGALRM, Limit().expired)
try:
    os.rmdir("nowhere")
except TimeoutError as error:
    print("ended:", error)
open("/dev/zero")
"""
    env = {"FAKE_TROUBLE": "signal", "FAKE_EVENT": "py_remove"}
    assert program.run("-c", code, env=env).stdout == "ended: too long\n"
    assert "/dev/zero" in [event["path"] for event in program.events("py_open")]


@pytest.mark.parametrize("handler", ["functools.partial(expired, 1)", "Callable()", "expired", "Callable().method"])
def test_a_handler_of_any_kind_is_known(program: Program, handler: str) -> None:
    """A function, a method, a partial, an object that can be called."""
    code = f"""
import functools, os, signal
def expired(*_): raise TimeoutError("too long")
class Callable:
    def __call__(self, *_): raise TimeoutError("too long")
    def method(self, *_): raise TimeoutError("too long")
signal.signal(signal.SIGALRM, {handler})
try:
    os.rmdir("nowhere")
except TimeoutError as error:
    print("ended:", error)
"""
    env = {"FAKE_TROUBLE": "signal", "FAKE_EVENT": "py_remove"}
    assert program.run("-c", code, env=env).stdout == "ended: too long\n"


def test_an_interrupt_from_the_keyboard_reaches_the_program(program: Program) -> None:
    """Python's own handler leaves no frame; its exception is none that a provider swallows."""
    code = """
import os, signal
signal.signal(signal.SIGALRM, signal.default_int_handler)
try: os.rmdir("nowhere")
except KeyboardInterrupt: print("interrupted")
"""
    done = program.run("-c", code, env={"FAKE_TROUBLE": "signal", "FAKE_EVENT": "py_remove"})
    assert done.stdout == "interrupted\n"


def test_events_while_the_interpreter_ends_cause_no_trouble(program: Program) -> None:
    """Finalizers run when modules have been emptied already, ours among them."""
    code = """
import atexit, logging, os, sys
atexit.register(os.open, "/dev/full", os.O_RDONLY)
logging.getLogger().addHandler(logging.NullHandler())
class Late:
    def __init__(self): self.open, self.close, self.write, self.log = os.open, os.close, os.write, logging.warning
    def __del__(self):
        self.close(self.open("/dev/null", 0))
        self.write(1, b"opened ")
        self.log("late")
        self.write(1, b"logged ")
late = [Late() for _ in range(4)]
late[0].cycle, sys.late, os.late = late[0], late[1], late[2]
"""
    plain = program.run("-c", code, providers=())
    for trouble in ("", "call"):
        done = program.run("-c", code, providers=("logging", "audit", "gc"), env={"FAKE_TROUBLE": trouble})
        assert done.stdout == plain.stdout
    assert plain.stdout.count("opened") == 4
    assert "/dev/full" in [event["path"] for event in program.events("py_open")]


def test_a_daemon_thread_at_work_while_the_interpreter_ends_causes_no_trouble(program: Program) -> None:
    """It runs until the very end, through the hook again and again."""
    code = """
import os, threading
def busy():
    while True: os.close(os.open("/dev/zero", os.O_RDONLY))
threading.Thread(target=busy, daemon=True).start()
"""
    for trouble in ("", "call", "off"):
        program.run("-c", code, providers=("logging", "audit", "gc"), env={"FAKE_TROUBLE": trouble})


def test_a_forked_child_records_although_another_thread_was_in_the_hook(program: Program) -> None:
    """The parent's busy thread does not exist in the child, and its mark must not either."""
    code = """
import os, sys, threading
inside, go = threading.Event(), threading.Event()
class Thing:
    def __str__(self): inside.set(); go.wait(10); return "parent"
threading.Thread(target=sys.audit, args=("open", Thing(), "r", 0)).start()
inside.wait(10)
if not os.fork():
    threads = [threading.Thread(target=open, args=("/dev/null",)) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    os._exit(0)
print(os.wait()[1])
go.set()
"""
    done = program.run("-W", "ignore", "-c", code)
    paths = [event["path"] for event in program.events("py_open")]
    assert (done.stdout, paths.count("/dev/null"), paths.count("parent")) == ("0\n", 3, 1)


def test_the_hook_comes_after_those_of_the_program_that_forbid(program: Program) -> None:
    """What a hook of the program's refuses stays refused, and what it raises is what the program sees."""
    code = """
import sys
def forbid(kind, args):
    if kind == "open" and args[0] == "/dev/zero": raise PermissionError("forbidden")
sys.addaudithook(forbid)
try: open("/dev/zero")
except PermissionError as error: print(error)
"""
    assert program.run("-c", code).stdout == "forbidden\n"
