"""A real browser for tests: headless Chromium, driven over a pipe by the DevTools protocol; no port, no driver."""

import base64
import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import PATIENCE, require

_WAIT_S = 30.0 * PATIENCE
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
    "--disable-dev-shm-usage", "--disable-extensions", "--disable-background-networking", "--disable-sync",
    "--disable-component-update", "--disable-default-apps", "--window-size=1400,1000", "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One page of a browser. `requests` are the addresses it asked for, `refused` those of them that it did not
    send, and `problems` what its console complained of.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", read_fd: int, write_fd: int) -> None:
        self._process = process
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._received = b""
        self._number = 0
        self._session: str | None = None
        self.requests: list[str] = []
        self.refused: set[str] = set()
        self._asked: dict[str, str] = {}
        self.problems: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")

    def go(self, url: str) -> None:
        """Go to an address, and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on the page."""
        return self._call(method, **parameters)

    def value(self, script: str) -> Any:
        """What a piece of JavaScript gives, awaited."""
        result = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait(self, script: str) -> None:
        """Wait until a piece of JavaScript gives something true."""
        deadline = time.monotonic() + _WAIT_S
        while not self.value(script):
            assert time.monotonic() < deadline, f"'{script}' did not come true; {self.problems}"
            time.sleep(0.05)

    def key(self, key: str) -> None:
        """Press a key."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
            self._call("Input.dispatchKeyEvent", type=kind, key=key, **text)

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """Take a picture of the page."""
        taken = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def dark(self, on: bool) -> None:
        """Say that the user likes it dark, or light."""
        self._call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if on else "light"}],
        )

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write_fd, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
                self._asked[parameters["requestId"]] = parameters["request"]["url"]
            case "Network.loadingFailed" if parameters.get("blockedReason"):
                self.refused.add(self._asked.get(parameters["requestId"], ""))
            case "Runtime.exceptionThrown":
                self.problems.append(str(parameters["exceptionDetails"].get("exception", parameters)))
            case "Log.entryAdded":
                self.problems.append(parameters["entry"]["text"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            piece = os.read(self._read_fd, 1 << 20)
            assert piece, f"the browser went away: {self._process.poll()}"
            self._received += piece
        message, _, self._received = self._received.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, as long as this lasts."""
    path = require("chromium")
    to_browser, from_us = os.pipe()
    to_us, from_browser = os.pipe()
    with tempfile.TemporaryDirectory(prefix="userevents-browser-", ignore_cleanup_errors=True) as profile:
        # The browser reads descriptor 3 and writes 4; a shell puts them there.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        process = subprocess.Popen(
            ["bash", "-c", shell, "chromium", path, *_FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser, from_browser),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Browser(process, to_us, from_us)
        finally:
            process.kill()
            process.wait()
            os.close(to_us)
            os.close(from_us)
