"""The verbs beside a real tracer and real programs: holding, refusing, telling who holds what."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from .conftest import Userevents

Wait = Callable[[Callable[[], bool]], None]

OTHER = """
from userevents import event, u64

@event
def tick(a: u64) -> None:
    "The same name with other fields."

print("go", flush=True)
input()
"""
WAITS = 'print("go", flush=True); input(); emit(0, 100); print("done", flush=True); input()'


def tracer(userevents: Userevents) -> "subprocess.Popen[str]":
    """Start a tracer whose recording wants no event."""
    return userevents.record("-e", "nothing", "--provider", "none", "-o", "none.dat")


def info(userevents: Userevents, *words: str) -> list[dict[str, Any]]:
    """What `info --json` tells."""
    return [json.loads(line) for line in userevents("info", "--json", *words).stdout.splitlines()]


def told(process: "subprocess.Popen[str]") -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline()


def tell(process: "subprocess.Popen[str]") -> None:
    """Let a program go on."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_event_registered_from_the_shell_lives_until_the_command_lets_go(
    userevents: Userevents, wait_until: Wait, number: int
) -> None:
    """The command says that it holds, `info` shows it as the holder, and afterwards that the event is gone."""
    recorder = tracer(userevents)
    holding = userevents.start("register", "held u8 a")
    assert holding.stderr is not None
    assert "user_events:held (id 20) is registered, and held by this command" in holding.stderr.readline()
    (held,) = info(userevents, "held")
    assert {holder["kind"] for holder in held["held_by"]} == {"file", "enabler"}
    assert all(holder["who"].startswith(f"pid {holding.pid} ") for holder in held["held_by"])
    assert held["persist"] is False
    busy = userevents("unregister", "held")
    assert (busy.returncode, f"pid {holding.pid}" in busy.stderr) == (1, True)
    userevents.end(holding, number)
    assert holding.returncode == 0
    wait_until(lambda: bool(found := info(userevents, "held")) and bool(found[0]["gone"]))
    userevents.end(recorder)


def test_a_refused_declaration_is_explained_wherever_it_is_told(userevents: Userevents, wait_until: Wait) -> None:
    """By `register`, by `list` and by `info`: which fields differ, and who was first."""
    recorder = tracer(userevents)
    first = userevents.python(WAITS)
    assert told(first) == "go\n"
    wait_until(lambda: bool(info(userevents, "tick")))
    second = userevents.popen([sys.executable, "-c", OTHER])
    assert told(second) == "go\n"
    differs = "registered 'u32 a', declared 'u64 a'"
    wait_until(lambda: "EADDRINUSE" in userevents("list").stdout)
    assert (
        f"pid {second.pid}: event 'tick' is already registered with other fields: {differs}"
        in userevents("list").stdout
    )
    (listed,) = [item for item in map(json.loads, userevents("list", "--json").stdout.splitlines()) if item["error"]]
    assert differs in listed["reason"]
    assert f"pid {first.pid} registered it" in listed["reason"]
    (tick,) = info(userevents, "tick")
    programs = {program["pid"]: program for program in tick["programs"]}
    assert (programs[first.pid]["state"], programs[second.pid]["state"]) == ("off", "refused")
    assert differs in programs[second.pid]["reason"]
    assert any(entry["what"] == "refused" and differs in entry["who"] for entry in tick["history"])
    refused = userevents("register", "tick u8 a")
    assert (refused.returncode, "registered 'u32 a', declared 'u8 a'" in refused.stderr) == (1, True)
    for program in (first, second):
        program.communicate("\n\n")
    userevents.end(recorder)


def test_what_is_enabled_by_a_verb_can_be_read_by_another(userevents: Userevents, wait_until: Wait) -> None:
    """A program's events come into the top instance's rings, and `cat trace` shows them."""
    recorder = tracer(userevents)
    program = userevents.python(WAITS)
    assert told(program) == "go\n"
    wait_until(lambda: userevents("enable", "tick").returncode == 0)
    assert userevents("set-filter", "tick", "a >= 90").returncode == 0
    tell(program)
    assert told(program) == "done\n"
    wait_until(lambda: userevents("cat", "trace").stdout.count(" tick: a=") == 10)
    (tick,) = info(userevents, "tick")
    assert [(item["state"], item["attempts"]) for item in tick["programs"]] == [("on", 100)]
    assert userevents("disable", "tick").returncode == 0
    program.communicate("\n")
    userevents.end(recorder)


def test_without_a_tracer_info_shows_what_programs_declare(userevents: Userevents) -> None:
    """Fields with their offsets are known from the declaration; ids and holders are not."""
    program = userevents.python(WAITS)
    assert told(program) == "go\n"
    done = userevents("info", "ti*")
    assert done.returncode == 0
    assert "no tracer runs" in done.stderr
    assert f"pid {program.pid} off, 0 attempts, 0 lost" in done.stdout
    (tick,) = info(userevents, "tick")
    assert [(field["name"], field["offset"]) for field in tick["fields"]] == [("a", 8), ("b", 12), ("s", 20)]
    assert (tick["id"], tick["held_by"], tick["history"]) == (None, None, None)
    assert userevents("info", "nope").returncode == 1
    program.communicate("\n\n")


def test_a_silent_tracer_is_not_waited_for_to_list_programs(userevents: Userevents) -> None:
    """What Python programs declare needs no tracer; that the rest is not to be had is said after a second."""
    recorder = userevents.record("-e", "nothing", "--provider", "none")
    os.kill(recorder.pid, signal.SIGSTOP)
    done = userevents("list")
    os.kill(recorder.pid, signal.SIGCONT)
    assert (done.returncode, done.stdout) == (0, "No live program declares any.\n")
    assert "what native programs have registered is not listed: the tracer at " in done.stderr
    userevents.end(recorder)
