"""Changing the wishes of a fleet and the events that persist in it: what operators may do, and hosts may not."""

import errno
from collections.abc import Iterable
from typing import Final

from ..errors import Refused
from . import names
from .broker import Broker, Conflict
from .reading import declaration_of, matches, read_view, read_wishes
from .wishes import Wish, Wishes

_TRIES: Final = 20


async def add_wishes(broker: Broker, added: Iterable[Wish]) -> Wishes:
    """Add wishes in this order, whoever else adds some at the same time; the broker tells the hosts that listen.

    Raises `Refused`: EACCES if we may not, EBUSY if others changed them all the time.
    """
    wishes = list(added)
    for _ in range(_TRIES):
        wished, sequence = await read_wishes(broker)
        for wish in wishes:
            wished = wished.with_wish(wish)
        try:
            await broker.put(names.WISHES, wished.pack(), sequence)
        except Conflict:
            continue
        return wished
    raise Refused(errno.EBUSY, f"others changed what is wished {_TRIES} times while we tried to; try again")


async def delete_event(broker: Broker, pattern: str) -> list[str]:
    """Delete the persistent events that a pattern names; returns their declarations.

    Raises `Refused`: ENOENT where none persists, EBUSY where a host that lives uses one, as the kernel does.
    """
    chosen = [one for one in (await read_view(broker, pattern)).events() if matches(pattern, one.event)]
    persistent = [one for one in chosen if one.persistent]
    if not persistent:
        used = f"; '{chosen[0].event}' does not persist: it goes when its last host lets go" if chosen else ""
        raise Refused(errno.ENOENT, f"no event that persists in the fleet matches '{pattern}'{used}")
    for one in persistent:
        if one.users:
            who = ", ".join(one.users[:5]) + (", ..." if len(one.users) > 5 else "")
            raise Refused(errno.EBUSY, f"event '{one.event}' is used on {who}: it can be deleted when nobody does")
    deleted = []
    for one in persistent:
        entries = [
            entry
            for host in one.persistent
            if (entry := await broker.get(names.persist_key(one.event, one.layout, host))) is not None
        ]
        for entry in entries:
            await broker.remove(entry.key, entry.sequence)
        deleted += [declaration_of(entry) or one.event for entry in entries[:1]]
    return deleted
