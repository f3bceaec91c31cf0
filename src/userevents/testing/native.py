"""Native programs before a private tracer: user_events at /sys/kernel/tracing, in a mount namespace of their own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from ..doors.fuse import FuseDoor, PrivateMount
from ..errors import Unusable
from ..host import Tracer
from ..tracefs import Tree

_REDIRECTED = 'exec >"$1" 2>"$2" </dev/null; shift 2; exec "$@"'


def run_native(
    tracer: Tracer, tree: Tree, argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end with the tracer's `tree` where it looks for the kernel's; its output is captured.

    Raises `Unusable` where a FUSE file system cannot be had, or the program is not found, and
    `subprocess.TimeoutExpired` after having killed the program.
    """
    path = shutil.which(argv[0])
    if path is None:
        raise Unusable(f"program '{argv[0]}' is not found, or cannot be executed")
    with tempfile.TemporaryDirectory(prefix="userevents-native-") as directory:
        out, err = f"{directory}/out", f"{directory}/err"
        words = ["sh", "-c", _REDIRECTED, "sh", out, err, os.path.abspath(path), *argv[1:]]
        private = PrivateMount("/bin/sh", words, os.environ if env is None else env)
        door = FuseDoor(tree, private.mounted, tracer.loop)
        tracer.loop.call(lambda: tracer.pokes.append(door.poke))
        door.start()
        try:
            private.go()
            code = private.process.wait(timeout)
        except subprocess.TimeoutExpired:
            private.process.kill()
            private.process.wait()
            raise
        finally:
            tracer.loop.call(lambda: tracer.pokes.remove(door.poke))
            door.close()
        return subprocess.CompletedProcess([*argv], code, _text(out), _text(err))


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""
