"""The hist command: make a histogram, pause, continue or clear one, or remove it.

Source: user_events contract, tracefs.md sections 11 and 12.
"""

import errno
from typing import Final

from ..errors import Refused
from .hist_spec import parse_spec
from .hist_text import HistRefused, HistText, parse_hist_text, split_filter
from .hist_trigger import HistTrigger
from .triggers_kinds import Site
from .triggers_text import Order, parse_condition

EXISTS: Final = "Hist trigger already exists"
NOT_THERE: Final = "Can't clear or continue a nonexistent hist trigger"
OTHER_NAMED: Final = "Named hist trigger doesn't match existing named trigger (includes variables)"
NO_CLOCK: Final = "Couldn't set trace_clock"


def take_hist(order: Order, site: Site) -> None:
    """Carry out one hist command; what is refused is told in the error log.

    Raises `Refused` with the kernel's errno.
    """
    if order.rest is None:
        raise Refused(errno.EINVAL, "'hist' alone counts nothing; write hist:keys=FIELD")
    try:
        _take(order.rest, order.remove, site)
    except HistRefused as refusal:
        command = f"hist:{order.rest}"
        location = f"hist:{site.event.system}:{site.event.tracepoint_name}"
        site.context.log_error(location, refusal.message, command, max(command.find(refusal.word), 0))
        raise


def _take(rest: str, remove: bool, site: Site) -> None:
    text, clause = split_filter(rest)
    # Its '-' is no operator: the kernel writes the modifier another way before it looks further.
    attributes = parse_hist_text(text.replace(".sym-offset", ".symXoffset"))
    spec = parse_spec(attributes, site.event.fields)
    condition = parse_condition(clause, site.event.fields, site.context)
    named = site.context.hist_names.find(attributes.name) if attributes.name else None
    asked = HistTrigger(spec, attributes.name, condition)
    there = next((one for one in site.triggers if isinstance(one, HistTrigger) and one.meant_by(asked, named)), None)
    if remove:
        if there is not None:
            site.triggers.remove(there, site.context)
        return
    if named is not None and not named.table.spec.same_as(spec):
        raise HistRefused(OTHER_NAMED, f"name={attributes.name}")
    if there is not None and not (attributes.name and named is None):
        _change(there, attributes)
    else:
        _add(asked, named, attributes, site)


def _change(trigger: HistTrigger, attributes: HistText) -> None:
    """Do to a histogram that is there what the command asks: the first of pause, continue and clear that it has."""
    if attributes.pause:
        trigger.paused = True
    elif attributes.cont:
        trigger.paused = False
    elif attributes.clear:
        trigger.table.clear()
    else:
        raise HistRefused(EXISTS, number=errno.EEXIST)


def _add(asked: HistTrigger, named: HistTrigger | None, attributes: HistText, site: Site) -> None:
    """Take in a new histogram, which counts into the table of its name if that has one."""
    if attributes.cont or attributes.clear:
        raise HistRefused(NOT_THERE, number=errno.ENOENT)
    trigger = HistTrigger(asked.spec, asked.name, asked.condition, shared=named)
    if asked.spec.uses_time:
        try:
            site.context.set_clock(attributes.clock)
        except Refused:
            raise HistRefused(NO_CLOCK, attributes.clock) from None
    trigger.paused = attributes.pause
    site.context.hist_names.join(trigger)
    site.triggers.add(trigger)
