"""`userevents fleet`: the verbs for many hosts."""

import click

from . import Verbs

FLEET_VERBS = {
    "up": "Run a broker on this machine: NATS with JetStream, on loopback.",
    "list": "List the hosts of the fleet, and their events.",
    "info": "Tell all about an event of the fleet: where it lives, its fields, what is wished.",
    "enable": "Have events recorded on the hosts of the fleet, now and later.",
    "disable": "Have events recorded no more.",
    "filter": "Keep only the records of events that pass an expression.",
    "record": "Record what the hosts of the fleet send, as one trace.",
    "tail": "Show the events of the fleet as they happen.",
    "query": "Ask questions in SQL of the fleet's events, window by window.",
    "dump": "Write what the broker has kept, as one trace.",
    "flight": "Keep the newest in memory on every host, and write what is around an instant at which a rule holds.",
    "unregister": "Delete a persistent event of the fleet.",
    "init": "Make what a fleet needs on a broker.",
    "accounts": "Print a broker's accounts, for hosts that can tell of themselves only.",
}


@click.group(cls=Verbs, verbs=FLEET_VERBS, prefix="fleet_")
def fleet() -> None:
    """Work with the events of many hosts: each runs 'userevents serve --fleet URL', the URL being a NATS server's.

    \b
    userevents fleet up                            a broker for trying it out
    userevents serve --fleet nats://127.0.0.1      join this host
    userevents fleet list                          who is there, which events
    userevents fleet enable 'http_*'               on every host, present and future
    userevents fleet tail 'http_*'                 what happens there, live
    userevents fleet record -o web.dat             one trace of all hosts
    """
