"""Call an event COUNT times, for callgrind: `count.py CASE COUNT`."""

import sys

from userevents import event, u32, u64


@event
def bench_event(number: u32, total: u64, text: str) -> None:
    "Three fields: u32, u64 and a string of 12 characters."


def main() -> None:
    """Run one case."""
    case, count = sys.argv[1], int(sys.argv[2])
    listening = bool(bench_event)
    assert listening == case.endswith(" on"), f"'{case}', but somebody listens: {listening}"
    if case.startswith("empty"):
        for _number in range(count):
            pass
    elif case.startswith("guard"):
        for _number in range(count):
            if bench_event:
                pass
    elif case.startswith("call"):
        for number in range(count):
            bench_event(number, number, "hello world!")
    elif case.startswith("write"):
        for number in range(count):
            bench_event.write(number, number, "hello world!")
    else:
        sys.exit(f"no case '{case}'")
    found = bench_event.stats
    lost = {name: value for name, value in found.items() if value and name not in ("attempts", "cut")}
    assert not lost, f"calls that were dropped cost something else: {lost}"


main()
