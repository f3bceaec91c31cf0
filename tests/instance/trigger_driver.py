"""Replays recorded scenarios against trigger sets alone: events without lifecycle, files without a tree.

What the recording says of registrations and writes is believed; what is compared is every answer of a ``trigger``,
``hist``, ``error_log`` or ``tracing_on`` file.
"""

import json
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.engine.world import World
from userevents.engine import UserEvent
from userevents.errors import Refused
from userevents.fields import matches, parse_command, parse_fields
from userevents.fields.filter import FilterError, parse_filter
from userevents.instance.hist_names import HistNames
from userevents.instance.machine import CLOCKS
from userevents.instance.trigger_context import FILTER_LOCATION
from userevents.instance.triggers import TriggerSet

Step = dict[str, Any]
Place = tuple[str, str]


def scenarios(path: Path) -> list[Step]:
    """Every scenario of a recording in which a trigger or hist file is touched."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [one for one in map(json.loads, lines) if any(_is_ours(step) for step in one["steps"])]


def make_event(name: str, args: str, system: str = "user_events") -> UserEvent:
    """An event with the fields `args` that nobody registered."""
    return UserEvent(
        World().group.lifecycle,
        name=name,
        tracepoint_name=name,
        system=system,
        event_id=20,
        fields=parse_fields(args),
        persist=False,
        multi=False,
    )


class File:
    """One event in one instance, as far as triggers see it."""

    def __init__(self, event: UserEvent) -> None:
        self.event = event
        self.triggers = TriggerSet(event)
        self.enabled = False
        self.soft_disabled = False
        self.held = 0

    def set_enabled(self, on: bool) -> None:
        """A write to its ``enable`` file."""
        self.enabled = on
        self.soft_disabled = not on and self.users > 0

    @property
    def users(self) -> int:
        """How many soft users it has."""
        return self.held + bool(self.triggers.count)

    def hold(self, by: int) -> None:
        """One soft user more, or less."""
        before = self.users
        self.held += by
        self.follow(before)

    def follow(self, before: int) -> None:
        """The number of soft users may have changed."""
        if not before and self.users and not self.enabled:
            self.soft_disabled = True
        if before and not self.users:
            self.enabled, self.soft_disabled = self.enabled and not self.soft_disabled, False


class Instance:
    """A trace instance: the `TriggerContext` that triggers are handed."""

    def __init__(self, names: HistNames | None = None) -> None:
        self.files: dict[Place, File] = {}
        self.errors: deque[str] = deque(maxlen=8)
        self.effects: list[str] = []
        self.tracing_is_on = True
        self.clock = "local"
        self.now_ns = 5_000_000_000
        self.tid = 77
        self.cpu = 0
        self.cpus = 2
        self.comm = "p1"
        self.hist_names = names if names is not None else HistNames()

    @property
    def clock_in_ns(self) -> bool:
        """Whether the clock counts nanoseconds."""
        return CLOCKS[self.clock]

    def traceon(self) -> None:
        """Note it."""
        self.effects.append("traceon")
        self.tracing_is_on = True

    def traceoff(self) -> None:
        """Note it."""
        self.effects.append("traceoff")
        self.tracing_is_on = False

    def make_snapshot(self) -> None:
        """There is nothing to make."""

    def snapshot(self) -> None:
        """Note it."""
        self.effects.append("snapshot")

    def stacktrace(self) -> None:
        """Note it."""
        self.effects.append("stacktrace")

    def set_clock(self, name: str) -> None:
        """Choose a clock."""
        if name not in CLOCKS:
            raise Refused(22, f"no clock '{name}'")
        self.clock = name

    def event_exists(self, system: str, event: str) -> bool:
        """Whether it is there."""
        return (system, event) in self.files

    def hold_soft(self, system: str, event: str, hold: bool) -> None:
        """One soft user more, or less."""
        self.files[system, event].hold(1 if hold else -1)

    def soft_enabled(self, system: str, event: str) -> bool:
        """Whether it records."""
        return not self.files[system, event].soft_disabled

    def set_soft(self, system: str, event: str, on: bool) -> None:
        """Note it, and do it."""
        self.effects.append(f"{'enable' if on else 'disable'} {event}")
        self.files[system, event].soft_disabled = not on

    def toggle_hists(self, system: str, event: str, on: bool) -> None:
        """Pass it on."""
        self.files[system, event].triggers.pause_hists(not on)

    def log_error(self, location: str, message: str, command: str, position: int) -> None:
        """Keep it as the error_log file shows it."""
        self.errors.append(f"[<ts>] {location}: error: {message}\n  Command: {command}\n{' ' * (11 + position)}^\n")

    def command(self, place: Place, text: str) -> str:
        """Write a trigger command; the errno's name if it is refused."""
        file = self.files[place]
        before = file.users
        try:
            file.triggers.write(text, self)
        except Refused as refusal:
            return refusal.name
        finally:
            file.follow(before)
        return ""

    def hit(self, place: Place, payload: bytes) -> None:
        """The event is written."""
        file = self.files[place]
        record = file.event.id.to_bytes(4, "little") + self.tid.to_bytes(4, "little") + payload
        if not file.triggers.needs_record:
            file.triggers.fire_before(None, self)
        else:
            file.triggers.fire_before(record, self)
            file.triggers.fire_after(record, self)


class Replay:
    """One scenario."""

    def __init__(self) -> None:
        self.names = HistNames()
        self.instances = {"": Instance(self.names)}
        self.indices: dict[tuple[str, str], dict[int, Place]] = {}
        self.multi: dict[tuple[str, str], str] = {}
        self.knows_errors = True
        self.compared = 0

    def run(self, scenario: Step) -> list[str]:
        """Do every step; returns what came out differently."""
        differences = []
        for step, result in zip(scenario["steps"], scenario["results"], strict=True):
            ours = self._step(step, result)
            if ours is None:
                continue
            self.compared += 1
            theirs = (result["errno"] or "") if step["op"] == "write_file" else _text(result["data"])
            if ours != theirs:
                differences.append(f"{step}\n--- recorded\n{theirs}\n--- ours\n{ours}")
        return differences

    def _step(self, step: Step, result: Step) -> str | None:
        match step["op"]:
            case "reg" if result["errno"] is None:
                place = self._register(_text(step["name_args"]), step.get("flags", 0))
                self.indices.setdefault((step.get("proc", ""), step["fd"]), {})[result["write_index"]] = place
            case "reg" if result["errno"] == "ENOMEM":
                self._register(_text(step["name_args"]), step.get("flags", 0))
            case "fork" if result["errno"] is None:
                for (process, fd), places in tuple(self.indices.items()):
                    if process == step.get("proc"):
                        self.indices[step["child"], fd] = dict(places)
            case "dup" if result["errno"] is None:
                process = step.get("proc", "")
                self.indices[process, step["new"]] = self.indices.setdefault((process, step["fd"]), {})
            case "open":
                self.indices[step.get("proc", ""), step["fd"]] = {}
            case "write" | "write1" if result["errno"] is None:
                self._write(step)
            case "read_file" if result["errno"] is None and _is_ours(step):
                return self._read(step)
            case "write_file":
                return self._write_file(step, result)
        return None

    def _register(self, text: str, flags: int) -> Place:
        name, _, args = parse_command(text)
        system = "user_events"
        if flags & 2:
            system = "user_events_multi"
            name = self.multi.setdefault((name, args.strip("; ")), f"{name}.{{M{len(self.multi)}}}")
        for instance in self.instances.values():
            there = instance.files.get((system, name))
            if there is not None and (there.users or matches(there.event.fields, args)):
                continue
            with suppress(Refused):
                instance.files[system, name] = File(make_event(name, args, system))
        return system, name

    def _exists(self, text: str) -> bool:
        return self.instances[""].event_exists("user_events", parse_command(text)[0])

    def _write(self, step: Step) -> None:
        data = bytes.fromhex(step["data"] if step["op"] == "write1" else "".join(step["iov"]))
        place = self.indices.get((step.get("proc", ""), step["fd"]), {}).get(int.from_bytes(data[:4], "little"))
        for instance in self.instances.values():
            if place is not None and instance.files[place].triggers.count:
                instance.comm = step.get("proc", "ctl")
                instance.hit(place, data[4:])

    def _read(self, step: Step) -> str | None:
        instance, path = self._instance(step["path"])
        if path[-1] in ("error_log", "tracing_on"):
            if path[-1] == "error_log":
                return "".join(instance.errors) if self.knows_errors else None
            return f"{int(instance.tracing_is_on)}\n"
        triggers = instance.files[path[1], path[2]].triggers
        text = triggers.text() if path[-1] == "trigger" else triggers.hist_text()
        grep = step.get("grep", "")
        return "".join(line for line in text.splitlines(keepends=True) if grep in line)

    def _write_file(self, step: Step, result: Step) -> str | None:
        instance, path = self._instance(step["path"])
        data = None if step.get("data") is None else _text(step["data"])
        if path[-1] == "trigger":
            if result["errno"] == "ENOENT" and (path[1], path[2]) not in instance.files:
                return None
            if step.get("trunc"):
                file = instance.files[path[1], path[2]]
                before = file.users
                file.triggers.truncate(instance)
                file.follow(before)
            if not data or _is_gone(data, result):
                return None
            return instance.command((path[1], path[2]), data)
        if result["errno"] is None and data is not None and path[-1] == "enable":
            for (system, name), file in instance.files.items():
                if len(path) == 2 or (path[1] == system and (len(path) == 3 or path[2] == name)):
                    file.set_enabled(data.strip() == "1")
        elif path == ["tracing_on"]:
            instance.tracing_is_on = (data or "").strip() != "0"
        elif path[-1] == "filter":
            self._filter(instance, path, data or "")
        elif path[-1] == "error_log":
            instance.errors.clear()
        elif path == ["dynamic_events"]:
            for line in (data or "").splitlines():
                text = line.removeprefix("u:").lstrip(" ")
                if line.startswith("u:") and (result["errno"] is None or not self._exists(text)):
                    self._register(text, 0)
        return None

    def _filter(self, instance: Instance, path: list[str], text: str) -> None:
        """A filter is not our matter, but what it writes into the error log stands between our lines."""
        self.knows_errors &= len(path) == 4
        if len(path) == 4 and (path[1], path[2]) in instance.files and text.strip() != "0":
            try:
                parse_filter(text.strip(), instance.files[path[1], path[2]].event.fields)
            except FilterError as error:
                instance.log_error(FILTER_LOCATION, error.message or "Error", text.strip(), error.position)

    def _instance(self, path: str) -> tuple[Instance, list[str]]:
        parts = _text(path).split("/")
        if parts[0] != "instances":
            return self.instances[""], parts
        if parts[1] not in self.instances:
            self.instances[parts[1]] = Instance(self.names)
            for place, file in self.instances[""].files.items():
                self.instances[parts[1]].files[place] = File(file.event)
        return self.instances[parts[1]], parts[2:]


def _is_ours(step: Step) -> bool:
    return str(step.get("path", "")).rpartition("/")[2] in ("trigger", "hist", "error_log", "tracing_on")


def _is_gone(data: str, result: Step) -> bool:
    """Whether ENOENT says that the file is not there, which a command gets only from these two words."""
    words = ("cont", "clear", "nohitcount", "NOHC", "(")
    return result["errno"] == "ENOENT" and not any(word in data for word in words)


def _text(data: Any) -> str:
    """Recorded bytes as kernel text, one character a byte."""
    if isinstance(data, dict):
        return str(data["latin1"]) if "latin1" in data else bytes.fromhex(data["hex"]).decode("latin-1")
    return str(data).encode().decode("latin-1")
