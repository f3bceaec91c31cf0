"""The tracer's loop: calls from other threads, descriptors that come and go, trouble that stays with its cause."""

import os
import threading
from collections.abc import Iterator

import pytest

from userevents.host.loop import Loop


@pytest.fixture
def running() -> Iterator[tuple[Loop, list[Exception]]]:
    """A loop in a thread of its own, and the errors it was told."""
    errors: list[Exception] = []
    loop = Loop(errors.append)
    thread = threading.Thread(target=lambda: loop.run(lambda: 1.0))
    thread.start()
    yield loop, errors
    loop.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_a_call_runs_in_the_loops_thread_and_brings_back_its_result(running: tuple[Loop, list[Exception]]) -> None:
    """Everything the tracer knows is touched by one thread only."""
    loop, _ = running
    assert loop.call(threading.get_ident) != threading.get_ident()
    assert loop.call(lambda: 5) == 5


def test_a_call_that_raises_raises_where_it_was_made(running: tuple[Loop, list[Exception]]) -> None:
    """The loop goes on."""
    loop, _ = running
    with pytest.raises(ZeroDivisionError):
        loop.call(lambda: 1 // 0)
    assert loop.call(lambda: 6) == 6


def test_one_descriptors_trouble_does_not_end_the_service_of_the_others(
    running: tuple[Loop, list[Exception]],
) -> None:
    """The error is told; other descriptors are still served."""
    loop, errors = running
    bad, good = os.pipe(), os.pipe()
    served = threading.Event()

    def fail() -> None:
        os.read(bad[0], 1)
        raise LookupError("unforeseen")

    def serve() -> None:
        os.read(good[0], 1)
        served.set()

    loop.call(lambda: loop.watch(bad[0], fail, None))
    loop.call(lambda: loop.watch(good[0], serve, None))
    os.write(bad[1], b"x")
    os.write(good[1], b"x")
    assert served.wait(10)
    loop.call(lambda: loop.unwatch(bad[0]))
    loop.call(lambda: loop.unwatch(good[0]))
    assert [str(error) for error in errors] == ["unforeseen"]
    for fd in (*bad, *good):
        os.close(fd)


def test_a_call_after_the_end_runs_where_it_is_made() -> None:
    """Closing down needs no loop."""
    loop = Loop()
    thread = threading.Thread(target=lambda: loop.run(lambda: 1.0))
    thread.start()
    loop.stop()
    thread.join(10)
    assert loop.call(threading.get_ident) == threading.get_ident()
