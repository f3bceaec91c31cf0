"""A tracer in a process of its own, told what to record: lines of patterns come in, ``ok`` goes out once they hold.

What it records is read and thrown away, as by a recorder whose disk costs nothing. Ends at the end of its input.
"""

import sys
import threading

from userevents.control import Tracer as TracerControl
from userevents.host import LocalAccess, Tracer
from userevents.tracefs import Tree


def main() -> None:
    """Serve."""
    tracer = Tracer()
    tracer.start()
    instance = TracerControl(LocalAccess(tracer, Tree(tracer))).create_instance("bench")
    stream = instance.stream()

    def drain() -> None:
        while True:
            stream.read(timeout=1.0)

    threading.Thread(target=drain, daemon=True).start()
    print("ok", flush=True)
    for line in sys.stdin:
        instance.set_patterns(line.split() or ["none_of_these"])
        print("ok", flush=True)


if __name__ == "__main__":
    main()
