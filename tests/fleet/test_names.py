"""Names on the broker: any text has one token, keys read back, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from userevents.errors import Malformed
from userevents.fleet import names

anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(anything, anything)
def test_every_text_has_one_token_that_reads_back(first: str, second: str) -> None:
    """Two texts never share a token, and a token has nothing that steers a subject."""
    token = names.encode(first)
    assert names.decode(token) == first
    assert token
    assert not set(token) & set(".*> \t\r\n")
    assert (names.encode(second) == token) == (second == first)


def test_a_name_that_is_no_text_survives() -> None:
    """A host or program name of arbitrary bytes keeps them."""
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    assert names.decode(names.encode(odd)) == odd


@given(st.text(max_size=12))
def test_a_token_is_read_or_refused(token: str) -> None:
    """What comes from the broker decodes to something that encodes to it, or is `Malformed`."""
    try:
        text = names.decode(token)
    except Malformed:
        return
    assert names.encode(text) == token


@pytest.mark.parametrize("token", ["", "a.b", "=4", "=41", "=2e", "a=", "=FF=", "x y", "*", ">"])
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    """Wildcards, dots, lower-case and needless escapes are no tokens: a name has one spelling."""
    with pytest.raises(Malformed):
        names.decode(token)


def test_a_name_too_long_for_a_subject_is_refused() -> None:
    """A token of more than a kilobyte would not fit a subject with what is around it."""
    assert len(names.encode("x" * names.TOKEN_MAX)) == names.TOKEN_MAX
    with pytest.raises(Malformed, match="1025"):
        names.encode("x" * (names.TOKEN_MAX + 1))


def test_keys_read_back_and_name_their_host_first() -> None:
    """Permissions hold on to the token behind the kind: it is the host in every key of one."""
    layout = names.layout_of("u32 a")
    host, event = "web 1.example", "user_events:tick"
    keys = {
        names.lease_key(host): names.Key("lease", host),
        names.host_key(host): names.Key("host", host),
        names.user_key(event, layout, host): names.Key("user", host, event, layout),
        names.persist_key(event, layout, host): names.Key("persist", host, event, layout),
    }
    for key, meant in keys.items():
        assert names.parse_key(key) == meant
        assert key.split(".")[1] == names.encode(host)


@pytest.mark.parametrize("key", ["", "wishes", "user.a.b", "user.h.a.zzzzzzzz", "lease.a.b", "lease.", "nothing.a"])
def test_a_key_of_nobody_is_refused(key: str) -> None:
    """What is no key of a host raises `Malformed`, whoever wrote it."""
    with pytest.raises(Malformed):
        names.parse_key(key)
