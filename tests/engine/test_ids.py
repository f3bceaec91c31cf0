"""The pool of event ids: lowest free first, reserved ones kept back."""

import pytest

from userevents.engine import IdPool
from userevents.errors import Refused


def test_the_lowest_free_id_is_given_out_first() -> None:
    """Ids count up from the first, and one that was given back is the next to be given out."""
    pool = IdPool(20, 30)
    assert [pool.allocate() for _ in range(3)] == [20, 21, 22]
    pool.free(21)
    pool.free(20)
    assert [pool.allocate() for _ in range(3)] == [20, 21, 23]


def test_a_reserved_id_is_not_given_out_until_every_reservation_is_released() -> None:
    """Two recordings that use an id both have to let go of it."""
    pool = IdPool(20, 30)
    pool.reserve(20)
    pool.reserve(20)
    assert pool.allocate() == 21
    pool.release(20)
    assert pool.allocate() == 22
    pool.release(20)
    assert pool.allocate() == 20


def test_an_id_freed_while_reserved_comes_back_when_it_is_released() -> None:
    """An event may go before the recording that decodes its records."""
    pool = IdPool(20, 30)
    taken = pool.allocate()
    pool.reserve(taken)
    pool.free(taken)
    assert pool.allocate() == 21
    pool.release(taken)
    assert pool.allocate() == taken


def test_an_id_asked_for_is_given_if_no_event_has_it() -> None:
    """Adoption asks for the id that a session has already, reserved for just that."""
    pool = IdPool(20, 30)
    pool.reserve(25)
    assert pool.allocate(want=25) == 25
    assert pool.allocate(want=25) == 20
    assert pool.allocate(want=19) == 21
    assert pool.allocate(want=31) == 22
    pool.release(25)
    assert [pool.allocate() for _ in range(3)] == [23, 24, 26]


def test_an_id_asked_for_and_freed_is_given_out_once() -> None:
    """An id taken out of order is not forgotten, nor handed to two events."""
    pool = IdPool(20, 24)
    pool.allocate(want=22)
    pool.free(22)
    assert [pool.allocate() for _ in range(5)] == [20, 21, 22, 23, 24]


def test_no_id_left_is_enodev() -> None:
    """The kernel says ENODEV when its 16-bit ids are used up."""
    pool = IdPool(20, 21)
    pool.reserve(21)
    pool.allocate()
    with pytest.raises(Refused, match="ENODEV"):
        pool.allocate()
