"""`userevents write`: write to a file of a tracing tree, for those who have it mounted nowhere."""

import click

from .complete import complete_path
from .reach import tracefs_option


@click.command()
@tracefs_option
@click.option(
    "--truncate", is_flag=True, help="Empty it first, as > does: that clears 'trace', and 'set_event' disables all."
)
@click.argument("path", shell_complete=complete_path)
@click.argument("text")
def write(tracefs: str | None, truncate: bool, path: str, text: str) -> None:
    """Write TEXT and a newline to a file of the running tracer's tree, as 'echo TEXT >> PATH' does.

    \b
    userevents write tracing_on 0
    userevents write --truncate trace ''
    """
    from ..abi.tracefs import O_TRUNC, O_WRONLY
    from ..control import write_file
    from .reach import kernel_text, reached

    with reached(tracefs) as access:
        data = f"{kernel_text(text)}\n".encode("latin-1")
        write_file(access, kernel_text(path), data, O_WRONLY | (O_TRUNC if truncate else 0))
