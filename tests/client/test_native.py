"""The C writer beside its twin in Python: the same bodies, cuts and refusals, byte for byte."""

import mmap
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import userevents
from tests.client.conftest import Foreign, Listener, bound
from tests.client.test_packing import declarations
from tests.conftest import ROOT, require_native
from userevents.abi import ring_buffer
from userevents.buffer.page import body_start, record_end, walk
from userevents.client.event import Event, PureEvent
from userevents.session import cursor, layout


@pytest.fixture(autouse=True)
def _native() -> None:
    require_native()


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


class RingWriter(Foreign):
    """A writer with a native cursor and a ring of 16 pages of its own, which overwrites what nobody reads."""

    def __init__(self) -> None:
        from userevents.client import _writer

        super().__init__()
        self.lines = memoryview(bytearray(layout.HEADER_SIZE)).cast("I")
        self.lines[layout.RING_GENERATION // 4] = 1
        self.lines[layout.RING_PAGES // 4] = 16
        self.counters = memoryview(bytearray(64)).cast("Q")
        self.memory = mmap.mmap(-1, layout.ring_size(16))
        self.ring = _writer.Cursor(self.lines, self.counters)
        self.ring.enter(self.memory, 16, 8192, True, 1)
        self.cursor: object = self.ring  # by which an event in C finds where to write
        if hasattr(_writer, "Seats"):
            self.seats = _writer.Seats()
            assert self.seats.take(0, self.ring)
            self.cursor = self.seats.place
        self.bells = 0

    def commit(self, index: int, body: bytes) -> None:
        """Take what the patient way made."""
        assert self.ring.put(index, body) in (cursor.WRITTEN, cursor.READER_WAITS)

    def ring_bell(self) -> None:
        """Count it."""
        self.bells += 1

    @property
    def head(self) -> int:
        """The number of the page being written."""
        return int.from_bytes(self.memory[layout.RING_HEAD : layout.RING_HEAD + 8], "little")

    def page(self) -> list[bytes]:
        """Return the records of the page being written, without their CPUs."""
        start = 8192 + 4096 * (self.head % 16)
        commit = int.from_bytes(self.memory[start + 8 : start + 16], "little")
        data = self.memory[start + 16 : start + 16 + commit]
        found = []
        for at in walk(data, 1).starts:
            body = data[body_start(data, at) : record_end(data, at)]
            found.append(body[:2] + bytes(2) + body[4:])
        return found


def in_ring(made: "Event[...]") -> RingWriter:
    """Let an event write to a ring of its own."""
    writer = RingWriter()
    made.bind(writer, memoryview(b"\x01\0\x14\0").cast("I"), 0)
    return writer


@pytest.mark.usefixtures("directory")
@pytest.mark.filterwarnings("ignore:.*counted as invalid")
@settings(max_examples=150)
@given(declarations(), st.data())
def test_what_is_packed_in_the_ring_itself_is_what_the_twin_packs(drawn: tuple[str, list[Any]], data: Any) -> None:
    """Right values and odd ones, the first record of a page and those behind it."""
    text, values = drawn
    odd = [data.draw(st.one_of(st.just(value), ODD)) for value in values]
    made, pure = twins(f"event {text}")
    ring, bodies = in_ring(made), bound(pure)
    for given_ in (values, values, odd, values, odd):
        before, head = len(bodies.bodies), ring.head
        made(*given_)
        pure(*given_)
        if len(bodies.bodies) > before:
            assert ring.page()[-1] == bodies.bodies[-1]
        assert ring.head in (head, head + 1)
    assert ring.drops == bodies.drops
    assert ring.counters[0] == len(bodies.bodies)


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize("declared", ["u8 a; __rel_loc char[] b; u16 c", "char[200] b", "__rel_loc u8[] b; u8 a"])
def test_text_of_every_size_is_copied_whole_and_ends_at_a_nul(declared: str) -> None:
    """All sizes around those that are copied in another way, with a NUL in every place."""
    made, pure = twins(f"event {declared}")
    ring, bodies = in_ring(made), bound(pure)
    numbers = {"a": 200, "c": 60000}
    names = re.findall(r"\b[abc]\b", declared)
    for size in [*range(20), *range(60, 70), 95, 96, 97, 98, 99, 100, 101, 130, 200]:
        plain = "".join(chr(33 + n % 90) for n in range(size))
        for place in (None, *range(size)):
            value: Any = plain if place is None else plain[:place] + "\0" + plain[place + 1 :]
            if "u8[]" in declared:
                value = value.encode()
            given_ = [numbers.get(name, value) for name in names]
            made(*given_)
            pure(*given_)
            assert ring.page()[-1] == bodies.bodies[-1], (size, place)
    assert not ring.drops
    assert not bodies.drops


@pytest.mark.usefixtures("directory")
@pytest.mark.filterwarnings("ignore:.*counted as invalid")
def test_integers_that_just_fit_and_just_do_not_are_told_apart_in_the_ring() -> None:
    """Around every bound, as an int, a bool and what derives from int."""

    class Derived(int):
        def __index__(self) -> int:
            raise AssertionError("an int is not asked")

    kinds = {f"{sign}{bits}": bits for bits in (8, 16, 32, 64) for sign in "su"}
    for kind in kinds:
        made, pure = twins(f"event {kind} a")
        ring, bodies = in_ring(made), bound(pure)
        edges = [0, True, *(way * (1 << bits) + step for bits in (7, 8, 15, 16, 31, 32, 63, 64, 65)
                            for way in (-1, 1) for step in (-1, 0, 1))]  # fmt: skip
        for value in (made_ for edge in edges for made_ in (edge, Derived(edge))):
            made(value)
            pure(value)
            assert ring.drops == bodies.drops, (kind, value)
            assert ring.counters[0] == len(bodies.bodies)
            assert ring.page()[-1:] == bodies.bodies[-1:], (kind, value)


@pytest.mark.usefixtures("directory")
def test_a_value_that_emits_while_it_is_converted_comes_first_and_whole() -> None:
    """Its record stands in the ring before that of the call it interrupts."""
    outer: Event[...] = Event("outer u32 a; __rel_loc char[] b; u32 c", 0, None, None)
    inner: Event[...] = Event("inner u32 a", 0, None, None)
    writer = in_ring(outer)
    inner.bind(writer, memoryview(b"\x01\0\x16\0").cast("I"), 0)

    class Emits:
        def __index__(self) -> int:
            inner(7)
            return 8

    outer(1, "before", 2)
    outer(1, "text", Emits())
    first, between, last = writer.page()
    assert (first[:2], between[:2], last[:2]) == (b"\x14\0", b"\x16\0", b"\x14\0")
    assert between[8:] == b"\7\0\0\0"
    assert last[16:] == b"\x08\0\0\0text\0\0\0\0"


@pytest.mark.usefixtures("directory")
def test_an_event_whose_page_wakes_the_reader_rings_its_writers_bell() -> None:
    """When it does: tests/session/test_bell.py."""
    made: Event[...] = Event("event __rel_loc u8[] a", 0, None, None)
    writer = in_ring(made)
    writer.memory[layout.RING_READER_WAITING] = 1
    made(bytes(3000))
    assert writer.bells == 0
    made(bytes(3000))
    assert writer.bells == 1
