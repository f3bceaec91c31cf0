"""A small fleet as a world of steps: real `Presence` and `Sweep`, and a broker, a network and users that are a model.

A question that is asked is answered; or lost; or done while its answer is lost; or done later, when who asked has given
up; or done twice. A lease may run out whenever: that is what slow networks, partitions, stopped processes and clocks
that jump look like from here. What must hold is checked at every step, and, once everything has calmed down, what is
stored must be just what the plain sets of this world say.
"""

import json
import pickle
from collections.abc import Iterator
from typing import Final, NamedTuple

from userevents.fleet import names
from userevents.fleet.table import CONFLICT, Answer, Entry, Presence, Put, Question, Read, Remove, Sweep
from userevents.fleet.view import State, View

LAYOUT: Final = names.layout_of("")
OUTCOMES: Final = ("answered", "lost", "answer lost", "late", "twice")
_ROUNDS: Final = 60


class Step(NamedTuple):
    """One step: what, of which host, about which event, host or outcome."""

    what: str
    host: str = ""
    about: str = ""
    outcome: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self))


class Limits(NamedTuple):
    """How large a world is."""

    hosts: tuple[str, ...] = ("a", "b")
    events: tuple[str, ...] = ("e",)
    faults: int = 2
    """How often the network or a lease may fail."""
    late: int = 1
    """How many questions may be on their way at a time."""


class Broken(AssertionError):
    """Something that must hold does not."""


class Broker:
    """The bucket: keys with sequences, and whether each was written under a lease that has stood since."""

    def __init__(self) -> None:
        self.keys: dict[str, Entry] = {}
        self.last = {False: 0, True: 0}
        """The last sequence of each bucket: of keys that peers remove, and of those that are kept."""
        self.once: dict[str, int] = {}
        self.lease_began: dict[str, int] = {}
        """The sequence at which the lease that stands was made where there was none, by host."""

    def do(self, question: Question) -> Answer:
        """Answer a question as a NATS server does."""
        match question:
            case Read(pattern):
                found = [entry for key, entry in self.keys.items() if _matches(pattern, key)]
                return sorted(found, key=lambda entry: entry.sequence)
            case Put():
                return self._put(question)
            case Remove(key, sequence):
                same = [each for each in self.keys if _together(each, key) and self.keys[each].sequence == sequence]
                for each in same:
                    self.drop(each)
                return bool(same)

    def drop(self, key: str) -> None:
        """Take a key away; a host without a lease has none that stands."""
        del self.keys[key]
        kind, _, host = key.partition(".")
        if kind == "lease":
            self.lease_began.pop(host, None)

    def _put(self, put: Put) -> int:
        if put.once in self.once:
            return self.once[put.once]
        present = self.keys.get(put.key)
        if put.expected is not None and put.expected != (present.sequence if present else 0):
            return CONFLICT
        bucket = names.is_kept(put.key)
        self.last[bucket] = sequence = self.last[bucket] + 1
        self.keys[put.key] = Entry(put.key, put.value, sequence)
        if put.once:
            self.once[put.once] = sequence
        kind, _, host = put.key.partition(".")
        if kind == "lease" and present is None:
            self.lease_began[host] = sequence
        return sequence


class World:
    """Everything, and the plain sets that say what ought to be."""

    make_presence: type[Presence] = Presence
    make_sweep: type[Sweep] = Sweep

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.broker = Broker()
        self.hosts: dict[str, Presence] = {}
        self.runs = dict.fromkeys(limits.hosts, 0)
        self.used: dict[str, set[str]] = {host: set() for host in limits.hosts}
        self.local: dict[str, set[str]] = {host: set() for host in limits.hosts}
        """Events that persist in each host's tracer."""
        self.stored: dict[tuple[str, str], int] = {}
        """(host, event) whose persist key was stored and not deleted since, and by which run."""
        self.deleted: set[tuple[str, str]] = set()
        """(host, event) that was deleted and not made to persist again since."""
        self.sweeps: dict[str, Sweep] = {}
        self.late: list[tuple[str, Question]] = []
        self.faults = 0
        self.must_look = False
        """Whether something happened that hosts can only see by looking at their keys again."""

    def copy(self) -> "World":
        """A world that goes its own way."""
        found: World = pickle.loads(pickle.dumps(self, pickle.HIGHEST_PROTOCOL))  # a fifth of the time of deepcopy
        return found

    def take(self, step: Step) -> None:
        """Take a step; raises `Broken` where something does not hold."""
        getattr(self, f"_{step.what}")(step)

    def _start(self, step: Step) -> None:
        self.runs[step.host] += 1
        self.hosts[step.host] = self.make_presence(step.host, f"{step.host}{self.runs[step.host]}")
        self._tell(step.host)

    def _kill(self, step: Step) -> None:
        del self.hosts[step.host]
        self.sweeps.pop(step.host, None)
        self.used[step.host].clear()
        self.local[step.host].clear()

    def _use(self, step: Step) -> None:
        self.used[step.host] ^= {step.about}
        self._tell(step.host)

    def _persist(self, step: Step) -> None:
        self.local[step.host].add(step.about)
        self.deleted.discard((step.host, step.about))
        self._tell(step.host)

    def _delete(self, step: Step) -> None:
        """An operator deletes a persistent event, in one go."""
        self.must_look = True
        for host in self.limits.hosts:
            key = names.persist_key(step.about, LAYOUT, host)
            if key in self.broker.keys:
                self.broker.drop(key)
                run = self.stored.pop((host, step.about))
                if step.about not in self.local[host] or run == self.runs[host]:
                    self.deleted.add((host, step.about))  # else this run has made it persist anew, and may say so yet

    def _leave(self, step: Step) -> None:
        self.hosts[step.host].is_leaving = True
        self.used[step.host].clear()
        self.local[step.host].clear()

    def _audit(self, step: Step) -> None:
        self.hosts[step.host].look_again()

    def _expire(self, step: Step) -> None:
        self.faults += 1
        self.broker.drop(names.lease_key(step.host))

    def _ask(self, step: Step) -> None:
        mine = self.hosts[step.host]
        question = mine.due(beat=step.about == "beat")
        assert question is not None
        mine.done(question, self._through(step, question))
        self.heed(step.host)

    def _together(self, step: Step) -> None:
        """Ask all that may be asked together; the outcome is that of the first or the last, the others are answered."""
        mine = self.hosts[step.host]
        questions = mine.due_together(3)
        answers: list[Answer] = []
        for place, question in enumerate(questions):
            is_meant = place == (0 if step.about == "first" else len(questions) - 1)
            answers.append(self._through(step if is_meant else step._replace(outcome="answered"), question))
        for question, answer in zip(questions, answers, strict=True):
            mine.done(question, answer)
        self.heed(step.host)

    def heed(self, host: str) -> None:
        """Do what the fleet says: the agent deletes here what was deleted there."""
        mine = self.hosts[host]
        mine.due()
        for key in tuple(mine.deleted):
            self.local[host].discard(names.parse_key(key).event)
            self._tell(host)

    def _sweep(self, step: Step) -> None:
        self.sweeps[step.host] = self.make_sweep(step.about)

    def _clean(self, step: Step) -> None:
        sweep = self.sweeps[step.host]
        question = sweep.due()
        assert question is not None
        sweep.done(question, self._through(step, question))
        if sweep.due() is None:
            del self.sweeps[step.host]

    def _arrive(self, step: Step) -> None:
        self._do(*self.late.pop(0))

    def _tell(self, host: str) -> None:
        used = {names.user_key(event, LAYOUT, host): b"" for event in self.used[host]}
        local = {names.persist_key(event, LAYOUT, host): b"" for event in self.local[host]}
        if host in self.hosts:
            self.hosts[host].hold(used, local)

    def _through(self, step: Step, question: Question) -> Answer:
        """The network, as it is in this step."""
        self.faults += step.outcome != "answered"
        if step.outcome in ("late", "twice"):
            self.late.append((step.host, question))
            is_write = isinstance(question, Remove) or (isinstance(question, Put) and not question.leased)
            self.must_look = self.must_look or is_write
        if step.outcome in ("lost", "late"):
            return None
        answer = self._do(step.host, question)
        return None if step.outcome == "answer lost" else answer

    def _do(self, asker: str, question: Question) -> Answer:
        if isinstance(question, Remove):
            self._see_removal(asker, question)
        if isinstance(question, Put) and question.key.startswith("persist."):
            return self._persist_put(question)
        return self.broker.do(question)

    def _see_removal(self, asker: str, question: Remove) -> None:
        """A peer takes a key only from a host whose lease has run out since the key was written."""
        for key, entry in self.broker.keys.items():
            if entry.sequence != question.sequence or key.startswith("lease.") or not _together(key, question.key):
                continue
            owner = names.parse_key(key)
            if owner.kind == "persist":
                raise Broken(f"{asker} takes away {key}, which persists")
            began = self.broker.lease_began.get(owner.host)
            if owner.host != asker and began is not None and entry.sequence > began:
                raise Broken(f"{asker} takes away {key}, whose host has had its lease all the time")

    def _persist_put(self, question: Put) -> Answer:
        before = self.broker.last[True]
        answer = self.broker.do(question)
        key = names.parse_key(question.key)
        if self.broker.last[True] > before:
            if (key.host, key.event) in self.deleted:
                raise Broken(f"{question.key} is back, which was deleted")
            self.stored[key.host, key.event] = int(question.once.partition(".")[0].removeprefix(key.host))
        return answer


def steps(world: World) -> Iterator[Step]:
    """Every step that can be taken."""
    may_fail = world.faults < world.limits.faults
    for host in world.limits.hosts:
        if host not in world.hosts:
            if world.runs[host] < 2:
                yield Step("start", host)
            continue
        yield from _host_steps(world, host, may_fail)
    for host in world.limits.hosts:
        if may_fail and names.lease_key(host) in world.broker.keys:
            yield Step("expire", host)
    if world.late:
        yield Step("arrive")
    for event in world.limits.events:
        if any(event == stored for _, stored in world.stored):
            yield Step("delete", about=event)


def _host_steps(world: World, host: str, may_fail: bool) -> Iterator[Step]:
    mine = world.hosts[host]
    outcomes = [each for each in OUTCOMES if may_fail or each == "answered"]
    if len(world.late) >= world.limits.late:
        outcomes = [each for each in outcomes if each not in ("late", "twice")]
    now = mine.due()
    for about in ("now", "beat"):
        if (about == "now" and now is None) or (about == "beat" and mine.due(beat=True) in (now, None)):
            continue
        yield from (Step("ask", host, about, outcome) for outcome in outcomes)
    if len(mine.due_together(2)) > 1:
        for about in ("first", "last"):
            yield from (Step("together", host, about, outcome) for outcome in outcomes)
    yield Step("kill", host)
    if mine.is_leaving:
        return
    yield Step("leave", host)
    yield Step("audit", host)
    for event in world.limits.events:
        yield Step("use", host, event)
        if event not in world.local[host]:
            yield Step("persist", host, event)
    if host in world.sweeps:
        yield from (Step("clean", host, outcome=outcome) for outcome in outcomes)
    else:
        yield from (Step("sweep", host, other) for other in world.limits.hosts if other != host)


def settle(world: World) -> None:
    """Let it calm down: nothing fails any more, what is late is lost, who is dead loses its lease; then compare.

    Hosts look at their keys again only if something happened that they cannot know otherwise.
    """
    world.late.clear()
    for number in range(_ROUNDS):
        before = _names_of(world.broker.keys), {host: set(kept) for host, kept in world.local.items()}
        _calm_round(world)
        all_in = all(mine.is_in or mine.is_leaving for mine in world.hosts.values())
        if number > (0 if all_in else 6) and before == (_names_of(world.broker.keys), world.local):
            break
    else:
        raise Broken("it does not calm down")
    _compare(world)


def _calm_round(world: World) -> None:
    for host in world.limits.hosts:
        lease = world.broker.keys.get(names.lease_key(host))
        mine = world.hosts.get(host)
        if lease is not None and (mine is None or mine.is_out or json.loads(lease.value)[0] != mine.incarnation):
            world.broker.drop(lease.key)
    for host, mine in world.hosts.items():
        if world.must_look and not mine.is_leaving:
            world.take(Step("audit", host))
        if mine.due(beat=True) is not None:
            world.take(Step("ask", host, "beat", "answered"))
        for _ in range(_ROUNDS):
            world.heed(host)
            if mine.due() is None:
                break
            world.take(Step("ask", host, "now", "answered"))
        else:
            raise Broken(f"{host} asks without an end: {mine.due()}")
    for host, mine in world.hosts.items():
        for other in world.limits.hosts if not mine.is_leaving else ():
            if other != host:
                world.sweeps.setdefault(host, world.make_sweep(other))
                while host in world.sweeps:
                    world.take(Step("clean", host, outcome="answered"))


def _compare(world: World) -> None:
    members = {host for host, mine in world.hosts.items() if not mine.is_leaving}
    stored = set(world.broker.keys)
    wanted = {names.persist_key(event, LAYOUT, host) for host, event in world.stored}
    for host in members:
        wanted |= {names.lease_key(host), names.host_key(host)}
        wanted |= {names.user_key(event, LAYOUT, host) for event in world.used[host]}
        wanted |= {names.persist_key(event, LAYOUT, host) for event in world.local[host]}
        if not world.hosts[host].is_in:
            raise Broken(f"{host} lives and is not in the fleet")
    if not members:  # nobody is left to take away what the last one left
        stored = {key for key in stored if key.startswith("persist.")}
    if stored != wanted:
        raise Broken(f"too many keys: {sorted(stored - wanted)}, missing: {sorted(wanted - stored)}")
    states = {one.event: one.state for one in View(stored).events()}
    for event in world.limits.events if members else ():
        is_used = any(event in world.used[host] for host in members)
        ought = State.USED if is_used else State.IDLE if any(event == kept for _, kept in world.stored) else State.GONE
        if states.get(event, State.GONE) is not ought:
            raise Broken(f"{event} is {states.get(event)} and ought to be {ought}")


def _names_of(keys: dict[str, Entry]) -> dict[str, bytes]:
    return {key: entry.value for key, entry in keys.items() if not key.startswith("lease.")}


def _together(key: str, other: str) -> bool:
    """Whether two keys are in one bucket, where a sequence means one of them."""
    return names.is_kept(key) == names.is_kept(other)


def _matches(pattern: str, key: str) -> bool:
    if "*" not in pattern:
        return pattern == key
    wanted, found = pattern.split("."), key.split(".")
    return len(wanted) == len(found) and all(w in ("*", f) for w, f in zip(wanted, found, strict=True))
