"""tail, hist and top on a mounted tree, as on a kernel's: what a native program writes, and nothing but the mount."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner

from tests.conftest import PATIENCE
from tests.doors.fuse.test_writes import Program
from tests.doors.servers import Mount
from userevents.cli import main

pytest.importorskip("textual", reason="textual comes with ./dev setup")

from textual.widgets import DataTable, RichLog

from userevents.cli.top_screen import Top
from userevents.cli.watching import watching
from userevents.control import FilesAccess


@pytest.fixture
def writing(mounted: Mount) -> Iterator[Program]:
    """A native program that writes ``short`` 200 times a second while somebody listens: 0 to 6, again and again."""
    program = Program(mounted, 0)
    stop = threading.Event()

    def write() -> None:
        value = 0
        while not stop.wait(0.005):
            with contextlib.suppress(OSError):  # EBADF: it was switched off in between
                if program.enabled:
                    program.write(value % 7)
                    value += 1

    thread = threading.Thread(target=write)
    thread.start()
    yield program
    stop.set()
    thread.join()
    os.close(program.fd)


def test_tail_and_hist_show_what_a_native_program_writes(mounted: Mount, writing: Program) -> None:
    """Through the files alone: an instance of their own, filtered there, counted there, and gone afterwards."""
    place = str(mounted.place)
    command = [
        sys.executable,
        "-m",
        "userevents",
        "tail",
        "--tracefs",
        place,
        "short",
        "--where",
        "a > 4",
        "--json",
        "-n",
        "6",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20 * PATIENCE, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["fields"]["a"] for line in lines] in ([5, 6] * 3, [6, 5] * 3)
    assert {(line["event"], line["pid"]) for line in lines} == {("short", os.getpid())}
    counted = CliRunner().invoke(main, ["hist", "--tracefs", place, "short", "--key", "a", "--for", "0.5s", "--json"])
    assert counted.exit_code == 0, counted.output
    rows = [json.loads(line) for line in counted.stdout.splitlines()]
    assert {row["key"]["a"] for row in rows if "key" in row} == set(range(7))
    assert os.listdir(mounted.place / "instances") == []


def test_top_lists_the_events_of_a_tree_and_counts_those_it_switched_on(mounted: Mount, writing: Program) -> None:
    """No session tells of the program: its event has a rate, and its process a row, once its records come."""

    async def session() -> None:
        with watching(FilesAccess(str(mounted.place)), sessions=False) as watch:
            app = Top(watch)
            async with app.run_test(size=(140, 40)) as pilot:

                def row(table: str) -> list[str]:
                    found = app.query_one(table, DataTable)
                    return [str(cell) for cell in found.get_row_at(0)] if found.row_count else []

                async def until(is_so: Callable[[], bool]) -> None:
                    deadline = time.monotonic() + 20 * PATIENCE
                    while not is_so():
                        assert time.monotonic() < deadline, (row("#events"), row("#processes"))
                        await pilot.pause(0.05)

                await until(lambda: row("#events")[:4] == ["short", "off", "", ""])
                assert row("#events")[-1] == "u32 a"
                assert row("#processes") == []
                await pilot.press("space")
                await until(lambda: row("#events")[1:3] == ["on", "on"] and row("#events")[3] not in ("", "0"))
                assert 0 < float(row("#events")[3]) < 1000
                assert row("#processes")[0] == str(os.getpid())
                await until(lambda: any(" a=3" in line.text for line in app.query_one("#tail", RichLog).lines))
                await pilot.press("space")
                await until(lambda: row("#events")[1:3] == ["off", ""])

    asyncio.run(session())
    assert os.listdir(mounted.place / "instances") == []
