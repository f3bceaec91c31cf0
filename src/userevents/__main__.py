"""The command `userevents`, and `python -m userevents`: the command line."""

import signal


def main() -> None:
    """Run the command line. While it is being loaded Ctrl-C ends us as it ends a program in C, without a traceback."""
    is_usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as run

    if is_usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run(prog_name="userevents")


if __name__ == "__main__":
    main()
