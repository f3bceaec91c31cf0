"""The command line: one file per verb, imported only when that verb is asked for."""

import builtins
import errno
import importlib
import signal
import sys
from typing import Any

import click

__all__ = ["VERBS", "Verbs", "main"]

VERBS = {
    "record": "Record the events of a program, or of every program.",
    "attach": "Get userevents into a Python program that runs already.",
    "detach": "Get it out again.",
    "dump": "Write out what a flight recording holds.",
    "report": "Show what a trace holds.",
    "export": "Write a trace in a format that other tools open.",
    "query": "Ask a trace in SQL.",
    "view": "Show a trace in the Perfetto UI, offline.",
    "html": "Write a trace as one web page.",
    "top": "Watch live events on a screen.",
    "tail": "Show events as they happen.",
    "hist": "Count the values of a field, in a trace or live.",
    "list": "List the declared events of live programs.",
    "info": "Tell all about an event: fields, who holds it, who listens, what happened to it.",
    "register": "Register an event, and hold it or let it persist.",
    "unregister": "Delete a persistent event.",
    "enable": "Have events recorded.",
    "disable": "Have events recorded no more.",
    "set-filter": "Keep only the records of an event that pass an expression.",
    "trigger": "Have something done when an event is written.",
    "cat": "Show a file of the running tracer's tree.",
    "write": "Write to a file of the running tracer's tree.",
    "lint": "Say whether a declaration will be taken, and what is wrong with it.",
    "run": "Run a native program with user_events of its own.",
    "serve": "Be the tracer for good, as a service.",
    "fleet": "Work with the events of many hosts.",
    "mount": "Serve the tracing tree at /sys/kernel/tracing.",
    "doctor": "Say what works on this machine, what does not, and what to do.",
    "recover": "Finish the trace of a recorder that was killed.",
    "completion": "Print the shell code that completes commands.",
}

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What writing to stdout may fail with, besides EPIPE, which click takes for an end without a word."""


class Verbs(click.Group):
    """A group that knows its verbs by name and imports one only to run it: from the file of its name, and `prefix`."""

    def __init__(self, *args: Any, verbs: dict[str, str], prefix: str = "", **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.verbs = verbs
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the table's order."""
        return [*self.verbs]  # here `list` may be the module that is imported for that verb

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb, whose file is imported for it."""
        if cmd_name not in self.verbs:
            return None
        name = cmd_name.replace("-", "_")
        module = importlib.import_module(f".{self._prefix}{name}", __package__)
        command: Any = getattr(module, f"{name}_" if hasattr(builtins, name) else name)
        assert isinstance(command, click.Command)
        return command

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line, on standard streams that are there; what stdout does not take is said."""
        from .console import fail, leave_pipe, open_standard_streams

        open_standard_streams()
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.filename is not None or error.errno not in _FULL:
                raise
            leave_pipe()
            fail(f"stdout: {error.strerror}")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb. One that Ctrl-C cuts short ends by that signal, so that a shell's loop around it ends, too."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            sys.stdout.flush()
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([*self.verbs.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the verbs there are when asked for one that there is not."""
        if args and not args[0].startswith("-") and args[0] not in self.verbs:
            from ..fields.near import instead

            ctx.fail(f"there is no verb '{args[0]}'; {instead(args[0], self.verbs, 'there are:')}")
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, verbs=VERBS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="userevents", message="userevents %(version)s")
def main() -> None:
    """Typed, always-on trace events for any Linux: no kernel support, no privilege.

    \b
    userevents record -- python app.py     run a program and record what it does
    userevents report trace.dat            show it
    userevents list                        which events do live programs declare?
    userevents info request                who holds an event, who listens, what happened to it?
    """
