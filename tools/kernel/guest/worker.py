"""A process of a scenario: does the steps that the controller sends it, one JSON line each, and answers likewise."""

import json
import os
import queue
import socket
import sys
import threading
from typing import Final, NoReturn

from tests.kernel.results import Result, Step, fail, ok
from tools.kernel.guest import libc
from tools.kernel.guest.calls import CALLS, Process
from tools.kernel.guest.files import FILES

CONTROLLER: Final = f"\0userevents-scenarios-{os.getpid()}"
"""The abstract socket address of the controller, whose forks all others are: several can play beside each other."""
RESUME: Final = "--resume"
"""How the program is told, after an exec step, whom it continues: name, descriptors, socket."""


def failed_step(error: Exception) -> Result:
    """A step that could not even be tried."""
    return {"ret": -1, "errno": "REPLAY", "data": repr(error)}


def send(connection: socket.socket, message: object) -> None:
    """Send one JSON line."""
    connection.sendall(json.dumps(message).encode() + b"\n")


class Worker:
    """One process of a scenario: its connection to the controller, what it has, and its threads."""

    def __init__(self, name: str, connection: socket.socket | None = None) -> None:
        self.process = Process(name)
        self._talk_over(connection or _connect())
        self._threads: dict[str, _Thread] = {}

    def greet(self) -> None:
        """Tell the controller who this is."""
        send(self._connection, {"hello": self.process.name, "pid": os.getpid()})

    def run(self) -> NoReturn:
        """Do steps until the controller hangs up."""
        for line in self._lines:
            send(self._connection, self._answer(json.loads(line)))
        os._exit(0)

    def resume(self, fds: dict[str, int]) -> None:
        """Go on as the program that an exec step started: tell which descriptors stayed open."""
        open_still = {}
        for name, fd in fds.items():
            try:
                os.fstat(fd)
            except OSError:
                open_still[name] = False
            else:
                self.process.fds[name] = fd
                open_still[name] = True
        send(self._connection, {"fds": open_still})

    def _talk_over(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")

    def _answer(self, step: Step) -> Result:
        name = step.get("thread")
        if name is None:
            return self._do(step)
        if step["op"] == "thread_exit":
            self._threads.pop(name).end()
            return ok()
        if name not in self._threads:
            self._threads[name] = _Thread(name, self)
        return self._threads[name].do(step)

    def _do(self, step: Step) -> Result:
        operation = step["op"]
        try:
            match operation:
                case "fork":
                    if os.fork() == 0:
                        self._go_on_as_child(step["child"])
                    return ok()
                case "exec":
                    self._exec()
                case "exit":
                    os._exit(step.get("code", 0))
                case _ if operation in FILES:
                    return FILES[operation](step)
                case _ if operation in CALLS:
                    return CALLS[operation](self.process, step)
                case _:
                    return {"ret": -1, "errno": "BADOP"}
        except OSError as error:
            return fail(error.errno or 0)
        except Exception as error:
            return failed_step(error)

    def _go_on_as_child(self, child: str) -> NoReturn:
        self._lines.close()
        self._connection.close()
        self._talk_over(_connect())
        self.process.name = child
        self._threads = {}
        libc.set_name(child)
        self.greet()
        self.run()

    def _exec(self) -> NoReturn:
        self._connection.set_inheritable(True)
        state = json.dumps([self.process.name, self.process.fds, self._connection.fileno()])
        os.execv(sys.executable, [sys.executable, "-S", "-E", sys.argv[0], RESUME, state])


class _Thread:
    """A named thread of a process; lives until it is told to end."""

    def __init__(self, name: str, worker: Worker) -> None:
        self._name = name
        self._worker = worker
        self._steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def do(self, step: Step) -> Result:
        """Have the thread do one step. `_tid` tells the controller whose number that is."""
        self._steps.put(step)
        return self._results.get() | {"_tid": self._thread.native_id}

    def end(self) -> None:
        """Wait until it has ended."""
        self._steps.put(None)
        self._thread.join()

    def _run(self) -> None:
        libc.set_name(self._name)
        while (step := self._steps.get()) is not None:
            self._results.put(self._worker._do(step))


def start(name: str) -> None:
    """Be the process `name` from now on, on the first processor (in a fresh child of the controller)."""
    libc.set_name(name)
    os.sched_setaffinity(0, {0})
    worker = Worker(name)
    worker.greet()
    worker.run()


def resume(state: str) -> None:
    """Be the process that an exec step has made of this program."""
    name, fds, connection = json.loads(state)
    libc.set_name(name)
    mine = socket.socket(fileno=connection)
    mine.set_inheritable(False)
    worker = Worker(name, mine)
    worker.resume(fds)
    worker.run()


def _connect() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(CONTROLLER)
    return connection
