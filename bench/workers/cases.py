"""The event that every benchmark of a call measures, and the loops around it."""

from userevents import event, u32, u64


@event
def bench_event(number: u32, total: u64, text: str) -> None:
    "Three fields: u32, u64 and a string of 12 characters."


def empty(count: int) -> None:
    """Run the loop that every case has around its call."""
    for _number in range(count):
        pass


def guard(count: int) -> None:
    """Test the event."""
    for _number in range(count):
        if bench_event:
            pass


def call(count: int) -> None:
    """Call it."""
    for number in range(count):
        bench_event(number, number, "hello world!")


def write(count: int) -> None:
    """Call its `write`."""
    for number in range(count):
        bench_event.write(number, number, "hello world!")
