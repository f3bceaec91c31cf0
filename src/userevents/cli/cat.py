"""`userevents cat`: show files of a tracing tree, for those who have it mounted nowhere."""

import contextlib
import sys

import click

from .complete import complete_path
from .reach import tracefs_option

_PIECE_SIZE = 1 << 16


@click.command()
@tracefs_option
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", shell_complete=complete_path)
def cat(tracefs: str | None, paths: tuple[str, ...]) -> None:
    """Show files of the running tracer's tree; 'userevents cat README' tells which there are.

    A file that waits for more (trace_pipe) is followed until Ctrl-C. Of a directory the names are shown.

    \b
    userevents cat trace
    userevents cat events/user_events/request/format
    """
    from ..control import Access
    from ..errors import Refused
    from .reach import kernel_text, reached

    def show(access: Access, path: str) -> None:
        with contextlib.closing(access.open(path)) as handle:
            while piece := handle.read(_PIECE_SIZE):
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()

    with reached(tracefs) as access:
        for path in map(kernel_text, paths):
            try:
                show(access, path)
            except Refused as refused:
                if refused.name != "EISDIR":
                    raise
                names = access.listdir(path)
                sys.stdout.buffer.write("".join(f"{name}\n" for name in names).encode("latin-1"))
