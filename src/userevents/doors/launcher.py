"""Run as a script of its own: make what a door needs from inside, hand it over, and become the program.

``launcher.py SOCKET private DIRECTORY... -- PATH NAME ARGS...``: in a mount namespace of its own mount a fresh FUSE
connection over the first directory and bind it over the others; hands the connection over.
``launcher.py SOCKET filtered SYSCALL FILTER -- PATH NAME ARGS...``: put a seccomp filter (hexadecimal) on this process
and all its descendants; hands its listener over.
``launcher.py SOCKET detached DIRECTORY --``: mount as above, and hand connection and directory over; nothing starts.
``launcher.py LISTENER keeper``: let every call pass that the listener tells of, until the last program has ended.

Descriptors go through the inherited SOCKET; then it waits for one byte and becomes the program (which keeps this
process's id, user and environment), and with that the SOCKET is closed. Whoever is not root gets a user namespace of
its own for mounting, too. What fails is told through the socket as text, ``WHAT<TAB>ERRNO``; then nothing is started.
Standard library only, and no site-packages: this runs with whatever environment the program shall have.
"""

import ctypes
import errno
import fcntl
import os
import select
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
PR_SET_NO_NEW_PRIVS = 38
SET_MODE_FILTER = 1
FILTER_NEW_LISTENER, FILTER_WAIT_KILLABLE_RECV = 8, 32
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
NOTIFICATION_SIZE = 80

libc = ctypes.CDLL(None, use_errno=True)


class SocketFilter(ctypes.Structure):
    """The kernel's ``struct sock_fprog``."""

    _fields_ = (("size", ctypes.c_ushort), ("code", ctypes.c_void_p))


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


def mount_tree(directories: list[str], uid: int, gid: int, *, everyone: bool = True) -> int:
    """Mount over the directories that exist; return the descriptor to serve."""
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Failed("/dev/fuse", error.errno) from None
    options = f"fd={fd},rootmode=40755,user_id={uid},group_id={gid},default_permissions"
    if everyone:
        options += ",allow_other"
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
        raise Failed("the program", error.errno) from None


def private(directories: list[str]) -> list[int]:
    """Mount over the directories for this process alone; return the connection to serve."""
    uid, gid = os.geteuid(), os.getegid()
    enter_namespaces(uid, gid)
    fd = mount_tree(directories, uid, gid)
    show_tracefs(directories[0])
    allow_ftrace()
    return [fd]


def detached(directories: list[str]) -> list[int]:
    """Mount where only the directory handed over leads; return the connection to serve and that directory."""
    uid, gid = os.geteuid(), os.getegid()
    enter_namespaces(uid, gid)
    fd = mount_tree(directories, uid, gid, everyone=False)
    return [fd, os.open(directories[0], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]


def filtered(words: list[str]) -> list[int]:
    """Put the filter on this process; return the listener that tells of the calls which it holds up."""
    code = bytes.fromhex(words[1])
    program = SocketFilter(len(code) // 8, ctypes.cast(ctypes.create_string_buffer(code, len(code)), ctypes.c_void_p))
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "giving up new privileges (prctl)")
    for flags in (FILTER_NEW_LISTENER | FILTER_WAIT_KILLABLE_RECV, FILTER_NEW_LISTENER):
        fd = libc.syscall(int(words[0]), SET_MODE_FILTER, flags, ctypes.byref(program))
        if fd >= 0:
            os.set_inheritable(fd, False)
            return [fd]
        if ctypes.get_errno() != errno.EINVAL:
            break
    raise Failed("a seccomp filter with a listener", ctypes.get_errno())


def keep(listener: int) -> None:
    """Answer what is asked as if there were no filter; ends with the last program that has it."""
    waiting = select.poll()
    waiting.register(listener, select.POLLIN)
    while waiting.poll()[0][1] & select.POLLIN:
        asked = bytearray(NOTIFICATION_SIZE)
        try:
            fcntl.ioctl(listener, NOTIF_RECV, asked)
            fcntl.ioctl(listener, NOTIF_SEND, asked[:8] + bytes(12) + b"\1\0\0\0")
        except OSError:
            continue  # whoever asked is gone


MODES = {"private": private, "detached": detached, "filtered": filtered}


def main() -> None:
    """Do it."""
    if sys.argv[2] == "keeper":
        os.setsid()
        keep(int(sys.argv[1]))
        return
    end = sys.argv.index("--")
    channel = socket.socket(fileno=int(sys.argv[1]))
    try:
        fds = MODES[sys.argv[2]](sys.argv[3:end])
    except Failed as failed:
        channel.send("\t".join(map(str, failed.args)).encode())
        sys.exit(125)
    socket.send_fds(channel, [b"ready"], fds)
    for fd in fds:
        os.close(fd)
    channel.set_inheritable(False)
    if channel.recv(1) == b"g":
        try:
            become(sys.argv[end + 1], sys.argv[end + 2 :])
        except Failed as failed:
            channel.send("\t".join(map(str, failed.args)).encode())
    sys.exit(125)


main()
