"""Ours against a real kernel: registrations, format files, listings, writes and trace lines recorded on Linux 6.12.

Each scenario is replayed on a small model that knows only which declarations exist. A step whose outcome can
come from elsewhere (an address, a size, a flag, a reference count) is left out by rule, and so is everything
after a step that may have removed an event; the floors make sure that the rules leave the cases in.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fields.recorded import VECTORS, Compared, Step, latin
from userevents.errors import Refused
from userevents.fields import (
    Field,
    dynamic_events_line,
    format_text,
    kernel_text,
    matches,
    min_payload,
    parse_command,
    parse_fields,
    validate,
)

GROUPS = ("names", "types", "match", "validate", "edges")


MAY_REMOVE = {"exit", "kill", "exec", "close", "unreg", "del", "settle", "thread_exit"}
MAY_RECORD = {"write1", "pwrite", "write_ptr", "fork", "mkdir"}
MAX_PAYLOAD = 4064
TRACE_LINE = re.compile(r"^ +\S+-P+ +\[\d{3}\] \S{5}  S\.UUUUUU: ", re.MULTILINE)
ARRAY_LENGTH = re.compile(r"\[(?:-?\d*|<uninit>)\];\t")
NO_ERRNO = "0"  # a negative struct size beyond -4095: the call returns a number that no C library takes for an error
USED_BY = re.compile(r" # Used by[a-z ]*$", re.MULTILINE)


class Model:
    """What is certain about the declarations while one scenario runs."""

    def __init__(self) -> None:
        """Begin with no event, as every scenario does."""
        self.events: dict[str, tuple[Field, ...]] = {}
        self.complete = True
        self.enablers: set[tuple[str, str, int]] = set()
        self.indexes: dict[tuple[str, str, int], str] = {}
        self.attached: set[str] = set()
        self.trace: list[str] | None = []
        self.tracing_on = True

    def forget(self) -> None:
        """Be certain of nothing from here on."""
        self.events.clear()
        self.indexes.clear()
        self.attached.clear()
        self.complete = False
        self.trace = None

    def run(self, step: Step, result: Step) -> Iterator[tuple[str, object, object]]:
        """Yield what one step lets us compare, and take note of what it changed."""
        op = step["op"]
        if op in MAY_REMOVE:
            self.forget()
        elif op == "reg":
            yield from self.register(step, result)
        elif op == "write":
            yield from self.write(step, result)
        elif op == "write_file":
            self.write_file(step, result)
        elif op == "read_file" and result["errno"] is None and not step.keys() & {"grep", "first"}:
            yield from self.read(step["path"], latin(result["data"]))
        elif op in MAY_RECORD or (op == "open" and "path" in step):
            self.trace = None

    def register(self, step: Step, result: Step) -> Iterator[tuple[str, object, object]]:
        """Compare a registration that only its text decides."""
        if "name_args" not in step:
            return
        text = latin(step["name_args"])
        name, _, args = parse_command(text)
        enabler = (step["proc"], step["addr"], step["enable_bit"])
        decided_by_text = (
            not step.get("flags")
            and not step.keys() & {"size", "tail", "struct_ptr", "name_ptr"}
            and step["addr"].removeprefix("word").isdecimal()
            and step.get("enable_size", 4) == 4
            and 0 <= step["enable_bit"] < 32
            and enabler not in self.enablers
            and len(text) < 512
            and result["errno"] != NO_ERRNO
        )
        if decided_by_text and (self.complete or name in self.events):
            yield "register", self.outcome(text), result["errno"]
        if result["errno"] is not None:
            return
        self.enablers.add(enabler)
        if step.get("flags", 0) & 2 or (name not in self.events and not self.complete):
            self.forget()
            return
        if name not in self.events:
            self.events[name] = parse_fields(args)
        self.indexes[step["proc"], step["fd"], result["write_index"]] = name

    def outcome(self, text: str) -> str | None:
        """Return the errno's name with which we refuse `text` while `events` exist; None if we do not."""
        name, flags, args = parse_command(text)
        if flags is not None:
            return "EINVAL"
        if name in self.events:
            return None if matches(self.events[name], args) else "EADDRINUSE"
        try:
            parse_fields(args)
        except Refused as refusal:
            return refusal.name
        return None

    def write(self, step: Step, result: Step) -> Iterator[tuple[str, object, object]]:
        """Compare whether a written payload is long enough and passes the validators; note its trace text."""
        data = bytes.fromhex("".join(step["iov"]))
        index = int.from_bytes(data[:4], "little") if len(data) >= 4 else -1
        name = self.indexes.get((step.get("proc", ""), step["fd"], index))
        if name is None or len(data) > MAX_PAYLOAD:
            self.trace = None
            return
        fields, payload = self.events[name], data[4:]
        if len(payload) < min_payload(fields):
            yield "too short", "EINVAL", result["errno"]
        elif name in self.attached and self.tracing_on and result["errno"] != "EBADF":
            yield "validate", None if validate(fields, bytes(8) + payload) else "EFAULT", result["errno"]
            if result["errno"] is None and self.trace is not None:
                held = bytes(8) + payload + bytes(-len(payload) % 4)
                self.trace.append(kernel_text(name, fields, held.ljust(12, b"\0")))

    def write_file(self, step: Step, result: Step) -> None:
        """Follow `enable`; anything else written may change what is traced, and some of it what exists."""
        *directory, file = step["path"].split("/")
        is_event = directory[:2] == ["events", "user_events"] and len(directory) == 3
        if file == "dynamic_events":
            self.forget()
        elif file == "tracing_on":
            self.tracing_on = False
        elif is_event and file in ("enable", "trigger") and step["data"] and result["errno"] is None:
            self.attached.add(directory[2])
        if file != "enable" or not is_event or step["data"] != "1":
            self.trace = None

    def read(self, path: str, data: str) -> Iterator[tuple[str, object, object]]:
        """Compare a file whose text follows from the declarations (or, for `trace`, from the writes)."""
        name = path.removeprefix("events/user_events/").removesuffix("/format")
        if path == f"events/user_events/{name}/format" and name in self.events:
            ours = format_text(name, 0, self.events[name]).replace("\nID: 0\n", "\nID: <id>\n", 1)
            yield "format", ARRAY_LENGTH.sub("[];\t", ours), ARRAY_LENGTH.sub("[];\t", data)
        elif path == "dynamic_events" and self.complete:
            lines = (dynamic_events_line(name, fields) + "\n" for name, fields in self.events.items())
            yield "dynamic_events", "".join(lines), data
        elif path == "user_events_status" and self.complete:
            listed = USED_BY.sub("", data.partition("\nActive: ")[0])
            yield "status", "".join(name + "\n" for name in sorted(self.events)), listed
        elif path == "trace" and self.trace and "<id bytes>" not in data:
            bodies = TRACE_LINE.split(data)[1:]
            yield from (("trace", ours, body.removesuffix("\n")) for ours, body in zip(self.trace, bodies, strict=True))


def compare(path: Path) -> Iterator[Compared]:
    """Replay every scenario of a file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        scenario = json.loads(line)
        model = Model()
        for number, (step, result) in enumerate(zip(scenario["steps"], scenario["results"], strict=True)):
            for kind, ours, recorded in model.run(step, result):
                yield Compared(kind, f"{scenario['name']} step {number}", ours, recorded)


@pytest.fixture(scope="module")
def compared() -> list[Compared]:
    """Everything that the recorded files let us compare."""
    return [case for group in GROUPS for case in compare(VECTORS / f"{group}.jsonl")]


@pytest.mark.parametrize(
    ("kind", "floor"),
    [
        ("register", 350),
        ("format", 130),
        ("dynamic_events", 260),
        ("status", 85),
        ("validate", 175),
        ("trace", 150),
    ],
)
def test_what_the_kernel_did_is_what_we_say(compared: list[Compared], kind: str, floor: int) -> None:
    """Every recorded outcome and text that the declarations alone decide equals ours, byte for byte."""
    cases = [case for case in compared if case.kind == kind]
    assert [case for case in cases if case.ours != case.recorded] == []
    assert len(cases) >= floor


def test_the_recordings_hold_refusals_of_every_sort(compared: list[Compared]) -> None:
    """The comparison meets successes, grammar refusals, mismatches and the negative struct size."""
    assert {case.recorded for case in compared if case.kind == "register"} >= {None, "EINVAL", "EADDRINUSE", "EPERM"}
    assert {case.recorded for case in compared if case.kind == "validate"} == {None, "EFAULT"}
