"""A cluster of three NATS servers and the hosts of a fleet, each in a network namespace of its own, on one bridge.

The bridge is in a namespace, too, so that nothing is left on this machine's network when the namespaces are removed.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from tests.conftest import require
from tests.fleet.hosts import COMMAND, Fleet
from userevents.fleet.broker import Broker, connected
from userevents.fleet.connection import Settings
from userevents.fleet.server import binary

SERVERS: Final = ("s1", "s2", "s3")
OPERATOR: Final = "operator"
"""Where who works with the fleet sits: the verbs, and what the test itself asks."""
_SWITCH: Final = "switch"
_NET: Final = "198.18.0"  # set aside for tests of networks (RFC 2544)
_CLONE_NEWNET: Final = 0x40000000
_Found = TypeVar("_Found")


class Network:
    """Namespaces by name, each with one interface to the bridge. `close` removes all of it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._ip = require("ip")
        self._prefix = f"uevt-{os.getpid()}-"
        self._names = [_SWITCH, *names]
        self.address = {name: f"{_NET}.{number}" for number, name in enumerate(names, 1)}
        try:
            self._make(names)
        except BaseException:
            self.close()
            raise

    def within(self, name: str) -> list[str]:
        """The command that runs another one in a namespace, and becomes it."""
        return [require("nsenter"), f"--net={self.path(name)}"]

    def path(self, name: str) -> str:
        """The file of a namespace."""
        return f"/run/netns/{self._prefix}{name}"

    def cut(self, name: str) -> None:
        """Take the link to a namespace down: what is sent is lost, and nobody is told."""
        self._batch(_SWITCH, [f"link set {name} down"])

    def join(self, name: str) -> None:
        """Bring the link up again."""
        self._batch(_SWITCH, [f"link set {name} up"])

    def close(self) -> None:
        """Remove the namespaces, and with them their interfaces."""
        for name in self._names:
            subprocess.run([self._ip, "netns", "delete", self._prefix + name], check=False, stderr=subprocess.DEVNULL)

    def _make(self, names: Sequence[str]) -> None:
        self._batch("", [f"netns add {self._prefix}{name}" for name in self._names])
        pairs = [f"link add {name} type veth peer name eth0 netns {self._prefix}{name}" for name in names]
        up = [f"link set {name} master bridge up" for name in names]
        self._batch(_SWITCH, ["link add bridge type bridge", "link set bridge up", *pairs, *up])
        for name in names:
            address = f"address add {self.address[name]}/24 dev eth0"
            self._batch(name, [address, "link set eth0 up", "link set lo up"])

    def _batch(self, name: str, lines: Sequence[str]) -> None:
        where = ["-n", self._prefix + name] if name else []
        done = subprocess.run(
            [self._ip, *where, "-batch", "-"], input="\n".join(lines), text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr


class Cluster(Fleet):
    """A fleet whose broker is a cluster; hosts, programs and verbs run in their namespaces."""

    def __init__(self, directory: Path, hosts: Sequence[str]) -> None:
        super().__init__(directory)
        self.network = Network([*SERVERS, *hosts, OPERATOR])
        self.url = ",".join(f"nats://{self.network.address[name]}:4222" for name in SERVERS)
        self.within = {name: self.network.within(name) for name in hosts}
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self._operator = ThreadPoolExecutor(1, initializer=_enter, initargs=(self.network.path(OPERATOR),))

    def start_server(self, name: str) -> None:
        """Start one server of the cluster, with what it has on disk."""
        here = self.network.address[name]
        routes = ", ".join(f"nats://{self.network.address[other]}:6222" for other in SERVERS if other != name)
        config = self.directory / f"{name}.conf"
        config.write_text(
            f"listen: {here}:4222\nserver_name: {name}\n"
            f'jetstream {{ store_dir: "{self.directory}/{name}", max_mem: 64MB, max_file: 1GB }}\n'
            f"cluster {{ name: fleet, listen: {here}:6222, routes: [{routes}] }}\n"
        )
        with open(self.directory / f"{name}.log", "ab") as log:
            self.servers[name] = subprocess.Popen(
                [*self.network.within(name), binary(), "-c", str(config)], stdout=log, stderr=log
            )

    def kill_server(self, name: str) -> None:
        """End a server as kill -9 does."""
        server = self.servers.pop(name)
        server.kill()
        server.wait()

    def leader(self, stream: str) -> str:
        """Which server leads a stream now; empty if nobody does."""

        async def ask(broker: Broker) -> str:
            answer = await broker.ask(f"$JS.API.STREAM.INFO.{stream}", b"")
            return str((json.loads(answer.data).get("cluster") or {}).get("leader", ""))

        return self.asked(ask)

    def asked(self, ask: Callable[[Broker], Awaitable[_Found]]) -> _Found:
        """Ask the cluster something, from the operator's namespace."""

        async def run() -> _Found:
            async with connected(Settings(tuple(self.url.split(","))), "test", 20.0) as broker:
                return await ask(broker)

        return self._operator.submit(lambda: asyncio.run(run())).result(60)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a verb of the fleet where the operator sits."""
        verb = subprocess.Popen(
            [*self.network.within(OPERATOR), *COMMAND, "fleet", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment(),
        )  # fmt: skip
        self.programs.append(verb)  # so that `close` ends it, whatever fails before
        return verb

    def __call__(self, *words: str, host: str = "", code: int = 0) -> str:
        """Run a verb of the fleet to its end, or any verb on a `host`."""
        if host:
            return super().__call__(*words, host=host, code=code)
        verb = self.start(*words)
        out, err = verb.communicate(timeout=60)
        assert verb.returncode == code, err
        return out or err

    def verb(self, *words: str) -> int:
        """Run a verb of the fleet to its end, and return its exit code."""
        verb = self.start(*words)
        verb.communicate(timeout=60)
        return verb.returncode

    def close(self) -> None:
        """End everything, and remove the namespaces."""
        with contextlib.ExitStack() as ends:
            ends.callback(self.network.close)
            ends.callback(self._operator.shutdown)
            for name in self.servers:
                ends.callback(self.kill_server, name)
            ends.callback(super().close)


def _enter(path: str) -> None:
    """Have the sockets of this thread made in a namespace."""
    with open(path, "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {path}")
