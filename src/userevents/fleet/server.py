"""The packaged NATS server: where its program is."""

import os
import shutil
import sys

from ..errors import Unusable


def binary() -> str:
    """Return the path of the server's program: the packaged one beside this Python, or one on the PATH.

    Raises `Unusable` where there is none.
    """
    beside = os.path.join(os.path.dirname(sys.executable), "nats-server")
    found = beside if os.access(beside, os.X_OK) else shutil.which("nats-server")
    if found is None:
        raise Unusable("there is no nats-server here: pip install 'userevents[fleet]' brings one")
    return found
