"""A customer of a web shop: asks an HTTP server for pages, and emits an event for every request and every stage.

    python examples/shop.py http://127.0.0.1:8000 300

Run as it is, its events cost next to nothing. Under `userevents record -- python examples/shop.py ...`, or beside a
recording of another program, they are in the trace. The number and order of requests depend on the arguments alone.
"""

import http.client
import logging
import sys
import time
from urllib.parse import urlsplit

from userevents import char16, event, s64, u32

STAGES = {
    "browse": ["/", "/shop.css", "/about.html", "/products.txt"],
    "compare": ["/catalogue.html", "/prices.json", "/catalogue.csv", "/stock.json"],
    "checkout": ["/terms.txt", "/basket/", "/shop.css"],  # nobody has built the basket yet: 404
}
PROBE_EVERY = 10  # each tenth request only asks whether the page has changed

log = logging.getLogger("shop")
log.addHandler(logging.NullHandler())
log.setLevel(logging.INFO)


@event
def request(id: u32, latency_ns: s64, method: char16, path: str) -> None:
    """One HTTP request, when its answer has been read."""


@event
def stage(name: char16, requests: u32, elapsed_ns: s64) -> None:
    """One stage of the visit, when it is over."""


class Visit:
    """One customer's requests to one server, counted from 1."""

    def __init__(self, host: str, port: int) -> None:
        self._server = http.client.HTTPConnection(host, port, timeout=10)
        self.requests = 0
        self.missing = 0
        self.slowest_ns = 0

    def ask(self, path: str) -> None:
        """Make one request and read the whole answer."""
        self.requests += 1
        method = "HEAD" if self.requests % PROBE_EVERY == 0 else "GET"
        began = time.perf_counter_ns()
        self._server.request(method, path)
        answer = self._server.getresponse()
        answer.read()
        latency_ns = time.perf_counter_ns() - began
        request(self.requests, latency_ns, method, path)
        self.slowest_ns = max(self.slowest_ns, latency_ns)
        if answer.status != http.client.OK:
            self.missing += 1
            log.warning("%s %s: %d %s", method, path, answer.status, answer.reason)

    def walk(self, name: str, paths: list[str], count: int) -> None:
        """Go through one stage: `count` requests, over `paths` again and again."""
        began = time.perf_counter_ns()
        for number in range(count):
            self.ask(paths[number % len(paths)])
        stage(name, count, time.perf_counter_ns() - began)
        log.info("%s: %d requests", name, count)


def main(url: str, count: int) -> str:
    """Make `count` requests in all; return a line that says how it went."""
    place = urlsplit(url)
    visit = Visit(place.hostname or "127.0.0.1", place.port or 80)
    for number, (name, paths) in enumerate(STAGES.items()):
        left = len(STAGES) - number
        visit.walk(name, paths, (count - visit.requests) // left)
    return f"shop: {visit.requests} requests, {visit.missing} not found, slowest {visit.slowest_ns / 1e6:.1f} ms"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: shop.py URL [REQUESTS]")
    try:
        print(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) == 3 else 300))
    except OSError as error:
        sys.exit(f"shop: no answer from '{sys.argv[1]}': {error}")
