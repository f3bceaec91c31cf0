"""Print what babeltrace2's own reader makes of a CTF trace, a line of JSON for each event or loss.

Run by readers/ctf.py. Its bindings exist for the system's Python only, so this runs by that, and imports nothing of
ours.
"""

import json
import sys
from typing import Any

import bt2  # type: ignore[import-not-found]


def plain(value: Any) -> Any:
    """Return a field's value as JSON has it; bytes as {"hex": ...}, floats as text."""
    kind = type(value).__name__
    if "String" in kind:
        return str(value)
    if "Array" in kind:
        return {"hex": bytes(int(each) for each in value).hex()}
    if "Real" in kind:
        return {"float": float(value).hex()}
    return int(value)


for message in bt2.TraceCollectionMessageIterator(sys.argv[1]):
    if type(message) is bt2._EventMessageConst:
        event = message.event
        fields = {name: plain(value) for name, value in event.payload_field.items()}
        context = (
            {name: plain(value) for name, value in event.specific_context_field.items()}
            if (event.specific_context_field is not None)
            else {name: plain(value) for name, value in event.common_context_field.items()}
        )
        stamp = message.default_clock_snapshot
        print(
            json.dumps(
                [
                    stamp.value,
                    stamp.ns_from_origin,
                    int(event.packet.context_field["cpu_id"]),
                    event.name,
                    context,
                    fields,
                ]
            )
        )
    elif type(message) is bt2._DiscardedEventsMessageConst:
        print(json.dumps({"discarded": message.count}))
