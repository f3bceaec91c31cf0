"""`userevents fleet accounts`: the accounts of a NATS configuration, for hosts that do not trust each other."""

import json
import sys

import click

from .console import say
from .fleeting import failing

OPERATOR = "operator"


@click.command()
@click.option(
    "--keys", "directory", metavar="DIR", type=click.Path(file_okay=False),
    help="Let everybody in by a key: their seeds are in DIR, and made where missing.",
)  # fmt: skip
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
def accounts(directory: str | None, hosts: tuple[str, ...]) -> None:
    """Print the accounts of a NATS configuration with which each HOST can tell of itself only.

    The account FLEET has the data and is for those who work with the fleet; each host has one of its own, with the
    least that its agent needs. With --keys, DIR/HOST.nk is what that host gives as --fleet-credentials, and
    DIR/operator.nk is for the verbs of the fleet.

    \b
    userevents fleet accounts --keys keys web1 web2 > accounts.conf
    echo 'include ./accounts.conf' >> nats.conf
    """
    from ..fleet.accounts import configuration, make_keys

    if OPERATOR in hosts:
        raise click.UsageError(f"'{OPERATOR}' is the name of the key for those who work with the fleet, not a host's")
    with failing():
        keys = dict.fromkeys((OPERATOR, *hosts), "") if directory is None else make_keys(directory, (OPERATOR, *hosts))
    operator = keys.pop(OPERATOR)
    sys.stdout.write(json.dumps(configuration(keys, operator), indent=2)[1:-1].strip() + "\n")
    if directory is None:
        say("the accounts have no users yet: add them by hand, or say --keys DIR")
