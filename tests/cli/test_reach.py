"""What verbs say before they reach a tracer, or of one that they may not use; and `list`, which needs none."""

import errno
import socket
import threading
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from tests.cli.test_verbs import MULTI, objects, run
from userevents.abi import socket as wire
from userevents.cli import main
from userevents.control import SocketAccess
from userevents.session import producer
from userevents.session.producer import Declared, Session


def test_list_takes_the_patterns_that_other_verbs_take(runtime_dir: Path) -> None:
    """SYSTEM:EVENT, too: what is of another system is left out."""
    session = Session(str(runtime_dir), 16)
    try:
        session.declare(Declared(b"tick u32 n", 0))
        session.declare(Declared(b"tock u32 n", MULTI))
        for pattern, meant in {
            "t*": ["tick", "tock"],
            "user_events:*": ["tick"],
            "user_events_multi:*": ["tock"],
            "user_*:tick": ["tick"],
            "sched:*": [],
        }.items():
            assert [each["event"] for each in objects("list", pattern)] == meant, pattern
        completed = ShellComplete(main, {}, "userevents", "_X").get_completions(["list"], "ti")
        assert [item.value for item in completed] == ["tick"]
    finally:
        producer.remove(session.directory, session.name)


@pytest.mark.parametrize("words", [("dump",), ("info", "tick")])
def test_a_tracer_that_serves_others_only_says_so(runtime_dir: Path, words: tuple[str, ...]) -> None:
    """EACCES, in a sentence."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "tracer.sock"))
        listener.listen()

        def refuse() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(wire.HELLO.size)
                client.sendall(wire.HELLO.pack(wire.MAGIC, wire.VERSION, -errno.EACCES))

        threading.Thread(target=refuse, daemon=True).start()
        told = run(*words, code=1).stderr
    assert "does not serve uid" in told


@pytest.mark.parametrize("group", ["²", "4294967295", "99999999999999999999", "no-such-group"])
def test_what_is_no_group_is_refused(group: str) -> None:
    """Before anything is mounted."""
    assert f"'{group}'" in run("mount", "--group", group, "/nowhere", code=2).stderr


def test_a_tracer_that_is_silent_is_not_said_to_be_none(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is stopped, or hangs, still holds the events: `info` must not say that nobody does."""
    monkeypatch.setattr("userevents.cli.reach.SocketAccess", lambda path, timeout: SocketAccess(path, timeout=0.1))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(runtime_dir / "tracer.sock"))
        listener.listen()
        for words in (("info", "tick"), ("enable", "tick")):
            done = run(*words, code=1)
            assert "does not answer" in done.stderr
            assert "no tracer runs" not in done.stderr
