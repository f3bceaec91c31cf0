"""The C extension of this room, if it was built and is wanted: ``USEREVENTS_NATIVE=0`` asks for pure Python."""

from types import ModuleType

native: ModuleType | None
"""`_pages`, or None: then the twins in pure Python do the same, slower."""

try:
    from . import _pages as native  # type: ignore[attr-defined, no-redef, unused-ignore]
except (ImportError, SystemError):  # not built or not wanted; SystemError: a free-threaded Python before 3.14
    native = None
