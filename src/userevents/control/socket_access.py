"""A running tracer's tree, over its socket. Wire format: ``docs/formats/socket.md``."""

import errno
import os
import socket
import time
from typing import Final

from ..abi import socket as wire
from ..abi.tracefs import O_NONBLOCK, O_RDONLY
from ..errors import NoTracer, Refused
from .access import ANSWER_TIMEOUT_S

_RECEIVE_SIZE: Final = 1 << 18


class SocketAccess:
    """A blocking client of the tracer that listens at `path`; one thread at a time may use it.

    Raises `NoTracer` when nobody listens, when what listens is no tracer of this version, and when the tracer
    goes away or does not answer within `timeout` seconds; `Refused` with EACCES when it serves somebody else.
    """

    def __init__(self, path: str, *, timeout: float = ANSWER_TIMEOUT_S) -> None:
        self.path = path
        self.timeout = timeout
        self._tag = 0
        self._received = bytearray()
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._unwanted: set[int] = set()
        self._sock = _connect(path, timeout)
        try:
            self._greet()
        except BaseException:
            self._sock.close()
            raise

    def open(self, path: str, flags: int = O_RDONLY) -> "SocketHandle":
        """Open the file at `path`."""
        number, _ = self.call(wire.OP_OPEN, wire.OPEN_ARGS.pack(flags) + _path(path))
        return SocketHandle(self, number, waits=not flags & O_NONBLOCK)

    def listdir(self, path: str) -> list[str]:
        """The names in a directory."""
        names: list[str] = []
        while True:
            _, listing = self.call(wire.OP_LISTDIR, wire.LISTDIR_ARGS.pack(len(names)) + _path(path))
            if not listing:
                return names
            names += listing.decode("latin-1").removesuffix("\0").split("\0")

    def mkdir(self, path: str, keep: bool = False) -> None:
        """Make an instance; without `keep` it goes with this connection."""
        self.call(wire.OP_MKDIR, _path(path), wire.MKDIR_KEEP if keep else 0)

    def rmdir(self, path: str) -> None:
        """Remove an instance."""
        self.call(wire.OP_RMDIR, _path(path))

    def close(self) -> None:
        """End the connection; the tracer closes what was open and removes instances that were not to be kept."""
        self._sock.close()

    def call(self, op: int, body: bytes, flags: int = 0) -> tuple[int, bytes]:
        """One request that never has to wait, and its result; raises what the tracer refused."""
        answer = self.receive(self.send(op, body, flags), self.timeout)
        if answer is None:
            raise self._gone(f"did not answer within {self.timeout:g} seconds")
        return answer

    def send(self, op: int, body: bytes, flags: int = 0) -> int:
        """Send a request; returns its tag."""
        self._tag = (self._tag + 1) & 0xFFFFFFFF
        request = wire.REQUEST.pack(len(body), self._tag, op, flags) + body
        try:
            self._sock.settimeout(self.timeout)
            self._sock.sendall(request)
        except OSError as error:
            self._sock.close()
            raise self._gone(_what_happened(error, "does not read requests")) from None
        return self._tag

    def receive(self, tag: int, timeout: float | None) -> tuple[int, bytes] | None:
        """The answer to request `tag`, or None if it is not here within `timeout` seconds; None waits for ever."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while tag not in self._answers:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not self._receive_more(left):
                return None
        result, body = self._answers.pop(tag)
        if result < 0:
            raise Refused(-result, body.decode("utf-8", "replace") or os.strerror(-result))
        return result, body

    def abandon(self, tag: int) -> None:
        """Nobody will ask for the answer to `tag` any more."""
        if self._answers.pop(tag, None) is None:
            self._unwanted.add(tag)

    def _receive_more(self, timeout: float | None) -> bool:
        """Take what arrives within `timeout`; False when nothing did."""
        try:
            self._sock.settimeout(timeout)
            data = self._sock.recv(_RECEIVE_SIZE)
        except (TimeoutError, BlockingIOError):
            return False
        except OSError as error:
            raise self._gone(_what_happened(error, "does not answer")) from None
        if not data:
            raise self._gone("went away")
        self._received += data
        self._take_answers()
        return True

    def _take_answers(self) -> None:
        offset = 0
        while len(self._received) - offset >= wire.RESPONSE.size:
            size, tag, result = wire.RESPONSE.unpack_from(self._received, offset)
            if size > wire.MAX_RESPONSE_SIZE:
                self._sock.close()
                raise self._gone(f"sent an answer of {size} bytes")
            end = offset + wire.RESPONSE.size + size
            if len(self._received) < end:
                break
            if tag in self._unwanted:
                self._unwanted.remove(tag)
            else:
                self._answers[tag] = result, bytes(self._received[offset + wire.RESPONSE.size : end])
            offset = end
        del self._received[:offset]

    def _greet(self) -> None:
        try:
            self._sock.settimeout(self.timeout)
            try:
                self._sock.sendall(wire.HELLO.pack(wire.MAGIC, wire.VERSION, 0))
            except BrokenPipeError:
                pass  # it hung up, and what it said first tells why
            hello = self._sock.recv(wire.HELLO.size, socket.MSG_WAITALL)
        except OSError as error:
            raise self._gone(_what_happened(error, "does not answer")) from None
        if len(hello) < wire.HELLO.size or hello[: len(wire.MAGIC)] != wire.MAGIC:
            raise self._gone("does not speak the tracer's protocol")
        _, version, status = wire.HELLO.unpack(hello)
        if status == -errno.EPROTONOSUPPORT or (not status and version != wire.VERSION):
            raise self._gone(f"speaks version {version} of the protocol, this program version {wire.VERSION}")
        if status:
            raise Refused(
                -status, f"the tracer at '{self.path}' does not serve uid {os.geteuid()}: {os.strerror(-status)}"
            )

    def _gone(self, what: str) -> NoTracer:
        return NoTracer(f"the tracer at '{self.path}': {what}")


class SocketHandle:
    """One file open in the tracer."""

    def __init__(self, access: SocketAccess, number: int, *, waits: bool = True) -> None:
        self._access = access
        self._number = number
        self._waits = waits
        self._asked: int | None = None

    def read(self, size: int = 1 << 20, timeout: float | None = None) -> bytes | None:
        """Up to `size` bytes; ``b""`` at the end, None when nothing came within `timeout` seconds.

        A read that timed out goes on in the tracer, and the next one gets what it returns. Of a file opened with
        ``O_NONBLOCK`` the tracer says itself that nothing is there, however short the time; without one that is EAGAIN.
        """
        if self._asked is None:
            wanted = wire.READ_ARGS.pack(self._number, size, wire.OWN_POSITION)
            self._asked = self._access.send(wire.OP_READ, wanted)
        try:
            answer = self._access.receive(self._asked, timeout if self._waits else self._access.timeout)
        except Refused as refused:
            self._asked = None
            if refused.errno == errno.EAGAIN and timeout is not None:
                return None
            raise
        if answer is None:
            return None
        self._asked = None
        return answer[1]

    def write(self, data: bytes) -> int:
        """Write `data`, or as much of it as fits one request; returns how many bytes were taken."""
        room = wire.MAX_REQUEST_SIZE - wire.HANDLE_ARGS.size
        taken, _ = self._access.call(wire.OP_WRITE, wire.HANDLE_ARGS.pack(self._number) + data[:room])
        return taken

    def close(self) -> None:
        """Close it in the tracer; a tracer that is gone has closed it already."""
        if self._asked is not None:
            self._access.abandon(self._asked)
            self._asked = None
        try:
            self._access.call(wire.OP_CLOSE, wire.HANDLE_ARGS.pack(self._number))
        except NoTracer:
            pass


def _connect(path: str, timeout: float) -> socket.socket:
    """Connect to a Unix socket, however long its path is (sun_path holds 107 bytes)."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    directory = -1
    try:
        sock.settimeout(timeout)
        directory = os.open(os.path.dirname(path) or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
    except OSError as error:
        sock.close()
        raise NoTracer(f"no tracer listens at '{path}': {error.strerror or 'it does not answer'}") from None
    finally:
        if directory >= 0:
            os.close(directory)
    return sock


def _what_happened(error: OSError, on_timeout: str) -> str:
    """An error of the connection in words: mostly, the other end is gone."""
    if isinstance(error, ConnectionError):
        return "went away"
    return on_timeout if isinstance(error, TimeoutError) else error.strerror or str(error)


def _path(path: str) -> bytes:
    """A path on the wire: one byte a character, as the tree has it."""
    return path.encode("latin-1", "backslashreplace")
