"""The trace options of an instance: their names in the kernel's order, and which are on to begin with.

Source: user_events contract, tracefs.md sections 8 and 9.
"""

import errno
from typing import Final

from ..errors import Refused

# fmt: off
_DEFAULTS: Final = {
    "print-parent": True, "sym-offset": False, "sym-addr": False, "verbose": False, "raw": False, "hex": False,
    "bin": False, "block": False, "fields": False, "trace_printk": True, "annotate": True, "userstacktrace": False,
    "sym-userobj": False, "printk-msg-only": False, "context-info": True, "latency-format": False,
    "record-cmd": True, "record-tgid": False, "overwrite": True, "disable_on_free": False, "irq-info": True,
    "markers": True, "event-fork": False, "trace_printk_dest": True, "pause-on-trace": False, "hash-ptr": True,
    "stacktrace": False, "test_nop_accept": False, "test_nop_refuse": False,
}
# fmt: on
"""Those of a kernel whose only tracer is nop; the last two are that tracer's own."""

_DESTINATION: Final = "trace_printk_dest"
"""Where the kernel's own messages go: to one instance, which need not be the top one."""
_NOT_INHERITED: Final = {"event-fork": False, "test_nop_accept": False}
_OF_TOP: Final = frozenset({"trace_printk", "printk-msg-only", "record-cmd"})
"""Options that have a file of their own in the top instance only."""
_REFUSED: Final = "test_nop_refuse"
OPTION_TEXT_MAX: Final = 63


class Destination:
    """Whose option ``trace_printk_dest`` is on: always exactly one instance's, the top one's to begin with."""

    def __init__(self) -> None:
        self.top: Options | None = None
        self.holder: Options | None = None

    def move(self, options: "Options", *, on: bool) -> None:
        """Give it to the instance of `options`, or from that one back to the top; EINVAL where that is the top."""
        if on:
            self.holder = options
        elif options is self.holder:
            if options is self.top:
                raise Refused(errno.EINVAL, f"'{_DESTINATION}' cannot be off everywhere: set it in another instance")
            self.holder = self.top


class Options:
    """Which options are on. The top instance's are the defaults; a new instance begins with what is on at the top."""

    def __init__(self, destination: Destination | None = None, *, top: bool = True) -> None:
        self._destination = destination if destination is not None else Destination()
        self._is_top = top
        if top:
            self._destination.top = self._destination.holder = self
            self._on = dict(_DEFAULTS)
        else:
            first = self._destination.top
            self._on = (_DEFAULTS if first is None else first._on) | _NOT_INHERITED

    def __getitem__(self, name: str) -> bool:
        return self._destination.holder is self if name == _DESTINATION else self._on[name]

    def names(self) -> list[str]:
        """Every option that has a file of its own."""
        return [name for name in self._on if self._is_top or name not in _OF_TOP]

    def set(self, name: str, on: bool) -> None:
        """Switch one option; EINVAL for an unknown one, and for the one that is there to refuse."""
        if name not in self._on:
            raise Refused(errno.EINVAL, f"there is no trace option '{name}'")
        if name == _REFUSED:
            raise Refused(errno.EINVAL, f"the option '{name}' is there to be refused")
        if name == _DESTINATION:
            self._destination.move(self, on=on)
        self._on[name] = on

    def apply(self, text: str) -> None:
        """Take what is written to ``trace_options``: a name, or ``no`` and a name."""
        name = text.strip()
        if name in self._on:
            self.set(name, True)
        else:
            self.set(name.removeprefix("no"), False)

    def release(self) -> None:
        """The instance goes: what it alone can have goes back to the top."""
        if not self._is_top:
            self._destination.move(self, on=False)

    def text(self) -> str:
        """What ``trace_options`` shows."""
        return "".join(f"{'' if self[name] else 'no'}{name}\n" for name in self._on)
