"""The tracer's loop: calls from other threads, descriptors that come and go, trouble that stays with its cause."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from userevents.host.loop import Activity, Loop
from userevents.host.tracer import Tracer


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


def test_what_happens_between_looking_and_waiting_ends_the_wait() -> None:
    """However many others have looked in between; and what everybody has seen ends nobody's wait."""
    activity = Activity()
    seen = activity.number
    activity.tell()
    for _ in range(2):  # another one looks, finds it, waits for the next
        activity.wait(activity.number, 0.001)
    began = time.monotonic()
    activity.wait(seen, 60)
    assert time.monotonic() - began < 30
    waiting = threading.Thread(target=activity.wait, args=(activity.number, 60), daemon=True)
    waiting.start()
    while waiting.is_alive():
        activity.tell()
        waiting.join(0.01)
        assert time.monotonic() - began < 30


def test_after_an_enable_the_tracer_looks_at_once_and_then_ever_more_rarely(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a first record much longer than it was not there, and fifty looks or so are the end of it."""
    tracer = Tracer()
    clock = [100.0]
    monkeypatch.setattr("userevents.host.tracer.time.monotonic", lambda: clock[0])
    calm = tracer._eagerly(clock[0])
    tracer._programs.has_switched_on = True
    looks = 0
    while (rest := tracer._eagerly(clock[0])) < calm:
        looks += 1
        waited = clock[0] - 100.0
        assert rest <= max(0.0005, waited / 8)
        clock[0] += rest
    assert 20 < looks < 80
    assert clock[0] - 100.0 > 0.4
    tracer._programs.has_switched_on = True
    clock[0] += 0.01  # a look at very many programs takes long: then it is not taken all the time
    assert tracer._eagerly(clock[0] - 0.01) == pytest.approx(0.04)
