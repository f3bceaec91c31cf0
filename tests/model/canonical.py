"""When two worlds are the same: a value that is equal for worlds in which the same can happen from now on.

Processes and files have no names, so they are sorted: two worlds that differ only in which of them does what are one.
Left out is what changes nothing but labels (ids, `mm` numbers) and what `invariants.py` holds equal to what is here
(the queue: one item for each event with work and each faulting enabler, taken in any order).
`test_search.py` asks that every attribute of the engine's objects is either looked at here or in `LEFT_OUT`.
"""

from typing import Final

from tests.engine.world import WORD
from tests.model.world import Process, World
from userevents.engine import UserEvent

Key = tuple[object, ...]

LEFT_OUT: Final = {
    "UserEvent": {
        "_lifecycle": "the same for all",
        "enablers": "seen from the processes; their order decides only the order of retries, which are taken in any",
        "files": "seen from the files",
        "id": "a label",
        "listed": "only listed events are looked at",
        "spelled": "only saves a comparison",
        "system": "follows from multi",
        "tracepoint_name": "a label, for a multi-format event; else the name",
    },
    "Enabler": {"addr": "one word a process", "mm": "seen from it", "size": "the same for all"},
    "UserEventMm": {
        "_fault_in": "fixed",
        "_lifecycle": "the same for all",
        "_memory": "seen from the process",
        "_number": "a label",
        "label": "a label",
    },
    "OpenFile": {
        "_index": "follows from the events",
        "_lifecycle": "the same for all",
        "closed": "closed files are left",
        "label": "a label",
    },
}
LOOKED_AT: Final = {
    "UserEvent": {
        "borrowed",
        "fields",
        "multi",
        "name",
        "persist",
        "probes",
        "refcnt",
        "status",
        "stuck",
        "work",
    },
    "Enabler": {"bit", "event", "faulting", "freeing"},
    "UserEventMm": {"enablers", "refcnt", "tasks"},
    "OpenFile": {"_events"},
}


def canonical(world: World) -> Key:
    """The world without names."""
    return (
        tuple(sorted(_event_keys(world))),
        tuple(sorted(file_key(world, which) for which in range(len(world.files)))),
        tuple(sorted(process_key(process) for process in world.processes)),
        tuple(sorted(process_key(orphan) for orphan in world.orphans)),
    )


def process_key(process: Process) -> Key:
    """One process: tasks, memory, enablers."""
    mm = process.mm
    enablers = tuple(sorted((e.bit, *_declaration(e.event), e.faulting, e.freeing) for e in mm.enablers.values()))
    if not mm.tasks:
        return (0, mm.refcnt, enablers)
    memory, plain = process.memory, process.plain
    return (mm.tasks, mm.refcnt, enablers, memory.words.get(WORD, 0), WORD in memory.absent, tuple(sorted(plain.lost)))


def file_key(world: World, which: int) -> Key:
    """One open file: its events in order."""
    return tuple(_declaration(event) for event in world.files[which].real.events)


def _declaration(event: UserEvent) -> Key:
    """What no other listed event has as well; not the name in the tree, which for a multi-format event counts up."""
    return (event.name, event.multi, event.fields)


def _event_keys(world: World) -> list[Key]:
    return [
        (
            *_declaration(event),
            event.persist,
            event.refcnt,
            event.borrowed,
            event.status,
            event.stuck,
            event.work is not None,
            tuple(sorted(probe.holder_name for probe in event.probes)),
        )
        for event in world.group.events
    ]
