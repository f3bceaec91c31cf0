"""Run as a script of its own: start a program in a mount namespace in which our tree lies over the kernel's.

``launcher.py SOCKET DIRECTORY... -- PATH NAME ARGS...``: mounts a fresh FUSE connection over the first directory, binds
it over the others, hands its descriptor through the inherited SOCKET, waits for one byte, and becomes the program
(which keeps this process's id, user and environment). Whoever is not root gets a user namespace of its own, too.

What fails is told through the socket as text, ``WHAT<TAB>ERRNO``; then nothing is started. Standard library only, and
no site-packages: this runs with whatever environment the program shall have.
"""

import ctypes
import errno
import os
import signal
import socket
import sys
import tempfile

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
OPEN_TREE, MOVE_MOUNT = 428, 429
AT_FDCWD = -100
OPEN_TREE_CLONE = 1
MOVE_MOUNT_F_EMPTY_PATH = 4
MOUNTS = "/proc/mounts"
FTRACE_ENABLED = "/proc/sys/kernel/ftrace_enabled"

libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """What failed, and errno."""


def check(result: int, what: str) -> int:
    """Return a system call's result; raises `Failed` if it failed."""
    if result < 0:
        raise Failed(what, ctypes.get_errno())
    return result


def enter_namespaces(uid: int, gid: int) -> None:
    """Get a mount namespace that changes nothing for anybody else; root without its privilege is like anybody."""
    if uid == 0:
        if not libc.unshare(CLONE_NEWNS):
            check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "making mounts private")
            return
        if ctypes.get_errno() != errno.EPERM:
            raise Failed("a mount namespace (unshare)", ctypes.get_errno())
    check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS), "a user namespace (unshare)")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        except OSError as error:
            raise Failed(f"/proc/self/{name}", error.errno) from None


def mount_tree(directories: list[str], uid: int, gid: int) -> int:
    """Mount over the directories that exist; return the descriptor to serve."""
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Failed("/dev/fuse", error.errno) from None
    options = f"fd={fd},rootmode=40755,user_id={uid},group_id={gid},default_permissions,allow_other"
    first, *others = directories
    kind, flags = b"fuse.userevents", MS_NOSUID | MS_NODEV
    check(libc.mount(b"userevents", os.fsencode(first), kind, flags, options.encode()), f"mounting over {first}")
    for other in others:
        libc.mount(os.fsencode(first), os.fsencode(other), None, MS_BIND, None)
    return fd


def cover(path: str, content: str) -> None:
    """Put a file of one's own over another one, be that a symbolic link; where that is refused, all stays as it is."""
    with tempfile.NamedTemporaryFile("w", prefix="userevents-") as file:
        file.write(content)
        file.flush()
        os.chmod(file.name, 0o644)
        tree = libc.syscall(OPEN_TREE, AT_FDCWD, os.fsencode(file.name), OPEN_TREE_CLONE)
        if tree >= 0:
            libc.syscall(MOVE_MOUNT, tree, b"", AT_FDCWD, os.fsencode(path), MOVE_MOUNT_F_EMPTY_PATH)
            os.close(tree)


def show_tracefs(directory: str) -> None:
    """Let ``/proc/mounts`` name a tracefs at `directory`, for programs that look for one there."""
    with open(MOUNTS) as file:
        lines = file.read()
    if not any(line.split(" ")[1:3] == [directory, "tracefs"] for line in lines.splitlines()):
        cover(MOUNTS, f"tracefs {directory} tracefs rw,relatime 0 0\n{lines}")


def allow_ftrace() -> None:
    """Let the kernel's own switch of function tracing, which is none of ours, be written: trace-cmd insists on that."""
    try:
        with open(FTRACE_ENABLED) as file:
            value = file.read()
    except OSError:
        return
    try:
        with open(FTRACE_ENABLED, "w") as file:
            file.write(value)
    except OSError:
        cover(FTRACE_ENABLED, value)


def become(path: str, argv: list[str]) -> None:
    """Go on as the program, with the environment and the signals that we were started with."""
    with open("/proc/self/environ", "rb") as file:
        block = file.read()
    environment = dict(entry.split(b"=", 1) for entry in block.split(b"\0") if b"=" in entry)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(path, argv, environment)
    except OSError as error:
        print(f"program '{argv[0]}' cannot be started: {error.strerror}", file=sys.stderr)
        sys.exit(126)


def main() -> None:
    """Do it."""
    end = sys.argv.index("--")
    channel = socket.socket(fileno=int(sys.argv[1]))
    directories, path, argv = sys.argv[2:end], sys.argv[end + 1], sys.argv[end + 2 :]
    uid, gid = os.geteuid(), os.getegid()
    try:
        enter_namespaces(uid, gid)
        fd = mount_tree(directories, uid, gid)
        show_tracefs(directories[0])
        allow_ftrace()
    except Failed as failed:
        what, number = failed.args
        channel.send(f"{what}\t{number}".encode())
        sys.exit(125)
    socket.send_fds(channel, [b"ready"], [fd])
    os.close(fd)
    go = channel.recv(1)
    channel.close()
    if go != b"g":
        sys.exit(125)
    become(path, argv)


main()
