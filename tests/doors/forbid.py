"""forbid.py CALL... -- COMMAND...: become COMMAND where these system calls are refused, as by a container's profile."""

import ctypes
import os
import struct
import sys

NUMBERS = {
    "x86_64": {"process_vm_readv": 310, "process_vm_writev": 311, "unshare": 272},
    "aarch64": {"process_vm_readv": 270, "process_vm_writev": 271, "unshare": 97},
}[os.uname().machine]
LOAD, EQUAL, RETURN, ALLOW, REFUSE = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050001
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, MODE_FILTER = 22, 38, 2


class Program(ctypes.Structure):
    """The kernel's ``struct sock_fprog``."""

    _fields_ = (("size", ctypes.c_ushort), ("code", ctypes.c_char_p))


def main(calls: list[str], command: list[str]) -> None:
    """Put the filter on, and go on as the command."""
    words = [(LOAD, 0, 0, 0)]
    for at, name in enumerate(calls):
        words.append((EQUAL, len(calls) - at, 0, NUMBERS[name]))
    words += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, REFUSE)]
    code = b"".join(struct.pack("<HBBI", *word) for word in words)
    libc = ctypes.CDLL(None, use_errno=True)
    program = Program(len(words), code)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.byref(program)):
        sys.exit(os.strerror(ctypes.get_errno()))
    os.execvp(command[0], command)


end = sys.argv.index("--")
main(sys.argv[1:end], sys.argv[end + 1 :])
