"""The function that does all of a call in pure Python: the patient way's bytes, and nobody comes in between."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import userevents
from tests.client.conftest import Listener, bound
from tests.client.test_packing import declarations
from userevents import Event
from userevents.client.event import PureEvent
from userevents.client.runtime import OFF
from userevents.session import cursor, inline, layout
from userevents.session.producer import Session
from userevents.session.ring import make
from userevents.session.writer import Writer

WORD = 20 << layout.WORD_ID_SHIFT | layout.WORD_ENABLED


@pytest.fixture(autouse=True)
def make_of_events(monkeypatch: pytest.MonkeyPatch) -> str:
    """Declare events in pure Python."""
    if "t" in sys.abiflags:
        pytest.skip("without a GIL every call is patient")
    monkeypatch.setattr(sys.modules["userevents.client.event"], "Event", PureEvent)
    monkeypatch.setattr(sys.modules["userevents.client.native"], "Cursor", cursor.Cursor)
    return "python"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A directory for sessions made by hand, and no runtime directory."""
    made = tmp_path_factory.mktemp("sessions")
    (made / layout.RINGS).mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USEREVENTS_DIR", "/proc/no/such/place")
        yield str(made)


def own_writer(place: str) -> Writer:
    """Return a writer on a fresh session with a ring, its one event enabled."""
    session = Session(place)
    make(f"{place}/{layout.ring_name(session.name, 1)}", pages=16, generation=1, nonce=session.nonce)
    session.lines[layout.RING_PAGES // 4] = 16
    session.lines[layout.RING_GENERATION // 4] = 1
    session.words[0] = WORD
    return Writer(session)


def is_inline(made: "Event[...]") -> bool:
    """Whether the event's next usual call is done by its own function."""
    assert made._caller is not None
    return bool(made._caller._space["_ue_on"] == made._words[made._index])


def written(writer: Writer) -> tuple[bytes, list[int]]:
    """Return all bytes of a writer's ring but its identity and the CPUs of its pages, and the counters."""
    assert writer._ring is not None
    raw = bytearray(writer._ring.map)
    for page in range(16):
        at = layout.RING_TABLE + 16 * page + 8
        raw[at : at + 4] = bytes(4)
    return bytes(raw[: layout.RING_IDENTITY] + raw[layout.RING_TABLE :]), list(writer.counters[:8])


@settings(max_examples=60, deadline=None)
@given(declarations(), st.lists(st.integers(0, 1 << 28), max_size=60))
def test_the_own_function_writes_what_the_patient_way_writes(
    place: str, drawn: tuple[str, list[Any]], gaps: list[int]
) -> None:
    """Byte for byte over pages, time extends, long records, positions and keywords; and the same counts."""
    text, values = drawn
    found = []
    now = [0]
    for patient in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            for module in (cursor, inline):
                patch.setattr(module, "monotonic_ns", lambda: now[0])
            if patient:
                patch.setattr(inline, "serves", lambda writer: False)
            made: Event[...] = PureEvent(f"event {text}", 0, None, None)
            writer = own_writer(place)
            made.bind(writer, writer.words, 0)
            now[0] = 10**12
            for number, gap in enumerate([*gaps, *[1000] * 100]):
                now[0] += gap
                if number % 5:
                    made(*values)
                else:
                    made(*values[:1], **{f"f{n}": value for n, value in enumerate(values) if n})
            assert is_inline(made) is not patient
        found.append(written(writer))
        writer.session.unlink()
        os.unlink(f"{place}/{layout.ring_name(writer.session.name, 1)}")
    assert found[0] == found[1]


def interpose(made: "Event[...]", come_between: Callable[[], object]) -> None:
    """Let this happen, once, right after the next call of `made` has packed and before it commits."""
    assert made._caller is not None
    shapes = made._caller._space["_ue_shapes"]
    (key, shape), *_ = shapes.items()

    def pack(*args: Any) -> None:
        shapes[key] = shape
        shape[0](*args)
        come_between()

    shapes[key] = (pack, *shape[1:])


@pytest.fixture
def tick(listener: Listener) -> "Event[...]":
    """An enabled event of one u32, on a fresh session, past its first calls."""
    made = userevents.register("tick u32 a")
    listener.enable(0)
    made(0)
    made(1)
    assert isinstance(made, PureEvent)
    assert is_inline(made)
    assert listener.records(made) == [(0,), (1,)]
    return made


def is_free(made: "Event[...]") -> bool:
    """Whether nobody has the writer's lock: another thread can take it."""
    writer, taken = made._writer, []
    assert isinstance(writer, Writer)

    def take() -> None:
        if writer._lock.acquire(blocking=False):
            taken.append(True)
            writer._lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return not writer.owner and bool(taken)


def test_who_comes_between_packing_and_commit_is_written_first(listener: Listener, tick: "Event[...]") -> None:
    """A handler that emits, or another thread: both records are whole, and each is counted once."""

    def in_a_thread() -> None:
        thread = threading.Thread(target=tick, args=(20,))
        thread.start()
        thread.join()

    def wrong_and_right() -> None:
        tick("wrong")
        tick(a=30)

    interpose(tick, lambda: tick(10))
    tick(11)
    interpose(tick, in_a_thread)
    tick(21)
    interpose(tick, wrong_and_right)
    with pytest.warns(RuntimeWarning):
        tick(31)
    tick(40)
    assert listener.records(tick) == [(10,), (11,), (20,), (21,), (30,), (31,), (40,)]
    assert (tick.stats["attempts"], tick.stats["invalid"], tick.stats["reentry"]) == (10, 1, 0)


def test_what_an_interrupt_leaves_behind_is_nobody_s(listener: Listener, tick: "Event[...]") -> None:
    """Packed and not committed is nothing: not counted, not written, and never taken for the bytes of another."""

    def stop() -> None:
        raise KeyboardInterrupt

    interpose(tick, stop)
    with pytest.raises(KeyboardInterrupt):
        tick(10)
    assert is_free(tick)

    def stopped_call() -> None:
        interpose(tick, stop)
        with pytest.raises(KeyboardInterrupt):
            tick(20)

    interpose(tick, stopped_call)
    tick(21)
    assert listener.records(tick) == [(21,)]
    assert tick.stats["attempts"] == 3


def test_while_the_lock_is_held_the_owner_drops(
    listener: Listener, tick: "Event[...]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler in the middle of the patient way finds an owner: it keeps off the page and counts re-entry."""
    assert isinstance(tick._writer, Writer)
    clock = time.monotonic_ns

    def interrupted() -> int:
        monkeypatch.setattr(cursor, "monotonic_ns", clock)
        tick(11)
        return clock()

    monkeypatch.setattr(cursor, "monotonic_ns", interrupted)
    tick._patiently(WORD, (10,), {})
    tick(12)
    assert listener.records(tick) == [(10,), (12,)]
    assert (tick.stats["attempts"], tick.stats["reentry"]) == (5, 1)


def test_interrupts_at_any_moment_leave_the_sums_right(listener: Listener, tick: "Event[...]") -> None:
    """A thousand exceptions out of a handler, wherever they strike: what is counted is what is read."""

    def timeout(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    read = 0
    previous = signal.signal(signal.SIGALRM, timeout)
    limit = signal.setitimer(signal.ITIMER_REAL, 0)  # the test's own limit, for a while
    try:
        for number in range(1000):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00005 + number % 97 * 1e-6)
                while True:
                    tick(number)
            except KeyboardInterrupt:
                pass
            assert is_free(tick)
            read += len(listener.records(tick))
            listener.acknowledge()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, *limit)
    assert read + 2 == tick.stats["attempts"]
    assert read > 1000


def test_a_call_that_was_kept_goes_where_the_event_is_bound(place: str) -> None:
    """`event.write`, taken before the first call, follows the event to other words, ids and writers, and to none."""
    made: Event[...] = PureEvent("event u32 a", 0, None, None)
    write = made.write
    writers = [own_writer(place), own_writer(place)]
    for writer in writers:
        made.bind(writer, writer.words, 0)
        for _ in range(3):
            write(1)
        assert is_inline(made)
        writer.words[0] = 21 << layout.WORD_ID_SHIFT | layout.WORD_ENABLED
        assert not is_inline(made)
        write(2)
        write(3)
        assert is_inline(made)
        writer.words[0] = 0
        write(4)
        assert writer.counters[0] == 5
        assert [
            written(writer)[0].count(bytes((number, 0, 0, 0, *os.getpid().to_bytes(4, "little"))))
            for number in (20, 21)
        ] == [3, 2]
    foreign = bound(made)
    write(5)
    write(6)
    assert len(foreign.bodies) == 2
    made.bind(None, OFF, 0)
    write(7)
    assert [writer.counters[0] for writer in writers] == [5, 5]


def test_defaults_and_keywords_are_bound_as_python_binds_them(listener: Listener) -> None:
    """The usual way and the patient one take the same arguments, and refuse the same."""

    @userevents.event
    def tick(a: userevents.u8, b: userevents.u8 = 7, *, c: userevents.u8, d: userevents.u8 = 8) -> None: ...

    @userevents.event
    def tock(a: userevents.u8 = 5, *, b: bool = True) -> None: ...

    listener.enable(0)
    listener.enable(1, event_id=21)
    tick(1, c=2)
    tock()
    assert is_inline(tick)
    assert is_inline(tock)
    assert (listener.records(tick)[:1], tick.stats["attempts"]) == ([(1, 7, 2, 8)], 1)
    tick(1, c=2)
    tick(a=1, b=2, c=3, d=4)
    assert listener.records(tick) == [(1, 7, 2, 8), (1, 2, 3, 4)]
    tock()
    tock(6, b=False)
    assert listener.records(tock) == [(5, 1), (6, 0)]
    loose: list[Event[...]] = [tick, tock]
    wrong: list[tuple[int, tuple[int, ...], dict[str, int]]] = [
        (0, (1,), {}),
        (0, (), {}),
        (0, (1, 2, 3), {"c": 4}),
        (0, (1,), {"a": 1, "c": 1}),
        (0, (1,), {"c": 1, "e": 1}),
        (1, (1, 2), {}),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for which, args, kwargs in wrong:
            loose[which](*args, **kwargs)
    assert (tick.stats["invalid"], tock.stats["invalid"]) == (5, 1)


def test_destructors_that_emit_find_the_page_whole(listener: Listener, tick: "Event[...]") -> None:
    """A garbage collection at every allocation, with an event in each destructor."""

    class Last:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            tick(7)

    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(500):
            Last()
            tick(number)
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    found = [value for (value,) in listener.records(tick)]
    assert len(found) + 2 + tick.stats["reentry"] == 1002 == tick.stats["attempts"]
    assert [value for value in found if value != 7] == [value for value in range(500) if value != 7]


def test_debugging_is_never_in_a_hurry(runtime_dir: Path) -> None:
    """USEREVENTS_DEBUG=1 tells of every mistake, so no call takes the short way."""
    program = "from userevents import register\ntick = register('tick u32 a')\ntick(1)\ntick.write('x')"
    env = {**os.environ, "USEREVENTS_DEBUG": "1", "USEREVENTS_NATIVE": "0"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert "TypeError: event 'tick': field 'a' (u32): wants int that fits, got str 'x'" in done.stderr
