"""The gc provider: one event for each collection."""

import pytest

from tests.providers.conftest import Program

COLLECT = """
import gc
gc.disable()
gc.collect(0)
class Node: pass
node = Node()
node.self = node
del node
gc.collect()
"""


def test_each_collection_tells_what_it_found_and_how_long_it_took(program: Program) -> None:
    """By generation; the cycle that the program dropped is among what was collected."""
    program.run("-c", COLLECT, providers=("gc",))
    chosen = program.events("py_gc")
    young = [event for event in chosen if event["generation"] == 0]
    full = [event for event in chosen if event["generation"] == 2]
    assert young
    assert any(event["collected"] >= 1 for event in full)
    assert all(0 < event["duration_ns"] < 10**10 and event["uncollectable"] == 0 for event in chosen)


def test_nothing_is_timed_while_nobody_listens(program: Program) -> None:
    """An event that is enabled in the middle of a collection has no beginning, so it is not written."""
    code = """
import gc, sys
gc.disable()
collector = sys.modules["_userevents_injected.providers.collector"]
class Event:
    on, calls = False, []
    def __bool__(self): return self.on
    def __call__(self, *values): self.calls.append(values)
event = Event()
callback = collector.make_callback(event)
info = {"generation": 1, "collected": 2, "uncollectable": 3}
callback("start", info)
event.on = True
callback("stop", info)
print(event.calls)
callback("start", info)
callback("stop", info)
print(len(event.calls), event.calls[0][:3])
"""
    assert program.run("-c", code, providers=("gc",)).stdout == "[]\n1 (1, 2, 3)\n"


@pytest.mark.parametrize("trouble", ["bool", "call"])
def test_a_broken_client_is_not_printed_by_the_collector(program: Program, trouble: str) -> None:
    """An exception in a callback would be shown on the program's stderr."""
    program.run("-c", COLLECT, providers=("gc",), env={"FAKE_TROUBLE": trouble})
    assert not program.log.exists()
