"""viztracer's own events, its function tracing off (log_sparse), with arguments."""

from loop import serve
from viztracer import VizTracer

tracer = VizTracer(log_sparse=True, tracer_entries=1_000_000, verbose=0)
tracer.start()


def instant(count: int) -> None:
    """Log an instant with three values."""
    for number in range(count):
        tracer.log_instant("bench", args={"number": number, "total": number, "text": "hello world!"})


def variable(count: int) -> None:
    """Log one variable."""
    for number in range(count):
        tracer.log_var("bench", number)


def event(count: int) -> None:
    """Log an event around nothing."""
    for _number in range(count):
        with tracer.log_event("bench"):
            pass


serve({"log_instant": instant, "log_var": variable, "log_event": event})
