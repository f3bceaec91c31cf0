"""The demo's work: the standard library's web server, unmodified, and a shop beside it that makes requests to it.

Run it under a recorder, from any directory:

    userevents record -o trace.dat -- python examples/demo_workload.py

The server is `python -m http.server` serving the site that examples/build_site.py makes in a temporary directory; the
shop is examples/shop.py, in a process of its own.
"""

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
REQUESTS = 300
PATIENCE = 10.0


def start_server(site: str) -> tuple[subprocess.Popen[str], str]:
    """Serve the directory `site` on a port that the kernel chooses; return the server and its URL once it listens.

    Raises RuntimeError if it ends instead.
    """
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", site]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    greeting = server.stdout.readline()  # "Serving HTTP on 127.0.0.1 port 40321 (http://127.0.0.1:40321/) ..."
    _, found, rest = greeting.partition("(")
    if not found:
        server.kill()
        raise RuntimeError(f"the server said '{greeting.strip()}' and ended with status {server.wait()}")
    return server, rest.partition(")")[0]


def main() -> int:
    """Let the shop make its requests to the server, then stop the server; return the shop's exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it may be ignored
    with tempfile.TemporaryDirectory(prefix="shop-") as site:
        subprocess.run([sys.executable, str(EXAMPLES / "build_site.py"), site], stdout=subprocess.DEVNULL, check=True)
        return visit(site)


def visit(site: str) -> int:
    """Serve `site` for as long as the shop makes its requests; return the shop's exit code."""
    server, url = start_server(site)
    try:
        return subprocess.run([sys.executable, str(EXAMPLES / "shop.py"), url, str(REQUESTS)], check=False).returncode
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
