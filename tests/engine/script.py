"""A small language for lifecycle scenarios, so that the table of them can be read beside the contract's.

A line is ``[PROCESS:] VERB WORDS... [KEY=VALUE...] [-> RESULT]``. Without a process, p1 does it. RESULT is what the
verb returns, or the errno's name when it is refused; without one it must merely not be refused.
"""

import re
import shlex
from collections.abc import Callable
from functools import partial

from tests.engine.world import ROOT, USER, WORD, FakeMemory, Probe, World
from userevents.engine import V6_12, Caller, OpenFile, Profile, UserEventMm, Writer
from userevents.errors import Refused
from userevents.instance import Instance, Perf, Subscription

OPTION = re.compile("([a-z]+)=([^=]*)")
FLAGS = {"persist": 1, "multi": 2, "both": 3}


class Process:
    """One simulated process: memory, an own user-event-mm, open files."""

    def __init__(self, memory: FakeMemory, mm: UserEventMm, caller: Caller = ROOT) -> None:
        self.memory = memory
        self.mm = mm
        self.caller = caller
        self.files: dict[str, OpenFile] = {}


class Script:
    """Runs scenario lines; fails at the first that comes out differently."""

    def __init__(self, profile: Profile = V6_12, *, recover: bool = False) -> None:
        self.world = World(profile, recover=recover)
        self.group = self.world.group
        self.processes = {"p1": Process(self.world.memory, self.world.mm)}
        self.probes: dict[str, Probe] = {}
        self.perf = Perf(self.group)
        self.subscriptions: dict[str, Subscription] = {}
        self.instance = Instance("night", self.group)
        """What triggers belong to."""
        self.ids: dict[str, int] = {}
        self.destroys = 0
        self.group.lifecycle.before_destroy = self._count

    def run(self, lines: str) -> None:
        """Run every line of a scenario."""
        for line in lines.strip().splitlines():
            self._run_line(line.strip())

    def _run_line(self, line: str) -> None:
        order, _, expected = (part.strip() for part in line.partition("->"))
        words = shlex.split(order)
        name = words.pop(0)[:-1] if words[0].endswith(":") else "p1"
        verb = getattr(self, f"do_{words[0]}")
        options = {found[1]: found[2] for word in words[1:] if (found := OPTION.fullmatch(word))}
        arguments = [word for word in words[1:] if not OPTION.fullmatch(word)]
        result = _outcome(partial(verb, self._process(name), *arguments, **options))
        if expected:
            assert result == expected, f"{line}: got {result}"
        else:
            assert not result.startswith("E"), f"{line}: got {result}"

    def _process(self, name: str) -> Process:
        if name not in self.processes:
            memory = FakeMemory()
            self.processes[name] = Process(memory, self.group.new_mm(memory, name))
        return self.processes[name]

    def _count(self, event: object) -> None:
        self.destroys += 1

    def do_reg(
        self, process: Process, text: str, file: str = "f", bit: str = "0", flags: str = "", word: str = "0"
    ) -> int:
        """Register through a file of the process, opened when first named."""
        opened = process.files.setdefault(file, self.group.open_file(file))
        return self.group.register(
            opened,
            process.mm,
            text,
            addr=WORD + 8 * int(word),
            bit=int(bit),
            flags=FLAGS.get(flags, 0),
            caller=process.caller,
        )

    def do_unreg(self, process: Process, bit: str = "0") -> None:
        """Unregister a bit of the word."""
        self.group.unregister(process.mm, WORD, int(bit))

    def do_dup(self, process: Process, file: str, copy: str) -> None:
        """Another descriptor of the same open file."""
        process.files[copy] = process.files[file]

    def do_write(self, process: Process, index: str, file: str = "f") -> int:
        """Write an event with a payload of four bytes."""
        data = int(index).to_bytes(4, "little") + bytes(4)
        return self.group.write(process.files[file], data, len(data), Writer(1, 1, "test", 0))

    def do_close(self, process: Process, file: str = "f") -> None:
        """Close a descriptor; the last one of an open file closes that."""
        closed = process.files.pop(file)
        if closed not in process.files.values():
            closed.close()

    def do_exit(self, process: Process) -> None:
        """The process ends, however it does: memory first, then files."""
        process.mm.exit()
        for file in process.files.values():
            file.close()

    def do_exec(self, process: Process) -> None:
        """A new image: enablers go, files stay unless closed besides."""
        process.mm.exit()
        process.mm = self.group.new_mm(process.memory)

    def do_fork(self, process: Process, child: str) -> None:
        """A child with copies of memory and enablers, and the same open files."""
        memory = process.memory.copy()
        self.processes[child] = Process(memory, process.mm.fork(memory, child), process.caller)

    def do_user(self, process: Process) -> None:
        """The process loses every privilege."""
        process.caller = USER

    def do_unmap(self, process: Process, word: str) -> None:
        """A word is not mapped any more."""
        process.memory.unmapped.add(WORD + 8 * int(word))

    def do_del(self, process: Process, name: str) -> None:
        """DIAG_IOCSDEL."""
        self.group.delete(name, process.caller)

    def do_dyn(self, process: Process, line: str) -> None:
        """One line into dynamic_events."""
        if line[0] in "-!":
            self.group.dynamic_delete(line, process.caller)
        else:
            self.group.dynamic_create(line, process.caller)

    def do_truncate(self, process: Process) -> None:
        """Open dynamic_events with O_TRUNC."""
        self.group.dynamic_truncate(process.caller)

    def do_max(self, process: Process, number: str) -> None:
        """Write kernel.user_events_max."""
        self.group.user_events_max = int(number)

    def do_enable(self, process: Process, name: str, tracer: str = "top") -> None:
        """A tracer attaches."""
        probe = self.probes.setdefault(tracer, Probe(tracer))
        self.world.event(name).attach(probe)

    def do_disable(self, process: Process, name: str, tracer: str = "top") -> None:
        """A tracer detaches."""
        self.world.event(name).detach(self.probes[tracer])

    def do_perf(self, process: Process, name: str, subscription: str) -> None:
        """perf opens an event."""
        self.subscriptions[subscription] = self.perf.open(self.world.event(name).id, 1)

    def do_unperf(self, process: Process, subscription: str) -> None:
        """perf closes what it opened."""
        self.subscriptions.pop(subscription).close()

    def do_trigger(self, process: Process, name: str, command: str) -> None:
        """Write a line to an event's trigger file."""
        self.instance.file(self.world.event(name)).write_trigger(command)

    def do_enabled(self, process: Process, name: str) -> str:
        """What the event's enable file shows."""
        return self.instance.file(self.world.event(name)).enable_text.rstrip()

    def do_poll(self, process: Process) -> None:
        """Let the worker run until nothing waits."""
        self.group.run_work()

    def do_step(self, process: Process) -> None:
        """Let the worker run one item."""
        self.world.queue.run_one()

    def do_pending(self, process: Process) -> int:
        """How many items wait."""
        return len(self.group.pending)

    def do_destroys(self, process: Process) -> int:
        """How often a destroy was tried."""
        return self.destroys

    def do_listed(self, process: Process) -> str:
        """The tree's names, in order."""
        return " ".join(self.world.listed()) or "nothing"

    def do_holders(self, process: Process, name: str) -> str:
        """Kinds of holders of an event, and its count before them."""
        event = self.world.event(name)
        kinds = sorted(holder.kind for holder in event.holders())
        return " ".join([str(event.refcnt), *kinds])

    def do_keep(self, process: Process, name: str) -> None:
        """Remember the event's id."""
        self.ids[name] = self.world.event(name).id

    def do_same(self, process: Process, name: str) -> bool:
        """Whether the event still has the id that was remembered."""
        return self.ids[name] == self.world.event(name).id

    def do_bit(self, process: Process, bit: str = "0") -> int:
        """A bit of the process's word."""
        return process.memory.bit(WORD, int(bit))

    def do_refuse(self, process: Process, kind: str) -> None:
        """Make every destroy, or every queueing, fail from now on; `nothing` ends it."""
        self.world.queue.refuses = (lambda work: True) if kind == "queueing" else None
        self.group.lifecycle.before_destroy = _fail if kind == "destroy" else self._count

    def do_log(self, process: Process) -> str:
        """The last message, with its level."""
        return ": ".join(self.world.log[-1]) if self.world.log else "nothing"

    def do_overput(self, process: Process, name: str) -> None:
        """Put once too often: fault injection."""
        self.group.lifecycle.put(self.world.event(name))


def _outcome(verb: Callable[[], object]) -> str:
    """What a verb returns, or the name of the errno it is refused with."""
    try:
        return str(verb())
    except Refused as refused:
        return refused.name


def _fail(event: object) -> None:
    raise Refused(12, "no memory for the credentials (injected)")
