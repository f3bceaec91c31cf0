"""The order of a histogram's entries, equal ones included: the kernel's sort does not keep their order, but has one.

Entries come sorted by the bytes of their keys. They are then sorted by a heap sort: whatever it does to equal
entries can be seen in the file, so it must be the same heap sort.

Source: user_events contract, tracefs.md section 11; recordings of a real kernel.
"""

import itertools
from collections.abc import Callable
from typing import TypeVar

Item = TypeVar("Item")
Compare = Callable[[Item, Item], int]
"""Negative, zero or positive as the first item comes before, with or after the second."""


def heap_sort(items: list[Item], compare: Compare[Item]) -> None:
    """Sort `items` in place with a max-heap, taking its two largest items off at a time.

    >>> numbers = [3, 1, 2, 5, 4]
    >>> heap_sort(numbers, lambda a, b: a - b)
    >>> numbers
    [1, 2, 3, 4, 5]
    """
    size = len(items)
    for root in reversed(range(size // 2)):
        _settle(items, root, size, compare)
    while size > 3:
        _swap(items, 0, size - 1)
        second = 1 if compare(items[1], items[2]) > 0 else 2
        _swap(items, second, size - 2)
        size -= 2
        # The second largest left its child's place, so that subtree is put in order before the whole.
        _settle(items, second, size, compare)
        _settle(items, 0, size, compare)
    if size > 1:
        _swap(items, 0, size - 1)
        if size == 3 and compare(items[0], items[1]) > 0:
            _swap(items, 0, 1)


def _settle(items: list[Item], root: int, size: int, compare: Compare[Item]) -> None:
    """Move the item at `root` down to where it belongs: first find the way of the largest children, then climb back."""
    way = [root]
    while (child := 2 * way[-1] + 1) < size:
        if child + 1 < size and compare(items[child], items[child + 1]) <= 0:
            child += 1
        way.append(child)
    while len(way) > 1 and compare(items[root], items[way[-1]]) >= 0:
        way.pop()
    moving = items[root]
    for place, below in itertools.pairwise(way):
        items[place] = items[below]
    items[way[-1]] = moving


def _swap(items: list[Item], a: int, b: int) -> None:
    items[a], items[b] = items[b], items[a]


def sort_twice(items: list[Item], first: Compare[Item], second: Compare[Item] | None) -> None:
    """Sort by `first`, and each run of equals again by `second`."""
    heap_sort(items, first)
    if second is None:
        return
    start = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or first(items[start], items[end]):
            run = items[start:end]
            heap_sort(run, second)
            items[start:end] = run
            start = end
