"""The C writer beside its twin in Python: the same bodies, cuts and refusals, byte for byte."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import userevents
from tests.client.conftest import Listener, bound
from tests.client.test_packing import declarations
from tests.conftest import ROOT, require_native
from userevents.abi import ring_buffer
from userevents.buffer.page import body_start, walk
from userevents.client.event import Event, PureEvent
from userevents.session import cursor, layout


@pytest.fixture(autouse=True)
def _native() -> None:
    require_native()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No runtime directory: what is declared here is bound by hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("USEREVENTS_DIR", "/proc/no/such/place")
        yield


def twins(text: str, parameters: Any = None) -> "tuple[Event[...], Event[...]]":
    """Declare the same event in C and in Python."""
    return Event(text, 0, parameters, None), PureEvent(text, 0, parameters, None)


ODD = st.one_of(
    st.none(),
    st.integers(),
    st.booleans(),
    st.floats(),
    st.text(),
    st.binary(),
    st.binary().map(bytearray),
    st.binary().map(lambda data: memoryview(data)),
    st.text(max_size=1),
    st.text(alphabet="aé\0\udce9", max_size=8),
    st.text(alphabet="é", min_size=2000, max_size=2100),
    st.just(Path("/some/path")),
)


@pytest.mark.usefixtures("directory")
@settings(max_examples=150)
@given(declarations())
def test_right_values_make_the_same_body_in_c_and_in_python(drawn: tuple[str, list[Any]]) -> None:
    """Byte for byte, for every kind of field; by position and by keyword."""
    text, values = drawn
    made, pure = twins(f"event {text}")
    native_bodies, bodies = bound(made), bound(pure)
    for target in (made, pure):
        target(*values)
        target.write(*values[:1], **{f"f{n}": value for n, value in enumerate(values) if n})
    assert native_bodies.bodies == bodies.bodies
    assert len(bodies.bodies) == 2
    assert not bodies.drops


@pytest.mark.usefixtures("directory")
@pytest.mark.filterwarnings("ignore:.*counted as invalid")
@settings(max_examples=150)
@given(declarations(), st.data())
@example(("__rel_loc char[] f0", [b"bytes"]), None)
@example(("char[4] f0; unsigned char[4] f1", ["abcdefgh", bytearray(b"a\0b")]), None)
@example(("struct s f0 4", [b"abc"]), None)
@example(("char f0; unsigned char f1", ["x", b"y"]), None)
def test_odd_values_are_taken_cut_or_refused_alike(drawn: tuple[str, list[Any]], data: st.DataObject | None) -> None:
    """Whatever is passed in whatever number: the same bodies, cuts and reasons."""
    text, values = drawn
    if data is not None:
        values = [data.draw(st.one_of(st.just(value), ODD)) for value in values] + data.draw(st.lists(ODD, max_size=1))
    made, pure = twins(f"event {text}")
    native_bodies, bodies = bound(made), bound(pure)
    made(*values)
    pure(*values)
    made(**{f"f{n}": value for n, value in enumerate(values)})
    pure(**{f"f{n}": value for n, value in enumerate(values)})
    assert native_bodies.bodies == bodies.bodies
    assert native_bodies.drops == bodies.drops
    assert [getattr(body, "cuts", 0) for body in native_bodies.bodies] == [
        getattr(body, "cuts", 0) for body in bodies.bodies
    ]


@pytest.mark.usefixtures("directory")
@given(
    st.lists(st.integers(0, 9), max_size=5),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "f0", "é"]), st.integers(0, 9)),
)
def test_arguments_are_bound_as_python_binds_them(args: list[int], kwargs: dict[str, int]) -> None:
    """Positional, by keyword, keyword-only, defaults, too many, too few, twice, unknown."""

    def function(a: userevents.u8, b: userevents.u8 = 7, *, c: userevents.u8, d: userevents.u8 = 8) -> None: ...

    made = userevents.event(function)
    native_bodies = bound(made)
    pure: Event[...] = PureEvent(made.declared.text.decode(), 0, made._parameters, None)
    bodies = bound(pure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *args, **kwargs: None)
        made(*args, **kwargs)
        pure(*args, **{"".join(list(name)): value for name, value in kwargs.items()})
    assert (native_bodies.bodies, native_bodies.drops) == (bodies.bodies, bodies.drops)
    try:
        function(*args, **kwargs)
    except TypeError:
        assert bodies.drops == [layout.INVALID]
    else:
        assert len(bodies.bodies) == 1


def test_the_constants_of_the_c_source_are_those_of_the_layout() -> None:
    """One set of numbers, spelled twice."""
    source = (ROOT / "src/userevents/client/_writer.c").read_text()
    told = {
        name: eval(value, {}) for name, value in re.findall(r"^    ([A-Z_]+) = (0x\w+|\d+(?: / \d+)?),", source, re.M)
    }
    places = {
        name: getattr(layout, name) / told_size
        for names, told_size in (
            (("WORD_PENDING", "WORD_ID_SHIFT", "HEADER_SIZE", "COUNTERS_PER_EVENT", "ATTEMPTS", "RING_FULL"), 1),
            (("RING_TABLE", "PAGE_CPUS_IN_RECORDS", "MAX_RING_PAGES"), 1),
            (("RING_GENERATION", "RING_PAGES", "RING_READER_WAITING"), 4),
            (("RING_HEAD", "RING_OPENING", "RING_TAIL", "RING_TAIL_OFFSET"), 8),
        )
        for name in names
    }
    assert {name: told[name] for name in places} == places
    page = (
        "PAGE_HEADER_SIZE",
        "SHORT_BODY_MAX",
        "RECORD_HEADER_SIZE",
        "TYPE_LEN_BITS",
        "TYPE_LEN_TIME_EXTEND",
        "DELTA_BITS",
    )
    assert {name: told[name] for name in page} == {name: getattr(ring_buffer, name) for name in page}
    (outcomes,) = re.findall(r"enum \{ (WRITTEN.*) \};", source)
    assert [getattr(cursor, name) for name in outcomes.split(", ")] == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("directory")
def test_a_word_that_waits_is_answered_by_a_writer_of_any_make() -> None:
    """PENDING asks the writer; the word it answers is the one to write with."""
    made: Event[...] = Event("event u8 a", 0, None, None)
    writer = bound(made, layout.WORD_PENDING)
    assert made
    assert made.enabled
    made(3)
    assert writer.bodies[0][:4] == b"\x15\0\0\0"


@pytest.mark.usefixtures("directory")
def test_a_word_outside_its_memory_is_refused() -> None:
    """C never reads where Python was not asked."""
    made: Event[...] = Event("event u8 a", 0, None, None)
    for index in (-1, 1, 1 << 60):
        with pytest.raises((ValueError, OverflowError)):
            made.bind(None, memoryview(bytes(4)).cast("I"), index)
    assert not made


def test_a_cursor_refuses_what_lies_outside_its_memory() -> None:
    """Every number that comes from Python is checked against the memory it speaks of."""
    from userevents.client._writer import Cursor

    lines = memoryview(bytearray(layout.HEADER_SIZE)).cast("I")
    counters = memoryview(bytearray(64)).cast("Q")
    with pytest.raises(ValueError, match="at least 1024"):
        Cursor(counters, counters)
    with pytest.raises(BufferError):
        Cursor(lines, memoryview(bytes(64)).cast("Q"))
    made = Cursor(lines, counters)
    assert made.put(0, bytes(12)) == cursor.RING_CHANGED
    assert made.drained
    for slot, body in ((1, bytes(12)), (-8, bytes(12)), (0, bytes(8)), (0, bytes(13))):
        with pytest.raises(ValueError, match="no record"):
            made.put(slot, body)
    import mmap

    with mmap.mmap(-1, layout.ring_size(16)) as memory:
        for pages, data in ((0, 8192), (3, 8192), (16, 4096), (32, 8192), (16, 8192 + 4096), (16, 8193)):
            with pytest.raises(ValueError, match=r"no ring|memory of"):
                made.enter(memory, pages, data, False, 1)
        made.enter(memory, 16, 8192, False, 1)
        assert made.put(0, bytes(12)) == cursor.WRITTEN
        with pytest.raises(BufferError):
            memory.close()
        made.leave()
    assert made.put(0, bytes(12)) == cursor.RING_CHANGED


def test_the_twin_is_chosen_by_the_environment(runtime_dir: Path) -> None:
    """USEREVENTS_NATIVE=0 is the way back to pure Python."""
    program = "from userevents.client import native; import userevents as u; print(native.native, u.register('tick'))"
    for value, expected in (("0", "False <event 'tick'>\n"), ("1", "True <event 'tick'>\n")):
        env = {**os.environ, "USEREVENTS_NATIVE": value}
        done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
        assert done.stdout == expected


def test_records_of_both_makes_differ_only_in_time_and_cpu(listener: Listener) -> None:
    """The pages that a tracer reads are the same, byte for byte."""
    tick = userevents.register("tick u16 a; __rel_loc char[] b; char[8] c")
    listener.enable(0)
    for number in range(30):
        tick(number, "text" * (number), "fixed")
    assert listener.ring is not None
    (part,) = listener.ring.read(1 << 20)
    columns = walk(part.data, part.ts)
    at = [body_start(part.data, start) for start in columns.starts]
    pure: Event[...] = PureEvent("tick u16 a; __rel_loc char[] b; char[8] c", 0, None, None)
    writer = bound(pure)
    for number in range(30):
        pure(number, "text" * (number), "fixed")
    for start, body in zip(at, writer.bodies, strict=True):
        found = part.data[start : start + len(body)]
        assert found[:2] + bytes(2) + found[4:] == body
