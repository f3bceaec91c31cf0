"""Filters held to a real kernel: every filter written in the recordings, its errno, what the file then shows, and
what the error log and the trace got.

Each scenario is replayed on a small model that knows which fields each event has. What can come from elsewhere (an
event that is gone, records of an event that other things govern too) is left out by rule; the floors make sure
that the rules leave the cases in.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fields.recorded import VECTORS, Compared, Step, latin
from userevents.errors import Refused
from userevents.fields import Field, filter_messages, kernel_text, parse_command, parse_fields, validate
from userevents.fields.filter import (
    Filter,
    FilterError,
    filter_error_text,
    filter_file_text,
    parse_filter,
    subsystem_error,
    written_filter,
)

CPUS = 2  # of the machine they were recorded on; every process ran on the first

Outcome = tuple[str, object, object]

EVENT_FILE = re.compile(r"events/(user_events(?:_multi)?/[^/]+)/(\w+)")
SYSTEM_FILTER = "events/user_events/filter"
MAY_REMOVE = {"exit", "kill", "exec", "close", "unreg", "del", "thread_exit"}
MAX_PAYLOAD = 4064
PLAIN_FILES = {"enable", "filter", "trace", "error_log"}
TRACE_LINE = re.compile(r"^ +\S+-P+ +\[000\] \S{5}  S\.UUUUUU: ", re.MULTILINE)
HEADER = (1600).to_bytes(2, "little") + bytes(2) + (1234).to_bytes(4, "little")


class Model:
    """What is certain about events and their filters while one scenario runs."""

    def __init__(self, steps: list[Step]) -> None:
        """Begin with no event, as every scenario does; follow records only where nothing but filters governs them."""
        self.fields: dict[str, tuple[Field, ...]] = {}
        self.kept: dict[str, str | None] = {}
        self.filters: dict[str, Filter | None] = {}
        self.perf: dict[str, str] = {}
        self.indexes: dict[int, str] = {}
        self.log: list[str] = []
        self.trace: list[str] = []
        self.may_vanish = False
        files = {step["path"].rpartition("/")[2] for step in steps if "path" in step}
        self.is_plain = files <= PLAIN_FILES and not {step["op"] for step in steps} & MAY_REMOVE

    def run(self, step: Step, result: Step) -> Iterator[Outcome]:
        """Yield what one step lets us compare, and take note of what it changed."""
        op, failed = step["op"], result["errno"]
        if op in MAY_REMOVE or (op == "settle" and self.may_vanish):
            self.may_vanish = True
            self.kept.clear()
        elif op == "reg" and not failed and "name_args" in step:
            self.declare(latin(step["name_args"]), step, result)
        elif op == "write_file" and step["path"] == "dynamic_events":
            self.may_vanish = True
            self.kept.clear()
            for line in latin(step["data"] or "").split("\n") if not failed else ():
                if line.startswith("u:"):
                    self.declare(line[2:], step, {})
        elif op == "write_file" and step["path"].endswith("/filter") and not step["path"].startswith("instances/"):
            yield from self.write(step["path"], latin(step["data"]).encode("latin-1"), failed)
        elif op == "write_file" and step["path"] == "trace" and step.get("trunc"):
            self.trace.clear()
        elif op == "perf_open" and not failed:
            self.perf[step["fd"]] = step["event"]
        elif op == "perf_filter" and self.perf.get(step["fd"]) in self.fields:
            fields = self.fields[self.perf[step["fd"]]]
            yield "errno", self.outcome(latin(step["filter"]), fields), failed
        elif op == "read_file" and not failed:
            yield from self.read(step["path"], latin(result["data"]))
        elif op == "write" and self.is_plain and not failed and result["ret"] <= MAX_PAYLOAD + 4:
            self.record(bytes.fromhex("".join(step["iov"])))

    def declare(self, text: str, step: Step, result: Step) -> None:
        """Note the fields of an event that was registered, unless its text only matches one that was there."""
        name, _, args = parse_command(text)
        system = "user_events_multi" if step.get("flags", 0) & 2 else "user_events"
        try:
            self.fields[f"{system}/{name}"] = parse_fields(args)
        except Refused:
            return
        if "write_index" in result:
            self.indexes[result["write_index"]] = f"{system}/{name}"

    def write(self, path: str, data: bytes, failed: str | None) -> Iterator[Outcome]:
        """Compare the errno of a written filter, and note what its file keeps."""
        try:
            text = written_filter(data)
        except Refused as refusal:
            yield "errno", refusal.name, failed
            return
        matched = EVENT_FILE.fullmatch(path)
        event = matched[1] if matched else None
        if event in self.fields and (self.is_plain or failed not in ("ENODEV", "ENOENT")):
            yield "errno", self.keep(event, text), failed
        elif event in self.fields:  # ENOENT can mean a bracket that is open, or no such file
            self.kept.pop(event, None)
        elif path == SYSTEM_FILTER:
            for event in self.fields:
                self.keep(event, text, for_system=True)

    def keep(self, event: str, text: str | None, *, for_system: bool = False) -> str | None:
        """Give an event a filter, or None; return the errno's name if it refuses it."""
        self.kept[event], self.filters[event] = text, None
        if text is None:
            return None
        try:
            self.filters[event] = parse_filter(text, self.fields[event], cpus=CPUS)
        except FilterError as refusal:
            error = subsystem_error(text) if for_system else refusal
            self.kept[event] = filter_error_text(text, error)
            caret = " " * (len("  Command: ") + error.position) + "^"
            where = "[<ts>] event filter parse error"
            self.log.append(f"{where}: error: {error.message}\n  Command: {text}\n{caret}\n")
            return error.name
        return None

    def outcome(self, text: str, fields: tuple[Field, ...]) -> str | None:
        """Return the errno's name with which we refuse `text`, None if we do not."""
        try:
            parse_filter(text, fields, cpus=CPUS)
        except FilterError as refusal:
            return refusal.name
        return None

    def record(self, data: bytes) -> None:
        """Note the trace line of a record that passes."""
        event = self.indexes[int.from_bytes(data[:4], "little")]
        record = HEADER + data[4:]
        chosen = self.filters.get(event)
        if validate(self.fields[event], record) and (chosen is None or chosen.matches(record, cpu=0, comm="p1")):
            self.trace.append(kernel_text(event.partition("/")[2], self.fields[event], record))

    def read(self, path: str, data: str) -> Iterator[Outcome]:
        """Compare a filter file, and the files in which only filters leave traces."""
        matched = EVENT_FILE.fullmatch(path)
        if matched and matched[2] == "filter" and matched[1] in self.kept:
            yield "file", filter_file_text(self.kept[matched[1]]), data
        elif self.is_plain and path == "error_log":
            yield "error log", "".join(self.log[-8:]), data
        elif self.is_plain and path == "trace":
            yield "trace", list(self.trace), [line.removesuffix("\n") for line in TRACE_LINE.split(data)[1:]]


def compare(path: Path) -> Iterator[Compared]:
    """Replay every scenario of a file that has to do with filters."""
    for line in path.read_text(encoding="utf-8").splitlines():
        scenario = json.loads(line)
        steps = scenario["steps"]
        if not any("filter" in step["op"] or str(step.get("path")).endswith("filter") for step in steps):
            continue
        model = Model(steps)
        for number, (step, result) in enumerate(zip(steps, scenario["results"], strict=True)):
            for kind, ours, recorded in model.run(step, result):
                yield Compared(kind, f"{scenario['name']} step {number}", ours, recorded)


@pytest.fixture(scope="module")
def compared() -> list[Compared]:
    """Everything that the recorded files let us compare, but for what controls.jsonl does besides filters."""
    paths = (path for path in sorted(VECTORS.glob("*.jsonl")) if path.stem != "controls")
    return [case for path in paths for case in compare(path)]


@pytest.mark.parametrize(("kind", "floor"), [("errno", 865), ("file", 805), ("error log", 155), ("trace", 170)])
def test_what_the_kernel_did_with_a_filter_is_what_we_do(compared: list[Compared], kind: str, floor: int) -> None:
    """Every recorded errno, filter file, error log and filtered trace equals ours, byte for byte."""
    cases = [case for case in compared if case.kind == kind]
    assert [case for case in cases if case.ours != case.recorded] == []
    assert len(cases) >= floor


def test_the_recordings_hold_refusals_of_every_sort(compared: list[Compared]) -> None:
    """The comparison meets every errno that leaks, and every message that a user event's filter can get."""
    assert {case.recorded for case in compared if case.kind == "errno"} == {None, "EINVAL", "EPERM", "ENOENT", "ESRCH"}
    logged = "".join(str(case.recorded) for case in compared if case.kind == "error log")
    constants = {value for name, value in vars(filter_messages).items() if name.isupper() and isinstance(value, str)}
    assert {message for message in constants if f"error: {message}\n" not in logged} == set()


def test_the_recorded_traces_hold_what_filters_let_through(compared: list[Compared]) -> None:
    """Nine hundred records passed a filter, so that equal traces are not equal by being empty."""
    traces = [case.recorded for case in compared if case.kind == "trace"]
    assert sum(len(trace) for trace in traces if isinstance(trace, list)) > 900
