"""The C extension of this room, if it was built and is wanted: ``USEREVENTS_NATIVE=0`` asks for pure Python."""

from types import ModuleType
from typing import TYPE_CHECKING

native: ModuleType | None
"""`_pages`, or None: then the twins in pure Python do the same, slower."""

try:
    from . import _pages as native  # type: ignore[attr-defined, no-redef, unused-ignore]
except (ImportError, SystemError):  # not built or not wanted; SystemError: a free-threaded Python before 3.14
    native = None


class PageState:
    """What the page that a ring is filling counts, where C finds it."""


class RingState:
    """What `CpuRing` counts with every record, where C finds it."""


if native is not None and not TYPE_CHECKING:
    PageState, RingState = native.PageState, native.RingState
