"""Which kernel the engine behaves as: one `Profile` per kernel whose visible rules differ.

A profile is data, not code: each field answers one question that the kernels answer differently.

Source: user_events contract, abi.md (profiles) and lifecycle.md section 7.
"""

import errno
from typing import Final, NamedTuple

from ..abi.user_events import USER_EVENT_REG_MULTI_FORMAT, USER_EVENT_REG_PERSIST


class Profile(NamedTuple):
    """The answers of one kernel where kernels differ."""

    name: str
    """What people write to choose it, ``"v6.12"``."""
    flags_mask: int
    """Register flags the ioctl lets through (abi.md 5.1 step 5)."""
    parser_refuses_flags: bool
    """Whether the parser then refuses every flag with EINVAL (step 13): no event can persist."""
    spaces_after_semicolons: bool
    """Whether matching reads ``a;b`` as ``a; b`` (fields.md section 5)."""
    compares_struct_size: bool
    """Whether matching sees a struct field's size; if not, no struct event can be registered twice."""
    keeps_fields_on_failed_destroy: bool
    """Whether an event whose destroy failed keeps its fields (lifecycle.md section 3)."""
    disabled_write_errno: int
    """What a write to an event nobody listens to gives; 0 is success (write.md step 7)."""


V6_12: Final = Profile(
    name="v6.12",
    flags_mask=USER_EVENT_REG_PERSIST | USER_EVENT_REG_MULTI_FORMAT,
    parser_refuses_flags=False,
    spaces_after_semicolons=True,
    compares_struct_size=True,
    keeps_fields_on_failed_destroy=True,
    disabled_write_errno=errno.EBADF,
)
V6_4: Final = Profile(
    name="v6.4",
    flags_mask=USER_EVENT_REG_PERSIST,
    parser_refuses_flags=True,
    spaces_after_semicolons=False,
    compares_struct_size=False,
    keeps_fields_on_failed_destroy=False,
    disabled_write_errno=0,
)

PROFILES: Final = {profile.name: profile for profile in (V6_12, V6_4)}
"""Every profile by its name."""
