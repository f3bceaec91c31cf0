"""Faults that are planted into the fleet's machines: the search must find each, in a few steps or by a walk."""

from collections.abc import Iterator
from typing import Any

from tests.model.fleet import World
from userevents.fleet import names
from userevents.fleet.table import Answer, Entry, Presence, Put, Question, Read, Remove, Sweep


class SweepsUnseen(Sweep):
    """Takes away what it read without looking at the lease."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self._steps = self._steps[:2]

    def done(self, question: Question, answer: Answer) -> None:
        """Removes at once."""
        super().done(question, answer)
        if isinstance(question, Read) and not self._steps and isinstance(answer, list):
            self._steps = [Remove(entry.key, entry.sequence) for entry in self._read]
            self.is_done = not self._steps


class LooksFirst(Sweep):
    """Looks at the lease before it reads the keys, which may be written meanwhile."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self._steps = [self._steps[2], *self._steps[:2]]

    def done(self, question: Question, answer: Answer) -> None:
        """Removes what it read, having looked before."""
        if question == Read(names.lease_key(self.host)):
            self._steps.pop(0)
            self.is_done = bool(answer) or answer is None
            return
        super().done(question, answer)
        if not self._steps and isinstance(question, Read) and answer is not None:
            self._steps = [Remove(entry.key, entry.sequence) for entry in self._read]
            self.is_done = not self._steps


class SweepsAll(Sweep):
    """Takes persistent events along."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self._steps[0] = Read(f"*.{names.encode(host)}.*.*")


class LeavesHosts(Sweep):
    """Forgets the host itself."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        del self._steps[1]


class Adopts(Presence):
    """Takes any lease of its own for one that never ran out."""

    def _read_lease(self, found: list[Entry]) -> None:
        joined = self.joined
        super()._read_lease(found)
        if found and self.rival is None and joined:
            self.joined = joined


class KeepsKeys(Presence):
    """Does not write its keys anew under a new lease."""

    def _join(self, sequence: int) -> None:
        super()._join(sequence)
        self._old = True

    def _differences(self, known: dict[str, Entry]) -> Iterator[Question]:
        for question in super()._differences(known):
            if not (isinstance(question, Put) and question.key in known and question.key.startswith("user.")):
                yield question


class RenewsBlindly(Presence):
    """Renews a lease whatever it has become."""

    def _renewal(self) -> Put:
        return super()._renewal()._replace(expected=None)


class Forgets(Presence):
    """Does not take away the key of an event that it uses no more."""

    def _differences(self, known: dict[str, Entry]) -> Iterator[Question]:
        return (question for question in super()._differences(known) if not isinstance(question, Remove))


class Insists(Presence):
    """Makes an event persist again that was deleted in the fleet."""

    def _differences(self, known: dict[str, Entry]) -> Iterator[Question]:
        self._announced.clear()
        for question in super()._differences(known):
            is_persist = isinstance(question, Put) and bool(question.once)
            yield question._replace(once=f"{self.incarnation}.{self._beat}") if is_persist else question  # type: ignore[call-arg]


class NeverLooks(Presence):
    """Never compares its keys with what the broker has."""

    def look_again(self) -> None:
        """Does nothing."""


class Hopes(Presence):
    """Takes what was not answered for done, and never looks."""

    def look_again(self) -> None:
        """Does nothing."""

    def _stored(self, question: Put, answer: Answer) -> None:
        super()._stored(question, self._lease if answer is None else answer)


def world_with(fault: type[Any]) -> type[World]:
    """A world whose machines have this fault."""
    return _WORLDS[fault]


def _world(fault: type[Any]) -> type[World]:
    name = f"WorldOf{fault.__name__}"
    attribute = "make_sweep" if issubclass(fault, Sweep) else "make_presence"
    made = type(name, (World,), {attribute: fault, "__module__": __name__})
    globals()[name] = made  # where a copy finds it
    return made


FAULTS: tuple[type[Any], ...] = (
    SweepsUnseen, LooksFirst, SweepsAll, LeavesHosts, Adopts, KeepsKeys, RenewsBlindly, Forgets, Insists,
    NeverLooks, Hopes,
)  # fmt: skip
_WORLDS = {fault: _world(fault) for fault in FAULTS}
