"""Traces of random declarations and values, for every format's own reader at once: starting one takes seconds.

Hypothesis draws the examples; `corpus` puts many into one trace of several programs, threads and CPUs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.maker import Maker, Session
from userevents.formats import open_trace
from userevents.formats.model import Record, Value

INTEGERS = {
    "s8": -8,
    "u8": 8,
    "char": -8,
    "unsigned char": 8,
    "s16": -16,
    "u16": 16,
    "short": -16,
    "unsigned short": 16,
    "s32": -32,
    "u32": 32,
    "int": -32,
    "unsigned int": 32,
    "s64": -64,
    "u64": 64,
}
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20) | st.sampled_from(
    [
        "",
        "/api/items/7",
        "naïve ☃ 𝄞",
        "tab\tnew\nline\r\x1b[31m\x01\x7f",
        '"quoted" \\back\\ %s %d',
        "x" * 3990,
        "é" * 1000,
    ]
)
NAMES = st.sampled_from(
    [
        "id",
        "path",
        "n",
        "value",
        "a_b",
        "_x",
        "__y",
        "event",
        "string",
        "struct",
        "align",
        "ts_ns",
        "cpu",
        "pid",
        "é",
        "a.b",
    ]
)


@st.composite
def _field(draw: st.DrawFn) -> tuple[str, Value]:
    kind = draw(st.sampled_from(["integer", "integer", "text", "fixed", "bytes", "float", "struct", "array"]))
    name = draw(NAMES)
    if kind == "integer":
        ctype = draw(st.sampled_from(sorted(INTEGERS)))
        bits = INTEGERS[ctype]
        low, high = (0, (1 << bits) - 1) if bits > 0 else (-(1 << (-bits - 1)), (1 << (-bits - 1)) - 1)
        return f"{ctype} {name}", draw(st.sampled_from([low, high, 0, 1]) | st.integers(low, high))
    if kind in ("text", "bytes"):
        location = draw(st.sampled_from(["__rel_loc", "__data_loc"]))
        if kind == "text":
            return f"{location} char[] {name}", draw(TEXTS)
        return f"{location} u8[] {name}", draw(st.binary(max_size=40) | st.just(bytes(range(256))))
    if kind == "fixed":
        text = draw(TEXTS).encode()[:23].decode(errors="ignore")
        return f"char[24] {name}", text
    if kind == "float":
        return f"struct f64 {name} 8", draw(st.floats())
    size = draw(st.integers(1, 12))
    declared = f"struct point {name} {size}" if kind == "struct" else f"u8[{size}] {name}"
    if kind == "array":
        declared = f"struct bytes {name} {size}"
    return declared, draw(st.binary(min_size=size, max_size=size))


@st.composite
def examples(draw: st.DrawFn) -> tuple[str, list[Value]]:
    """Draw a field list that the grammar accepts, and a value for each field; all fit in a record."""
    fields = draw(st.lists(_field(), max_size=6))
    texts = sum(len(value) for _, value in fields if isinstance(value, (str, bytes)))
    if texts > 1900:
        fields = fields[:1]
    return "; ".join(text for text, _ in fields), [value for _, value in fields]


class Steps(NamedTuple):
    """What else is drawn of an example: time since the one before, CPU, program, thread."""

    gap: int
    cpu: int
    program: int
    thread: int


_STEPS = st.builds(Steps, st.sampled_from([0, 1, 1000, 10**9]), st.integers(0, 2), st.integers(0, 1), st.integers(0, 2))
PIDS = (4100, 4200)
_START_NS = 10**12


def corpus(path: Path, number: int = 200) -> list[Record]:
    """Write a trace of `number` drawn examples, each an event of its own, some repeated; return its records.

    The ledger says that 12 records were dropped.
    """
    maker = Maker(cpus=3)
    drawn: list[tuple[str, list[Value], Steps]] = []

    @settings(max_examples=number, database=None, suppress_health_check=list(HealthCheck))
    @given(examples(), _STEPS)
    def draw(example: tuple[str, list[Value]], steps: Steps) -> None:
        drawn.append((*example, steps))

    draw()
    events = {20 + at: f"ev{at} {text}" for at, (text, _, _) in enumerate(drawn)}
    sessions = [maker.session(pid, f"prog{pid}", events) for pid in PIDS]
    _write(sessions, drawn)
    for session in sessions:
        threads = {session.pid + at: f"thread {at}" for at in range(1, 3)}
        session.close(drops={20: {"ring_full": 6}}, threads=threads)
    maker.trace(path)
    with open_trace(str(path)) as trace:
        return list(trace.records())


def _write(sessions: list[Session], drawn: list[tuple[str, list[Value], Steps]]) -> None:
    now = _START_NS
    for at, (_, values, steps) in enumerate(drawn + drawn[::3]):
        now += steps.gap
        session = sessions[steps.program]
        number = at if at < len(drawn) else (at - len(drawn)) * 3
        session.add_values(now, 20 + number, *values, tid=session.pid + steps.thread, cpu=steps.cpu)


def same(found: Value, meant: Value) -> bool:
    """Tell whether two values are equal, a float that is no number being equal to itself."""
    return found == meant or (found != found and meant != meant)


def told_apart(found: list[Any], meant: list[Any], key: Callable[[Any], Any] = lambda each: each) -> str:
    """Return the first difference of two lists, empty if there is none."""
    for at, (one, other) in enumerate(zip(found, meant, strict=False)):
        if key(one) != key(other):
            return f"record {at}: found {one!r}, meant {other!r}"
    return "" if len(found) == len(meant) else f"found {len(found)}, meant {len(meant)}"
