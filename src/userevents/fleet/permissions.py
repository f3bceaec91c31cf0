"""What a broker must permit, as a NATS configuration takes it: the least a host needs, and what operators need. Pure.

A host publishes what ends with its own name, reads the keys, and removes keys by their sequence, as peers must. It
makes no consumer: whom a consumer delivers to, permissions do not bound.
"""

from typing import Any, Final

from . import names

_KEYS: Final = names.KEYS_STREAM
_READ: Final = [
    f"$JS.API.STREAM.INFO.{_KEYS}",
    f"$JS.API.DIRECT.GET.{_KEYS}",
    f"$JS.API.DIRECT.GET.{_KEYS}.>",
]
_REMOVE: Final = [f"$JS.API.STREAM.MSG.DELETE.{_KEYS}"]
_ANSWERS: Final = {"max": 1000, "expires": "1m"}


def inbox_of(host: str) -> str:
    """The prefix of the subjects on which a host gets its answers, which no other host may listen to."""
    return f"_INBOX_{names.encode(host)}"


def of_host(host: str) -> dict[str, Any]:
    """Return the permissions of one host's agent."""
    token = names.encode(host)
    own = [names.lease_key(host), names.host_key(host), f"user.*.*.{token}", f"persist.*.*.{token}"]
    publish = [names.key_subject(key) for key in own]
    publish += [names.data_subject(host, ">"), *_READ, *_REMOVE]
    subscribe = [f"{inbox_of(host)}.>", names.NEWS_SUBJECT, names.ask_subject(host, ">")]
    return {"publish": {"allow": publish}, "subscribe": {"allow": subscribe}, "allow_responses": _ANSWERS}


def of_operator() -> dict[str, Any]:
    """Return the permissions of who works with the fleet: it wishes, deletes, reads events, and makes streams."""
    publish = [names.key_subject(names.WISHES), names.NEWS_SUBJECT, f"{names.ASK_SUBJECT}.>", *_READ, *_REMOVE]
    publish += ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$O.>"]
    return {"publish": {"allow": publish}, "subscribe": {"allow": ["_INBOX.>", f"{names.BUCKET}.>"]}}
