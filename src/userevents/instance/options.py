"""The trace options of an instance: their names in the kernel's order, and which are on to begin with.

Source: user_events contract, tracefs.md section 8.
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

_OF_TOP: Final = "trace_printk_dest"
"""Where the kernel's own messages go: to the top instance."""
_REFUSED: Final = "test_nop_refuse"
OPTION_TEXT_MAX: Final = 63


class Options:
    """Which options are on."""

    def __init__(self, *, top: bool = True) -> None:
        self._on = _DEFAULTS | {_OF_TOP: top}

    def __getitem__(self, name: str) -> bool:
        return self._on[name]

    def __contains__(self, name: object) -> bool:
        return name in self._on

    def names(self) -> list[str]:
        """Every option."""
        return list(self._on)

    def set(self, name: str, on: bool) -> None:
        """Switch one option; EINVAL for an unknown one, and for the one that is there to refuse."""
        if name not in self._on:
            raise Refused(errno.EINVAL, f"there is no trace option '{name}'")
        if name == _REFUSED and on:
            raise Refused(errno.EINVAL, f"the option '{name}' is there to be refused")
        self._on[name] = on

    def apply(self, text: str) -> None:
        """Take what is written to ``trace_options``: a name, or ``no`` and a name."""
        name = text.strip()
        if name in self._on:
            self.set(name, True)
        else:
            self.set(name.removeprefix("no"), False)

    def text(self) -> str:
        """What ``trace_options`` shows."""
        return "".join(f"{'' if on else 'no'}{name}\n" for name, on in self._on.items())
