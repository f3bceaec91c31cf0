"""`@event` and `register`: what is declared, what a call does while nobody and while somebody listens."""

import inspect
import os
import struct
import subprocess
import sys
import time
import warnings
import weakref
from pathlib import Path
from typing import Annotated
from unittest.mock import ANY

import pytest

import userevents
from tests.client.conftest import Listener
from userevents import Event, Refused, char, char16, event, f64, rel_loc, s8, s64, u32, uchar
from userevents.buffer.page import body_start, walk
from userevents.client import struct as struct_type
from userevents.client.runtime import Runtime
from userevents.session import layout
from userevents.session.consumer import SessionFile


def test_a_signature_is_a_declaration(listener: Listener) -> None:
    """Parameters become fields in order, with the kernel's types."""

    @event
    def request(id: u32, latency_ns: s64, method: char16, path: str) -> None:
        "One HTTP request."

    assert request.declared.text == b"request u32 id; s64 latency_ns; char[16] method; __rel_loc char[] path"
    assert request.__doc__ == "One HTTP request."
    assert request.name == "request"


def test_every_python_type_has_a_field_that_other_tools_read(listener: Listener) -> None:
    """int, bool, float, str and bytes, and the annotated ones."""

    @event(prefix="shop", name="all")
    def everything(
        a: int,
        b: bool,
        c: float,
        d: str,
        e: bytes,
        f: f64,
        g: Annotated[str, char(20)],
        h: Annotated[bytes, uchar(4)],
        i: Annotated[bytes, struct_type("point", 8)],
        j: Annotated[bytes, rel_loc("u16[]")],
        k: s8,
    ) -> None: ...

    assert everything.declared.text.decode() == (
        "shop_all s64 a; u8 b; struct f64 c 8; __rel_loc char[] d; __rel_loc u8[] e; struct f64 f 8; char[20] g; "
        "unsigned char[4] h; struct point i 8; __rel_loc u16[] j; s8 k"
    )


def test_flags_go_with_the_declaration(listener: Listener) -> None:
    """persist and multi_format are the kernel's registration flags."""
    assert userevents.register("a").declared.flags == 0
    assert userevents.register("b", persist=True).declared.flags == 1
    assert userevents.register("c", multi_format=True).declared.flags == 2
    assert event(persist=True, multi_format=True)(lambda: None).declared.flags == 3


def test_nothing_happens_while_nobody_listens(listener: Listener) -> None:
    """A call is a load and a branch: also wrong arguments go unnoticed."""
    tick = userevents.register("tick u32 a")
    assert not tick
    assert tick(1) is None  # type: ignore[func-returns-value]
    tick("nonsense", 2, 3)
    assert not any(tick.stats.values())


def test_while_somebody_listens_values_arrive(listener: Listener) -> None:
    """Positional or by keyword, called or written."""

    @event
    def request(id: u32, latency_ns: s64, method: char16, path: str) -> None: ...

    listener.enable(0)
    assert request
    assert request.enabled
    request(1, 250_000, "GET", path="/x")
    request.write(id=2, latency_ns=-1, method="POST", path="")
    assert listener.records(request) == [(1, 250_000, "GET", "/x"), (2, -1, "POST", "")]
    assert request.stats["attempts"] == 2


def test_the_record_carries_id_and_thread(listener: Listener) -> None:
    """The common header is the kernel's: id, two bytes that a page may give to CPUs, thread id."""
    import threading

    tick = userevents.register("tick u8 a")
    listener.enable(0, event_id=77)
    tick(5)
    assert listener.ring is not None
    (part,) = listener.ring.read(1 << 20)
    at = body_start(part.data, walk(part.data, part.ts).starts[0])
    assert struct.unpack_from("<HHiB", part.data, at) == (77, ANY, threading.get_native_id(), 5)


def test_a_wrong_argument_is_counted_and_warned_of_once(listener: Listener) -> None:
    """Attaching a tracer must not change a program."""
    tick = userevents.register("tick u32 a")
    listener.enable(0)
    with pytest.warns(RuntimeWarning, match="field 'a' .u32.*'one'"):
        tick("one")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tick("two")
        tick()
    assert tick.stats["invalid"] == 3 == tick.stats["attempts"]
    tick(1)
    assert listener.records(tick) == [(1,)]


def test_a_warning_turned_into_an_error_does_not_reach_the_program(listener: Listener) -> None:
    """Services run with -W error must not fall over when they are traced."""
    tick = userevents.register("tick u32 a")
    listener.enable(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tick("one")
    assert tick.stats["invalid"] == 1


def test_an_argument_that_raises_is_counted_as_invalid(listener: Listener) -> None:
    """Conversion may run any code of the program's."""

    class Bad:
        def __index__(self) -> int:
            raise ZeroDivisionError

        def __repr__(self) -> str:
            raise ZeroDivisionError

    tick = userevents.register("tick u32 a")
    listener.enable(0)
    with pytest.warns(RuntimeWarning, match=r"repr\(\) fails"):
        tick(Bad())
    assert tick.stats["invalid"] == 1


def test_strings_too_long_are_cut_and_counted(listener: Listener) -> None:
    """The event is written, with what fits."""
    tick = userevents.register("tick char[4] a; __rel_loc char[] b")
    listener.enable(0)
    tick("abcdef", "x" * 10_000)
    ((a, b),) = listener.records(tick)
    assert a == "abcd"
    assert isinstance(b, str)
    assert 4000 < len(b) < 4080
    assert tick.stats["cut"] == 2


def test_an_answer_that_does_not_come_is_counted_by_a_call_and_by_a_guard(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits once, for 200 ms at most; what is not written until the answer comes is counted as dropped."""
    lives = [True]
    monkeypatch.setattr("userevents.session.locks.tracer_lives", lambda directory: lives[0])
    tick = userevents.register("tick u32 a")
    assert tick._words[tick._index] == layout.WORD_PENDING
    start = time.monotonic()
    assert not tick
    assert 0.15 < time.monotonic() - start < 5
    tick(1)
    assert tick.stats["tracer_gone"] == 2 == tick.stats["attempts"]
    listener.enable(0)
    tick(2)
    assert listener.records(tick) == [(2,)]


def test_an_event_larger_than_a_page_is_counted_as_too_large(listener: Listener) -> None:
    """Nothing of it could be kept."""
    big = userevents.register("big " + "; ".join(f"char[1024] f{n}" for n in range(4)))
    listener.enable(0)
    big("", "", "", "")
    assert big.stats["too_large"] == 1 == big.stats["attempts"]


def test_more_events_than_a_session_holds_open_another(listener: Listener, runtime_dir: Path) -> None:
    """A program may declare as many events as it likes."""
    made = [userevents.register(f"event{n} u32 a") for n in range(300)]
    names = [name for name in os.listdir(runtime_dir) if name.endswith(layout.SESSION_SUFFIX)]
    assert len(names) == 2
    texts = set()
    for name in names:
        session = SessionFile(str(runtime_dir), name)
        texts |= {declared.text for declared in session.new_declarations(0)}
        session.close()
    assert texts == {item.declared.text for item in made}


@pytest.mark.parametrize(
    ("annotation", "words"), [(dict, "dict"), (None, "no annotation"), (Annotated[int, 5], ""), ("u32", "")]
)
def test_a_parameter_that_is_no_field_is_an_error_at_declaration(
    listener: Listener, annotation: object, words: str
) -> None:
    """The message names event, parameter and what was found; strings and bare Annotated are read as types."""

    def wrong(a) -> None: ...  # type: ignore[no-untyped-def]

    if annotation is not None:
        wrong.__annotations__["a"] = annotation
    if words:
        with pytest.raises(TypeError, match=f"event 'wrong': parameter 'a'.*{words}"):
            event(wrong)
    else:
        assert event(wrong).declared.text in (b"wrong s64 a", b"wrong u32 a")


def test_variable_parameters_are_refused(listener: Listener) -> None:
    """An event has a fixed list of fields."""

    def wrong(*values: int) -> None: ...

    with pytest.raises(TypeError, match="fixed list"):
        event(wrong)


def test_an_event_keeps_python_s_manners(listener: Listener) -> None:
    """A generic class, attributes of its own, weak references, subclasses, and the function it was made of."""

    @event
    def request(id: u32) -> None:
        "One request."

    request.note = "mine"  # type: ignore[attr-defined]
    assert request.__dict__["note"] == "mine"
    assert weakref.ref(request)() is request
    assert list(inspect.signature(request).parameters) == ["id"]
    assert repr(request) == "<event 'request u32 id'>"
    assert [str(Event[...]), str(Event[[int]])]
    assert Event.__doc__
    assert Event.__module__ == "userevents.client.event"

    class Mine(type(request)):  # type: ignore[misc]
        pass

    mine = Mine("mine u32 a", 0, None, None)
    listener.enable(1)
    mine(5)
    mine.write(a=6)
    assert listener.records(mine) == [(5,), (6,)]
    assert not request


def test_a_warning_points_at_the_call(listener: Listener) -> None:
    """The line to mend is the program's, not one of ours."""
    tick = userevents.register("tick u32 a")
    listener.enable(0)
    with pytest.warns(RuntimeWarning) as caught:
        tick("one")
    assert caught[0].filename == __file__


def test_text_the_kernel_refuses_is_refused_at_once(listener: Listener) -> None:
    """A programmer's mistake is told where it is made."""
    with pytest.raises(Refused, match="EINVAL"):
        userevents.register("tick long a")
    with pytest.raises(Refused, match="511"):
        userevents.register("tick " + "; ".join(f"u32 f{n}" for n in range(100)))


def test_debug_raises_naming_the_field_also_while_nobody_listens(runtime_dir: Path) -> None:
    """USEREVENTS_DEBUG=1 is for development: the mistake is told where it is made."""
    program = "from userevents import register\nregister('tick u32 a')('x')"
    env = {**os.environ, "USEREVENTS_DEBUG": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "TypeError: event 'tick': field 'a' (u32): wants int that fits, got str 'x'" in done.stderr


def test_a_declaration_never_fails_for_want_of_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """No directory, and the event is simply off; why is kept."""
    monkeypatch.setenv("USEREVENTS_DIR", "/proc/no/such/place")
    fresh = Runtime()
    monkeypatch.setattr(sys.modules["userevents.client.event"], "runtime", fresh)
    tick = userevents.register("tick u32 a")
    tick(1)
    assert not tick
    assert fresh.why_off is not None
    assert "/proc/no/such/place" in fresh.why_off


def test_events_declared_before_there_was_a_directory_are_declared_with_the_next_one(
    monkeypatch: pytest.MonkeyPatch, listener: Listener, runtime_dir: Path
) -> None:
    """A full or missing directory is not for ever."""
    monkeypatch.setenv("USEREVENTS_DIR", "/proc/no/such/place")
    early = userevents.register("early")
    monkeypatch.setenv("USEREVENTS_DIR", str(runtime_dir))
    userevents.register("late")
    listener.enable(0)
    assert early
