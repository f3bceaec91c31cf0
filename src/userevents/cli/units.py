"""Units for systemd: the tracer as a service of one user or of the system, and the socket that starts it."""

import shlex
from collections.abc import Sequence
from typing import Final

_SERVICE: Final = """\
# Printed by 'userevents serve {option}--print-unit service'; it belongs to {place}/userevents.service
[Unit]
Description=Tracer of user events

[Service]
Type=notify
ExecStart={command} serve{options}
ExecReload=/bin/sh -c 'kill -HUP $MAINPID'
Restart=on-failure
WatchdogSec=30s
TimeoutStopSec=15s
LimitNOFILE=65536
NoNewPrivileges=yes
{more}
[Install]
WantedBy={target}
"""

_FOR_SYSTEM: Final = """\
RuntimeDirectory=userevents
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes
# To act in users' directories as those users, to make these, to read /proc, and for --mount (SYS_ADMIN, NET_ADMIN):
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_SYS_PTRACE
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_NET_ADMIN
# No ProtectSystem=, PrivateTmp= or the like: in a mount namespace of its own nobody else would see what --mount mounts.
RestrictAddressFamilies=AF_UNIX AF_NETLINK
"""

_TO_BROKERS: Final = " AF_INET AF_INET6"

_SOCKET: Final = """\
# Printed by 'userevents serve {option}--print-unit socket'; it belongs to {place}/userevents.socket
[Unit]
Description=Socket of the tracer of user events

[Socket]
ListenStream={directory}/userevents/tracer.sock
DirectoryMode={directory_mode}
SocketMode={mode}

[Install]
WantedBy=sockets.target
"""


def unit_text(
    kind: str, command: Sequence[str], *, system: bool = False, options: Sequence[str] = (), fleet: bool = False
) -> str:
    """Return the text of a unit: `kind` is ``service`` or ``socket``, `command` what starts the command line.

    `options` are the service's, besides ``--system``; with `fleet` it must reach brokers.
    """
    place = "/etc/systemd/system" if system else "~/.config/systemd/user"
    option = "--system " if system else ""
    if kind == "socket":
        return _SOCKET.format(
            option=option,
            place=place,
            directory="/run" if system else "%t",
            directory_mode="0755" if system else "0700",
            mode="0666" if system else "0600",
        )
    return _SERVICE.format(
        option=option,
        place=place,
        command=_words(command),
        options=(" --system" if system else "") + (f" {_words(options).replace('$', '$$')}" if options else ""),
        more=_FOR_SYSTEM.replace("AF_NETLINK", "AF_NETLINK" + _TO_BROKERS * fleet) if system else "",
        target="multi-user.target" if system else "default.target",
    )


def _words(words: Sequence[str]) -> str:
    return " ".join(shlex.quote(word).replace("%", "%%") for word in words)
