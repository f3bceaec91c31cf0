"""A service at a steady 10,000 requests a second, an event for each: what does recording it cost (`overhead.py`)?

A request is parsed, looked up, rendered as JSON and signed: about what the smallest real handlers do.
"""

import hashlib
import json
import sys
import time
from urllib.parse import parse_qsl, urlsplit

from userevents import char16, event, s64, u32

RATE = 10_000
BATCH = 100
PRICES = {str(number): number * 7 % 1000 for number in range(1000)}


@event
def request(id: u32, latency_ns: s64, method: char16, path: str) -> None:
    """One request, when its answer is made."""


def handle(number: int) -> bytes:
    """Answer one request."""
    began = time.perf_counter_ns()
    url = urlsplit(f"/items/{number % 1000}?currency=EUR&page={number % 7}")
    query = dict(parse_qsl(url.query))
    answer = json.dumps({"id": number, "price": PRICES[url.path.rpartition("/")[2]], **query}).encode()
    signed = hashlib.sha256(answer).digest() + answer
    request(number, time.perf_counter_ns() - began, "GET", url.path)
    return signed


def serve(seconds: float) -> None:
    """Serve for so long, a batch of requests every 10 ms."""
    requests = int(seconds * RATE)
    start = time.monotonic()
    for first in range(0, requests, BATCH):
        for number in range(first, first + BATCH):
            handle(number)
        time.sleep(max(0.0, start + (first + BATCH) / RATE - time.monotonic()))


def main() -> None:
    """For each line `SECONDS STATE` serve so long, once events are so; tell its CPU time in ns, and the events."""
    for number in range(2000):
        handle(number)
    for line in sys.stdin:
        seconds, state = line.split()
        while bool(request) is not (state == "on"):
            time.sleep(0.01)
        before = request.stats
        cpu = time.process_time_ns()
        serve(float(seconds))
        spent = time.process_time_ns() - cpu
        after = request.stats
        print(spent, *(after[name] - before[name] for name in ("attempts", "ring_full")), flush=True)


main()
