"""The environment that carries the injection, and the processes that it does not reach."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from userevents.errors import Unusable
from userevents.providers import environment
from userevents.providers.environment import (
    CALLS_VARIABLE,
    INJECT,
    carries,
    child_environment,
    deaf,
    interpreter_options,
    python_version,
    unreachable,
    without_calls,
)

Started = Callable[..., int]


def test_a_child_gets_three_variables_and_keeps_the_others() -> None:
    """Nothing else changes, and the caller's environment stays as it is."""
    env = {"HOME": "/h", "PYTHONPATH": "/a:/b"}
    child = child_environment(env, ("logging", "audit"), "r1")
    assert child == {
        "HOME": "/h",
        "PYTHONPATH": f"{INJECT}:/a:/b",
        "USEREVENTS_PROVIDERS": "logging,audit",
        "USEREVENTS_RUN": "r1",
    }
    assert env == {"HOME": "/h", "PYTHONPATH": "/a:/b"}


@pytest.mark.parametrize(("old", "new"), [("", "{}"), (":/a", "{}::/a"), ("/a:", "{}:/a:"), ("{}:/a", "{}:/a")])
def test_the_injected_directory_stands_first_and_once(old: str, new: str) -> None:
    """An empty PYTHONPATH is none; an empty entry in one is the current directory, and stays."""
    child = child_environment({"PYTHONPATH": old.format(INJECT)}, ("gc",), "r")
    assert child["PYTHONPATH"] == new.format(INJECT)
    assert child_environment(child, ("gc",), "r")["PYTHONPATH"] == child["PYTHONPATH"]


def test_without_providers_the_pythonpath_stays_as_it_is() -> None:
    """The run's token is all that the program needs then."""
    assert child_environment({"A": "b"}, (), "r") == {"A": "b", "USEREVENTS_PROVIDERS": "", "USEREVENTS_RUN": "r"}


def test_an_installation_that_pythonpath_cannot_name_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """A colon separates entries, and cannot be quoted."""
    monkeypatch.setattr(environment, "INJECT", "/opt/a:b/inject")
    with pytest.raises(Unusable, match=r"'/opt/a:b/inject'.*PYTHONPATH cannot hold"):
        child_environment({}, ("audit",), "r")
    assert child_environment({}, (), "r")["USEREVENTS_RUN"] == "r"


@pytest.mark.parametrize(
    ("line", "letters", "index"),
    [
        ("python", "", 1),
        ("python shop.py -I", "", 1),
        ("python -IB shop.py", "IB", 2),
        ("python -Es -u shop.py", "Esu", 3),
        ("python -W error -X dev shop.py", "WX", 5),
        ("python -Werror -Xdev -S shop.py", "WXS", 4),
        ("python -W -I shop.py", "W", 3),
        ("python -BW -I shop.py", "BW", 3),
        ("python -c pass -I", "c", 3),
        ("python -cpass -I", "c", 2),
        ("python -Ic pass -E", "Ic", 3),
        ("python -m timeit -S", "m", 3),
        ("python -mtimeit -S", "m", 2),
        ("python -- -I", "", 2),
        ("python -u -- shop.py -I", "u", 3),
        ("python - -I", "", 1),
        ("python --check-hash-based-pycs always -I x", "I", 4),
        ("python --version -I", "I", 3),
        ("python -W", "W", 3),
        ("python -c", "c", 3),
    ],
)
def test_options_are_read_as_cpython_reads_them(line: str, letters: str, index: int) -> None:
    """Combined, with an argument in the same word or the next, ended by the program."""
    assert interpreter_options(line.split()) == (letters, index)


@pytest.mark.parametrize(
    "line", ["-IB", "-BI", "-W -I", "-Wignore -I", "-W ignore -I", "-X -I", "-uE", "--", "-BX x -S"]
)
def test_the_reading_of_options_agrees_with_this_python(line: str) -> None:
    """The interpreter itself is asked which of its flags were set."""
    code = "import sys; f = sys.flags; print(f.isolated, f.ignore_environment, f.no_site)"
    argv = [sys.executable, *line.split(), "/dev/stdin"]
    done = subprocess.run(argv, input=code, capture_output=True, text=True)
    isolated, ignoring, siteless = (bool(int(word)) for word in done.stdout.split())
    letters, index = interpreter_options(argv)
    assert argv[index] == "/dev/stdin"
    assert ("I" in letters, "E" in letters or isolated, "S" in letters) == (isolated, ignoring, siteless)


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("/usr/bin/python", ()),
        ("python3", (3,)),
        ("/opt/python3.11", (3, 11)),
        ("python3.13t", (3, 13)),
        ("python3.11-dbg", (3, 11)),
        ("python2.7", (2, 7)),
        ("python3-config", None),
        ("pythonista", None),
        ("pypy3", None),
        ("bash", None),
    ],
)
def test_a_cpython_is_known_by_its_name(name: str, version: tuple[int, ...] | None) -> None:
    """The name says the version, as far as it does."""
    assert python_version(name) == version


def test_an_old_python_is_named_as_too_old() -> None:
    """A name without a version says nothing against it."""
    assert deaf("/usr/bin/python3.9", ["python3.9"]) == "runs Python 3.9, and providers need 3.11 or newer"
    assert deaf("/usr/bin/python2.7", ["python2.7"]) == "runs Python 2.7, and providers need 3.11 or newer"
    assert deaf("/usr/bin/python3", ["python3", "-u", "x.py"]) is None
    assert deaf("/bin/grep", ["grep", "-I", "x"]) is None


def test_an_environment_carries_the_injection_only_whole() -> None:
    """Both variables are needed, and the directory as an entry, in text or bytes."""
    whole = child_environment({"PYTHONPATH": "/a"}, ("audit",), "r")
    assert carries(whole)
    assert carries({os.fsencode(name): os.fsencode(value) for name, value in whole.items()})
    for gone in ({"PYTHONPATH": INJECT + "x"}, {"PYTHONPATH": ""}, {"USEREVENTS_PROVIDERS": ""}):
        assert not carries(whole | gone)
    assert not carries({})


@pytest.fixture
def started() -> Iterator[Started]:
    """Start processes that wait, and end them after the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(argv: Sequence[str], env: dict[str, str], executable: str | None = None) -> int:
        child = subprocess.Popen(
            argv, executable=executable, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, close_fds=True
        )
        running.append(child)
        deadline = time.monotonic() + 5
        while not Path(f"/proc/{child.pid}/cmdline").read_bytes():  # exec is not quite over when Popen returns
            assert time.monotonic() < deadline
        return child.pid

    yield start
    for child in running:
        child.kill()
        child.communicate()


WAIT = "import sys; sys.stdin.read()"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-I"], "was started with -I, which ignores PYTHONPATH"),
        (["-BE"], "was started with -E, which ignores PYTHONPATH"),
        (["-W", "ignore", "-S"], "was started with -S, which leaves out sitecustomize"),
        (["-s", "-P", "-u"], None),
    ],
)
def test_a_running_python_with_deaf_options_is_reported(started: Started, options: list[str], reason: str) -> None:
    """The recorder reads them from its command line."""
    env = child_environment({"PATH": os.environ["PATH"]}, ("audit",), "r")
    assert unreachable(started([sys.executable, *options, "-c", WAIT, "-I"], env)) == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, "was started with an empty environment"),
        ({"PYTHONPATH": "/a"}, "was started with another PYTHONPATH ('/a'), not the one it should have inherited"),
        ({"PYTHONPATH": ""}, "was started without a PYTHONPATH, not the one it should have inherited"),
        ({"USEREVENTS_PROVIDERS": ""}, "was started without USEREVENTS_PROVIDERS"),
        ({"PYTHONPATH": f"/nowhere:{INJECT}"}, None),
    ],
)
def test_a_running_python_with_another_environment_is_reported(
    started: Started, change: dict[str, str] | None, reason: str | None
) -> None:
    """Its own code or its parent's dropped what it should have inherited."""
    env = {} if change is None else child_environment({"A": "b"}, ("audit",), "r") | change
    assert unreachable(started([os.path.realpath(sys.executable), "-c", WAIT], env)) == reason


def test_a_sitecustomize_that_stands_before_ours_is_named(started: Started, tmp_path: Path) -> None:
    """Another tracing tool may put its own directory first."""
    (tmp_path / "sitecustomize.py").write_text("")
    env = child_environment({}, ("audit",), "r")
    env["PYTHONPATH"] = f"{tmp_path}:{env['PYTHONPATH']}"
    reason = unreachable(started([sys.executable, "-c", WAIT], env))
    assert reason == f"found '{tmp_path}/sitecustomize.py' first, which takes the place of ours"


def test_a_python_that_cannot_watch_calls_is_reported_where_they_were_asked_for(
    started: Started, tmp_path: Path
) -> None:
    """A copy of `cat` stands for each version: the name tells."""
    for name, asked, reason in (
        ("python3.11", True, "runs Python 3.11, and calls are watched from 3.12 on"),
        ("python3.11", False, None),
        ("python3.12", True, None),
        ("other3.11", True, None),
    ):
        program = tmp_path / name
        shutil.copy("/bin/cat", program)
        env = {CALLS_VARIABLE: "shop:*"} if asked else {}
        assert without_calls(started([name], env, executable=str(program))) == reason
        program.unlink()


def test_what_is_no_python_is_not_reported(started: Started) -> None:
    """There is nothing to reach in it."""
    assert unreachable(started(["cat"], {})) is None


def test_a_process_that_wrote_over_its_command_line_is_judged_by_what_is_there(started: Started) -> None:
    """A title set by the program has no options, and an executable that was deleted keeps its name."""
    env = child_environment({}, ("audit",), "r")
    assert unreachable(started(["gunicorn: worker [-I]", "-c", WAIT], env, executable=sys.executable)) is None


def test_a_deleted_executable_is_still_known(started: Started, tmp_path: Path) -> None:
    """An upgrade replaces the file under a running program."""
    copy = tmp_path / "python3.11"
    copy.write_bytes(Path("/bin/sleep").read_bytes())
    copy.chmod(0o755)
    pid = started(["python3.11", "30"], {}, executable=str(copy))
    copy.unlink()
    assert os.readlink(f"/proc/{pid}/exe").endswith(" (deleted)")
    assert unreachable(pid) == "was started with an empty environment"


def test_a_process_that_is_gone_gives_no_reason() -> None:
    """It may end at any moment between being seen and being looked at."""
    child = subprocess.Popen(["true"])
    child.wait()
    assert unreachable(child.pid) is None
    assert unreachable(2**22 + 1) is None


def test_a_zombie_gives_no_reason() -> None:
    """It has neither executable nor command line any more."""
    child = subprocess.Popen([sys.executable, "-I", "-c", "pass"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
    assert unreachable(child.pid) is None
    child.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_users_process_gives_no_reason(started: Started) -> None:
    """Its environment is none of our business, and reading it fails."""
    pid = started([sys.executable, "-I", "-c", WAIT], {})
    assert unreachable(pid) is not None
    child = os.fork()
    if not child:
        code = 2
        try:
            os.setresuid(65534, 65534, 65534)
            code = 0 if unreachable(pid) is None else 1
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_process_in_the_middle_of_exec_is_judged_when_that_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """In between, its executable can be the old one, its command line the new, and its environment empty."""
    env = [f"{name}={value}" for name, value in child_environment({"A": "b"}, ("audit",), "r").items()]
    looks = [
        ("/usr/bin/python3.11", ["python", "shop.py"], env),
        ("/usr/bin/python3.11", [], []),
        ("/usr/bin/python3.11", ["grep", "-I", "x"], []),
        ("/usr/bin/grep", ["grep", "-I", "x"], env),
    ]
    for end in range(1, len(looks) + 1):
        waiting = looks[:end]
        monkeypatch.setattr(
            environment, "_look", lambda pid, waiting=waiting: waiting.pop(0) if waiting[1:] else waiting[0]
        )
        assert unreachable(1) == (None if end != 3 else "was started with -I, which ignores PYTHONPATH"), end
