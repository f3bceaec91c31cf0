"""`userevents top`: its screen beside real programs, driven by keys."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.conftest import PATIENCE, require
from tests.system.conftest import COMMAND, Userevents

pytest.importorskip("textual", reason="textual comes with ./dev setup")

from textual.pilot import Pilot
from textual.widgets import DataTable, Input, RichLog, Static

from userevents.cli.top_screen import Top
from userevents.cli.tracing import Tracing
from userevents.cli.watching import watching

PROGRAM = """
import time
from userevents import event, u32

@event
def busy(n: u32, text: str) -> None:
    "Much."

@event
def other(n: u32) -> None:
    "Little."

print("go", flush=True)
n = 0
while True:
    busy(n, "\\x1b[31m[bold]"); n += 1
    time.sleep(0.005)
"""

Act = Callable[["Pilot[None]", Top], Awaitable[None]]


@pytest.fixture
def program(userevents: Userevents) -> "Iterator[subprocess.Popen[str]]":
    """A program that emits all the time."""
    process = userevents.popen([sys.executable, "-c", PROGRAM])
    assert process.stdout is not None
    assert process.stdout.readline() == "go\n"
    yield process
    process.terminate()
    process.wait()


def drive(act: Act) -> None:
    """Run the screen, and do something to it."""

    async def session() -> None:
        tracing = Tracing()
        try:
            with watching(tracing.access) as watch:
                app = Top(watch)
                async with app.run_test(size=(140, 40)) as pilot:
                    await act(pilot, app)
        finally:
            tracing.close()

    asyncio.run(session())


async def until(pilot: "Pilot[None]", condition: Callable[[], Any]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + 20 * PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        await pilot.pause(0.05)


def cells(app: Top, table: str = "#events") -> list[list[str]]:
    """Return the text of a table."""
    found = app.query_one(table, DataTable)
    return [[str(cell) for cell in found.get_row_at(place)] for place in range(found.row_count)]


def tail(app: Top) -> list[str]:
    """Return the text of the tail."""
    return [line.text for line in app.query_one("#tail", RichLog).lines]


pytestmark = pytest.mark.leaves_files("the program is killed, and nobody is there to clean up after it")


def test_an_event_is_switched_on_by_a_key_and_seen(program: "subprocess.Popen[str]") -> None:
    """Its state, its rate and its process's, and what it says, escaped; the same key switches it off again."""

    async def act(pilot: "Pilot[None]", app: Top) -> None:
        await until(pilot, lambda: [row[:3] for row in cells(app)] == [["busy", "off", ""], ["other", "off", ""]])
        assert "space switches it on" in str(app.query_one("#tailing", Static).render())
        await pilot.press("space")
        await until(pilot, lambda: cells(app)[0][1:3] == ["on", "on"] and cells(app)[0][3] not in ("", "0"))
        rate = float(cells(app)[0][3].replace(",", ""))
        assert 1 < rate < 1000
        (process,) = cells(app, "#processes")
        assert process[0] == str(program.pid)
        await until(pilot, lambda: any("busy:" in line and "text=\\e[31m[bold]" in line for line in tail(app)))
        assert "2 events" in str(app.query_one("#head", Static).render())
        await pilot.press("space")
        await until(pilot, lambda: cells(app)[0][1:3] == ["off", ""])
        await until(pilot, lambda: cells(app)[0][3] == "")

    drive(act)


def test_the_filter_box_chooses_events(program: "subprocess.Popen[str]") -> None:
    """By words of their names; Esc clears it; the order follows a key, and a pause holds the screen."""

    async def act(pilot: "Pilot[None]", app: Top) -> None:
        await until(pilot, lambda: len(cells(app)) == 2)
        await pilot.press("slash", "o", "t", "h")
        await until(pilot, lambda: [row[0] for row in cells(app)] == ["other"])
        await pilot.press("enter")
        assert app.chosen == "other"
        await pilot.press("space")
        await until(pilot, lambda: cells(app)[0][1:3] == ["on", "on"])
        await pilot.press("escape")
        await until(pilot, lambda: len(cells(app)) == 2)
        assert app.query_one("#filter", Input).value == ""
        assert app.chosen == "other"
        await pilot.press("up", "space")
        await until(pilot, lambda: cells(app)[0][3] != "")
        await pilot.press("r")
        assert [row[0] for row in cells(app)] == ["busy", "other"]
        await pilot.press("p")
        assert "PAUSED" in str(app.query_one("#head", Static).render())
        held = cells(app)
        await pilot.pause(0.6)
        assert cells(app) == held
        await pilot.press("p")
        await until(pilot, lambda: cells(app) != held)

    drive(act)


def test_without_a_terminal_it_names_the_verbs_for_programs(userevents: Userevents) -> None:
    """And without textual, what to install."""
    done = userevents("top")
    assert (done.returncode, "userevents tail --json" in done.stderr) == (1, True)
    code = "import sys; sys.modules['textual'] = None\nfrom userevents.cli import main; main(['top'])"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (failed.returncode, "pip install 'userevents[tui]'" in failed.stderr) == (1, True)


def test_it_runs_in_a_real_terminal_and_leaves_it_in_order(
    userevents: Userevents, program: "subprocess.Popen[str]", wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    """In tmux: the screen comes, keys work, q ends it, and nothing of it stays behind."""
    tmux = require("tmux")
    socket = str(userevents.directory / "tmux")

    def run(*words: str) -> str:
        env = {**os.environ, "TERM": "xterm-256color"}
        for name in ("COLUMNS", "LINES"):  # which would go before the size of the terminal that tmux makes
            env.pop(name, None)
        return subprocess.run([tmux, "-S", socket, *words], capture_output=True, text=True, env=env, check=False).stdout

    command = " ".join(map(repr, [*COMMAND, "top"]))
    run("-f", "/dev/null", "new-session", "-d", "-x", "140", "-y", "40", f"{command}; echo ended $?; sleep 60")
    try:
        wait_until(lambda: "busy" in run("capture-pane", "-p"))
        run("send-keys", "Space")
        wait_until(lambda: "text=\\e[31m[bold]" in run("capture-pane", "-p"))
        run("send-keys", "q")
        wait_until(lambda: "ended 0" in run("capture-pane", "-p"))
    except AssertionError as failure:
        failure.add_note(run("capture-pane", "-p"))
        raise
    finally:
        run("kill-server")
