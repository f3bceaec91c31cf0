"""`python -m userevents`: the command line."""

from .cli import main

main(prog_name="userevents")
