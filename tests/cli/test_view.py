"""`userevents view`: the real Perfetto UI in a real browser shows the trace, asks nobody else; others get nothing."""

import http.client
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.browser import browser
from tests.conftest import require
from tests.formats.maker import Maker

pytest.importorskip("viztracer", reason="viztracer comes with ./dev setup")

EVENTS = {20: "request_begin u32 id; __rel_loc char[] path", 21: "request_end u32 id"}


class Server(NamedTuple):
    """A running `view`."""

    process: "subprocess.Popen[str]"
    url: str

    @property
    def path(self) -> str:
        """The secret part of the address."""
        return urlsplit(self.url).path

    def ask(self, path: str, *, method: str = "GET", host: str | None = None, **headers: str) -> tuple[int, bytes]:
        """Send a request as a program would that is no browser."""
        place = urlsplit(self.url)
        connection = http.client.HTTPConnection("127.0.0.1", place.port or 0, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", place.netloc if host is None else host)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Return a trace with a name that is easily found."""
    maker = Maker()
    one = maker.session(100, "unmistakable", EVENTS)
    for number in range(50):
        one.add_values(10**9 + number * 10**6, 20, number, f"/{number}")
        one.add_values(10**9 + number * 10**6 + 400_000, 21, number)
    one.close()
    path = tmp_path / "t.dat"
    maker.trace(path)
    return path


@pytest.fixture
def server(trace: Path) -> Iterator[Server]:
    """The verb at work, which ends by itself once the page has the trace."""
    words = ["view", "--no-browser", "--once", "--pair", "request_begin:request_end:id", str(trace)]
    process = subprocess.Popen(
        [sys.executable, "-m", "userevents", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), process.stderr and process.stderr.read()
    yield Server(process, url)
    if process.poll() is None:
        process.kill()
    process.communicate()


def test_the_interface_shows_the_trace_and_asks_nobody_else(server: Server) -> None:
    """Its engine has read it; every request was to our own address; then the server ends."""
    require("chromium")
    with browser() as page:
        page.go(server.url)
        page.wait("document.body.innerText.includes('unmistakable')")
        origin = f"http://{urlsplit(server.url).netloc}/"
        outside = [url for url in page.requests if not url.startswith((origin, "data:", "blob:", "chrome"))]
        sent = page.value(
            "Promise.all(['https://example.org/', 'http://127.0.0.1:9001/status'].map("
            "(url) => fetch(url, {mode: 'no-cors'}).then(() => 'sent', () => 'refused')))"
        )
        assert sent == ["refused", "refused"]
        answered = [url for url in outside if url not in page.refused]
        assert answered == []
        assert any(url.endswith("/t.pftrace") for url in page.requests)
    assert server.process.wait(timeout=30) == 0


def test_nobody_else_is_answered(server: Server) -> None:
    """Without the secret, under another name, from another page, outside the files there are."""
    path = server.path
    assert server.ask(path)[0] == 200
    assert server.ask(f"{path}t.pftrace", method="HEAD") == (200, b"")
    for bad in ("/", "/index.html", "/t.pftrace", f"{path[:-2]}/", f"/x{path}t.pftrace"):
        assert server.ask(bad) == (403, b"")
    for missing in ("nothing", "../index.html", "%2e%2e/__init__.py", "..%2f__init__.py", "//etc/passwd"):
        assert server.ask(path + missing) == (404, b"")
    assert server.ask(path, host="evil.example")[0] == 403
    assert server.ask(path, host="localhost:1")[0] == 403
    assert server.ask(path, Origin="http://evil.example")[0] == 403
    assert server.ask(path, Sec_Fetch_Site="cross-site")[0] == 403
    assert server.ask(path, method="POST")[0] == 501
    port = urlsplit(server.url).port
    with open("/proc/net/tcp", encoding="ascii") as table:
        listening = [
            line.split()[1] for line in table if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        ]
    assert listening == [f"0100007F:{port:04X}"]


def test_without_the_interface_or_with_a_port_in_use_it_says_so(trace: Path, server: Server) -> None:
    """And what to do; exit code 1."""
    code = (
        "import sys; sys.modules['viztracer'] = None\n"
        "from userevents.cli import main; main(['view', '--no-browser', sys.argv[1]])"
    )
    done = subprocess.run([sys.executable, "-c", code, trace], capture_output=True, text=True, check=False)
    assert (done.returncode, "pip install 'userevents[view]'" in done.stderr) == (1, True), done.stderr
    port = str(urlsplit(server.url).port)
    words = [sys.executable, "-m", "userevents", "view", "--no-browser", "--port", port, str(trace)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, "cannot be listened on" in done.stderr) == (1, True)
