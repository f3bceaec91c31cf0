"""What stands between a provider and the program: no exception of ours gets out, none of the program's is lost.

A provider's code runs inside the program's own calls, so an exception that left it would abort what the program was
doing. Swallowing everything is wrong too: a signal can arrive while a provider runs, and Python then calls the
program's handler right there. What that handler raises (a job's timeout, say) belongs to the program.
"""

from __future__ import annotations

import _thread
import os
import sys

from ..client.signals import raised_by_handler


class Busy(_thread._local):
    """A flag that each thread has for itself: `now` is true while that thread is inside the provider."""

    now = False

    def begin(self) -> None:
        """Mark this thread as busy."""
        self.now = True

    def end(self) -> None:
        """Take the mark away."""
        self.now = False


def absorb(error: Exception) -> None:
    """Swallow `error`, raised while a provider worked; raise it again if a signal handler of the program raised it."""
    if raised_by_handler(error):
        raise error
    if os.environ.get("USEREVENTS_DEBUG") == "1":
        sys.__excepthook__(type(error), error, error.__traceback__)
