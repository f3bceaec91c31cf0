"""What the integrations and bound fields cost a program: `./dev bench integrations`.

One process runs an application, or a call, as it is, with ours around it while nobody listens, and with ours while a
tracer in another process records it: slices in changing order, so that what slows the machine slows all. Goals: a
request takes at most 0.2 us more while off, 1 us more while on, by the median of the rounds' differences.
"""

import logging
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "shared"))
from results import Row, keep, print_rows, wait_until_quiet

WORKERS = Path(__file__).resolve().parent / "workers"
ROUNDS = 12
SLICES = 20
CALLS = 300
"""In a slice: short, so that most slices are not interrupted by other programs."""
GOALS_US: dict[str, tuple[float | None, float | None]] = {"asgi": (0.2, 1.0), "wsgi": (0.2, 1.0)}

Run = Callable[[int], None]
"""Makes so many calls."""


class Switch:
    """The tracer in its own process."""

    def __init__(self) -> None:
        command = [sys.executable, str(WORKERS / "switch.py")]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def record(self, *patterns: str) -> None:
        """Record this and nothing else, from now on."""
        assert self._process.stdin is not None
        print(*patterns, file=self._process.stdin, flush=True)
        self._answer()

    def _answer(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ok\n":
            raise RuntimeError("the tracer ended")

    def end(self) -> None:
        """End it."""
        self._process.communicate()


def asgi() -> tuple[Run, Run]:
    """An application that answers at once."""
    from userevents.integrations.asgi import trace_requests

    start = {"type": "http.response.start", "status": 200, "headers": []}
    body = {"type": "http.response.body", "body": b"ok"}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send(body)

    async def send(message: Any) -> None: ...

    scope = {"type": "http", "method": "GET", "path": "/shop/cart"}

    def runner(app: Any) -> Run:
        async def requests(count: int) -> None:
            for _ in range(count):
                await app(scope, None, send)

        def run(count: int) -> None:
            try:
                requests(count).send(None)  # no loop is needed: nothing waits
            except StopIteration:
                pass

        return run

    return runner(app), runner(trace_requests(app))


def wsgi() -> tuple[Run, Run]:
    """An application that answers with one piece."""
    from userevents.integrations.wsgi import trace_requests

    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/shop/cart"}

    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"ok"]

    def start_response(status: str, headers: Any, exc_info: Any = None) -> None: ...

    def runner(app: Any) -> Run:
        def requests(count: int) -> None:
            for _ in range(count):
                for _ in app(environ, start_response):
                    pass

        return requests

    return runner(app), runner(trace_requests(app))


def handler() -> tuple[Run, Run]:
    """A log call that another handler would have to format; a logger without handlers beside one with ours."""
    from userevents.integrations.logging import UserEventsHandler

    bare, ours = logging.Logger("bare"), logging.Logger("ours")
    bare.addHandler(logging.NullHandler())
    ours.addHandler(UserEventsHandler())

    def runner(logger: logging.Logger) -> Run:
        def calls(count: int) -> None:
            for number in range(count):
                logger.info("item %d of %s", number, "cart")

        return calls

    return runner(bare), runner(ours)


def otel() -> tuple[Run, Run]:
    """A span of OpenTelemetry, with no processor and with ours."""
    from opentelemetry.sdk.trace import TracerProvider

    from userevents.integrations.opentelemetry import UserEventsSpanProcessor

    with_ours = TracerProvider()
    with_ours.add_span_processor(UserEventsSpanProcessor())

    def runner(provider: TracerProvider) -> Run:
        tracer = provider.get_tracer("bench")

        def spans(count: int) -> None:
            for _ in range(count // 10):
                with tracer.start_as_current_span("span"):
                    pass

        return spans

    return runner(TracerProvider()), runner(with_ours)


def bound_field() -> tuple[Run, Run]:
    """A call that is given its value, beside one that takes it from the context."""
    from userevents import context, event, from_context

    @event
    def bench_given(sql: str, request_id: str = "") -> None: ...
    @event
    def bench_bound(sql: str, request_id: str = from_context()) -> None: ...

    def given(count: int) -> None:
        for _ in range(count):
            bench_given("SELECT 1", "a4f1")

    def bound(count: int) -> None:
        with context(request_id="a4f1"):
            for _ in range(count):
                bench_bound("SELECT 1")

    return given, bound


def block() -> tuple[Run, Run]:
    """An empty block, beside one that binds."""
    from userevents import context

    class Empty:
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    def empty(count: int) -> None:
        for _ in range(count):
            with Empty():
                pass

    def bind(count: int) -> None:
        for _ in range(count):
            with context(request_id="a4f1"):
                pass

    return empty, bind


CASES: dict[str, tuple[Callable[[], tuple[Run, Run]], str, tuple[str, ...]]] = {
    "asgi": (asgi, "a request", ("http_*",)),
    "wsgi": (wsgi, "a request", ("http_*",)),
    "logging": (handler, "a log call", ("log_record",)),
    "opentelemetry": (otel, "a tenth of a span", ("otel_*",)),
    "bound field": (bound_field, "a call", ("bench_*",)),
    "binding block": (block, "a block", ("bench_*",)),
}


def measure(name: str, switch: Switch) -> list[Row]:
    """Return how much longer a call takes, off and recorded: a row each, in us."""
    make, unit, patterns = CASES[name]
    bare, ours = make()
    times: dict[str, list[list[float]]] = {kind: [] for kind in ("bare", "off", "bare on", "on")}
    for kind in times:
        switch.record(*(patterns if kind.endswith("on") else ()))
        (bare if kind.startswith("bare") else ours)(200)
    for _ in range(ROUNDS):
        for recorded in random.sample((False, True), 2):
            switch.record(*(patterns if recorded else ()))
            kinds = ("bare on", "on") if recorded else ("bare", "off")
            for kind in kinds:
                times[kind].append([])
            for number in range(2 * SLICES):
                kind = kinds[number % 2]
                began = time.perf_counter()
                (bare if kind.startswith("bare") else ours)(CALLS)
                times[kind][-1].append((time.perf_counter() - began) / CALLS * 1e6)
    goals = GOALS_US.get(name, (None, None))
    return [
        _row(f"{name}: {unit} more, {said}", times[kind], times[base], goal)
        for said, kind, base, goal in (
            ("nobody listens", "off", "bare", goals[0]),
            ("recorded", "on", "bare on", goals[1]),
        )
    ]


def _row(case: str, ours: list[list[float]], bare: list[list[float]], goal: float | None) -> Row:
    """Return the difference of the least times, and the rounds' medians of the differences of slices side by side."""
    least = min(map(min, ours)) - min(map(min, bare))
    rounds = [
        statistics.median(one - other for one, other in zip(mine, theirs, strict=True))
        for mine, theirs in zip(ours, bare, strict=True)
    ]
    return Row(case, "", least, statistics.median(rounds), min(rounds), max(rounds), goal, unit="µs")


def main() -> None:
    """Measure what is named, or all."""
    began = time.monotonic()
    quiet = wait_until_quiet()
    rows = []
    with tempfile.TemporaryDirectory(prefix="userevents-bench-", dir="/dev/shm") as directory:
        os.environ.update(USEREVENTS_DIR=directory, USEREVENTS_BACKEND="session")
        switch = Switch()
        for name in sys.argv[1:] or list(CASES):
            rows += measure(name, switch)
        switch.end()
    print_rows(rows)
    print(quiet)
    keep("integrations", rows, notes=[quiet], seconds=time.monotonic() - began)


if __name__ == "__main__":
    main()
