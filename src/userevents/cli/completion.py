"""`userevents completion`: the shell code that completes commands."""

import os
import sys

import click
from click.shell_completion import get_completion_class

from . import main
from .console import fail

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", required=False, type=click.Choice(SHELLS))
def completion(shell: str | None) -> None:
    """Print the shell code that completes commands (default: for $SHELL).

    \b
    bash   eval "$(userevents completion bash)"      in ~/.bashrc
    zsh    eval "$(userevents completion zsh)"       in ~/.zshrc
    fish   userevents completion fish | source       in ~/.config/fish/config.fish
    """
    chosen = shell or os.path.basename(os.environ.get("SHELL", ""))
    found = get_completion_class(chosen)
    if chosen not in SHELLS or found is None:
        fail(f"no completion for the shell '{chosen}'; there is one for {', '.join(SHELLS)}", 2)
    sys.stdout.write(found(main, {}, "userevents", "_USEREVENTS_COMPLETE").source())
