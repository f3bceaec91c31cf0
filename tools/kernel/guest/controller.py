"""Runs scenarios: starts their processes, hands out the steps, and puts the kernel in its first state between."""

import json
import os
import re
import signal
import socket
import time
from io import BufferedReader
from typing import Any, Final, NamedTuple

from tests.kernel.results import Result, Step, fail, ok
from tools.kernel.guest import worker
from tools.kernel.guest.files import FILES, read_text
from tools.kernel.guest.reset import reset

_ANSWER_S: Final = 20.0
_GONE_S: Final = 3.0
_MULTI: Final = re.compile(r"\{M(\d+)\}")


class _Peer(NamedTuple):
    """A process of the scenario, as the controller sees it."""

    pid: int
    connection: socket.socket
    lines: BufferedReader


class Controller:
    """The process (root, unnamed in scenarios) that runs one scenario after another."""

    def __init__(self) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(worker.CONTROLLER)
        self._listener.listen(16)
        self._peers: dict[str, _Peer] = {}
        self._names: dict[int, str] = {}
        self._first_multi: int | None = None
        self._done: list[Step] = []

    def run(self, scenario: dict[str, Any]) -> dict[str, Any]:
        """Run one scenario; return it with its results and, as `meta`, what tells masks the varying numbers."""
        leftovers = self._reset()
        self._first_multi = self._find_first_multi() if scenario.get("multi") else None
        self._names = {}
        steps = [self._numbered(step) for step in scenario["steps"]]
        self._done = steps
        results = [self._tried(step) for step in steps]
        meta = {"names": self._names, "first_multi": self._first_multi, "leftovers": leftovers}
        return scenario | {"results": results, "meta": meta}

    def _tried(self, step: Step) -> Result:
        try:
            return self._step(step)
        except Exception as error:
            return worker.failed_step(error)

    def _step(self, step: Step) -> Result:
        name, operation = step.get("proc", "ctl"), step["op"]
        if operation == "kill":
            os.kill(self._peers[name].pid, step.get("sig", signal.SIGKILL))
            self._bury(name)
            return ok()
        if name == "ctl":
            return _own_step(step)
        if name not in self._peers:
            self._start(name)
        return self._remote_step(name, step)

    def _remote_step(self, name: str, step: Step) -> Result:
        peer = self._peers[name]
        try:
            worker.send(peer.connection, step)
            if step["op"] == "exit":
                self._bury(name)
                return ok()
            line = peer.lines.readline()
        except TimeoutError:
            return {"ret": -1, "errno": "TIMEOUT"}
        if not line:
            self._bury(name)
            return {"ret": -1, "errno": "DIED"}
        result: Result = json.loads(line)
        if "fds" in result:  # the new program of an exec step
            return ok(data=result["fds"])
        thread = result.pop("_tid", None)
        if thread is not None:
            self._names[thread] = step["thread"]
        if step["op"] == "fork" and result["errno"] is None:
            self._accept()
        return result

    # Processes.

    def _start(self, name: str) -> None:
        if os.fork() == 0:
            self._listener.close()
            for peer in self._peers.values():
                peer.lines.close()
                peer.connection.close()
            worker.start(name)
        self._accept()

    def _accept(self) -> None:
        self._listener.settimeout(_ANSWER_S)
        connection, _ = self._listener.accept()
        connection.settimeout(_ANSWER_S)
        lines = connection.makefile("rb")
        hello = json.loads(lines.readline())
        self._peers[hello["hello"]] = _Peer(hello["pid"], connection, lines)
        self._names[hello["pid"]] = hello["hello"]

    def _bury(self, name: str) -> None:
        """Wait until a process that was told or made to end has ended."""
        peer = self._peers.pop(name)
        try:
            while peer.lines.readline():
                pass
        except OSError:
            pass
        peer.lines.close()
        peer.connection.close()
        deadline = time.monotonic() + _GONE_S
        while os.path.exists(f"/proc/{peer.pid}") and time.monotonic() < deadline:
            time.sleep(0.001)

    def _reset(self) -> str | None:
        for name in list(self._peers):
            try:
                os.kill(self._peers[name].pid, signal.SIGKILL)
            except OSError:
                pass
            self._bury(name)
        return reset(self._done)

    # Multi-format events are numbered by a counter that never goes back.

    def _find_first_multi(self) -> int:
        self._start("probe")
        for step in ({"op": "open", "fd": "f"}, {"op": "reg", "fd": "f", "flags": 2, "name_args": "probe u32 a"}):
            self._step({"proc": "probe", **step})
        found = re.search(r"^probe\.([0-9a-f]+)", read_text("user_events_status"), re.MULTILINE)
        if found is None:
            raise RuntimeError("the kernel does not list a multi-format event that it registered")
        self._reset()
        return int(found[1], 16) + 1

    def _numbered(self, step: Step) -> Step:
        first = self._first_multi
        if first is None:
            return step
        numbered: Step = json.loads(_MULTI.sub(lambda found: f"{first + int(found[1]):x}", json.dumps(step)))
        return numbered


def _own_step(step: Step) -> Result:
    """A step of the controller itself: only paths."""
    if step["op"] not in FILES:
        return {"ret": -1, "errno": "BADOP"}
    try:
        return FILES[step["op"]](step)
    except OSError as error:
        return fail(error.errno or 0)
