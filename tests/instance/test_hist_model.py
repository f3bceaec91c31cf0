"""Histograms against a plain Counter, and their sort against Python's."""

import re
import struct
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.instance.trigger_driver import File, Instance, make_event
from userevents.instance.hist_print import percentage
from userevents.instance.hist_sort import heap_sort, sort_twice

EV = ("user_events", "ev")
ROW = re.compile(r"\{ a: +(\d+), c: (.{50}) \} hitcount: +(\d+)  b: +(\d+)")
records = st.lists(
    st.tuples(
        st.integers(-3, 3) | st.integers(-(2**31), 2**31 - 1),
        st.integers(-5, 5) | st.integers(-(2**63), 2**63 - 1),
        st.sampled_from(["", "x", "xy", "long enough", "abcdefgh"]),
    ),
    max_size=40,
)


@settings(max_examples=100, deadline=None)
@given(records, st.sampled_from(["", ":sort=b", ":sort=a.descending,hitcount", ":sort=c,b.descending"]))
def test_a_histogram_counts_what_a_counter_counts(records: list[tuple[int, int, str]], sort: str) -> None:
    """Keys, hitcounts, sums in 64 bits and totals are those of a Counter; rows come in the order asked for."""
    instance = Instance()
    instance.files[EV] = File(make_event("ev", "s32 a; s64 b; char[8] c"))
    assert instance.command(EV, f"hist:keys=a,c:vals=b{sort}") == ""
    hits: Counter[tuple[int, str]] = Counter()
    sums: Counter[tuple[int, str]] = Counter()
    for a, b, c in records:
        instance.hit(EV, struct.pack("<iq8s", a, b, c.encode()))
        hits[a % 2**64, c[:7]] += 1
        sums[a % 2**64, c[:7]] += b
    text = instance.files[EV].triggers.hist_text()
    rows = [(int(a), c.rstrip(), int(hit), int(b)) for a, c, hit, b in ROW.findall(text)]
    assert {(a, c): (hit, b) for a, c, hit, b in rows} == {key: (hits[key], sums[key] % 2**64) for key in hits}
    assert f"    Hits: {len(records)}\n    Entries: {len(hits)}\n    Dropped: 0\n" in text
    signed = [((a + 2**31) % 2**64 - 2**31, c, hit, b) for a, c, hit, b in rows]
    orders: dict[str, Callable[[tuple[int, str, int, int]], tuple[object, ...] | int]] = {
        "": lambda row: row[2],
        ":sort=b": lambda row: row[3],
        ":sort=a.descending,hitcount": lambda row: (-row[0], row[2]),
        ":sort=c,b.descending": lambda row: (row[1], -row[3]),
    }
    ranks: list[Any] = [orders[sort](row) for row in signed]
    assert ranks == sorted(ranks)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers()), max_size=60))
def test_the_sort_sorts_and_sorts_equals_again(items: list[tuple[int, int, int]]) -> None:
    """Whatever it does to equal entries, none is lost, and the second order holds among those equal in the first."""
    once, twice = list(items), list(items)
    heap_sort(once, lambda a, b: a[0] - b[0])
    assert [item[0] for item in once] == sorted(item[0] for item in items)
    assert Counter(once) == Counter(items)
    sort_twice(twice, lambda a, b: a[0] - b[0], lambda a, b: b[1] - a[1])
    assert [(item[0], -item[1]) for item in twice] == sorted((item[0], -item[1]) for item in items)
    assert Counter(twice) == Counter(items)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
@example(8589934590, 20000)
def test_a_percentage_is_nearly_right_whatever_the_numbers(value: int, total: int) -> None:
    """Small numbers give the exact cut-off quotient, large ones one that is a little too large; 32 bits are kept.

    Of which all being ones means an error to the kernel, also where that is the quotient.
    """
    part = percentage(value, total)
    if value < 2**64 // 10000 - 1:
        right = value * 10000 // total if total else -bool(value)
    else:
        right = value // (total // 10000) if total >= 10000 else -1
    assert part == (None if right % 2**32 == 2**32 - 1 else right % 2**32)
