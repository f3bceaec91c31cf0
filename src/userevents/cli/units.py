"""Units for systemd: the tracer as a service of one user, and the socket that starts it when somebody comes."""

import shlex
from collections.abc import Sequence

_SERVICE = """\
# Printed by 'userevents serve --print-unit service'. For one user: ~/.config/systemd/user/userevents.service
[Unit]
Description=Tracer of user events

[Service]
Type=notify
ExecStart={command} serve
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
WatchdogSec=30s
TimeoutStopSec=15s
LimitNOFILE=65536
NoNewPrivileges=yes

[Install]
WantedBy=default.target
"""

_SOCKET = """\
# Printed by 'userevents serve --print-unit socket'. For one user: ~/.config/systemd/user/userevents.socket
[Unit]
Description=Socket of the tracer of user events

[Socket]
ListenStream=%t/userevents/tracer.sock
DirectoryMode=0700
SocketMode=0600

[Install]
WantedBy=sockets.target
"""


def unit_text(kind: str, command: Sequence[str]) -> str:
    """Return the text of a unit: `kind` is ``service`` or ``socket``, `command` what starts the command line."""
    if kind == "socket":
        return _SOCKET
    words = " ".join(shlex.quote(word).replace("%", "%%") for word in command)
    return _SERVICE.format(command=words)
