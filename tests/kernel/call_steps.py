"""Steps that a process makes: on its descriptors, in its memory, about itself, with perf. One function an operation."""

import errno
import struct
from collections.abc import Callable, Mapping
from typing import Final

from tests.kernel.file_steps import read_file
from tests.kernel.memory import SCRATCH
from tests.kernel.results import Result, Step, fail, ok, to_bytes, to_text, tree_path
from tests.kernel.world import CAPABILITIES, Description, Descriptor, Process
from userevents.abi import tracefs as abi
from userevents.abi import user_events as uapi
from userevents.engine import Caller
from userevents.errors import Refused
from userevents.instance import Subscription
from userevents.testing.fakes import PAGE
from userevents.tracefs import OpenNode, WriteCall

_TEXT_AT: Final = SCRATCH + 8 * PAGE
_FLAGS: Final = {"r": abi.O_RDONLY, "w": abi.O_WRONLY, "rw": abi.O_RDWR}
_MORE_FLAGS: Final = {"nonblock": abi.O_NONBLOCK, "append": abi.O_APPEND, "trunc": abi.O_TRUNC}
_POLL_IN: Final = 1
_POLL_OUT: Final = 4
_WITH_POLL: Final = (abi.TRACE_PIPE, abi.TRACE_PIPE_RAW, abi.HIST)


def _open(process: Process, step: Step) -> Result:
    flags = _FLAGS[step.get("flags", "rw")]
    for name, bit in _MORE_FLAGS.items():
        flags |= bit if step.get(name) else 0
    path = tree_path(step.get("path", abi.USER_EVENTS_DATA))
    node = process.world.tree.open(path, flags, process.caller, process.thread(step.get("thread")))
    process.add(step["fd"], Descriptor(Description(node, path), cloexec=bool(step.get("cloexec"))))
    return ok()


def _target(process: Process, step: Step) -> OpenNode | Subscription:
    descriptor = process.fds.get(step["fd"])
    if descriptor is None:
        raise Refused(errno.EBADF, f"'{step['fd']}' is not open")
    return descriptor.description.target


def _node(process: Process, step: Step) -> OpenNode:
    target = _target(process, step)
    if not isinstance(target, OpenNode):
        raise Refused(errno.EINVAL, f"'{step['fd']}' is a perf event")
    return target


def _perf(process: Process, step: Step) -> Subscription:
    target = _target(process, step)
    if not isinstance(target, Subscription):
        raise Refused(errno.ENOTTY, f"'{step['fd']}' is no perf event")
    return target


def _fd_open(process: Process, step: Step) -> Result:
    return ok(data=step["fd"] in process.fds)


def _close(process: Process, step: Step) -> Result:
    process.close(step["fd"])
    return ok()


def _dup(process: Process, step: Step) -> Result:
    _target(process, step)
    description = process.fds[step["fd"]].description
    description.users += 1
    process.add(step["new"], Descriptor(description, cloexec=False))
    return ok()


def _ioctl(process: Process, step: Step, command: int, argument: int) -> Result:
    target = _target(process, step)
    if not isinstance(target, OpenNode):
        return fail(errno.ENOTTY)
    return ok(target.ioctl(command, argument, process.thread(step.get("thread"))))


def _put_text(process: Process, text: str | Mapping[str, str]) -> int:
    data = to_bytes(text) + b"\0"
    process.memory.write(_TEXT_AT, data + bytes(4 * PAGE - len(data)))
    return _TEXT_AT


def _put_struct(process: Process, packed: bytes, step: Step) -> int:
    data = packed + bytes.fromhex(step.get("tail", ""))
    process.memory.write(SCRATCH, data + bytes(4 * PAGE - len(data)))
    return process.addr(step["struct_ptr"]) if "struct_ptr" in step else SCRATCH


def _reg(process: Process, step: Step) -> Result:
    text_at = _put_text(process, step.get("name_args", "ev"))
    packed = struct.pack(
        uapi.USER_REG,
        step.get("size", uapi.USER_REG_SIZE),
        step.get("enable_bit", 0),
        step.get("enable_size", 4),
        step.get("flags", 0),
        process.addr(step.get("addr", "word0")),
        process.addr(step["name_ptr"]) if "name_ptr" in step else text_at,
        0xFFFFFFFF,
    )
    result = _ioctl(process, step, uapi.DIAG_IOCSREG, _put_struct(process, packed, step))
    if result["errno"] is None:
        result["write_index"] = process.memory.load(SCRATCH + uapi.USER_REG_WRITE_INDEX_OFFSET, 4)
    return result


def _unreg(process: Process, step: Step) -> Result:
    packed = struct.pack(
        uapi.USER_UNREG,
        step.get("size", uapi.USER_UNREG_SIZE),
        step.get("disable_bit", step.get("enable_bit", 0)),
        step.get("reserved", 0),
        step.get("reserved2", 0),
        process.addr(step.get("addr", "word0")),
    )
    return _ioctl(process, step, uapi.DIAG_IOCSUNREG, _put_struct(process, packed, step))


def _del(process: Process, step: Step) -> Result:
    name_at = process.addr(step["name_ptr"]) if "name_ptr" in step else _put_text(process, step["name"])
    return _ioctl(process, step, uapi.DIAG_IOCSDEL, name_at)


def _any_ioctl(process: Process, step: Step) -> Result:
    return _ioctl(process, step, step["cmd"], step.get("arg", 0))


def _write(process: Process, step: Step) -> Result:
    """writev: nothing at all is 0 without asking the file."""
    data = b"".join(bytes.fromhex(piece) for piece in step["iov"])
    node = _node(process, step)
    if node.flags & abi.O_ACCMODE == abi.O_RDONLY:
        return fail(errno.EBADF)
    return ok(node.write(data, WriteCall(process.thread(step.get("thread")))) if data else 0)


def _write1(process: Process, step: Step) -> Result:
    call = WriteCall(process.thread(step.get("thread")))
    return ok(_node(process, step).write(bytes.fromhex(step["data"]), call))


def _pwrite(process: Process, step: Step) -> Result:
    call = WriteCall(process.thread(step.get("thread")), step["off"])
    return ok(_node(process, step).write(bytes.fromhex(step["data"]), call))


def _write_ptr(process: Process, step: Step) -> Result:
    data = process.memory.readable(process.addr(step["addr"]), step["len"])
    call = WriteCall(process.thread(step.get("thread")), 0, step["len"])
    return ok(_node(process, step).write(data, call))


def _read_fd(process: Process, step: Step) -> Result:
    data = _node(process, step).read(step.get("n", 4096))
    return ok(len(data), data=to_text(data))


def _lseek(process: Process, step: Step) -> Result:
    return ok(_node(process, step).seek(step["off"]))


def _mmap_fd(process: Process, step: Step) -> Result:
    _node(process, step)
    return fail(errno.ENODEV)


def _poll_fd(process: Process, step: Step) -> Result:
    """A file without a poll of its own can always be written to; those that have one are about reading."""
    node = _node(process, step)
    events = _POLL_IN if node.polled() else 0
    if node.path.rpartition("/")[2] not in _WITH_POLL:
        events |= _POLL_OUT
    return ok(data=[events] if events else [])


def _read_len(process: Process, step: Step) -> Result:
    """Read, and tell only how much it was."""
    return ok(len(_node(process, step).read(step["n"])))


def _add_own_pid(process: Process, step: Step) -> Result:
    node = process.world.tree.open(tree_path(step["path"]), abi.O_WRONLY | abi.O_APPEND, process.caller, process.main)
    try:
        node.write(b"%d" % process.pid)
    finally:
        node.close()
    return ok()


def _count_words(process: Process, step: Step) -> Result:
    found = read_file(process.world, {"path": step["path"]}, process.main)
    return ok(len(found["data"].split()))


# Steps about memory and processes.


def _peek(process: Process, step: Step) -> Result:
    process.thread(step.get("thread"))
    return ok(process.memory.load(process.addr(step.get("addr", "word0")), step.get("size", 4)))


def _poke(process: Process, step: Step) -> Result:
    process.memory.store(process.addr(step.get("addr", "word0")), int(step["value"]), step.get("size", 4))
    return ok()


def _mprotect(process: Process, step: Step) -> Result:
    mapped = process.memory.protect(process.addr(step["addr"]), write=bool(step["prot"] & 2))
    return ok() if mapped else fail(errno.ENOMEM)


def _munmap(process: Process, step: Step) -> Result:
    process.memory.unmap(process.addr(step["addr"]))
    return ok()


def _mmap_fixed(process: Process, step: Step) -> Result:
    process.memory.map(process.addr(step["addr"]), write=bool(step.get("prot", 3) & 2), present=False)
    return ok()


def _fork(process: Process, step: Step) -> Result:
    process.world.processes[step["child"]] = process.fork(step["child"], step.get("thread"))
    return ok()


def _exec(process: Process, step: Step) -> Result:
    return ok(data=process.exec())


def _exit(process: Process, step: Step) -> Result:
    process.world.end(process.name)
    return ok()


def _thread_exit(process: Process, step: Step) -> Result:
    process.thread_exit(step["thread"])
    return ok()


def _setuid(process: Process, step: Step) -> Result:
    uid = step.get("uid", 1000)
    process.caller = Caller(uid, uid, perfmon=bool(CAPABILITIES & set(step.get("caps", ()))))
    return ok()


def _unshare(process: Process, step: Step) -> Result:
    """A new user namespace: all capabilities there, none where it counts."""
    process.caller = process.caller._replace(perfmon=False)
    return ok()


# Steps about perf.


def _perf_open(process: Process, step: Step) -> Result:
    found = read_file(process.world, {"path": f"events/{step['event']}/id"}, process.main)
    enabled = not step.get("disabled")
    subscription = process.world.system.perf.open(int(found["data"]), process.main.tid, enabled=enabled)
    process.add(step["fd"], Descriptor(Description(subscription, "perf"), cloexec=False))
    return ok()


def _perf_ioctl(process: Process, step: Step) -> Result:
    _perf(process, step).enabled = step["what"] == "enable"
    return ok()


def _perf_filter(process: Process, step: Step) -> Result:
    _perf(process, step).set_filter(to_bytes(step["filter"]).decode("latin-1"))
    return ok()


def _perf_drain(process: Process, step: Step) -> Result:
    samples = _perf(process, step).samples
    taken = [{"size": len(sample.data), "payload": sample.payload.hex()} for sample in samples]
    samples.clear()
    return ok(len(taken), samples=taken)


CALLS: Final[dict[str, Callable[[Process, Step], Result]]] = {
    "open": _open,
    "close": _close,
    "fd_open": _fd_open,
    "dup": _dup,
    "reg": _reg,
    "unreg": _unreg,
    "del": _del,
    "ioctl": _any_ioctl,
    "write": _write,
    "write1": _write1,
    "pwrite": _pwrite,
    "write_ptr": _write_ptr,
    "read_fd": _read_fd,
    "lseek": _lseek,
    "mmap_fd": _mmap_fd,
    "poll_fd": _poll_fd,
    "read_len": _read_len,
    "add_own_pid": _add_own_pid,
    "count_words": _count_words,
    "peek": _peek,
    "poke": _poke,
    "mprotect": _mprotect,
    "munmap": _munmap,
    "mmap_fixed": _mmap_fixed,
    "fork": _fork,
    "exec": _exec,
    "exit": _exit,
    "thread_exit": _thread_exit,
    "setuid": _setuid,
    "unshare": _unshare,
    "perf_open": _perf_open,
    "perf_ioctl": _perf_ioctl,
    "perf_filter": _perf_filter,
    "perf_drain": _perf_drain,
}
