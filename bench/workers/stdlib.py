"""The standard library's logging: to a file, and through a queue to a thread that writes the file."""

import logging
import logging.handlers
import queue
import sys
import time

from loop import Case, serve

FORMAT = "%(asctime)s %(process)d %(thread)d %(message)s"


def logger(name: str, handler: logging.Handler) -> Case:
    """Return the case that logs three values through a handler."""
    log = logging.getLogger(name)
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)

    def run(count: int) -> None:
        for number in range(count):
            log.info("%d %d %s", number, number, "hello world!")

    return run


directory = sys.argv[1]
if sys.argv[2:] == ["queue"]:
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(lines, logging.FileHandler(f"{directory}/queue.log"))
    listener.start()
    log_to_queue = logger("queue", logging.handlers.QueueHandler(lines))

    def queued(count: int) -> None:
        """Log, and wait until the listener has written it all."""
        log_to_queue(count)
        while not lines.empty():
            time.sleep(0.0005)

    serve({"queue": queued}, time.process_time_ns)
else:
    long = logging.FileHandler(f"{directory}/long.log")
    long.setFormatter(logging.Formatter(FORMAT))
    serve(
        {
            "file": logger("file", logging.FileHandler(f"{directory}/file.log")),
            "file with time, pid, tid": logger("long", long),
        }
    )
