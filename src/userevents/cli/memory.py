"""Memory for a verb that makes and drops large chunks until it ends: what is dropped is kept for the next one."""

import contextlib
import ctypes
import gc
from collections.abc import Iterator

_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_KEPT = 256 << 20
_MAPPED = 32 << 20


@contextlib.contextmanager
def kept_memory() -> Iterator[None]:
    """Look for no cycles as long as this lasts, and from now on give freed memory back at the end of the process only.

    Else glibc hands each dropped chunk back to the kernel, which clears its pages again for the next one: a tenth of
    the time of a query. Other C libraries have no such setting, and stay as they are.
    """
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        pass
    else:
        set_option(_TRIM_THRESHOLD, _KEPT)
        set_option(_MMAP_THRESHOLD, _MAPPED)
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
