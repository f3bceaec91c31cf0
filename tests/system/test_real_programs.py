"""Programs of others, as they come from the package index, recorded with nothing changed: servers with workers, a pool.

Their own test suites, with and without a recorder, are run by ``./dev suites``.
"""

import http.client
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PATIENCE
from tests.system.conftest import Userevents
from userevents.formats import Trace, open_trace

REQUESTS: Final = 40

APPLICATION: Final = """
import logging, os
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

logging.basicConfig(level=logging.INFO, filename=os.devnull)
log = logging.getLogger("shop")

async def cart(request):
    log.info("cart of %s", request.path_params["user"])
    return PlainTextResponse(str(os.getpid()))

app = Starlette(routes=[Route("/cart/{user}", cart)])

def wsgi(environ, start_response):
    log.info("cart of %s", environ["PATH_INFO"].rpartition("/")[2])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""

POOL: Final = """
import logging, os
from pebble import ProcessPool

logging.basicConfig(level=logging.INFO, filename=os.devnull)

def work(number):
    logging.getLogger("work").info("item %d", number)
    return os.getpid()

if __name__ == "__main__":
    import sys
    from multiprocessing import get_context
    with ProcessPool(max_workers=2, context=get_context(sys.argv[1])) as pool:
        pids = set(pool.map(work, range(20)).result())
    print(*pids)
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _get(port: int, path: str) -> str:
    deadline = time.monotonic() + 20 * PATIENCE
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return str(answer.read().decode())
        except (OSError, http.client.HTTPException):  # not up yet
            assert time.monotonic() < deadline
            time.sleep(0.02)


def _messages(trace: Trace, logger: str) -> dict[int, set[str]]:
    """What each process logged."""
    found: dict[int, set[str]] = {}
    for record in trace.records():
        if record.event.name == "py_log" and record.values["logger"] == logger:
            found.setdefault(record.pid or 0, set()).add(str(record.values["message"]))
    return found


@pytest.mark.parametrize(
    "server",
    [
        pytest.param(["uvicorn", "shop:app", "--workers", "2", "--log-level", "warning", "--port"], id="uvicorn"),
        pytest.param(["gunicorn", "shop:wsgi", "--workers", "2", "--log-level", "error", "--bind"], id="gunicorn"),
    ],
)
@pytest.mark.usefixtures("runtime_dir")
def test_a_server_with_workers_is_recorded_in_all_its_processes(userevents: Userevents, server: list[str]) -> None:
    """Each answered request's log record is in the trace, from the worker that answered it; nothing is lost."""
    (userevents.directory / "shop.py").write_text(APPLICATION, encoding="utf-8")
    port = _free_port()
    place = str(port) if server[-1] == "--port" else f"127.0.0.1:{port}"
    recorder = userevents.start("record", "-q", "-o", "trace.dat", "--", sys.executable, "-m", *server, place)
    answered = [(_get(port, f"/cart/{number}"), number) for number in range(REQUESTS)]
    server_pid = int(Path(f"/proc/{recorder.pid}/task/{recorder.pid}/children").read_text().split()[0])
    subprocess.run(["kill", f"-{signal.SIGTERM.value}", str(server_pid)], check=True)
    _, said = recorder.communicate(timeout=40 * PATIENCE)
    assert said == ""
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        told = _messages(trace, "shop")
        assert trace.losses() == []
    for pid, number in answered:
        assert f"cart of {number}" in told[int(pid)]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.usefixtures("runtime_dir")
def test_a_pool_of_processes_is_recorded_however_they_are_started(userevents: Userevents, method: str) -> None:
    """Every item's log record is in the trace, from the process that did it."""
    (userevents.directory / "work.py").write_text(POOL, encoding="utf-8")
    done = userevents("record", "-q", "-o", "trace.dat", "--", sys.executable, "work.py", method)
    assert (done.returncode, done.stderr) == (0, "")
    with open_trace(str(userevents.directory / "trace.dat")) as trace:
        told = _messages(trace, "work")
        assert trace.losses() == []
    assert set(told) == set(map(int, done.stdout.split()))
    assert set().union(*told.values()) == {f"item {number}" for number in range(20)}
