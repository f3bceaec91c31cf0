"""A service at a steady 10,000 requests a second, an event for each: what does recording it cost (`overhead.py`)?

A request is parsed, looked up, rendered as JSON and signed: about what the smallest real handlers do. Prints the CPU
time of the process for all its requests, in nanoseconds.
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


def main() -> None:
    """Serve for as many seconds as the command line says."""
    requests = int(float(sys.argv[1]) * RATE)
    for number in range(2000):
        handle(number)
    start, cpu = time.monotonic(), time.process_time_ns()
    for first in range(0, requests, BATCH):
        for number in range(first, first + BATCH):
            handle(number)
        time.sleep(max(0.0, start + (first + BATCH) / RATE - time.monotonic()))
    spent = time.process_time_ns() - cpu
    lost = request.stats["attempts"] if request else 0
    print(spent, lost, time.monotonic() - start)


main()
