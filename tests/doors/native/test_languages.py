"""Producers in Rust and Go, through every door: threads that move, signals in the middle of a call, no libc at all."""

from collections.abc import Callable

import pytest

from tests.doors.native.conftest import OpenDoor

TOLD = {"rs": "thread {}: Ok({})", "go": "goroutine {}: {} <nil>, unreg: <nil>"}
THREADS, WRITES = 4, 50


@pytest.mark.parametrize("language", TOLD)
def test_a_static_program_in_another_language_writes_from_all_its_threads(
    door: OpenDoor, producer: Callable[[str], str], language: str
) -> None:
    """Every call has one result, whatever signal comes; what a spawned program's exec drops was not its parent's."""
    client = door.start(producer(language), "native", str(THREADS), str(WRITES))
    for number in range(THREADS):
        door.switch(f"native{number}", 1)
    for number in range(THREADS):
        door.wait_for_records(f"native{number}", WRITES)
    for number in range(THREADS):
        door.switch(f"native{number}", 0)
    assert client.told() == [TOLD[language].format(number, WRITES) for number in range(THREADS)]
